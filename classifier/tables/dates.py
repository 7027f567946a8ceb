"""Dates and times: the formats of texts, and the parts of dates that a network sees."""

import re

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from classifier.io.schema import ISO, DatePart

OTHER_FORMATS = (
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%m/%d/%y %H:%M", "%d/%m/%y %H:%M", "%d.%m.%y %H:%M"),
    *("%d-%b-%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p"),
)
"""Formats that skrub does not look for; times of day are those of the first of January 1900."""

DIGITS = ("%m%d%Y", "%d%m%Y")
"""Formats of dates that begin with 0, as far as the day or the month does."""

SECONDS_OF_A_DAY = 86_400


def is_date(column: pd.Series) -> bool:
    """Say whether the cells are dates, with or without a time, of a type of their own."""
    if not isinstance(column.dtype, pd.ArrowDtype):
        return False
    kind = column.dtype.pyarrow_dtype
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def is_time(text_format: str) -> bool:
    """Say whether the format is one of times of day alone."""
    return text_format != ISO and "%d" not in text_format


def find_format(spelled: pd.Series) -> str | None:
    """Return the format that fits all texts, none of them a gap; None if they are no dates."""
    if not spelled.str.contains(r"\d").all():
        return None
    if fits(spelled, ISO).all():
        return ISO
    # It takes a second to import.
    from skrub import ToDatetime  # noqa: PLC0415
    from skrub.core import RejectColumn  # noqa: PLC0415

    try:
        found: str | None = ToDatetime().fit(spelled).format_
    except RejectColumn:
        return next((one for one in OTHER_FORMATS if fits(spelled, one).all()), None)
    return found


def find_format_of_digits(spelled: pd.Series) -> str | None:
    """Return the format that fits all texts, which are digits; None if they are no dates.

    They are if all years are of this century or the last.
    """
    for one in DIGITS:
        if spelled.str.len().eq(8).all() and parsed(spelled, one).dt.year.between(1900, 2099).all():
            return one
    return None


def day_and_month_swapped(spelled: pd.Series, found: str) -> str | None:
    """Return the format with day and month the other way round if that fits all texts as well."""
    if "%d" not in found or "%m" not in found:
        return None
    swapped = {"%d": "%m", "%m": "%d"}
    other = re.sub("%d|%m", lambda directive: swapped[directive[0]], found)
    return other if fits(spelled, other).all() else None


def fits(spelled: pd.Series, text_format: str) -> pd.Series:
    """Say of each text whether it is a date of this format."""
    return parsed(spelled, text_format).notna()


def parsed(spelled: pd.Series, text_format: str) -> pd.Series:
    """Return texts as dates in UTC, NaT for those that are none of this format."""
    return pd.to_datetime(spelled, format=text_format, errors="coerce", utc=True)


def part_of(part: DatePart, raw: npt.NDArray[np.float64], first: float) -> npt.NDArray[np.float64]:
    """Return a part of dates, shape (n,), as pandas has it: Monday is weekday 0; NaN for gaps.

    `raw` are seconds since 1970, shape (n,); so is `first`, the earliest date of the training rows.
    """
    if part == "days since the first":
        return (raw - first) / SECONDS_OF_A_DAY
    stamps = pd.Series(pd.to_datetime(np.floor(raw), unit="s"))
    name = "day_of_week" if part == "weekday" else part
    return np.asarray(getattr(stamps.dt, name), np.float64)
