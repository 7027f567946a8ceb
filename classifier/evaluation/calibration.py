"""Whether the model is right as often as its probabilities say."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

BINS = 10
"""Of equal width; the number is that of Naeini et al., see `expected_calibration_error`."""


def reliability(
    target: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], confidence: float
) -> pd.DataFrame:
    """Return the bins of a reliability diagram that hold rows, in order.

    The rows of a bin are those whose predicted class has a probability within it. The columns:
    `confidence`, the mean of these probabilities; `accuracy`, with the ends `low` and `high` of
    its Wilson interval; and `n_test`, the number of rows.

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
    rows = pd.DataFrame(
        {
            "confidence": probabilities.max(axis=1),
            "right": probabilities.argmax(axis=1) == target,
        }
    )
    # A bin holds its upper end: a probability of 1 lies in the last.
    edges = np.linspace(0, 1, BINS + 1)
    groups = rows.groupby(pd.cut(rows["confidence"], edges), observed=True)
    bins = groups.agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), n_test=("right", "size")
    ).reset_index(drop=True)
    intervals = [
        wilson_interval(n_right, n, confidence)
        for n_right, n in zip(groups["right"].sum(), bins["n_test"], strict=True)
    ]
    bins.insert(2, "low", [low for low, _ in intervals])
    bins.insert(3, "high", [high for _, high in intervals])
    return bins


def wilson_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the Wilson score interval for a proportion of `successes` out of `n`.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 209-212.
    """
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Return the mean distance of accuracy from confidence, each bin counted by its rows.

    0 is perfect. On few rows it is above 0 by chance alone: compare the diagram's intervals.

    Naeini, M. P., Cooper, G. F. and Hauskrecht, M. (2015), "Obtaining well calibrated
    probabilities using Bayesian binning", AAAI 29; in this form, for the predicted class of many,
    Guo, C. et al. (2017), "On calibration of modern neural networks", ICML 34.
    """
    distances = (bins["accuracy"] - bins["confidence"]).abs()
    return float(np.average(distances, weights=bins["n_test"]))
