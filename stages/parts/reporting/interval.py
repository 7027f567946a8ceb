"""How far a number measured on few rows can be trusted."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

RESAMPLES = 2000
"""Efron and Tibshirani (see `bootstrap_interval`) advise 1000 or more for an interval's ends."""

SEED = 0
"""Of the resamples: with the same rows, the same interval."""

ROWS_AT_ONCE = 2**20
"""Resampled rows held in memory at a time."""


class Interval(BaseModel):
    low: float
    high: float


def wilson_interval(successes: int, n: int, confidence: float) -> Interval:
    """Return the Wilson score interval for a proportion of `successes` out of `n`.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 209-212.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    proportion = successes / n
    center = proportion + z**2 / (2 * n)
    half_width = z * math.sqrt(proportion * (1 - proportion) / n + z**2 / (4 * n**2))
    low = (center - half_width) / (1 + z**2 / n)
    high = (center + half_width) / (1 + z**2 / n)
    # Where all or none succeed, an end is 1 or 0, which rounding may miss.
    return Interval(low=max(0.0, min(low, proportion)), high=min(1.0, max(high, proportion)))


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]],
    n: int,
    confidence: float,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic of `n` rows.

    The rows are drawn anew, with replacement, `RESAMPLES` times; the interval holds the middle
    part, `confidence`, of what the statistic then is. It knows only the rows there are: where
    these are few it is too narrow, and where all of them are right it has no width.

    Efron, B. and Tibshirani, R. J. (1993), "An Introduction to the Bootstrap", chapter 13.

    Parameters
    ----------
    statistic
        Maps the row indices of some resamples, shape (n_resamples, n), to its value on each,
        shape (n_resamples,).
    n
        Number of rows.
    confidence
        Between 0 and 1.

    """
    generator = np.random.default_rng(SEED)
    at_once = max(1, ROWS_AT_ONCE // n)
    values = [
        statistic(generator.integers(0, n, (min(at_once, RESAMPLES - done), n)))
        for done in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(np.concatenate(values), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=low, high=high)
