"""The metrics of many resamples of the rows at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from classifier.evaluation.answers import Answers
from classifier.evaluation.bootstrap import Counts


@dataclass(frozen=True)
class Ranking:
    """Rows by falling score; those of equal score are one step."""

    order: npt.NDArray[np.int64]
    """Of the rows, shape (n,)."""
    is_positive: npt.NDArray[np.bool_]
    """In that order, shape (n,)."""
    ends: npt.NDArray[np.int64]
    """Where in it each step ends, shape (n_steps,)."""

    @classmethod
    def of(cls, is_positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> "Ranking":
        order = np.argsort(-score, kind="stable")
        is_end = np.diff(score[order], append=-np.inf) != 0
        return cls(order, is_positive[order], np.flatnonzero(is_end))

    def resampled(self, counts: Counts) -> "ResampledRanking":
        """Return what is above each step in each resample."""
        drawn = counts.take(self.order, axis=1)
        above, positive = np.cumsum(drawn, axis=1), np.cumsum(drawn * self.is_positive, axis=1)
        return ResampledRanking(above.take(self.ends, axis=1), positive.take(self.ends, axis=1))


@dataclass(frozen=True)
class ResampledRanking:
    """How many rows are drawn down to each step, shapes (n_resamples, n_steps)."""

    rows: Counts
    positive: Counts

    def roc_auc(self) -> npt.NDArray[np.float64]:
        """Return the area under the ROC curve, shape (n_resamples,).

        It is the probability that a positive row has a higher score than a negative one, equal
        scores counted half; NaN where a resample lacks either. As scikit-learn's `roc_auc_score`;
        Hanley, J. A. and McNeil, B. J. (1982), "The meaning and use of the area under a receiver
        operating characteristic (ROC) curve", Radiology 143, 29-36.
        """
        negative = self.rows - self.positive
        pairs = self.positive[:, -1] * negative[:, -1]
        area = np.trapezoid(_from_nothing(self.positive), _from_nothing(negative), axis=1)
        return quotient(np.asarray(area), pairs)

    def average_precision(self) -> npt.NDArray[np.float64]:
        """Return the mean precision at the positive rows, shape (n_resamples,).

        Precision at a row is the share of positive ones among it and those of no lower score; NaN
        where a resample has no positive row. As scikit-learn's `average_precision_score`.
        """
        # Nothing is drawn yet at the first steps of some resamples.
        precision = self.positive / np.maximum(self.rows, 1)
        new = np.diff(self.positive, axis=1, prepend=0)
        return quotient((precision * new).sum(axis=1), self.positive[:, -1])


def _from_nothing(counts: Counts) -> Counts:
    return np.pad(counts, ((0, 0), (1, 0)))


def quotient(
    dividend: npt.NDArray[np.float64], divisor: npt.NDArray[np.float64] | npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the quotients, NaN where the divisor is 0."""
    return np.divide(dividend, divisor, out=np.full_like(dividend, np.nan), where=divisor > 0)


Values = npt.NDArray[np.float64]
"""Of each resample, shape (n_resamples,)."""


def resampled_scores(answers: Answers) -> Callable[[Counts], dict[str, Values]]:
    """Return what turns the counts of drawn rows into the scores of the resamples.

    Where a resample lacks a class, a mean over the classes is that of the others: counting it as 0
    would blame the model for the draw.
    """
    losses, brier_scores = answers.log_losses(), answers.brier_scores()
    memberships = Memberships.of(answers)
    rankings = [
        Ranking.of(answers.target == index, answers.probabilities[:, index])
        for index in answers.ranked
    ]

    def scores(counts: Counts) -> dict[str, Values]:
        n = counts.sum(axis=1)
        ranked = [ranking.resampled(counts) for ranking in rankings]
        return {
            **memberships.scores(counts),
            "log_loss": counts @ losses / n,
            "brier_score": counts @ brier_scores / n,
            "roc_auc": _mean_of_found([one.roc_auc() for one in ranked]),
            "average_precision": _mean_of_found([one.average_precision() for one in ranked]),
        }

    return scores


@dataclass(frozen=True)
class Memberships:
    """Which class each row is of, is taken for, and is rightly taken for: shapes (n, n_classes)."""

    actual: csr_array
    predicted: csr_array
    right: csr_array

    @classmethod
    def of(cls, answers: Answers) -> "Memberships":
        def members(classes: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]) -> csr_array:
            rows = np.arange(len(classes))
            return csr_array(
                (counted.astype(np.float64), (rows, classes)), (len(classes), answers.n_classes)
            )

        every = np.ones(len(answers.target), np.bool_)
        return cls(
            members(answers.target, every),
            members(answers.predicted, every),
            members(answers.target, answers.predicted == answers.target),
        )

    def scores(self, counts: Counts) -> dict[str, Values]:
        actual, predicted, right = (
            counts @ one for one in (self.actual, self.predicted, self.right)
        )
        n = counts.sum(axis=1)
        # Gorodkin's R_K, from how often each class is, is predicted, and is right.
        covariance = n * right.sum(axis=1) - (actual * predicted).sum(axis=1)
        variances = (n**2 - (actual**2).sum(axis=1)) * (n**2 - (predicted**2).sum(axis=1))
        return {
            "balanced_accuracy": np.nanmean(quotient(right, actual), axis=1),
            "macro_f1": np.nanmean(quotient(2 * right, actual + predicted), axis=1),
            # 0 for constant answers, as scikit-learn's.
            "matthews_correlation": np.nan_to_num(quotient(covariance, np.sqrt(variances))),
        }


def _mean_of_found(values: list[Values]) -> Values:
    table = np.stack(values)
    found = np.isfinite(table)
    return quotient(np.where(found, table, 0).sum(axis=0), found.sum(axis=0))
