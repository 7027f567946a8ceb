"""The metrics of many resamples of the rows at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from classifier.evaluation.answers import Answers
from classifier.evaluation.bootstrap import Counts
from classifier.evaluation.ranking import Ranking, quotient

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
