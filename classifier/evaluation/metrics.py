"""What is measured on the test rows, of the network and beside the baselines."""

import warnings
from statistics import fmean

import numpy as np
import numpy.typing as npt
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
from classifier.evaluation.bootstrap import bootstrap_intervals
from classifier.evaluation.calibration import (
    expected_calibration_error,
    wilson_interval,
)
from classifier.evaluation.evaluated import ClassMetrics, Comparison, Interval, Metrics, Scores
from classifier.evaluation.resampled import resampled_scores


def measure(
    answers: Answers, classes: list[str], majority_class: int, confidence: float
) -> Metrics:
    """Return all metrics of the network; `confidence` is that of the intervals."""
    of_classes = of_each_class(answers)
    scores = _score(answers, of_classes)
    undefined = why_undefined(scores, answers.target, classes)
    n_test = len(answers.target)
    n_right = int((answers.predicted == answers.target).sum())
    low, high = wilson_interval(n_right, n_test, confidence)
    found = bootstrap_intervals(
        resampled_scores(answers), n_test, confidence, cost=len(answers.ranked)
    )
    intervals = {f"{name}_interval": one for name, one in found.items() if name not in undefined}
    return Metrics.model_validate(
        {
            **scores.model_dump(),
            "accuracy_interval": Interval(low=low, high=high),
            **intervals,
            "majority_class_accuracy": float((answers.target == majority_class).mean()),
            "undefined": undefined,
            "n_test": n_test,
            "classes": dict(zip(classes, of_classes, strict=True)),
        }
    )


def score(answers: Answers) -> Scores:
    """Return what scikit-learn says of a model's answers."""
    return _score(answers, of_each_class(answers))


def _score(answers: Answers, of_classes: list[ClassMetrics]) -> Scores:
    target, probabilities, predicted = answers.target, answers.probabilities, answers.predicted
    labels = range(answers.n_classes)
    has_all = len(np.unique(target)) == answers.n_classes
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
        roc_auc=_mean_of_all([of_classes[index].roc_auc for index in answers.ranked]),
        average_precision=_mean_of_all(
            [of_classes[index].average_precision for index in answers.ranked]
        ),
        expected_calibration_error=expected_calibration_error(
            probabilities.max(axis=1), probabilities.argmax(axis=1) == target
        ),
        classwise_calibration_error=fmean(
            of_classes[index].calibration_error for index in answers.ranked
        ),
    )


def _mean_of_all(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if len(found) == len(values) else None


def why_undefined(
    scores: Scores, target: npt.NDArray[np.int64], classes: list[str]
) -> dict[str, str]:
    """Return the names of the metrics that the test rows say nothing of, each with the reason."""
    absent = [name for index, name in enumerate(classes) if not (target == index).any()]
    names = ", ".join(f"'{name}'" for name in absent)
    reason = f"no test row is of class {names}"
    found = ("balanced_accuracy", "roc_auc", "average_precision")
    return {name: reason for name in found if getattr(scores, name) is None}


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
        "accuracy_difference": (network.predicted == network.target).astype(np.float64)
        - (baseline.predicted == baseline.target),
        "log_loss_difference": network.log_losses() - baseline.log_losses(),
    }
    n = len(network.target)
    one_is_right = differences["accuracy_difference"][differences["accuracy_difference"] != 0]
    intervals = bootstrap_intervals(
        lambda counts: {name: counts @ values / n for name, values in differences.items()},
        n,
        confidence,
    )
    return Comparison.model_validate(
        {
            **score(baseline).model_dump(),
            "threshold": baseline.decision.threshold_of_positive,
            **{name: values.mean() for name, values in differences.items()},
            "accuracy_difference_interval": None,
            "accuracy_p_value": binomtest(int((one_is_right > 0).sum()), len(one_is_right)).pvalue
            if len(one_is_right)
            else 1.0,
            "log_loss_difference_interval": None,
            **{f"{name}_interval": interval for name, interval in intervals.items()},
        }
    )
