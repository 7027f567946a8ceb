"""The network beside the baselines, on the same test rows."""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from classifier.evaluation.metrics import Interval, Metrics, bootstrap_interval, log_losses


class Comparison(BaseModel):
    """A baseline on the test rows, and the network's number less the baseline's.

    Below 0, the difference of log losses speaks for the network, that of accuracies against it.
    The intervals are bootstrap ones over the test rows, each with both models' answers to it: what
    makes a row hard for both of them does not widen them.
    """

    accuracy: float
    accuracy_difference: float
    accuracy_difference_interval: Interval
    log_loss: float
    log_loss_difference: float
    log_loss_difference_interval: Interval


class MetricsAndComparisons(Metrics):
    """What metrics.json holds."""

    baselines: dict[str, Comparison]


def compare(
    target: npt.NDArray[np.int64],
    network: npt.NDArray[np.float64],
    baseline: npt.NDArray[np.float64],
    confidence: float,
) -> Comparison:
    """Compare two models' probabilities, shapes (n, n_classes), for rows of classes, shape (n,)."""
    right, baseline_right = (
        (probabilities.argmax(axis=1) == target).astype(np.float64)
        for probabilities in (network, baseline)
    )
    losses, baseline_losses = log_losses(target, network), log_losses(target, baseline)
    accuracy_differences, loss_differences = right - baseline_right, losses - baseline_losses
    return Comparison(
        accuracy=baseline_right.mean(),
        accuracy_difference=accuracy_differences.mean(),
        accuracy_difference_interval=bootstrap_interval(
            np.mean, (accuracy_differences,), confidence
        ),
        log_loss=baseline_losses.mean(),
        log_loss_difference=loss_differences.mean(),
        log_loss_difference_interval=bootstrap_interval(np.mean, (loss_differences,), confidence),
    )


def comparison_in_words(name: str, comparison: Comparison, n_test: int) -> str:
    """Say whether the network is better than a baseline by more than chance."""
    accuracy = _verdict(comparison.accuracy_difference_interval, better_is_more=True)
    loss = _verdict(comparison.log_loss_difference_interval, better_is_more=False)
    if accuracy == loss:
        verdict = f"on these {n_test} rows the network is {accuracy}"
    else:
        verdict = (
            f"on these {n_test} rows the network is {accuracy} by accuracy, and {loss} by log loss"
        )
    return (
        f"{name.replace('_', ' ')} has accuracy {comparison.accuracy:.3f} and log loss "
        f"{comparison.log_loss:.4f}: {verdict}"
    )


def _verdict(difference: Interval, *, better_is_more: bool) -> str:
    if difference.low <= 0 <= difference.high:
        return "not to be told apart from it"
    return "better" if (difference.low > 0) == better_is_more else "worse"
