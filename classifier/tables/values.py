"""What the cells of a column hold: numbers, or texts, and which texts are gaps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from classifier.io.schema import (
    GAPS,
    CategoricalColumn,
    ColumnOfTable,
    DatetimeColumn,
    NumericColumn,
    gap_texts,
    plain_number,
    spellings,
)
from classifier.io.user_error import NeedsParameterError, UserError
from classifier.tables.dates import seconds
from classifier.tables.prepare_params import MARKS, Reading, Thousands

GAPS_AMONG_NUMBERS = ("-", ".")
"""Further gaps in a column of numbers; elsewhere they may be categories, as + and - are."""

DecimalMark = Literal[".", ","]

BLANKS = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"

UNIT = re.compile(r"%|‰|\$|€|£|¥|₹|₽|₩|₺|₫|₱|₴|₦|฿|¢")


@dataclass(frozen=True)
class Spelling:
    """How texts spell numbers, and what is missing."""

    decimal: DecimalMark = "."
    thousands: str = ""
    """Any of these marks may part a number into groups of three digits."""
    gaps: tuple[str, ...] = GAPS
    """Texts, and numbers as texts, that stand for a missing value."""

    @cached_property
    def gap_numbers(self) -> npt.NDArray[np.float64]:
        found = parse_numbers(pd.Series(self.gaps, dtype="str"), self)
        return found[~np.isnan(found)]

    @cached_property
    def grouped(self) -> str:
        """What a number that is parted into groups looks like, as a regular expression."""
        marks = f"[{re.escape(self.thousands)}]"
        decimal = re.escape(self.decimal)
        return rf"[+-]?\d{{1,3}}(?P<mark>{marks})\d{{3}}(?:(?P=mark)\d{{3}})*(?:{decimal}\d+)?"


def spelling_of(reading: Reading, decimal: DecimalMark = ".") -> Spelling:
    """Return how the texts of a file are spelled that has this decimal mark."""
    marks = thousands_marks(reading.thousands, decimal)
    return Spelling(decimal, marks, gap_texts(reading.gaps, reading.not_gaps))


def thousands_marks(thousands: Thousands, decimal: DecimalMark) -> str:
    """Return the marks that may part a number into groups of three digits."""
    match thousands:
        case "none":
            return ""
        case "auto":
            return f"{',' if decimal == '.' else '.'}'{BLANKS}"
        case "blank":
            return BLANKS
        case _:
            return MARKS[thousands]


def texts(column: pd.Series, gaps: Sequence[str]) -> pd.Series:
    """Return the column as texts without blanks around them, NaN for gaps.

    Numbers, and true and false, are spelled out.
    """
    # Few of a million texts are different.
    codes, distinct = pd.factorize(column)
    text = pd.Series(distinct).astype("str").str.strip()
    return text.mask(text.isin(gaps)).reindex(codes).set_axis(column.index).rename(column.name)


def category_names(column: pd.Series, spelling: Spelling) -> pd.Series:
    """Return the name of each cell's category, NaN for gaps.

    It is the text, but the same for all spellings of a number. That of a whole number does not
    depend on how it is spelled; a fraction that is always spelled alike keeps its spelling.
    """
    codes, distinct = pd.factorize(texts(column, ()))
    text = pd.Series(distinct, dtype="str")
    plain = text.map(lambda one: plain_number(one, spelling.decimal))
    is_fraction = plain.str.contains(".", regex=False) & (spelling.decimal == ".")
    name = plain.where(~is_fraction | plain.duplicated(keep=False), text)
    gap = plain.isin([plain_number(gap, spelling.decimal) for gap in spelling.gaps])
    return name.mask(gap).reindex(codes).set_axis(column.index).rename(column.name)


def numbers(
    column: pd.Series, spelling: Spelling, where: str, unit: str = ""
) -> npt.NDArray[np.float64]:
    """Return the column as numbers, shape (n,), NaN for gaps and for what is infinite.

    Parameters
    ----------
    column
        Numbers, or texts; its index has the row numbers that messages name.
    spelling
        Of texts.
    where
        What messages call the column.
    unit
        What each text has before or behind its number.

    Raises
    ------
    UserError
        If a cell holds no number.

    """
    found: npt.NDArray[np.float64]
    if is_number(column) and unit not in {"%", "‰"}:
        # Integers beyond 2**53 are rounded: `suspicious_numbers` tells.
        found = column.to_numpy(np.float64, na_value=np.nan)
    elif is_text(column) or column.isna().all():
        spelled = texts(column, (*GAPS_AMONG_NUMBERS, *spelling.gaps))
        found = parse_numbers(spelled, spelling, unit)
        wrong = np.isnan(found) & spelled.notna().to_numpy()
        if wrong.any():
            row = column.index[wrong.argmax()]
            with_unit = f" with '{unit}'" if unit else ""
            raise NeedsParameterError(
                f"{where}, row {row} is '{spelled[row]}', but must be a number{with_unit}, as in "
                "the training rows",
                "gaps",
                str(spelled[row]),
                "correct it, or leave it empty",
            )
    else:
        raise UserError(
            f"{where} holds values of the type {column.dtype}, but must hold numbers, as in the "
            "training rows"
        )
    missing = np.isinf(found) | np.isin(found, spelling.gap_numbers)
    # Not in place: the numbers may be the table's own.
    return np.where(missing, np.nan, found) if missing.any() else found


def parse_numbers(
    spelled: pd.Series, spelling: Spelling, unit: str = ""
) -> npt.NDArray[np.float64]:
    """Return the numbers that texts spell, shape (n,), NaN for gaps and for other texts."""
    if unit:
        spelled = without_unit(spelled, unit)
    if spelling.thousands:
        is_grouped = spelled.str.fullmatch(spelling.grouped).eq(True)  # noqa: FBT003 (NaN is none)
        if is_grouped.any():
            marks = rf"[{re.escape(spelling.thousands)}]"
            plain = spelled[is_grouped].str.replace(marks, "", regex=True)
            spelled = spelled.mask(is_grouped, plain)
    if spelling.decimal == ",":
        # A point would be one for thousands in the wrong place.
        spelled = spelled.mask(spelled.str.contains(".", regex=False).eq(True))  # noqa: FBT003
        spelled = spelled.str.replace(",", ".", regex=False)
    parsed: npt.NDArray[np.float64] = pd.to_numeric(spelled, errors="coerce").to_numpy(np.float64)
    return parsed


def common_unit(spelled: pd.Series) -> str:
    """Return the unit that every text has once, at an end of it; '' if there is none."""
    first = UNIT.search(str(spelled.iloc[0]))
    if first is None or without_unit(spelled, first[0]).isna().any():
        return ""
    return first[0]


def without_unit(spelled: pd.Series, unit: str) -> pd.Series:
    """Return the texts without their unit, NaN for those that have none at an end."""
    number = rf"([+-]?)\s*(?:{re.escape(unit)}\s*([+-]?[\d.,].*)|([\d.,].*?)\s*{re.escape(unit)})"
    parts = spelled.str.extract(f"^{number}$")
    sign, behind, before = (parts[index] for index in range(3))
    return sign + behind.fillna(before)


def holds_categories(column: pd.Series) -> bool:
    """Say whether the cells are texts, or numbers or true and false that can be spelled out."""
    return bool(
        is_text(column)
        or types.is_numeric_dtype(column)
        or types.is_bool_dtype(column)
        or column.isna().all()
    )


def holds_values(column: pd.Series) -> bool:
    """Say whether a column holds numbers or texts, or what can be spelled out."""
    return (
        is_number(column)
        or is_text(column)
        or types.is_bool_dtype(column)
        or types.is_datetime64_any_dtype(column)
    )


def is_number(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def is_text(column: pd.Series) -> bool:
    """Say whether the cells hold texts, be it as categories."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        kind = kind.categories.dtype
    return bool(types.is_string_dtype(kind))


