"""What kind of column it is: numbers, dates, true and false, or texts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.io.schema import ISO
from classifier.io.user_error import NeedsParameterError
from classifier.io.yaml_text import in_quotes
from classifier.tables.dates import (
    day_and_month_swapped,
    find_format,
    find_format_of_digits,
    fits,
    is_date,
)
from classifier.tables.prepare_params import DayFirst
from classifier.tables.table_file import TableFile
from classifier.tables.values import (
    GAPS_AMONG_NUMBERS,
    UNIT,
    Spelling,
    are_codes,
    are_numbers,
    common_unit,
    holds_categories,
    is_number,
    texts,
)

MANY_NUMBERS = 10
"""Where there are more different numbers, a few texts among them are rather gaps than codes."""

FEW_TEXTS = 3


@dataclass(frozen=True)
class Numbers:
    unit: str = ""
    """What each text has before or behind its number."""
    begin_with_zero: bool = False
    """Whether texts of digits alone begin with 0: rather codes than numbers."""


@dataclass(frozen=True)
class Dates:
    format: str
    either_way: bool
    """Whether day and month could be the other way round."""


Texts = Literal["text", "boolean"]


def kind_of(
    cells: pd.Series, file: TableFile, day_first: DayFirst, *, is_categorical: bool = False
) -> Numbers | Dates | Texts | None:
    """Return the kind of a column, given the cells of its training rows; None if all are gaps.

    Raises `UserError` if it is of no kind that a network can learn from, or of two.
    """
    if is_number(cells) and not is_categorical:
        return Numbers()
    if cells.isna().all():
        return None
    if is_categorical and holds_categories(cells):
        return "text"
    if is_date(cells):
        return Dates(ISO, either_way=False)
    where = file.where(cells)
    if not holds_categories(cells):
        problem = f"{where} holds values of the type {cells.dtype}"
        raise NeedsParameterError(problem, "ignore", str(cells.name), "turn them into numbers")
    return _kind_of_texts(
        texts(cells, file.spelling.gaps).dropna(), file.spelling, day_first, where
    )


def _kind_of_texts(
    cells: pd.Series, spelling: Spelling, day_first: DayFirst, where: str
) -> Numbers | Dates | Texts | None:
    """Return the kind of a column, given its texts without gaps."""
    spelled = cells.drop_duplicates()
    if spelled.empty:
        return None
    if set(spelled.str.lower()) <= {"true", "false"}:
        return "boolean"
    spelled = spelled[~spelled.isin(GAPS_AMONG_NUMBERS)]
    if spelled.empty:
        return "text"
    unit = common_unit(spelled, spelling)
    is_numeric = are_numbers(spelled, spelling, unit)
    if is_numeric.all():
        begin_with_zero = are_codes(spelled)
        found = find_format_of_digits(spelled) if begin_with_zero else None
        if found is None:
            return Numbers(unit, begin_with_zero)
    else:
        found = find_format(spelled)
    if found is not None:
        return _dates(spelled, found, day_first)
    _refuse_dates_and_texts(cells, spelled, where)
    _refuse_several_forms(cells, spelled, spelling, where)
    _refuse_numbers_and_texts(cells, spelled, is_numeric, where)
    return "text"


def _dates(spelled: pd.Series, found: str, day_first: DayFirst) -> Dates:
    """Return a format that fits all texts, given one in which day and month may be swapped."""
    other = day_and_month_swapped(spelled, found)
    if other is None:
        return Dates(found, either_way=False)
    # With points, they are German dates, or those of a neighbour.
    wanted = "." in found if day_first == "auto" else day_first
    is_day_first = found.index("%d") < found.index("%m")
    return Dates(found if is_day_first == wanted else other, either_way=day_first == "auto")


def _refuse_dates_and_texts(cells: pd.Series, spelled: pd.Series, where: str) -> None:
    """Refuse a column of dates with a few other texts among them."""
    forms = spelled.str.replace(r"\d+", "0", regex=True).str.replace(r"[^\W\d]+", "a", regex=True)
    are_alike = forms == forms.mode()[0]
    if are_alike.sum() <= max(MANY_NUMBERS, len(spelled) / 2):
        return
    found = find_format(spelled[are_alike])
    strays = spelled[~fits(spelled, found)] if found else spelled
    if len(strays) <= FEW_TEXTS:
        problem, stray = _but_for_one("dates", cells, strays, where)
        raise NeedsParameterError(problem, "gaps", stray, "correct it")


def _refuse_several_forms(
    cells: pd.Series, spelled: pd.Series, spelling: Spelling, where: str
) -> None:
    """Refuse a column of numbers some of which have another unit, or none."""
    if not are_numbers(spelled.str.replace(UNIT, "", regex=True), spelling).all():
        return
    units = spelled.str.findall(UNIT).str.join("")
    if units.ne(units.iloc[0]).any():
        one, other = spelled.groupby(units).first().iloc[:2]
        problem = f"{where} holds numbers of several forms, such as '{one}' and '{other}'"
        otherwise = "give all of them the same form"
        raise NeedsParameterError(problem, "ignore", str(cells.name), otherwise)


def _refuse_numbers_and_texts(
    cells: pd.Series, spelled: pd.Series, is_numeric: npt.NDArray[np.bool_], where: str
) -> None:
    """Refuse a column most of whose texts are numbers."""
    strays = spelled[~is_numeric]
    if cells.isin(strays).mean() > 0.5 or len(strays) > len(spelled) / 2:
        return
    problem, stray = _but_for_one("numbers", cells, strays, where)
    if is_numeric.sum() > MANY_NUMBERS and len(strays) <= FEW_TEXTS:
        category = f"add {in_quotes(cells.name)} to prepare.categorical if its numbers are codes"
        raise NeedsParameterError(problem, "gaps", stray, f"correct it; {category}")
    gap = f"add {in_quotes(stray)} to prepare.gaps if it stands for a missing value"
    raise NeedsParameterError(problem, "categorical", str(cells.name), f"correct it; {gap}")


def _but_for_one(what: str, cells: pd.Series, strays: pd.Series, where: str) -> tuple[str, str]:
    """Return the first row's problem whose text is among the strays, and that text."""
    row = cells.isin(strays).idxmax()
    return f"{where} holds {what}, but row {row} is '{cells[row]}'", str(cells[row])
