"""What brings the numbers of a column to one scale: learnt of training rows, done to all."""

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from classifier.io.schema import LARGEST_Z, SQUASHED_TO, Scaler, Scaling

Numbers = npt.NDArray[np.float64]


def fit_scaling(kind: Scaler, train: Numbers) -> Scaling:
    """Return what there is to learn of the training rows' numbers, shape (n,), NaN for gaps.

    `squash` shifts and scales by the quartiles, and bends what is far outside into `SQUASHED_TO`:
    what skrub's `SquashingScaler` does, whose quartiles are taken for equal below 1e-15 and which
    takes a second to import. Holzmüller, Grinsztajn, Steinwart, "Better by Default", NeurIPS 2024,
    https://arxiv.org/abs/2407.04491.
    """
    median = float(np.nanmedian(train))
    column = np.where(np.isnan(train), median, train)[:, np.newaxis]
    match kind:
        case "minmax":
            minmax = MinMaxScaler().fit(column)
            return Scaling(median=median, offset=minmax.min_[0], scale=minmax.scale_[0])
        case "standard":
            standard = StandardScaler().fit(column)
            return Scaling(median=median, offset=standard.mean_[0], scale=standard.scale_[0])
        case "squash":
            low, first, middle, third, high = np.quantile(column, [0, 0.25, 0.5, 0.75, 1])
            # Where half of the values are equal, all of them count; where all are, nothing is far.
            spread = float(third - first or (high - low) / 2 or np.finfo(np.float64).max)
            return Scaling(median=median, offset=middle, scale=spread)
        case "none":
            return Scaling(median=median, offset=0, scale=1)


def scaled(kind: Scaler, scaling: Scaling, raw: Numbers) -> Numbers:
    """Return numbers, shape (n,), on the scale that was learnt, the median in place of gaps."""
    numbers = np.where(np.isnan(raw), scaling.median, raw)
    match kind:
        case "minmax":
            return numbers * scaling.scale + scaling.offset
        case "standard":
            return (numbers - scaling.offset) / scaling.scale
        case "squash":
            # Larger ones would overflow when they are squared.
            z = np.clip((numbers - scaling.offset) / scaling.scale, -LARGEST_Z, LARGEST_Z)
            squashed: Numbers = z / np.sqrt(1 + (z / SQUASHED_TO) ** 2)
            return squashed
        case "none":
            return numbers
