"""What is measured on the test rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from classifier.evaluation.calibration import (
    expected_calibration_error,
    reliability,
    wilson_interval,
)

RESAMPLES = 2000
"""Efron and Tibshirani (see `bootstrap_interval`) advise 1000 or more for an interval's ends."""

SEED = 0
"""Of the resamples: with the same rows, the same interval."""

ROWS_AT_ONCE = 2**20
"""Resampled rows held in memory at a time."""


class Interval(BaseModel):
    low: float
    high: float


class ClassMetrics(BaseModel):
    """Of one class.

    `recall` and `f1` are null where no test row is of the class, and so is `precision` where none
    is taken for it either.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    n_test: int


class Metrics(BaseModel):
    """Of the network alone; log loss is in nats, the others lie between 0 and 1."""

    accuracy: float
    accuracy_interval: Interval
    """Wilson's."""
    majority_class_accuracy: float
    """Of always answering the commonest class of the training rows."""
    log_loss: float
    log_loss_interval: Interval
    """Bootstrap over the test rows."""
    macro_f1: float
    """The mean F1 of the classes that occur among the actual or the predicted ones."""
    macro_f1_interval: Interval
    """Bootstrap over the test rows."""
    expected_calibration_error: float
    n_test: int
    classes: dict[str, ClassMetrics]


def measure(
    target: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    classes: list[str],
    majority_class: int,
    confidence: float,
) -> Metrics:
    """Compare class indices, shape (n,), with predicted probabilities, shape (n, n_classes)."""
    predicted = probabilities.argmax(axis=1)
    n_test, n_classes = len(target), len(classes)
    row_losses = log_losses(target, probabilities)
    precision, recall, f1, support = precision_recall_fscore_support(
        target, predicted, labels=range(n_classes), zero_division=0.0
    )
    low, high = wilson_interval(int((predicted == target).sum()), n_test, confidence)
    return Metrics(
        accuracy=accuracy_score(target, predicted),
        accuracy_interval=Interval(low=low, high=high),
        majority_class_accuracy=float((target == majority_class).mean()),
        log_loss=log_loss(target, probabilities, labels=range(n_classes)),
        log_loss_interval=bootstrap_interval(np.mean, (row_losses,), confidence),
        macro_f1=float(macro_f1(target, predicted)),
        macro_f1_interval=bootstrap_interval(macro_f1, (target, predicted), confidence),
        expected_calibration_error=expected_calibration_error(
            reliability(target, probabilities, confidence)
        ),
        n_test=n_test,
        classes={
            name: ClassMetrics(
                precision=precision[index] if support[index] or index in predicted else None,
                recall=recall[index] if support[index] else None,
                f1=f1[index] if support[index] else None,
                n_test=support[index],
            )
            for index, name in enumerate(classes)
        },
    )


def bootstrap_interval(
    statistic: Callable[..., npt.NDArray[np.float64]],
    data: tuple[npt.NDArray[Any], ...],
    confidence: float,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic of rows.

    It knows only the rows there are: where these are few it is too narrow, and where all of them
    are right it has no width.

    Efron, B. and Tibshirani, R. J. (1993), "An Introduction to the Bootstrap", chapter 13.

    Parameters
    ----------
    statistic
        Of such data along `axis`, which scipy gives as the last one.
    data
        What is known of each row, shapes (n,); at least 2 rows.
    confidence
        Between 0 and 1.

    """
    low, high = bootstrap(
        data,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, ROWS_AT_ONCE // len(data[0])),
        paired=True,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(low=low, high=high)


def log_losses(
    target: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return each row's part of the log loss, shape (n,), with scikit-learn's lower bound."""
    of_target = probabilities[np.arange(len(target)), target]
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(of_target, np.finfo(np.float64).eps))
    return losses


def macro_f1(
    target: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], axis: int = -1
) -> npt.NDArray[np.float64]:
    """Return the macro F1 of one sample or of each of many, shape (n_samples,) or ().

    As scikit-learn's `f1_score(average="macro")`, which takes one sample at a time, it is the
    mean over the classes that occur among the sample's actual or predicted ones: where a resample
    lacks a class, F1 of it is not defined, and counting it as 0 would blame the model for the draw.

    Parameters
    ----------
    target, predicted
        Class indices, shapes (n_samples, n) or (n,).
    axis
        That of the rows: the last.

    """
    n_classes = max(target.max(), predicted.max()) + 1
    n_samples = target.size // target.shape[axis]
    sample = np.arange(n_samples).reshape(*target.shape[:-1], 1) * n_classes

    def count(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        counts = np.bincount(cells.ravel(), minlength=n_samples * n_classes)
        return counts.reshape(*target.shape[:-1], n_classes)

    occurrences = count(sample + target) + count(sample + predicted)
    right = count((sample + target)[target == predicted])
    f1 = 2 * right / np.maximum(occurrences, 1)
    means: npt.NDArray[np.float64] = f1.sum(axis=-1) / (occurrences > 0).sum(axis=-1)
    return means


def in_words(metrics: Metrics, majority_class: str, confidence: float) -> str:
    """Say how accurate the model is, how sure that is, and whether it beats a constant answer."""
    low, high = metrics.accuracy_interval.low, metrics.accuracy_interval.high
    constant = metrics.majority_class_accuracy
    if constant < low:
        comparison = "the model is better than that"
    elif constant > high:
        comparison = "the model is worse than that"
    else:
        comparison = "on these rows the model cannot be told from that"
    n_right = round(metrics.accuracy * metrics.n_test)
    return (
        f"accuracy {metrics.accuracy:.3f}: {n_right} of {metrics.n_test} test rows are right; "
        f"{100 * confidence:g}% interval {low:.3f} to {high:.3f}; always answering "
        f"'{majority_class}', the commonest class of the training rows, has {constant:.3f}: "
        f"{comparison}"
    )
