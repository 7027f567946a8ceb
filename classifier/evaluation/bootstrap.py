"""Bootstrap intervals: how far a number may be from that of endlessly many such rows."""

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from classifier.evaluation.answers import Answers
from classifier.evaluation.evaluated import Interval

RESAMPLES = 2000
"""Efron and Tibshirani (see `bootstrap_intervals`) advise 1000 or more for an interval's ends."""

FEWEST_RESAMPLES, MOST_DRAWS = 200, 4 * 10**7
"""There are fewer resamples where they would take minutes: where there are many rows, an interval
is so narrow that it does not matter if its ends are off by a tenth of its width."""

SEED = 0
"""The resamples are drawn from it: with the same rows, the interval is the same."""

ROWS_AT_ONCE = 2**18
"""Resampled rows held in memory at a time."""

Counts = npt.NDArray[np.float64]
"""How often each row is drawn in each of many resamples, shape (n_resamples, n)."""

Values = npt.NDArray[np.float64]
"""A number for each resample, shape (n_resamples,)."""


def bootstrap_intervals(
    statistics: Callable[[Counts], dict[str, Values]], n: int, confidence: float, cost: int = 1
) -> dict[str, Interval]:
    """Return the percentile bootstrap intervals of statistics of `n` rows, by name.

    The statistics are NaN for a resample that has none, which does not count. One that no resample
    has a value of has no interval, and of 1 row there are none at all. Intervals know only the rows
    there are: where these are few they are too narrow, and where all are right they have no width.

    Efron, B. and Tibshirani, R. J. (1993), "An Introduction to the Bootstrap", chapter 13.

    `confidence` lies between 0 and 1; `cost` is how many times the statistics go through all rows.
    """
    if n < 2:
        return {}
    generator = np.random.default_rng(SEED)
    n_resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_DRAWS // (n * cost)))
    at_once = max(1, ROWS_AT_ONCE // n)
    parts = [
        statistics(count(generator.integers(0, n, (min(at_once, n_resamples - start), n))))
        for start in range(0, n_resamples, at_once)
    ]
    intervals = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        found = values[np.isfinite(values)]
        if len(found):
            low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
            intervals[name] = Interval(low=low, high=high)
    return intervals


def mean_interval(values: npt.NDArray[np.float64], confidence: float) -> Interval | None:
    """Return the bootstrap interval of the mean of values, shape (n,); of 1 row there is none."""
    n = len(values)
    found = bootstrap_intervals(lambda counts: {"mean": counts @ values / n}, n, confidence)
    return found.get("mean")


def count(rows: npt.NDArray[np.int64]) -> Counts:
    """Return how often each row is drawn, shape (n_resamples, n), of row numbers of that shape."""
    n_resamples, n = rows.shape
    cells = rows + n * np.arange(n_resamples)[:, np.newaxis]
    counts = np.bincount(cells.ravel(), minlength=rows.size).reshape(rows.shape)
    return counts.astype(np.float64)


def resampled_scores(answers: Answers) -> Callable[[Counts], dict[str, Values]]:
    """Return what turns the counts of drawn rows into the scores of the resamples.

    Where a resample lacks a class, a mean over the classes is that of the others: counting it as 0
    would blame the model for the draw.
    """
    rows, shape = np.arange(len(answers.target)), answers.probabilities.shape
    # 1 for the class of each row, else 0, shape (n, n_classes).
    actual, predicted = (
        csr_array((np.ones(shape[0]), (rows, of_row)), shape)
        for of_row in (answers.target, answers.predicted)
    )
    right = actual * predicted
    losses = answers.log_losses()
    brier_scores = ((answers.probabilities - actual) ** 2).sum(axis=1)
    if answers.n_classes == 2:
        brier_scores /= 2
    rankings = [
        _ranking(answers.target == index, answers.probabilities[:, index])
        for index in answers.ranked
    ]

    def scores(counts: Counts) -> dict[str, Values]:
        n = counts.sum(axis=1)
        n_actual, n_predicted, n_right = counts @ actual, counts @ predicted, counts @ right
        # Gorodkin's R_K, from how often each class is, is predicted, and is right.
        covariance = n * n_right.sum(axis=1) - (n_actual * n_predicted).sum(axis=1)
        variances = (n**2 - (n_actual**2).sum(axis=1)) * (n**2 - (n_predicted**2).sum(axis=1))
        # A resample may lack what a number, or all that a mean is of: 0 / 0 is NaN.
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            roc_aucs, average_precisions = zip(
                *(ranking(counts) for ranking in rankings), strict=True
            )
            return {
                "balanced_accuracy": np.nanmean(n_right / n_actual, axis=1),
                "macro_f1": np.nanmean(2 * n_right / (n_actual + n_predicted), axis=1),
                # 0 for constant answers, as scikit-learn's.
                "matthews_correlation": np.nan_to_num(covariance / np.sqrt(variances)),
                "log_loss": counts @ losses / n,
                "brier_score": counts @ brier_scores / n,
                "roc_auc": np.nanmean(roc_aucs, axis=0),
                "average_precision": np.nanmean(average_precisions, axis=0),
            }

    return scores


def _ranking(
    is_positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]
) -> Callable[[Counts], tuple[Values, Values]]:
    """Return what computes the ROC AUC and the average precision of resamples, as scikit-learn's.

    They are NaN where a resample lacks what they are of. The first is the probability that a
    positive row has a higher score than a negative one, equal scores counted half: Hanley, J. A.
    and McNeil, B. J. (1982), "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143, 29-36. The second is the mean precision at the
    positive rows: the share of positive ones among a row and those of no lower score.
    """
    # By falling score; rows of equal score are one step.
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))

    def areas(counts: Counts) -> tuple[Values, Values]:
        drawn = counts.take(order, axis=1)
        # Down to each step, from nothing on, shapes (n_resamples, n_steps + 1).
        rows, positive = (
            np.pad(np.cumsum(one, axis=1).take(ends, axis=1), ((0, 0), (1, 0)))
            for one in (drawn, drawn * is_positive[order])
        )
        negative = rows - positive
        # Nothing is drawn yet at the first steps of some resamples.
        precision = (positive / np.maximum(rows, 1))[:, 1:]
        return (
            np.trapezoid(positive, negative) / (positive[:, -1] * negative[:, -1]),
            (precision * np.diff(positive)).sum(axis=1) / positive[:, -1],
        )

    return areas
