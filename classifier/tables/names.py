"""Names of columns: in the first row of a table, or not; in parameters; and of the features."""

import difflib
import re
from itertools import zip_longest

import numpy as np
import pandas as pd

from classifier.io.user_error import NeedsParameterError, UserError, quoted
from classifier.tables.prepare_params import PrepareParams, Reading
from classifier.tables.values import Spelling, are_numbers

MOST_NAMES = 20
"""The most names that a message shows."""

UNNAMED = re.compile(r"Unnamed: \d+|__index_level_\d+__")
"""How pandas calls a column without a name, and an index without one."""


def has_names(
    where: str, first: list[str], below: list[list[str]], reading: Reading, spelling: Spelling
) -> bool:
    """Say whether the first row, which messages call `where`, has the names of the columns.

    Raises `NeedsParameterError` if `reading` leaves that to a look, and the row looks like data.
    """
    if reading.header != "auto":
        return reading.header
    if likeness_to_data(first, below, spelling) > 0:
        raise NeedsParameterError(
            f"{where} looks like data, not like the names of columns: {', '.join(first[:5])}",
            "header",
            value=False,
            otherwise="true takes it for names, false calls the columns c1, c2, ...",
        )
    return True


def likeness_to_data(first: list[str], below: list[list[str]], spelling: Spelling) -> int:
    """Return how much the first row is like those below it; less than 0 if it is like names.

    A number on top of numbers speaks for data, and so does a text that occurs below it; a text on
    top of numbers speaks for names. Whole numbers that count up, such as years, may be names.
    """
    is_number = are_numbers(pd.Series(first, dtype="str"), spelling)
    are_whole = len(first) > 2 and all(cell.strip().isdecimal() for cell in first)
    if are_whole and (np.diff([int(cell) for cell in first]) == 1).all():
        return -1
    speaks_for_data = 0
    for cell, number, column in zip(first, is_number, zip_longest(*below), strict=False):
        cells = pd.Series([text for text in column if text is not None], dtype="str").str.strip()
        cells = cells[~cells.isin(spelling.gaps)]
        if cells.empty or cell.strip() in spelling.gaps:
            continue
        if are_numbers(cells, spelling).all():
            speaks_for_data += 1 if number else -1
        elif cells.isin([cell.strip()]).any():
            speaks_for_data += 1
    return speaks_for_data


def names_of(first: list[str], *, has_header: bool = True) -> tuple[list[str], list[str]]:
    """Return the names of the columns, and those of them that the first row has no name for.

    The names have no blanks around them; the second column is c2 if it has none. Where two are
    equal, the second gets .1 behind it, as pandas has it. Without a header, all are called c1, c2,
    ..., and none is without a name.
    """
    names: dict[str, bool] = {}
    for number, cell in enumerate(first, start=1):
        header = cell.strip() if has_header else ""
        name = unique = header or f"c{number}"
        copies = 0
        while unique in names:
            copies += 1
            unique = f"{name}.{copies}"
        names[unique] = has_header and (not header or UNNAMED.fullmatch(header) is not None)
    return list(names), [name for name, is_unnamed in names.items() if is_unnamed]


def check_names(columns: list[str], params: PrepareParams) -> None:
    """Refuse parameters that name a column that there is not, or the target.

    Raises a `UserError` that names the parameter and the columns.
    """
    there = in_quotes(columns)
    if params.target not in columns:
        raise UserError(
            f"{params.data} has no column '{params.target}'{nearest(params.target, columns)}; "
            f"prepare.target must be one of: {there}"
        )
    for key in ("ignore", "features", "categorical", "text", "group", "order_by"):
        value = getattr(params, key) or []
        for name in [value] if isinstance(value, str) else value:
            if name not in columns:
                raise UserError(
                    f"params.yaml: prepare.{key} names '{name}'{nearest(name, columns)}, but the "
                    f"columns of {params.data} are: {there}"
                )
            if name == params.target:
                raise UserError(f"params.yaml: prepare.{key} names '{name}', which is the target")


def choose_features(
    columns: list[str], params: PrepareParams, left_out: dict[str, str]
) -> list[str]:
    """Return the names of the feature columns, in the table's order.

    Raises a `UserError` that says of each column why it is none, if none is left.
    """
    chosen = columns if params.features is None else params.features
    others = {
        **dict.fromkeys(params.ignore, "prepare.ignore names it"),
        **dict.fromkeys({*columns} - {*chosen}, "prepare.features does not name it"),
        **left_out,
        params.group or params.target: "it is prepare.group",
        params.target: "it is prepare.target",
    }
    features = [name for name in columns if name not in others]
    if not features:
        why = "; ".join(by_reason({name: others[name] for name in columns}))
        raise UserError(f"{params.data} has no features left: {why}")
    return features


def by_reason(left_out: dict[str, str]) -> list[str]:
    """Return for each reason the columns that are left out for it, for a message."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return [f"{in_quotes(some)}: {reason}" for reason, some in names.items()]


def in_quotes(names: list[str]) -> str:
    """Return the names for a message, the first of many alone."""
    more = len(names) - MOST_NAMES
    shown = quoted(names[:MOST_NAMES])
    return f"{shown} and {more} more, up to '{names[-1]}'" if more > 0 else shown


def nearest(name: str, names: list[str]) -> str:
    """Return what may have been meant, for a message."""
    by_lower = {one.lower(): one for one in reversed(names)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    meant = " or ".join(f"'{by_lower[one]}'" for one in close)
    return f" (did you mean {meant}?)" if meant else ""
