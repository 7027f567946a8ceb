"""What is measured on test and left-out rows, of the network and beside the baselines."""

import warnings
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)

from classifier.evaluation.answers import Answers
from classifier.evaluation.bootstrap import bootstrap_intervals, mean_interval, resampled_scores
from classifier.evaluation.evaluated import (
    ClassMetrics,
    Comparison,
    Interval,
    Metrics,
    Scores,
)
from classifier.io.user_error import quoted

EDGES = np.linspace(0, 1, 11)
"""The edges of the bins, as many as Naeini et al. have: see `expected_calibration_error`."""


def measure(
    answers: Answers,
    classes: list[str],
    majority_class: int,
    confidence: float,
    *,
    rows: str = "test",
) -> Metrics:
    """Return all metrics of the network on `rows`; `confidence` is that of the intervals."""
    of_classes = of_each_class(answers)
    scores = score(answers, of_classes)
    absent = [name for index, name in enumerate(classes) if index not in answers.target]
    why = f"no {rows} row is of class {quoted(absent)}"
    undefined = {name: why for name, value in scores if value is None}
    n_test = len(answers.target)
    intervals = bootstrap_intervals(
        resampled_scores(answers), n_test, confidence, cost=len(answers.ranked)
    )
    return Metrics(
        **scores.model_dump(),
        accuracy_interval=wilson_interval(int(answers.is_right.sum()), n_test, confidence),
        **_named({name: one for name, one in intervals.items() if name not in undefined}),
        majority_class_accuracy=(answers.target == majority_class).mean(),
        undefined=undefined,
        n_test=n_test,
        classes=dict(zip(classes, of_classes, strict=True)),
    )


def score(answers: Answers, of_classes: list[ClassMetrics] | None = None) -> Scores:
    """Return what scikit-learn says of a model's answers, those of each class where known."""
    target, probabilities, predicted = answers.target, answers.probabilities, answers.predicted
    labels = range(answers.n_classes)
    has_all = len(np.unique(target)) == answers.n_classes
    of_classes = of_classes or of_each_class(answers)
    ranked = [of_classes[index] for index in answers.ranked]
    with warnings.catch_warnings(action="ignore"):
        # It warns where all rows are of one class.
        correlation = matthews_corrcoef(target, predicted)
    return Scores(
        accuracy=accuracy_score(target, predicted),
        balanced_accuracy=balanced_accuracy_score(target, predicted) if has_all else None,
        macro_f1=f1_score(target, predicted, average="macro"),
        matthews_correlation=correlation,
        log_loss=log_loss(target, probabilities, labels=labels),
        brier_score=brier_score_loss(target, probabilities, labels=labels),
        roc_auc=_mean_of_all([one.roc_auc for one in ranked]),
        average_precision=_mean_of_all([one.average_precision for one in ranked]),
        expected_calibration_error=expected_calibration_error(
            probabilities.max(axis=1), probabilities.argmax(axis=1) == target
        ),
        classwise_calibration_error=fmean(one.calibration_error for one in ranked),
    )


def _mean_of_all(values: list[float | None]) -> float | None:
    return None if None in values else float(np.mean(np.array(values, np.float64)))


def of_each_class(answers: Answers) -> list[ClassMetrics]:
    precision, recall, f1, support = precision_recall_fscore_support(
        answers.target, answers.predicted, labels=range(answers.n_classes), zero_division=0.0
    )
    found = []
    for index, n_test in enumerate(support):
        is_actual = answers.target == index
        score, some, all_ = answers.probabilities[:, index], n_test > 0, n_test == len(is_actual)
        found.append(
            ClassMetrics(
                precision=precision[index] if some or index in answers.predicted else None,
                recall=recall[index] if some else None,
                f1=f1[index] if some else None,
                roc_auc=roc_auc_score(is_actual, score) if some and not all_ else None,
                average_precision=average_precision_score(is_actual, score) if some else None,
                calibration_error=expected_calibration_error(score, is_actual),
                n_test=n_test,
            )
        )
    return found


def compare(network: Answers, baseline: Answers, confidence: float) -> Comparison:
    """Compare two models' answers to the same rows."""
    differences = {
        "accuracy_difference": network.is_right.astype(np.float64) - baseline.is_right,
        "log_loss_difference": network.log_losses() - baseline.log_losses(),
    }
    wins, losses = (int((differences["accuracy_difference"] == one).sum()) for one in (1, -1))
    return Comparison(
        **score(baseline).model_dump(),
        threshold=baseline.decision.threshold,
        **{name: values.mean() for name, values in differences.items()},
        **_named({name: mean_interval(values, confidence) for name, values in differences.items()}),
        accuracy_p_value=binomtest(wins, wins + losses).pvalue if wins + losses else 1.0,
    )


def _named(intervals: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {f"{name}_interval": interval for name, interval in intervals.items()}


def wilson_interval(successes: int, n: int, confidence: float) -> Interval:
    """Return the Wilson score interval for a proportion of `successes` out of `n`.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 209-212.
    """
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(low=low, high=high)


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


def reliability(answers: Answers, classes: list[str], confidence: float) -> pd.DataFrame:
    """Return the bins of reliability diagrams that hold rows, in order.

    A diagram is `of` the predicted class, which hides errors of opposite sign (that one class is
    said too often, and another too seldom); where there is a positive class, a second one is of
    that. The rows of a bin are those of which a probability within it is said. The other columns:
    `confidence`, the mean of these probabilities; `accuracy`, the share of rows of which it is so,
    with the ends `low` and `high` of its Wilson interval, for which the argument `confidence` is;
    and `n_test`, the number of rows.

    DeGroot, M. H. and Fienberg, S. E. (1983), "The comparison and evaluation of forecasters",
    The Statistician 32, 12-22.
    """
    target, probabilities = answers.target, answers.probabilities
    is_right = probabilities.argmax(axis=1) == target
    diagrams = {"predicted class": _bins(probabilities.max(axis=1), is_right)}
    if (positive := answers.decision.positive) is not None:
        name, is_positive = f"class {classes[positive]}", target == positive
        diagrams[name] = _bins(probabilities[:, positive], is_positive)
    bins = pd.concat(diagrams, names=["of"]).reset_index("of")
    intervals = [
        wilson_interval(round(accuracy * n), n, confidence)
        for accuracy, n in zip(bins["accuracy"], bins["n_test"], strict=True)
    ]
    bins["low"] = [interval.low for interval in intervals]
    bins["high"] = [interval.high for interval in intervals]
    return bins[["of", "confidence", "accuracy", "low", "high", "n_test"]].reset_index(drop=True)


def _bins(probability: npt.NDArray[np.float64], is_so: npt.NDArray[np.bool_]) -> pd.DataFrame:
    # A bin holds its upper end, and the first its lower one, too.
    bin_of_row = np.digitize(probability, EDGES[1:-1], right=True)
    groups = pd.DataFrame({"confidence": probability, "accuracy": is_so}).groupby(bin_of_row)
    return groups.mean().assign(n_test=groups.size())
