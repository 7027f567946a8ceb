"""What the training rows are like, in counts alone: profile.json, and a part of the model file.

A column's values are parted into cells, and what is kept of them is how many rows are in each.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import FiniteFloat, NonNegativeInt

from classifier.io.schema import (
    CategoricalColumn,
    ColumnOfTable,
    DatetimeColumn,
    Frozen,
    Schema,
    TextColumn,
)

FEWEST = 10
"""A value or a range that fewer training rows have is put together with others, and not told."""

N_CELLS = 10
"""Numbers are parted by these quantiles, and beyond all but the `FEWEST` lowest and highest: more
cells would tell small shifts less well, since each has fewer rows, fewer cells their place."""

DIGITS = 6
"""Of what parts numbers, where so many are enough to part them."""


class ColumnProfile(Frozen):
    """The cells of a column, and how many training rows are in each."""

    cuts: list[FiniteFloat]
    """What parts numbers, or how many characters free texts have, in rising order.

    Each lies between two values of the training rows, and is none of them, or beyond all. Of dates,
    seconds since 1970, there is the last moment before all. Categories have none.
    """
    counts: list[NonNegativeInt]
    """The rows up to each cut, above the last, and in the end the gaps.

    Of categories: of each that the schema has, 0 if fewer than `FEWEST` are of it; of all other
    texts; and gaps.
    """


class Profile(Frozen):
    """The training rows: all that train some network."""

    class_counts: list[NonNegativeInt]
    """How many rows there are of each class, in the order of the schema's classes."""
    columns: list[ColumnProfile]
    """In the order of the schema's columns."""

    def suits(self, schema: Schema) -> bool:
        """Say whether it can be that of a model with this schema."""
        return (
            len(self.class_counts) == len(schema.classes)
            and len(self.columns) == len(schema.columns)
            and all(
                sum(profile.counts) == sum(self.class_counts) > 0
                and len(profile.counts) == len(getattr(column, "categories", profile.cuts)) + 2
                for column, profile in zip(schema.columns, self.columns, strict=True)
            )
        )


def profile_of(column: ColumnOfTable, raw: npt.NDArray[Any]) -> ColumnProfile:
    """Return the profile of what the model takes for the training rows' cells, shape (n,)."""
    match column:
        case CategoricalColumn(categories=categories):
            found = Counter(raw.tolist())
            cuts, is_common = [], [int(found[name] >= FEWEST) for name in categories]
        case DatetimeColumn(first=first):
            cuts, is_common = [float(np.nextafter(first, -np.inf))], [1]
        case _:
            numbers = _numbers(column, raw)
            cuts = find_cuts(numbers[~np.isnan(numbers)])
            is_common = [1] * len(cuts)
    profile = ColumnProfile(cuts=cuts, counts=[*is_common, 0, 0])
    counts = np.bincount(cells_of(column, profile, raw), minlength=len(profile.counts))
    return profile.model_copy(update={"counts": counts.tolist()})


def cells_of(
    column: ColumnOfTable, profile: ColumnProfile, raw: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return the cell that each raw value, (n,) is in: a position in the profile's counts."""
    gaps = len(profile.counts) - 1
    if isinstance(column, CategoricalColumn):
        of_text = {
            name: cell for cell, name in enumerate(column.categories) if profile.counts[cell]
        }
        return np.array([of_text.get(text, gaps - 1 if text else gaps) for text in raw], np.int64)
    numbers = _numbers(column, raw)
    return np.where(np.isnan(numbers), gaps, np.searchsorted(profile.cuts, numbers))


def _numbers(column: ColumnOfTable, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return numbers, or how many characters free texts have, shape (n,), NaN for gaps."""
    is_text = isinstance(column, TextColumn)
    return np.array([len(text) or np.nan for text in raw] if is_text else raw, np.float64)


def find_cuts(numbers: npt.NDArray[np.float64]) -> list[float]:
    """Return what parts the training rows' numbers, shape (n,), none of them missing.

    Beyond the first and the last lie about `FEWEST` rows: as many, or fewer where the next value is
    that of many rows. Between two of them lie `FEWEST` or more. Of few numbers, there are none.
    """
    if len(numbers) < 3 * FEWEST:
        return []
    values, counts = np.unique(numbers, return_counts=True)
    below = counts.cumsum()
    low, high = _bound(values, counts), -_bound(-values[::-1], counts[::-1])
    cuts, n_before, n_in_all = [low], np.sum(numbers <= low), np.sum(numbers <= high)
    quantiles = np.linspace(0, len(numbers), N_CELLS + 1)[1:-1]
    for index in np.unique(np.searchsorted(below, quantiles)):
        if min(below[index] - n_before, n_in_all - below[index]) >= FEWEST:
            cuts.append(_between(*values[index : index + 2]))
            n_before = below[index]
    return [*cuts, high]


def _bound(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """Return what lies above few rows: values in rising order, and how many rows have each."""
    index = int(np.searchsorted(counts.cumsum(), FEWEST))
    if counts[index] < FEWEST:
        return _between(*values[index : index + 2])
    # Not half of the way to the next value, which may be that of a single row.
    return float(values[index] - 1e-6 * max(1, abs(values[index])))


def _between(low: float, high: float) -> float:
    middle = float(low / 2 + high / 2)
    short = float(f"{middle:.{DIGITS}g}")
    return short if low < short < high else middle
