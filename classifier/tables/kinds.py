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
    common_unit,
    holds_categories,
    is_number,
    parse_numbers,
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


@dataclass(frozen=True)
class KindFinder:
    """Finds out from the training rows of a column what kind of column it is."""

    file: TableFile
    day_first: DayFirst

    def find(
        self, cells: pd.Series, train: npt.NDArray[np.int64], *, is_categorical: bool = False
    ) -> Numbers | Dates | Texts | None:
        """Return the kind of a column, given the positions of the training rows.

        None, if these have gaps alone. Raises `UserError` if it is of no kind that a network can
        learn from, or of two.
        """
        if is_number(cells) and not is_categorical:
            return Numbers()
        known = cells.iloc[train]
        if known.isna().all():
            return None
        if is_categorical and holds_categories(known):
            return "text"
        if is_date(known):
            return Dates(ISO, either_way=False)
        if not holds_categories(known):
            raise NeedsParameterError(
                f"{self.file.where(known)} holds values of the type {known.dtype}",
                "ignore",
                str(known.name),
                "turn them into numbers",
            )
        return self._kind_of_texts(texts(known, self.file.spelling.gaps).dropna())

    def _kind_of_texts(self, cells: pd.Series) -> Numbers | Dates | Texts | None:
        """Return the kind of a column, given its texts without gaps."""
        spelled = cells.drop_duplicates()
        if spelled.empty:
            return None
        if set(spelled.str.lower()) <= {"true", "false"}:
            return "boolean"
        spelled = spelled[~spelled.isin(GAPS_AMONG_NUMBERS)]
        if spelled.empty:
            return "text"
        unit = common_unit(spelled)
        is_numeric = ~np.isnan(parse_numbers(spelled, self.file.spelling, unit))
        if is_numeric.all():
            begin_with_zero = spelled.str.isdecimal().all() and spelled.str.match(r"0\d").any()
            found = find_format_of_digits(spelled) if begin_with_zero else None
            return self._dates(spelled, found) if found else Numbers(unit, bool(begin_with_zero))
        found = find_format(spelled)
        if found is not None:
            return self._dates(spelled, found)
        self._refuse_dates_and_texts(cells, spelled)
        self._refuse_several_forms(cells, spelled)
        self._refuse_numbers_and_texts(cells, spelled, is_numeric)
        return "text"

    def _dates(self, spelled: pd.Series, found: str) -> Dates:
        """Return a format that fits all texts, given one in which day and month may be swapped."""
        other = day_and_month_swapped(spelled, found)
        if other is None:
            return Dates(found, either_way=False)
        # With points, they are German dates, or those of a neighbour.
        day_first = "." in found if self.day_first == "auto" else self.day_first
        is_day_first = found.index("%d") < found.index("%m")
        chosen = found if is_day_first == day_first else other
        return Dates(chosen, either_way=self.day_first == "auto")

    def _refuse_several_forms(self, cells: pd.Series, spelled: pd.Series) -> None:
        """Refuse a column of numbers some of which have another unit, or none."""
        without = spelled.str.replace(UNIT, "", regex=True)
        if not np.isnan(parse_numbers(without, self.file.spelling)).any():
            units = spelled.str.findall(UNIT).str.join("")
            one, other = spelled.groupby(units).first().iloc[:2]
            raise NeedsParameterError(
                f"{self.file.where(cells)} holds numbers of several forms, such as '{one}' and "
                f"'{other}'",
                "ignore",
                str(cells.name),
                "give all of them the same form",
            )

    def _refuse_dates_and_texts(self, cells: pd.Series, spelled: pd.Series) -> None:
        """Refuse a column of dates with a few other texts among them."""
        forms = spelled.str.replace(r"\d+", "0", regex=True).str.replace(
            r"[^\W\d]+", "a", regex=True
        )
        are_alike = forms == forms.mode()[0]
        if are_alike.sum() <= max(MANY_NUMBERS, len(spelled) / 2):
            return
        found = find_format(spelled[are_alike])
        strays = spelled[~fits(spelled, found)] if found else spelled
        if len(strays) <= FEW_TEXTS:
            row = cells.isin(strays).idxmax()
            raise NeedsParameterError(
                f"{self.file.where(cells)} holds dates, but row {row} is '{cells[row]}'",
                "gaps",
                str(cells[row]),
                "correct it",
            )

    def _refuse_numbers_and_texts(
        self, cells: pd.Series, spelled: pd.Series, is_numeric: npt.NDArray[np.bool_]
    ) -> None:
        """Refuse a column most of whose texts are numbers."""
        strays = spelled[~is_numeric]
        is_stray = cells.isin(strays)
        if is_stray.mean() > 0.5 or len(strays) > len(spelled) / 2:
            return
        row = is_stray.idxmax()
        stray = str(cells[row])
        are_gaps = is_numeric.sum() > MANY_NUMBERS and len(strays) <= FEW_TEXTS
        problem = f"{self.file.where(cells)} holds numbers, but row {row} is '{stray}'"
        gap = f"add {in_quotes(stray)} to prepare.gaps if it stands for a missing value"
        category = f"add {in_quotes(cells.name)} to prepare.categorical if its numbers are codes"
        if are_gaps:
            raise NeedsParameterError(f"{problem}; correct it", "gaps", stray, category)
        raise NeedsParameterError(f"{problem}; correct it", "categorical", str(cells.name), gap)
