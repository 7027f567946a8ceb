"""Which rows of a file are its table: what is above and below it, and further names, are not.

A record is a list of texts, one for each cell; that of a blank line has none.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, takewhile, zip_longest
from statistics import median, mode

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.io.user_error import UserError
from classifier.tables.names import has_names, likeness_to_data, names_of
from classifier.tables.prepare_params import Reading
from classifier.tables.values import GAPS_AMONG_NUMBERS, Spelling, are_numbers

Records = list[list[str]]

LOOKED_AT = 120
"""Rows at the beginning and at the end of a file in which those are looked for that are no data."""

MOST_BELOW = 20
"""Rows below a table, at most."""

FEWEST_ROWS = 5
"""Rows that a table has to have for anything about it to be regular."""

BEGIN_BELOW = re.compile(r"(?i)((grand |sub-?)?totals?|sum|average|mean)\b|(sources?|notes?):|\*")
"""How rows of sums, sources and remarks begin."""


@dataclass(frozen=True)
class Layout:
    """Where in a file the table is; rows count from 1 on, as in a spreadsheet."""

    first_row: int
    """The row of the first record, which has the names if there are any."""
    has_header: bool
    columns: list[str]
    unnamed: list[str]
    """The columns that the file has no name for."""
    left_out: dict[str, list[int]]
    """The rows that are none of the table, by what they are."""
    sample: Records
    """Records of data, but for blank ones."""

    @property
    def no_data(self) -> list[int]:
        """The rows from the first of the table on that hold no data: names, and those left out."""
        rows = sorted(row for row in chain(*self.left_out.values()) if row > self.first_row)
        return [self.first_row, *rows] if self.has_header else rows

    def rows_of(self, positions: pd.Index) -> pd.Index:
        """Return the rows of the records of data at these positions, which count from 0 on."""
        rows = positions + self.first_row
        for row in self.no_data:
            if len(rows) and row <= rows[-1]:
                rows += 1 if row <= rows[0] else rows >= row
        return rows

    @property
    def description(self) -> str:
        """What becomes of which rows, in a line."""
        header = f"names in row {self.first_row}" if self.has_header else "no header"
        return header + "".join(
            f", {what} left out: {', '.join(map(str, rows))}"
            for what, rows in self.left_out.items()
            if rows
        )


def find_layout(
    name: str,
    records: Records,
    last: Records,
    count_rows: Callable[[], int],
    *,
    reading: Reading,
    spelling: Spelling,
    n_comments: int = 0,
) -> Layout:
    """Look at the first records of a file, below comments, and at the last if these are not all.

    Raises `UserError`, in which the file is called `name`, if there is no table in them.
    """
    rows = dict(enumerate(records, start=n_comments + 1))
    if reading.skip_rows == "auto":
        n_above = count_above(records, spelling, has_header=reading.header is not False)
        n_below = count_below(last or records[n_above + 1 :], spelling)
        end = count_rows() + 1 if n_below else 0
        left_out = {"rows above the table": [*rows][:n_above]}
        left_out |= {"rows below the table": [*range(end - n_below, end)]}
    else:
        left_out = {"rows of prepare.skip_rows": sorted(reading.skip_rows)}
    for row in chain(*left_out.values()):
        rows.pop(row, None)
    first_row, first = next(iter(rows.items()), (n_comments + 1, []))
    where = f"{name}: row {first_row}"
    if not any(cell.strip() for cell in first):
        raise UserError(f"{where} is blank; it must name the columns")
    del rows[first_row]
    has_header = has_names(where, first, [*filter(None, rows.values())], reading, spelling)
    n_names = 0
    if has_header and reading.skip_rows == "auto":
        n_names = count_further_names([*rows.values()], spelling)
        left_out |= {"rows of further names": [*rows][:n_names]}
    below = [*filter(None, [*rows.values()][n_names:])]
    if has_header and below and all(len(record) == len(first) + 1 for record in below):
        # As R writes the names of rows.
        first = ["", *first]
    columns, unnamed = names_of(first, has_header=has_header)
    sample = below if has_header else [first, *below]
    return Layout(first_row, has_header, columns, unnamed, left_out, sample)


def count_above(records: Records, spelling: Spelling, *, has_header: bool = True) -> int:
    """Return how many rows are above the table: titles and the like, and blank ones.

    Most of their cells are empty, or they have not as many as the rows of the table. What is below
    must look like names, if there are any, the more so if the rows above are not mostly empty.
    """
    n_filled = [_n_filled(record) for record in records[:LOOKED_AT]]
    few = median([n for n in n_filled if n] or [0]) / 2
    width = mode([len(record) for record in records if record] or [0])
    pairs = zip(n_filled, records, strict=False)
    n = sum(1 for _ in takewhile(lambda pair: pair[0] <= few or len(pair[1]) != width, pairs))
    if n in {0, len(n_filled)}:
        return 0
    if not has_header:
        return n
    most = 0 if max(n_filled[:n]) <= few else -1
    return n if likeness_to_data(records[n], records[n + 1 :], spelling) <= most else 0


def count_further_names(below: Records, spelling: Spelling) -> int:
    """Return how many rows below the names hold further ones, such as questions, or units.

    There all columns of numbers have a text, which they have nowhere else.
    """
    return next((n for n in (2, 1) if _are_names(below[:n], below[n:], spelling)), 0)


def _are_names(candidates: Records, rest: Records, spelling: Spelling) -> bool:
    if len(rest) < FEWEST_ROWS or any(
        _are_numbers(record, spelling).any() for record in candidates
    ):
        return False
    gaps = {*spelling.gaps, *GAPS_AMONG_NUMBERS}
    n_of_numbers = n_of_categories = 0
    for names, column in zip(
        zip_longest(*candidates, fillvalue=""), zip_longest(*rest, fillvalue=""), strict=False
    ):
        cells = {cell.strip() for cell in column} - gaps
        if _are_numbers(cells, spelling).all():
            if cells and any(name.strip() in gaps for name in names):
                return False
            n_of_numbers += bool(cells)
        elif any(name.strip() in cells for name in names):
            return False
        else:
            n_of_categories += len(cells) <= len(rest) / 2
    # Of one column alone, the text may as well be a gap.
    return n_of_numbers > 0 and n_of_numbers + n_of_categories > 1


def count_below(last: Records, spelling: Spelling) -> int:
    """Return how many of the last rows are below the table: sums, sources, remarks, and blanks.

    Each leaves a column empty that no row of the table does. The first of its cells is a text that
    its column has nowhere else: one by which such rows are known, or among numbers in a row most of
    which is empty, or all there is below a blank row.
    """
    rows = [[cell.strip() for cell in record] for record in last[-LOOKED_AT:]]
    width = mode([len(row) for row in rows if row] or [0])

    def may_be_below(row: list[str]) -> bool:
        is_full = len(row) >= width and all(row)
        return not any(row) or not (is_full or _are_numbers([next(filter(None, row))], spelling)[0])

    n = sum(1 for _ in takewhile(may_be_below, reversed(rows[-MOST_BELOW:])))
    n_rest = len(rows) - n
    columns = [*zip_longest(*filter(None, rows[:n_rest]), fillvalue="")]
    n_below = 0
    if n_rest >= FEWEST_ROWS:
        for position in reversed(range(n_rest, len(rows))):
            if any(rows[position]):
                if not _is_below(rows[position], rows[:position], columns, spelling):
                    break
                n_below = len(rows) - position
    return n_below


def _is_below(
    row: list[str], before: Records, columns: list[tuple[str, ...]], spelling: Spelling
) -> bool:
    number, text = next((number, cell) for number, cell in enumerate(row) if cell)
    pairs = zip_longest(columns, row, fillvalue="")
    if number >= len(columns) or all(cell or not all(column) for column, cell in pairs):
        return False
    cells = {*columns[number]} - {*spelling.gaps}
    if text in cells:
        return False
    if BEGIN_BELOW.match(text):
        return True
    above = next((other for other in reversed(before) if _n_filled(other) != 1), [])
    is_alone = _n_filled(row) == 1 and not any(above)
    is_among_numbers = bool(cells) and _are_numbers(cells, spelling).all()
    return bool(is_alone or (is_among_numbers and _n_filled(row) <= len(columns) / 2))


def _n_filled(record: list[str]) -> int:
    return sum(1 for cell in record if cell.strip())


def _are_numbers(cells: Iterable[str], spelling: Spelling) -> npt.NDArray[np.bool_]:
    return are_numbers(pd.Series([*cells], dtype="str").str.strip(), spelling)