def raw_values(
    column: ColumnOfTable, cells: pd.Series, spelling: Spelling, source: str
) -> npt.NDArray[np.float64] | npt.NDArray[np.object_]:
    """Return what the exported model takes for the cells of a column, shape (n,).

    Raises
    ------
    UserError
        If a cell is not of the column's kind; the message names `source` and the row.

    """
    where = f"{source}: column '{column.name}'"
    match column:
        case NumericColumn():
            return numbers(cells, spelling, where, column.unit)
        case DatetimeColumn():
            return seconds(date_cells(cells, spelling), column.format, where)
        case CategoricalColumn():
            return categories(column, cells, spelling, where)


def date_cells(cells: pd.Series, spelling: Spelling) -> pd.Series:
    """Return the cells of a column of dates, with NaN for the texts that are gaps."""
    if is_text(cells):
        return texts(cells, (*GAPS_AMONG_NUMBERS, *spelling.gaps))
    return cells


def categories(
    column: CategoricalColumn, cells: pd.Series, spelling: Spelling, where: str
) -> npt.NDArray[np.object_]:
    """Return the texts as they are among the column's categories, shape (n,), empty for gaps."""
    if not holds_categories(cells):
        raise UserError(
            f"{where} holds values of the type {cells.dtype}, but must hold texts, as in the "
            "training rows"
        )
    spelled = category_names(cells, spelling)
    known = {text: name for name in column.categories for text in spellings(name)}
    names = {text: known.get(plain_number(text), text) for text in spelled.dropna().unique()}
    spelled = spelled.map(names)
    if column.kind == "boolean":
        lower = spelled.str.lower()
        # Not what else there is: a gap may be a text in capitals.
        spelled = spelled.mask(lower.isin(column.categories), lower)
    found: npt.NDArray[np.object_] = spelled.fillna("").to_numpy(object)
    return found
