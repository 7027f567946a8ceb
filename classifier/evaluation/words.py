"""The metrics in sentences."""

import shlex

from classifier.evaluation.evaluated import (
    Comparison,
    Evaluated,
    Interval,
    OutOfFold,
    SliceMetrics,
)
from classifier.io.later_params import MOST_PROBABLE
from classifier.io.user_error import shortened

MOST_CHARACTERS = 60
"""Of a text in a sentence."""

NOT_TOLD_APART = "not to be told apart from it"

WEIGHTED = (
    "with train.class_weights: balanced, all models' probabilities are those of a world in which "
    "every class is as frequent: they are no probabilities of this table's rows, and a lower log "
    "loss on these need not mean a better model"
)


def verdicts(
    metrics: Evaluated, majority_class: str, confidence: float, *, balanced: bool
) -> list[str]:
    """Say whether the model is any good; `balanced` is whether `train.class_weights` is that."""
    return [
        in_words(metrics, majority_class, confidence),
        *out_of_fold_in_words(metrics.out_of_fold, metrics.n_test, confidence),
        *(
            comparison_in_words(name, comparison, metrics, confidence)
            for name, comparison in metrics.baselines.items()
        ),
        *([WEIGHTED] if balanced else []),
        *slices_in_words(metrics.slices, metrics.accuracy),
    ]


def in_words(metrics: Evaluated, majority_class: str, confidence: float) -> str:
    """Say how accurate the model is, how sure that is, and whether it beats a constant answer."""
    interval, constant = metrics.accuracy_interval, metrics.majority_class_accuracy
    n_right = round(metrics.accuracy * metrics.n_test)
    sentence = (
        f"accuracy {metrics.accuracy:.3f}: {n_right} of {metrics.n_test} test rows are right; "
        f"{100 * confidence:g}% interval {interval}; always answering '{majority_class}', the "
        f"commonest class of the training rows, has {constant:.3f}"
    )
    if metrics.threshold in {None, MOST_PROBABLE}:
        return f"{sentence}: {_beside(constant, interval)}"
    if metrics.balanced_accuracy is None or metrics.balanced_accuracy_interval is None:
        return sentence
    # Whoever chooses a threshold gives up accuracy for something else.
    interval = metrics.balanced_accuracy_interval
    return (
        f"{sentence}; balanced accuracy {metrics.balanced_accuracy:.3f}, interval {interval}, "
        f"where a constant answer has 0.5: {_beside(0.5, interval)}"
    )


def _beside(constant: float, interval: Interval) -> str:
    if constant < interval.low:
        return "the model is better than that"
    if constant > interval.high:
        return "the model is worse than that"
    return "on these rows the model cannot be told from that"


def out_of_fold_in_words(found: OutOfFold | None, n_test: int, confidence: float) -> list[str]:
    """Say how good the networks of several folds are on left-out rows, and how to take that."""
    if found is None:
        return []
    estimate = (
        f"on the {found.n_left_out} left-out rows, each predicted by the one of "
        f"{found.n_networks} networks that was not trained on it, accuracy is "
        f"{found.accuracy:.3f}, {100 * confidence:g}% interval {found.accuracy_interval}, and log "
        f"loss {found.log_loss:.4f}: the more rows (there are {n_test} test rows), the narrower "
        "the interval"
    )
    meaning = (
        "this errs in two ways: the left-out rows stopped their networks, and had a part in scales "
        "and categories (and in the bins of an embedding, the temperature and the threshold, where "
        "there are any), which makes it somewhat too good; and the model that is handed on, the "
        f"mean of the {found.n_networks} networks, is mostly somewhat better than one of them. "
        "The test rows alone have chosen nothing"
    )
    return [estimate, meaning]


def threshold_in_words(positive_class: str, threshold: float) -> str:
    """Say from which probability on a row is taken for the positive class."""
    return (
        f"a row is taken for '{positive_class}' from a probability of {threshold:.4g} on; to "
        f"predict so: --threshold={shlex.quote(f'{positive_class}={threshold}')}"
    )


def comparison_in_words(
    name: str, comparison: Comparison, network: Evaluated, confidence: float
) -> str:
    """Say whether the network is better than a baseline by more than chance.

    By accuracy alone where a row is taken for its most probable class: thresholds of two models
    give up accuracy each in its way.
    """
    loss = _verdict(-comparison.log_loss_difference, comparison.log_loss_difference_interval)
    accuracy = _verdict(comparison.accuracy_difference, comparison.accuracy_difference_interval)
    # Of few rows on which they differ, the bootstrap is too sure.
    if comparison.accuracy_p_value >= 1 - confidence:
        accuracy = NOT_TOLD_APART
    if network.threshold not in {None, MOST_PROBABLE}:
        verdict = f"{loss}, by log loss"
    elif accuracy == loss:
        verdict = loss
    else:
        verdict = f"{accuracy} by accuracy, and {loss} by log loss"
    return (
        f"{name.replace('_', ' ')} has accuracy {comparison.accuracy:.3f} and log loss "
        f"{comparison.log_loss:.4f}: on these {network.n_test} rows the network is {verdict}"
    )


def _verdict(gain: float, interval: Interval | None) -> str:
    if interval is None or interval.low <= 0 <= interval.high:
        return NOT_TOLD_APART
    return "better" if gain > 0 else "worse"


def slices_in_words(slices: dict[str, dict[str, SliceMetrics]], accuracy: float) -> list[str]:
    """Name the groups on which the model is worse than on all rows, by more than chance."""
    return [
        f"of the rows with {column} '{shortened(name, MOST_CHARACTERS)}', {found.n_test}, it is "
        f"right on {found.accuracy:.3f} (interval {found.accuracy_interval}): worse than on all"
        for column, of_column in slices.items()
        for name, found in of_column.items()
        if found.accuracy_interval.high < accuracy
    ]
