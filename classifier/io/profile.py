"""What the training rows are like, in counts alone: profile.json, and a part of the model file.

A column's values are parted into cells, and what is kept of them is how many rows are in each.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import FiniteFloat, NonNegativeInt

from classifier.io.schema import CategoricalColumn, ColumnOfTable, Frozen, Schema, TextColumn

FEWEST = 10
"""A value or a range that fewer training rows have is put together with others, and not told."""

N_CELLS = 10
"""Numbers are parted by these quantiles, and beyond all but the `FEWEST` lowest and highest: more
cells would tell small shifts less well (a chi-square test spreads over them), fewer their place."""

DIGITS = 6
"""Of what parts numbers, where so many are enough to part them."""


class ColumnProfile(Frozen):
    """The cells of a column, and how many training rows are in each."""

    cuts: list[FiniteFloat]
    """What parts numbers, seconds since 1970, or how many characters free texts have, in rising
    order; of categories, there are none.

    Each lies between two values of the training rows, and is none of them, or beyond all.
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
    if isinstance(column, CategoricalColumn):
        found = Counter(raw.tolist())
        is_common = [int(found[name] >= FEWEST) for name in column.categories]
        cells = ColumnProfile(cuts=[], counts=is_common)
    else:
        cells = ColumnProfile(cuts=find_cuts(_known_numbers(column, raw)), counts=[])
    return cells.model_copy(update={"counts": count_cells(column, cells, raw).tolist()})


def count_cells(
    column: ColumnOfTable, profile: ColumnProfile, raw: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return how many rows are in each cell, as in `ColumnProfile.counts`, of raw values (n,)."""
    if isinstance(column, CategoricalColumn):
        found = Counter(raw.tolist())
        common = zip(column.categories, profile.counts, strict=False)
        counts = [found[name] if is_common else 0 for name, is_common in common]
        return np.array([*counts, len(raw) - sum(counts) - found[""], found[""]])
    known = _known_numbers(column, raw)
    cell = np.searchsorted(profile.cuts, known)
    return np.append(np.bincount(cell, minlength=len(profile.cuts) + 1), len(raw) - len(known))


def _known_numbers(column: ColumnOfTable, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if isinstance(column, TextColumn):
        lengths = np.array([len(text) for text in raw], np.float64)
        return lengths[lengths > 0]
    numbers: npt.NDArray[np.float64] = raw[~np.isnan(raw)]
    return numbers


def find_cuts(numbers: npt.NDArray[np.float64]) -> list[float]:
    """Return what parts the training rows' numbers, shape (n,), none of them missing.

    Beyond the first and the last lie about `FEWEST` rows: as many, or fewer where the next value is
    that of many rows. Between two of them lie `FEWEST` or more. Of few numbers, there are none.
    """
    values, counts = np.unique(numbers, return_counts=True)
    if len(numbers) < 3 * FEWEST:
        return []
    low, high = _bound(values, counts), -_bound(-values[::-1], counts[::-1])
    below = counts.cumsum()
    quantiles = np.linspace(0, len(numbers), N_CELLS + 1)[1:-1]
    cuts, n_before, n_in_all = [low], np.sum(numbers <= low), np.sum(numbers <= high)
    for index in np.unique(np.searchsorted(below, quantiles)):
        if min(below[index] - n_before, n_in_all - below[index]) >= FEWEST:
            cuts.append(_between(values[index], values[index + 1]))
            n_before = below[index]
    return [*cuts, high]


def _bound(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """Return what lies above few rows: values in rising order, and how many rows have each."""
    index = int(np.searchsorted(counts.cumsum(), FEWEST))
    if counts[index] < FEWEST:
        return _between(values[index], values[index + 1])
    # Not half of the way to the next value, which may be that of a single row.
    return float(values[index] - 1e-6 * max(1, abs(values[index])))


def _between(low: float, high: float) -> float:
    middle = float(low / 2 + high / 2)
    short = float(f"{middle:.{DIGITS}g}")
    return short if low < short < high else middle
