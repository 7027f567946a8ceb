"""CSV files: how one is read, and where it is broken."""

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from typing import Any

import pandas as pd
from pandas.api.types import is_float_dtype, is_string_dtype
from pandas.errors import ParserError

from classifier.io.schema import LARGEST_EXACT
from classifier.io.user_error import UserError
from classifier.tables.csv_marks import (
    count_comments,
    csv_records,
    find_decimal,
    find_delimiter,
)
from classifier.tables.layout import Layout, find_layout
from classifier.tables.prepare_params import MARKS, Reading
from classifier.tables.table_file import TableFile
from classifier.tables.text_file import FIRST_CHARACTERS, TextFile
from classifier.tables.values import Spelling, are_codes, spelling_of

ROWS_AT_A_TIME = 65_536
"""The rows that are read at a time: all at once, pandas would take three times the memory."""

NOT_IN_ENCODING = "\N{REPLACEMENT CHARACTER}"

SNIFFED_RECORDS = 1000

MARK_NAMES = {
    MARKS[name]: name for name in ("comma", "semicolon", "tab", "pipe", "blanks", "point")
}


@dataclass(frozen=True, kw_only=True)
class CsvFile(TableFile):
    """A CSV file, and how to read it."""

    file: TextFile
    n_lines_above: int
    """Lines before the first row of the table."""
    layout: Layout

    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:
        table = self._read(text_columns)
        lost = {name for name in self.columns if name not in text_columns and _is_lost(table[name])}
        if lost:
            table[list(lost)] = self._read(lost)[list(lost)]
        if table[self.columns[-1]].isna().any():
            self._refuse_broken_rows()
        return table

    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        all_rows_are_whole = False
        for chunk in self._parsed(chunksize=n_rows, dtype="str", na_filter=False):
            if not all_rows_are_whole and (chunk[self.columns[-1]] == "").any():
                self._refuse_broken_rows()
                all_rows_are_whole = True
            yield chunk[~chunk.eq("").all(axis="columns")]

    def _read(self, text_columns: set[str]) -> pd.DataFrame:
        parts: dict[str, list[pd.Series]] = {name: [] for name in self.columns}
        # Which texts are gaps is told later: the target has fewer of them.
        gaps = {name: [""] if name in text_columns else self.spelling.gaps for name in self.columns}
        for chunk in self._parsed(
            chunksize=ROWS_AT_A_TIME,
            dtype=dict.fromkeys(text_columns, "str"),
            na_values=gaps,
            keep_default_na=False,
            decimal=self.spelling.decimal,
            low_memory=False,
        ):
            for name in self.columns:
                # Copied: else all of the chunk would stay in memory with it.
                parts[name].append(chunk[name].copy())
        if not parts[self.columns[0]]:
            raise UserError(f"{self.name} has no rows below its header")
        return pd.DataFrame({name: pd.concat(parts.pop(name)) for name in self.columns}, copy=False)

    def _parsed(self, **how: Any) -> Iterator[pd.DataFrame]:  # noqa: ANN401 (pandas' own)
        """Yield chunks of the file as pandas reads them; rows are numbered as in a spreadsheet.

        A row with too few fields is filled up: see `_refuse_broken_rows`.
        """
        with self.file.open_text("strict") as text:
            try:
                for _ in range(self.n_lines_above):
                    text.readline()
                with pd.read_csv(
                    text,
                    skiprows=[row - self.layout.first_row for row in self.layout.no_data],
                    sep=r"\s+" if self.delimiter == " " else self.delimiter,
                    names=self.columns,
                    header=None,
                    index_col=False,
                    # They count as rows, so that row numbers are those of a spreadsheet.
                    skip_blank_lines=False,
                    **how,
                ) as chunks:
                    for chunk in chunks:
                        chunk.index = self.layout.rows_of(chunk.index)
                        yield chunk
            except (ParserError, UnicodeError) as error:
                self._refuse_broken_rows()
                raise UserError(f"{self.name} cannot be read as CSV: {error}") from None

    def _refuse_broken_rows(self) -> None:
        n_columns, first_row = len(self.columns), self.layout.first_row
        no_data = {*self.layout.no_data}
        with self.file.open_text() as text:
            above = ([line] for line in islice(text, self.n_lines_above))
            table = csv_records(text, self.delimiter)
            for number, fields in chain(enumerate(above, 1), enumerate(table, first_row)):
                is_data = number >= first_row and number not in no_data
                if any(NOT_IN_ENCODING in field for field in fields):
                    self._refuse_encoding(number, fields, is_data=is_data)
                if len(fields) in {0, n_columns} or not is_data:
                    continue
                advice = (
                    "fill in what is missing, or close a quote left open"
                    if len(fields) < n_columns
                    else f"put quotes around a text that contains {self.delimiter!r}"
                )
                raise UserError(
                    f"{self.name}: row {number} has {len(fields)} fields, but there are "
                    f"{n_columns} columns; {advice}"
                )

    def _refuse_encoding(self, number: int, fields: list[str], *, is_data: bool) -> None:
        column = next(index for index, field in enumerate(fields) if NOT_IN_ENCODING in field)
        name = self.columns[column] if column < len(self.columns) else str(column + 1)
        where = f"column '{name}', row {number}" if is_data else f"row {number}"
        shown = self.file.spelled_encoding
        self.file.refuse_encoding(f"{self.name}: {where} is not {shown} text: '{fields[column]}'")


