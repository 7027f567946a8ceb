"""Bootstrap intervals: how far a number may be from that of endlessly many such rows."""

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import DegenerateDataWarning, bootstrap

from classifier.evaluation.evaluated import Interval

RESAMPLES = 2000
"""Efron and Tibshirani (see `bootstrap_intervals`) advise 1000 or more for an interval's ends."""

FEWEST_RESAMPLES, MOST_DRAWS = 200, 4 * 10**7
"""There are fewer resamples where they would take minutes: where there are many rows, an interval
is so narrow that it does not matter if its ends are off by a tenth of its width."""

SEED = 0
"""Of the resamples: with the same rows, the same interval."""

ROWS_AT_ONCE = 2**18
"""Resampled rows held in memory at a time."""

Counts = npt.NDArray[np.float64]
"""How often each row is drawn in each of many resamples, shape (n_resamples, n)."""


def bootstrap_intervals(
    statistics: Callable[[Counts], dict[str, npt.NDArray[np.float64]]],
    n: int,
    confidence: float,
    cost: int = 1,
) -> dict[str, Interval]:
    """Return the percentile bootstrap intervals of statistics of `n` rows, by name.

    One that no resample has a value of has none.

    They know only the rows there are: where these are few they are too narrow, and where all of
    them are right they have no width.

    Efron, B. and Tibshirani, R. J. (1993), "An Introduction to the Bootstrap", chapter 13.

    Parameters
    ----------
    statistics
        From how often each row is drawn, their values, each of shape (n_resamples,); NaN where a
        resample has none, which does not count.
    n
        Of 1 row there are no intervals.
    confidence
        Between 0 and 1.
    cost
        How many times the statistics go through all rows.

    """
    if n < 2:
        return {}
    names: list[str] = []

    def values(rows: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.float64]:
        found = statistics(count(np.moveaxis(rows, axis, -1).reshape(-1, n)))
        names[:] = found
        return np.stack(list(found.values()))

    with warnings.catch_warnings(action="ignore", category=DegenerateDataWarning):
        result = bootstrap(
            (np.arange(n),),
            values,
            n_resamples=min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_DRAWS // (n * cost))),
            batch=max(1, ROWS_AT_ONCE // n),
            vectorized=True,
            confidence_level=confidence,
            method="percentile",
            rng=np.random.default_rng(SEED),
        )
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    intervals = {}
    for name, of_name in zip(names, result.bootstrap_distribution, strict=True):
        found = of_name[np.isfinite(of_name)]
        if len(found):
            low, high = np.quantile(found, levels)
            intervals[name] = Interval(low=low, high=high)
    return intervals


def mean_interval(values: npt.NDArray[np.float64], confidence: float) -> Interval:
    """Return the bootstrap interval of the mean of values, shape (n,), of at least 2 rows."""
    n = len(values)
    return bootstrap_intervals(lambda counts: {"mean": counts @ values / n}, n, confidence)["mean"]


def count(rows: npt.NDArray[np.int64]) -> Counts:
    """Return how often each row is drawn, shape (n_resamples, n), of row numbers of that shape."""
    n_resamples, n = rows.shape
    cells = rows + n * np.arange(n_resamples)[:, np.newaxis]
    counts = np.bincount(cells.ravel(), minlength=rows.size).reshape(rows.shape)
    return counts.astype(np.float64)
