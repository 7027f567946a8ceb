"""What brings the numbers of a column to one scale: learnt of training rows, done to all."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from classifier.io.schema import LARGEST_Z, SQUASHED_TO, Scaler, Scaling
from classifier.io.user_error import NeedsParameterError

Numbers = npt.NDArray[np.float64]

LARGEST = 1e18
"""The largest feature: the squares of larger ones have no place in single precision."""


def scale(
    kind: Scaler, raw: Numbers, train: npt.NDArray[np.int64], cells: pd.Series, where: str
) -> tuple[Scaling, npt.NDArray[np.float32]]:
    """Return what there is to learn of the training rows' numbers, and all rows' feature.

    `raw` are the numbers of a column's cells, NaN for gaps; `train` are the positions of the
    training rows. The feature has shape (n,). Raises `NeedsParameterError`, in which
    the column is called `where`, if a number is too large.
    """
    # What is too large becomes infinite.
    with np.errstate(all="ignore"):
        scaling = fit_scaling(kind, raw[train])
        low, high = np.nanmin(raw[train]), np.nanmax(raw[train])
        if not np.isfinite([high - low, *scaling.model_dump().values()]).all():
            problem = f"{where} reaches from {low:g} to {high:g}, too far to scale"
            raise NeedsParameterError(problem, "ignore", str(cells.name), "correct it")
        feature = scaled(kind, scaling, raw).astype(np.float32)
    largest = np.abs(feature)
    if largest.max() > LARGEST:
        row = cells.index[largest.argmax()]
        problem = f"{where}, row {row} is far too large next to the training rows"
        otherwise = "correct it, or leave it empty"
        raise NeedsParameterError(problem, "ignore", str(cells.name), otherwise)
    return scaling, feature


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
            return np.asarray(z / np.sqrt(1 + (z / SQUASHED_TO) ** 2))
        case "none":
            return numbers
