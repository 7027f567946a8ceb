"""How well a class's probability ranks its rows above all others, in many resamples at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
