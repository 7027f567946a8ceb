"""How probabilities become a class."""

from dataclasses import dataclass

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
