"""Whether what the model says is so as often as its probabilities say."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from classifier.evaluation.answers import Answers

EDGES = np.linspace(0, 1, 11)
"""Of the bins; their number is that of Naeini et al., see `expected_calibration_error`."""


def reliability(answers: Answers, classes: list[str], confidence: float) -> pd.DataFrame:
    """Return the bins of reliability diagrams that hold rows, in order.

    A diagram is `of` the predicted class, which hides errors of opposite sign (that one class is
    said too often, and another too seldom); where there is a positive class, a second one is of
    that. The rows of a bin are those of which a probability within it is said. The other columns:
    `confidence`, the mean of these probabilities; `accuracy`, the share of rows of which it is so,
    with the ends `low` and `high` of its Wilson interval; and `n_test`, the number of rows.

    DeGroot, M. H. and Fienberg, S. E. (1983), "The comparison and evaluation of forecasters",
    The Statistician 32, 12-22.

    Parameters
    ----------
    answers
        To the test rows.
    classes
        Their names.
    confidence
        Of the intervals, between 0 and 1.

    """
    target, probabilities = answers.target, answers.probabilities
    is_right = probabilities.argmax(axis=1) == target
    diagrams = {"predicted class": _bins(probabilities.max(axis=1), is_right)}
    if (positive := answers.decision.positive) is not None:
        name, is_positive = f"class {classes[positive]}", target == positive
        diagrams[name] = _bins(probabilities[:, positive], is_positive)
    bins = pd.concat(diagrams, names=["of"]).reset_index("of")
    bins[["low", "high"]] = [
        wilson_interval(round(accuracy * n), n, confidence)
        for accuracy, n in zip(bins["accuracy"], bins["n_test"], strict=True)
    ]
    return bins[["of", "confidence", "accuracy", "low", "high", "n_test"]].reset_index(drop=True)


def _bins(probability: npt.NDArray[np.float64], is_so: npt.NDArray[np.bool_]) -> pd.DataFrame:
    # A bin holds its upper end, and the first its lower one, too.
    bin_of_row = np.digitize(probability, EDGES[1:-1], right=True)
    groups = pd.DataFrame({"confidence": probability, "accuracy": is_so}).groupby(bin_of_row)
    return groups.mean().assign(n_test=groups.size())


def wilson_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the Wilson score interval for a proportion of `successes` out of `n`.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 209-212.
    """
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def expected_calibration_error(
    probability: npt.NDArray[np.float64], is_so: npt.NDArray[np.bool_]
) -> float:
    """Return the mean distance of a probability from how often it is so, over bins of rows.

    The arguments have shapes (n,). 0 is perfect. On few rows it is above 0 by chance alone:
    compare the diagram's intervals.

    Naeini, M. P., Cooper, G. F. and Hauskrecht, M. (2015), "Obtaining well calibrated
    probabilities using Bayesian binning", AAAI 29; for the predicted class of many, Guo, C. et
    al. (2017), "On calibration of modern neural networks", ICML 34; for each of them, Kull, M. et
    al. (2019), "Beyond temperature scaling", NeurIPS 32.
    """
    bins = _bins(probability, is_so)
    distances = (bins["accuracy"] - bins["confidence"]).abs()
    return float(np.average(distances, weights=bins["n_test"]))
