"""What brings the numbers of a column to one scale: scikit-learn's scalers, and one like them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from classifier.io.schema import LARGEST_Z, SQUASHED_TO, Scaler


class Squash(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Shift and scale a column by its quartiles, and bend what is far outside into `SQUASHED_TO`.

    What skrub's `SquashingScaler` does, whose quartiles are taken for equal below 1e-15 and which
    takes a second to import. Holzmüller, Grinsztajn, Steinwart, "Better by Default", NeurIPS 2024,
    https://arxiv.org/abs/2407.04491.
    """

    def fit(self, column: npt.NDArray[np.float64], _target: None = None) -> "Squash":
        """Learn from a column, shape (n, 1)."""
        low, first, median, third, high = np.quantile(column, [0, 0.25, 0.5, 0.75, 1])
        self.median_ = float(median)
        # Where half of the values are equal, all of them count; where all are, nothing is far.
        self.spread_ = float(third - first or (high - low) / 2 or np.finfo(np.float64).max)
        return self

    def transform(self, column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # Larger ones would overflow when they are squared.
        z = np.clip((column - self.median_) / self.spread_, -LARGEST_Z, LARGEST_Z)
        squashed: npt.NDArray[np.float64] = z / np.sqrt(1 + (z / SQUASHED_TO) ** 2)
        return squashed


def make_scaler(kind: Scaler) -> Any:  # noqa: ANN401
    """Return a scaler with scikit-learn's interface."""
    match kind:
        case "minmax":
            return MinMaxScaler()
        case "standard":
            return StandardScaler()
        case "squash":
            return Squash()
        case "none":
            return FunctionTransformer()


def offset_and_scale(kind: Scaler, scaler: Any) -> tuple[float, float]:  # noqa: ANN401
    """Return what the scaler has learnt of its one column, as `Scaling` has it."""
    match kind:
        case "minmax":
            return scaler.min_[0], scaler.scale_[0]
        case "standard":
            return scaler.mean_[0], scaler.scale_[0]
        case "squash":
            return scaler.median_, scaler.spread_
        case "none":
            return 0.0, 1.0
