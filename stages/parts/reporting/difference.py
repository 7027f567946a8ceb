"""Whether two ways of training differ by more than chance, judged from repeated splits."""

import math
from statistics import fmean, stdev

from scipy.stats import t as student_t


def judge(differences: list[float], test_to_train: float, confidence: float) -> str:
    """Say in words how large the mean of differences, one for each split, is beside chance."""
    mean = f"differs by {fmean(differences):+.4f}"
    if min(differences) == max(differences):
        return f"{mean} in every split: too few or too coarse to tell from chance"
    low, high = difference_interval(differences, test_to_train, confidence)
    larger = low > 0 or high < 0
    words = "larger than chance would make it" if larger else "no larger than chance makes it"
    return f"{mean}, interval {low:+.4f} to {high:+.4f}: {words}"


def difference_interval(
    differences: list[float], test_to_train: float, confidence: float
) -> tuple[float, float]:
    """Return the corrected resampled t interval for the mean of differences, one for each split.

    Repeated splits of one table have rows in common, so Student's interval for independent
    numbers is far too narrow. This one adds the ratio of test to training rows to 1 / n in the
    variance of the mean: Nadeau, C. and Bengio, Y. (2003), "Inference for the generalization
    error", Machine Learning 52, 239-281.
    """
    n = len(differences)
    standard_error = stdev(differences) * math.sqrt(1 / n + test_to_train)
    half_width = float(student_t.ppf((1 + confidence) / 2, n - 1)) * standard_error
    mean = fmean(differences)
    return mean - half_width, mean + half_width
