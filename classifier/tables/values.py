"""What the cells of a column hold: numbers, dates or texts, and which texts are gaps.

`cells` are those of a column as a file has them. The functions take how texts are spelled there,
and `where`, which is what messages call the column; the index of the cells has the row numbers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api import types

from classifier.io.schema import (
    GAPS,
    ISO,
    CategoricalColumn,
    ColumnOfTable,
    DatetimeColumn,
    NumericColumn,
    TextColumn,
    gap_texts,
    plain_number,
    spellings,
)
from classifier.io.user_error import NeedsParameterError, UserError
from classifier.tables.dates import is_date, parsed
from classifier.tables.prepare_params import MARKS, Reading

GAPS_AMONG_NUMBERS = ("-", ".")
"""Further gaps in a column of numbers; elsewhere they may be categories, as + and - are."""

DecimalMark = Literal[".", ","]

BLANKS = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"

UNIT = re.compile(r"%|‰|\$|€|£|¥|₹|₽|₩|₺|₫|₱|₴|₦|฿|¢|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR)\b|\bRs\.?")

OTHER_UNIT = re.compile(r"(?<=[\d.,])\s*([^\s\d.,+-]\D*)$")
"""What stands behind a number, such as kg: before one, as in u12, it rather makes it a code."""

LEADING_ZERO = re.compile(r"0\d")


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
    other = "," if decimal == "." else "."
    thousands = {**MARKS, "none": "", "auto": f"{other}'{BLANKS}", "blank": BLANKS}
    gaps = gap_texts(reading.gaps, reading.not_gaps)
    return Spelling(decimal, thousands[reading.thousands], gaps)


def texts(cells: pd.Series, gaps: Sequence[str]) -> pd.Series:
    """Return a column as texts without blanks around them, NaN for gaps.

    Numbers, true and false, and what holds several values are spelled out.
    """
    kind, spelled_out = cells.dtype, cells
    if isinstance(kind, pd.ArrowDtype) and pa.types.is_nested(kind.pyarrow_dtype):
        spelled_out = pd.Series(pa.array(cells).to_pylist(), cells.index).map(
            str, na_action="ignore"
        )
    # Few of a million texts are different.
    codes, distinct = pd.factorize(spelled_out)
    text = pd.Series(distinct).astype("str").str.strip()
    return text.mask(text.isin(gaps)).reindex(codes).set_axis(cells.index).rename(cells.name)


def category_names(cells: pd.Series, spelling: Spelling) -> pd.Series:
    """Return the name of each cell's category, NaN for gaps.

    It is the text, but the same for all spellings of a number. That of a whole number does not
    depend on how it is spelled; a fraction that is always spelled alike keeps its spelling.
    """
    codes, distinct = pd.factorize(texts(cells, ()))
    text = pd.Series(distinct, dtype="str")
    plain = text.map(lambda one: plain_number(one, spelling.decimal))
    is_fraction = plain.str.contains(".", regex=False) & (spelling.decimal == ".")
    name = plain.where(~is_fraction | plain.duplicated(keep=False), text)
    gap = plain.isin([plain_number(gap, spelling.decimal) for gap in spelling.gaps])
    return name.mask(gap).reindex(codes).set_axis(cells.index).rename(cells.name)


def parse_numbers(
    spelled: pd.Series, spelling: Spelling, unit: str = ""
) -> npt.NDArray[np.float64]:
    """Return the numbers that texts spell, shape (n,), NaN for gaps and for other texts.

    A number between brackets is one below 0, as in accounts.
    """
    if spelling.decimal == "." and not unit:
        found = pd.to_numeric(spelled, errors="coerce")
        # So it is in most columns.
        if found.notna().equals(spelled.notna()):
            return np.asarray(found, np.float64)
    spelled = with_plain_signs(spelled)
    if unit:
        spelled = without_unit(spelled, unit)
    if spelling.thousands:
        is_grouped = spelled.str.fullmatch(spelling.grouped, na=False)
        if is_grouped.any():
            marks = rf"[{re.escape(spelling.thousands)}]"
            spelled = spelled.mask(is_grouped, spelled.str.replace(marks, "", regex=True))
    if spelling.decimal == ",":
        # A point would be one for thousands in the wrong place.
        spelled = spelled.mask(spelled.str.contains(".", regex=False, na=False))
        spelled = spelled.str.replace(",", ".", regex=False)
    return np.asarray(pd.to_numeric(spelled, errors="coerce"), np.float64)


def are_numbers(spelled: pd.Series, spelling: Spelling, unit: str = "") -> npt.NDArray[np.bool_]:
    """Say of each text whether it spells a number, shape (n,)."""
    return ~np.isnan(parse_numbers(spelled, spelling, unit))


def are_codes(spelled: Iterable[str]) -> bool:
    """Say whether texts are digits alone, some of which begin with 0: rather codes than numbers."""
    distinct = {*spelled}
    return all(map(str.isdecimal, distinct)) and any(map(LEADING_ZERO.match, distinct))


def common_unit(spelled: pd.Series, spelling: Spelling) -> str:
    """Return the unit that every text has once, at an end of it; '' if there is none."""
    spelled = with_plain_signs(spelled)
    first = str(spelled.iloc[0])
    if known := UNIT.search(first):
        return "" if without_unit(spelled, known[0]).isna().any() else known[0]
    other = OTHER_UNIT.search(first)
    return other[1] if other and are_numbers(spelled, spelling, other[1]).all() else ""


def with_plain_signs(spelled: pd.Series) -> pd.Series:
    """Return the texts with - for other minus signs, and for brackets at the end."""
    plain = spelled.str.replace("\N{MINUS SIGN}", "-", regex=False)
    return plain.str.replace(r"^([^\d(]*)\((.+)\)$", r"-\1\2", regex=True)


def without_unit(spelled: pd.Series, unit: str) -> pd.Series:
    """Return the texts without their unit, NaN for those that have none at an end."""
    number = rf"([+-]?)\s*(?:{re.escape(unit)}\s*([+-]?[\d.,].*)|([\d.,].*?)\s*{re.escape(unit)})"
    parts = spelled.str.extract(f"^{number}$")
    return parts[0] + parts[1].fillna(parts[2])


def holds_categories(cells: pd.Series) -> bool:
    """Say whether the cells are texts, or numbers or true and false that can be spelled out."""
    return bool(
        is_text(cells) or is_number(cells) or types.is_bool_dtype(cells) or cells.isna().all()
    )


def holds_values(cells: pd.Series) -> bool:
    """Say whether a column holds numbers or texts, or what can be spelled out."""
    return (
        is_number(cells)
        or is_text(cells)
        or types.is_bool_dtype(cells)
        or types.is_datetime64_any_dtype(cells)
    )


def is_number(cells: pd.Series) -> bool:
    return types.is_numeric_dtype(cells) and not types.is_bool_dtype(cells)


def is_text(cells: pd.Series) -> bool:
    return bool(types.is_string_dtype(cells.dtype))


def raw_values(
    column: ColumnOfTable, cells: pd.Series, spelling: Spelling, source: str
) -> npt.NDArray[np.float64] | npt.NDArray[np.object_]:
    """Return what the exported model takes for the cells of a column, shape (n,).

    Raises `UserError` if a cell is not of the column's kind; the message names `source` and the
    row.
    """
    where = f"{source}: column '{column.name}'"
    match column:
        case NumericColumn():
            return numbers(cells, spelling, where, column.unit)
        case DatetimeColumn():
            return seconds(cells, spelling, where, column.format)
        case CategoricalColumn():
            return categories(cells, spelling, where, column)
        case TextColumn():
            return np.asarray(free_texts(cells, spelling, where), object)


def numbers(
    cells: pd.Series, spelling: Spelling, where: str, unit: str = ""
) -> npt.NDArray[np.float64]:
    """Return a column as numbers, shape (n,), NaN for gaps and for what is infinite.

    Each text may have a unit before or behind its number. Raises `UserError` if a cell holds none.
    """
    if is_number(cells) and unit not in {"%", "‰"}:
        # Integers beyond 2**53 are rounded: `suspicious_numbers` tells.
        found = np.asarray(cells.to_numpy(np.float64, na_value=np.nan))
    elif is_text(cells) or cells.isna().all():
        spelled = texts(cells, (*GAPS_AMONG_NUMBERS, *spelling.gaps))
        found = parse_numbers(spelled, spelling, unit)
        wrong = np.isnan(found) & spelled.notna().to_numpy()
        if wrong.any():
            a_number = f"a number with '{unit}'" if unit else "a number"
            raise _wrong_cell(spelled, wrong.argmax(), where, a_number)
    else:
        raise _wrong_type(cells, where, "numbers")
    missing = np.isinf(found) | np.isin(found, spelling.gap_numbers)
    # Not in place: the numbers may be the table's own.
    return np.where(missing, np.nan, found) if missing.any() else found


def seconds(
    cells: pd.Series, spelling: Spelling, where: str, text_format: str
) -> npt.NDArray[np.float64]:
    """Return the seconds since 1970 (UTC, where there is a time zone), shape (n,), NaN for gaps.

    Texts are in the format of `strftime`, or `ISO`. Raises `UserError` if a cell holds no date.
    """
    if is_date(cells):
        stamps = pa.array(cells)
        zone = getattr(stamps.type, "tz", None)
        # A type with finer steps is cut off.
        whole = stamps.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.int64())
        return np.asarray(whole.to_numpy(zero_copy_only=False), np.float64) / 1e6
    if is_text(cells):
        cells = texts(cells, (*GAPS_AMONG_NUMBERS, *spelling.gaps))
    if cells.isna().all():
        return np.full(len(cells), np.nan)
    if isinstance(cells.dtype, pd.ArrowDtype) and not is_text(cells):
        raise _wrong_type(cells, where, "dates")
    # Few of a million dates are different.
    codes, distinct = pd.factorize(cells)
    dates = parsed(pd.Series(distinct).astype("str"), text_format)
    if dates.isna().any():
        position = (codes == dates.isna().to_numpy().argmax()).argmax()
        example = "2024-05-31" if text_format == ISO else text_format
        raise _wrong_cell(cells, position, where, f"a date like {example}")
    found = dates.dt.as_unit("us").astype("int64").to_numpy(np.float64) / 1e6
    return np.where(codes == -1, np.nan, found[codes])


def categories(
    cells: pd.Series, spelling: Spelling, where: str, column: CategoricalColumn
) -> npt.NDArray[np.object_]:
    """Return the texts as they are among the column's categories, shape (n,), empty for gaps."""
    if not holds_categories(cells):
        raise _wrong_type(cells, where, "texts")
    spelled = category_names(cells, spelling)
    known = {text: name for name in column.categories for text in spellings(name)}
    names = {text: known.get(plain_number(text), text) for text in spelled.dropna().unique()}
    spelled = spelled.map(names)
    if column.kind == "boolean":
        lower = spelled.str.lower()
        # Not what else there is: a gap may be a text in capitals.
        spelled = spelled.mask(lower.isin(column.categories), lower)
    return np.asarray(spelled.fillna(""), object)


def free_texts(cells: pd.Series, spelling: Spelling, where: str) -> pd.Series:
    """Return texts without blanks around them, empty for gaps.

    Raises `UserError` if the cells are neither texts nor can be spelled out.
    """
    if not holds_categories(cells):
        raise _wrong_type(cells, where, "texts")
    spelled = texts(cells, spelling.gaps)
    if is_number(cells):
        # With a gap among them, whole numbers are read as fractions.
        spelled = texts(spelled.map(plain_number, na_action="ignore"), spelling.gaps)
    return spelled.fillna("")


def _wrong_type(cells: pd.Series, where: str, what: str) -> UserError:
    return UserError(
        f"{where} holds values of the type {cells.dtype}, but must hold {what}, as in the training "
        "rows"
    )


def _wrong_cell(cells: pd.Series, position: int, where: str, what: str) -> UserError:
    row, cell = cells.index[position], cells.iloc[position]
    return NeedsParameterError(
        f"{where}, row {row} is '{cell}', but must be {what}, as in the training rows",
        "gaps",
        str(cell),
        "correct it, or leave it empty",
    )
