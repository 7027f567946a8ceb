"""What a model says of rows whose classes are known, and how probabilities become a class."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from classifier.io.later_params import MOST_PROBABLE


@dataclass(frozen=True)
class Decision:
    """The most probable class, or by a threshold for the positive one of two."""

    positive: int | None = None
    """The class that a threshold is for; None where there are not two."""
    threshold: float = MOST_PROBABLE

    @property
    def threshold_of_positive(self) -> float | None:
        """None where there is no positive class."""
        return None if self.positive is None else self.threshold

    def classes(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return class indices, shape (n,), of probabilities, shape (n, n_classes)."""
        if self.positive is None or self.threshold == MOST_PROBABLE:
            most_probable: npt.NDArray[np.int64] = probabilities.argmax(axis=1)
            return most_probable
        is_positive = probabilities[:, self.positive] >= self.threshold
        return np.where(is_positive, self.positive, 1 - self.positive)


@dataclass(frozen=True)
class Answers:
    """Of `n` rows."""

    target: npt.NDArray[np.int64]
    """Class indices, shape (n,)."""
    probabilities: npt.NDArray[np.float64]
    """Shape (n, n_classes)."""
    decision: Decision

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Class indices, shape (n,)."""
        return self.decision.classes(self.probabilities)

    @property
    def ranked(self) -> list[int]:
        """The classes each of which is ranked against the rest; of two, the positive one."""
        positive = self.decision.positive
        return list(range(self.n_classes)) if positive is None else [positive]

    @property
    def n_classes(self) -> int:
        n_classes: int = self.probabilities.shape[1]
        return n_classes

    def log_losses(self) -> npt.NDArray[np.float64]:
        """Return each row's part of the log loss, shape (n,)."""
        return log_losses(self.target, self.probabilities)

    def brier_scores(self) -> npt.NDArray[np.float64]:
        """Return each row's part of the Brier score, shape (n,)."""
        errors = self.probabilities - np.eye(self.n_classes)[self.target]
        scores: npt.NDArray[np.float64] = (errors**2).sum(axis=1)
        return scores / 2 if self.n_classes == 2 else scores


def log_losses(
    target: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return each row's part of the log loss, shape (n,), with scikit-learn's lower bound."""
    of_target = probabilities[np.arange(len(target)), target]
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(of_target, np.finfo(np.float64).eps))
    return losses
