"""Whether the model is right as often as its probabilities say."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.parts.reporting.interval import wilson_interval

BINS = 10
"""Of equal width; the number is that of Naeini et al., see `expected_calibration_error`."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The rows whose predicted class has a probability within one of the bins."""

    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    low: float
    high: float
    """Wilson interval of the accuracy."""
    n_test: int


def reliability(
    target: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], confidence: float
) -> list[ReliabilityBin]:
    """Return the bins of a reliability diagram that hold rows, in order.

    DeGroot, M. H. and Fienberg, S. E. (1983), "The comparison and evaluation of forecasters",
    The Statistician 32, 12-22.

    Parameters
    ----------
    target
        Class indices, shape (n,).
    probabilities
        Predicted, shape (n, n_classes).
    confidence
        Of the intervals, between 0 and 1.

    """
    highest = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == target
    # A bin holds its upper end: a probability of 1 lies in the last.
    bins = np.clip(np.ceil(highest * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for index in np.unique(bins):
        rows = bins == index
        n_right, n = int(right[rows].sum()), int(rows.sum())
        interval = wilson_interval(n_right, n, confidence)
        found.append(
            ReliabilityBin(float(highest[rows].mean()), n_right / n, interval.low, interval.high, n)
        )
    return found


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """Return the mean distance of accuracy from confidence, each bin counted by its rows.

    0 is perfect. On few rows it is above 0 by chance alone: compare the diagram's intervals.

    Naeini, M. P., Cooper, G. F. and Hauskrecht, M. (2015), "Obtaining well calibrated
    probabilities using Bayesian binning", AAAI 29; in this form, for the predicted class of many,
    Guo, C. et al. (2017), "On calibration of modern neural networks", ICML 34.
    """
    n = sum(some.n_test for some in bins)
    return sum(abs(some.accuracy - some.confidence) * some.n_test for some in bins) / n
