"""What is measured on the test rows: metrics.json."""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from stages.parts.reporting.calibration import expected_calibration_error, reliability
from stages.parts.reporting.interval import Interval, bootstrap_interval, wilson_interval


class ClassMetrics(BaseModel):
    precision: float
    recall: float
    f1: float
    n_test: int


class Metrics(BaseModel):
    """What metrics.json holds; log loss is in nats, the others lie between 0 and 1."""

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
    return Metrics(
        accuracy=accuracy_score(target, predicted),
        accuracy_interval=wilson_interval(int((predicted == target).sum()), n_test, confidence),
        majority_class_accuracy=float((target == majority_class).mean()),
        log_loss=log_loss(target, probabilities, labels=range(n_classes)),
        log_loss_interval=bootstrap_interval(
            lambda rows: row_losses[rows].mean(axis=1), n_test, confidence
        ),
        macro_f1=float(macro_f1(target[np.newaxis], predicted[np.newaxis], n_classes)[0]),
        macro_f1_interval=bootstrap_interval(
            lambda rows: macro_f1(target[rows], predicted[rows], n_classes), n_test, confidence
        ),
        expected_calibration_error=expected_calibration_error(
            reliability(target, probabilities, confidence)
        ),
        n_test=n_test,
        classes={
            name: ClassMetrics(
                precision=precision[index],
                recall=recall[index],
                f1=f1[index],
                n_test=support[index],
            )
            for index, name in enumerate(classes)
        },
    )


def log_losses(
    target: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return each row's part of the log loss, shape (n,), with scikit-learn's lower bound."""
    of_target = probabilities[np.arange(len(target)), target]
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(of_target, np.finfo(np.float64).eps))
    return losses


def macro_f1(
    target: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], n_classes: int
) -> npt.NDArray[np.float64]:
    """Return the macro F1 of each of many samples, shape (n_samples,).

    As scikit-learn's `f1_score(average="macro")`, it is the mean over the classes that occur
    among the sample's actual or predicted ones: where a resample lacks a class, F1 of it is not
    defined, and counting it as 0 would blame the model for the draw.

    Parameters
    ----------
    target, predicted
        Class indices, shapes (n_samples, n).
    n_classes
        Of the whole table.

    """
    n_samples = len(target)
    sample = np.arange(n_samples)[:, np.newaxis] * n_classes

    def count(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        counts = np.bincount(cells.ravel(), minlength=n_samples * n_classes)
        return counts.reshape(n_samples, n_classes)

    occurrences = count(sample + target) + count(sample + predicted)
    right = count((sample + target)[target == predicted])
    f1 = 2 * right / np.maximum(occurrences, 1)
    means: npt.NDArray[np.float64] = f1.sum(axis=1) / (occurrences > 0).sum(axis=1)
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
