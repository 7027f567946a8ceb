"""Which of two classes is the positive one, and from which probability on a row is taken for it."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from classifier.evaluation.answers import Decision
from classifier.io.later_params import MOST_PROBABLE, ThresholdRule


def find_positive(
    name: str | None, classes: list[str], train_target: npt.NDArray[np.int64]
) -> int | None:
    """Return the index of the positive class, None where there are not two.

    Parameters
    ----------
    name
        None is the one that is rarer among the training rows; the second if they have as many.
    classes
        Their names.
    train_target
        Class indices of the training rows, shape (n,).

    """
    if len(classes) != 2:
        return None
    if name is not None:
        return classes.index(name)
    first, second = np.bincount(train_target, minlength=2)
    return 0 if first < second else 1


def decide(
    rule: ThresholdRule | float,
    positive: int | None,
    target: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
) -> Decision:
    """Return how a model's probabilities become a class, by its answers to the validation rows.

    Parameters
    ----------
    rule
        What is to be best on them, or the threshold itself.
    positive
        The class that it is for; None where there are not two.
    target, probabilities
        Of the validation rows, shapes (n,) and (n, n_classes).

    """
    if positive is None:
        return Decision()
    return Decision(
        positive, choose_threshold(rule, target == positive, probabilities[:, positive])
    )


def choose_threshold(
    rule: ThresholdRule | float,
    is_positive: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float64],
) -> float:
    """Return a threshold that is best on rows of which the class is known.

    It lies in the middle between two probabilities that occur, where there is a number between
    them; of several that are as good, it is the one nearest to 0.5.

    Parameters
    ----------
    rule
        What is to be best; a number is the threshold itself.
    is_positive
        Whether a row is of the positive class, shape (n,).
    probability
        Of the positive class, shape (n,).

    """
    if isinstance(rule, float):
        return rule
    if is_positive.all() or not is_positive.any():
        return MOST_PROBABLE
    if rule == "best_f1":
        precision, recall, found = precision_recall_curve(is_positive, probability)
        both = np.maximum(precision + recall, np.finfo(float).tiny)
        values = (2 * precision * recall / both)[:-1]
    else:
        false_positives, true_positives, found = roc_curve(
            is_positive, probability, drop_intermediate=False
        )
        # The first is of no row at all.
        values, found = (1 + true_positives - false_positives)[1:] / 2, found[1:]
    # Below the least, 0 is as far as probabilities go.
    lower = np.array([0, *np.unique(probability)])[np.searchsorted(np.unique(probability), found)]
    middles = np.where((found + lower) / 2 > lower, (found + lower) / 2, found)
    best = np.flatnonzero(np.isclose(values, values.max(), rtol=0, atol=1e-12))
    return float(middles[best[np.abs(middles[best] - MOST_PROBABLE).argmin()]])
