"""What a model says of rows whose classes are known, and how probabilities become a class."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from classifier.io.later_params import MOST_PROBABLE, ThresholdRule


@dataclass(frozen=True)
class Decision:
    """The most probable class, or by a threshold for the positive one of two."""

    positive: int | None = None
    """None where there are not two classes."""
    threshold: float | None = None

    def classes(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return class indices, shape (n,), of probabilities, shape (n, n_classes)."""
        if self.positive is None or self.threshold is None or self.threshold == MOST_PROBABLE:
            most_probable: npt.NDArray[np.int64] = probabilities.argmax(axis=1)
            return most_probable
        is_positive = probabilities[:, self.positive] >= self.threshold
        return np.where(is_positive, self.positive, 1 - self.positive)


@dataclass(frozen=True)
class Answers:
    """A model's answers to `n` rows, and what these are."""

    target: npt.NDArray[np.int64]
    """Class indices, shape (n,)."""
    probabilities: npt.NDArray[np.float64]
    """Shape (n, n_classes)."""
    decision: Decision

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Class indices, shape (n,)."""
        return self.decision.classes(self.probabilities)

    @cached_property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Shape (n,)."""
        is_right: npt.NDArray[np.bool_] = self.predicted == self.target
        return is_right

    @property
    def ranked(self) -> list[int]:
        """The classes each of which is ranked against the rest; of two, the positive one."""
        positive = self.decision.positive
        return list(range(self.n_classes)) if positive is None else [positive]

    @property
    def n_classes(self) -> int:
        n_classes: int = self.probabilities.shape[1]
        return n_classes

    @property
    def of_target(self) -> npt.NDArray[np.float64]:
        """The probability of each row's class, shape (n,)."""
        return self.probabilities[np.arange(len(self.target)), self.target]

    def log_losses(self) -> npt.NDArray[np.float64]:
        """Return each row's part of the log loss, shape (n,), with scikit-learn's lower bound."""
        losses: npt.NDArray[np.float64] = -np.log(
            np.maximum(self.of_target, np.finfo(np.float64).eps)
        )
        return losses


def find_positive(
    name: str | None, classes: list[str], n_train: npt.NDArray[np.int64]
) -> int | None:
    """Return the index of the positive class, None where there are not two.

    Where `name` is None, it is the class with fewer training rows, of which there are `n_train`,
    shape (n_classes,); the second if they have as many.
    """
    if len(classes) != 2:
        return None
    if name is not None:
        return classes.index(name)
    return 0 if n_train[0] < n_train[1] else 1


def decide(
    rule: ThresholdRule | float,
    positive: int | None,
    target: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
) -> Decision:
    """Return how a model's probabilities become a class.

    The rule is a threshold for the positive class, which is None where there are not two; or what
    is to be best on left-out rows, of a target and probabilities of shapes (n,) and (n, n_classes).
    """
    if positive is None:
        return Decision()
    if not isinstance(rule, float):
        rule = choose_threshold(rule, target == positive, probabilities[:, positive])
    return Decision(positive, rule)


def choose_threshold(
    rule: ThresholdRule, is_positive: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64]
) -> float:
    """Return a threshold that is best on rows of which it is known whether they are positive.

    It lies in the middle between two probabilities that occur, where there is a number between
    them; of several that are as good, it is the one nearest to 0.5.
    """
    if is_positive.all() or not is_positive.any():
        return MOST_PROBABLE
    found, of_row = np.unique(probability, return_inverse=True)
    # From each probability that occurs on: how many rows are taken for positive, and rightly.
    taken = np.bincount(of_row)[::-1].cumsum()[::-1]
    right = np.bincount(of_row, is_positive)[::-1].cumsum()[::-1]
    n, n_positive = len(is_positive), is_positive.sum()
    if rule == "best_f1":
        values = 2 * right / (taken + n_positive)
    else:
        values = (right / n_positive + 1 - (taken - right) / (n - n_positive)) / 2
    # Below the least, 0 is as far as probabilities go.
    lower = np.array([0, *found[:-1]])
    middles = np.where((found + lower) / 2 > lower, (found + lower) / 2, found)
    best = np.flatnonzero(np.isclose(values, values.max(), rtol=0, atol=1e-12))
    return float(middles[best[np.abs(middles[best] - MOST_PROBABLE).argmin()]])
