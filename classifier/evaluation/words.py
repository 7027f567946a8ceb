"""The metrics in sentences."""

import shlex

from classifier.evaluation.evaluated import Comparison, Interval, Metrics, SliceMetrics


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


def threshold_in_words(positive_class: str, threshold: float) -> str:
    """Say from which probability on a row is taken for the positive class."""
    return (
        f"a row is taken for '{positive_class}' from a probability of {threshold:.4g} on; to "
        f"predict so: --threshold {shlex.quote(f'{positive_class}={threshold}')}"
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


def slices_in_words(slices: dict[str, dict[str, SliceMetrics]], accuracy: float) -> list[str]:
    """Name the groups on which the model is worse than on all rows, by more than chance."""
    return [
        f"of the rows with {column} '{name}', {found.n_test}, it is right on "
        f"{found.accuracy:.3f} (interval {found.accuracy_interval.low:.3f} to "
        f"{found.accuracy_interval.high:.3f}): worse than on all"
        for column, of_column in slices.items()
        for name, found in of_column.items()
        if found.accuracy_interval.high < accuracy
    ]
