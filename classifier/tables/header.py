"""The first row of a table: names of columns, or data."""

import re
from itertools import zip_longest

import numpy as np
import pandas as pd

from classifier.io.user_error import NeedsParameterError
from classifier.tables.prepare_params import Reading
from classifier.tables.values import Spelling, parse_numbers

UNNAMED = re.compile(r"Unnamed: \d+|__index_level_\d+__")
"""How pandas calls a column without a name, and an index without one."""


def has_names(
    where: str,
    first: list[str],
    below: list[list[str]],
    reading: Reading,
    spelling: Spelling,
) -> bool:
    """Say whether the first row has the names of the columns.

    Parameters
    ----------
    where
        What messages call the first row.
    first, below
        The cells of that row, and of those below it.
    reading
        Says so, or leaves it to a look at the cells.
    spelling
        Of numbers.

    Raises
    ------
    NeedsParameterError
        If it is not said, and the first row looks like data.

    """
    if reading.header != "auto":
        return reading.header
    if looks_like_data(first, below, spelling):
        raise NeedsParameterError(
            f"{where} looks like data, not like the names of columns: {', '.join(first[:5])}",
            "header",
            value=False,
            otherwise="true takes it for names, false calls the columns c1, c2, ...",
        )
    return True


def looks_like_data(first: list[str], below: list[list[str]], spelling: Spelling) -> bool:
    """Say whether the first row is more like those below it than like names for them.

    A number on top of numbers speaks for data, and so does a text that occurs below it; a text on
    top of numbers speaks for names. Whole numbers that count up, such as years, may be names.
    """
    is_number = ~np.isnan(parse_numbers(pd.Series(first, dtype="str"), spelling))
    if is_number.all() and _count_up(first):
        return False
    speaks_for_data = 0
    for cell, number, column in zip(first, is_number, zip_longest(*below), strict=False):
        cells = pd.Series([text for text in column if text is not None], dtype="str").str.strip()
        cells = cells[~cells.isin(spelling.gaps)]
        if cells.empty or cell.strip() in spelling.gaps:
            continue
        if not np.isnan(parse_numbers(cells, spelling)).any():
            speaks_for_data += 1 if number else -1
        elif cells.isin([cell.strip()]).any():
            speaks_for_data += 1
    return speaks_for_data > 0


def _count_up(cells: list[str]) -> bool:
    if not all(cell.strip().isdecimal() for cell in cells) or len(cells) < 3:
        return False
    return bool((np.diff([int(cell) for cell in cells]) == 1).all())


def names_of(first: list[str], *, has_header: bool) -> tuple[list[str], frozenset[str]]:
    """Return the names of the columns, and those of them that the first row has no name for.

    Without a header, all are called c1, c2, ..., and none is without a name.
    """
    if not has_header:
        return column_names([""] * len(first)), frozenset()
    names = column_names(first)
    return names, without_name(first, names)


def column_names(header: list[str]) -> list[str]:
    """Return a name for each column: without blanks around it, c2 for the second if it has none.

    Where two are equal, the second gets .1 behind it, as pandas has it.
    """
    names: dict[str, None] = {}
    for number, cell in enumerate(header, start=1):
        name = cell.strip() or f"c{number}"
        copies = 0
        unique = name
        while unique in names:
            copies += 1
            unique = f"{name}.{copies}"
        names[unique] = None
    return list(names)


def without_name(header: list[str], names: list[str]) -> frozenset[str]:
    """Return those of the names that stand for an empty cell of the header.

    So does the name that pandas gives to such a column.
    """
    return frozenset(
        name
        for cell, name in zip(header, names, strict=True)
        if not cell.strip() or UNNAMED.fullmatch(cell.strip())
    )