def _is_lost(cells: pd.Series) -> bool:
    """Say whether the cells' spelling is lost, and was not that of numbers alone.

    It may be of numbers in some parts of the file and texts in others, of texts some of which are
    taken for gaps, or of whole numbers with more digits than a float has.
    """
    if is_float_dtype(cells):
        return bool(cells.abs().max() > LARGEST_EXACT)
    return cells.dtype == object or (is_string_dtype(cells) and bool(cells.isna().any()))


def open_csv(file: TextFile, reading: Reading) -> CsvFile:
    """Find out how a file is to be read; raises `UserError` if there is no table in it."""
    lines, is_whole = _first_lines(file)
    delimiter = find_delimiter(lines) if reading.delimiter == "auto" else MARKS[reading.delimiter]
    n_comments = count_comments(lines, delimiter)
    records = list(islice(csv_records(lines[n_comments:], delimiter), SNIFFED_RECORDS))
    spelling = spelling_of(reading, find_decimal(records[1:], delimiter, reading))
    are_all = is_whole and len(records) < SNIFFED_RECORDS
    last = [] if are_all else list(csv_records(_last_lines(file), delimiter))[1:]

    def count_rows() -> int:
        with file.open_text() as text:
            n_lines = sum(1 for _ in islice(text, n_comments))
            return n_lines + sum(1 for _ in csv_records(text, delimiter))

    layout = find_layout(
        file.name,
        records,
        last,
        count_rows,
        reading=reading,
        spelling=spelling,
        n_comments=n_comments,
    )
    if layout.has_header and not layout.sample and is_whole:
        raise UserError(f"{file.name} has no rows below its header")
    from_first_row = iter(lines[n_comments:])
    above = csv_records(from_first_row, delimiter)
    deque(islice(above, layout.first_row - n_comments - 1), maxlen=0)
    found: dict[str, str | bool] = {
        "delimiter": MARK_NAMES[delimiter],
        "encoding": file.encoding.removesuffix("-sig"),
        "decimal": MARK_NAMES[spelling.decimal],
        "header": layout.has_header,
    }
    packed = "" if file.compression == "none" else f"{file.compression}, "
    comments = f", lines beginning with # left out: {n_comments}" if n_comments else ""
    return CsvFile(
        name=file.name,
        description=f"CSV ({packed}{found['encoding']}), delimiter {found['delimiter']}, "
        f"decimal {found['decimal']}, {layout.description}{comments}",
        resolved=found,
        file=file,
        delimiter=delimiter,
        spelling=spelling,
        n_lines_above=len(lines) - len([*from_first_row]),
        layout=layout,
        columns=layout.columns,
        unnamed=layout.unnamed,
        codes=_codes(layout.columns, layout.sample, spelling),
    )


def _first_lines(file: TextFile) -> tuple[list[str], bool]:
    """Return the first lines of a file, and whether these are all.

    Raises `UserError` if it is empty or no text.
    """
    start = file.beginning()
    if not start.strip():
        raise UserError(f"{file.name} is empty; it must be a table")
    if "\0" in start:
        raise UserError(f"{file.name} is not a table that can be read here; save it as CSV")
    is_whole = len(start) < FIRST_CHARACTERS
    lines = list(io.StringIO(start, newline=""))
    if not is_whole and len(lines) > 1:
        # The last one is cut off.
        lines.pop()
    return lines, is_whole


def _last_lines(file: TextFile) -> list[str]:
    with file.open_text() as text:
        blocks = deque(iter(partial(text.read, FIRST_CHARACTERS), ""), maxlen=2)
    return list(io.StringIO("".join(blocks), newline=""))


def _codes(columns: list[str], records: list[list[str]], spelling: Spelling) -> frozenset[str]:
    gaps = {*spelling.gaps}
    return frozenset(
        name
        for name, column in zip(columns, zip_longest(*records, fillvalue=""), strict=False)
        if are_codes({cell.strip() for cell in column} - gaps)
    )
