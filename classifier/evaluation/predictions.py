"""The test rows, each with what the model says of it; the curves of all models on them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from classifier.evaluation.answers import Answers
from classifier.io.prepared import Split

MOST_WRONG = 20
"""As many rows as a person may look at."""


def predictions_table(test: Split, answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Return a row for each test row: its place in the source table, its class, and the model's."""
    columns = {
        "row": test.rows,
        "actual": pd.Categorical.from_codes(test.target, classes),
        "predicted": pd.Categorical.from_codes(answers.predicted, classes),
    }
    for index, name in enumerate(classes):
        columns[f"probability_{name}"] = answers.probabilities[:, index]
    return pd.DataFrame(columns)


def most_wrong(test: Split, answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Return the rows that are wrong, the surest first, at most `MOST_WRONG` of them.

    Labels that are wrong in the table are often among them.
    """
    of_actual = answers.probabilities[np.arange(len(test.target)), test.target]
    order = np.argsort(of_actual, kind="stable")
    chosen = order[(answers.predicted != test.target)[order]][:MOST_WRONG]
    return pd.DataFrame(
        {
            "row": test.rows[chosen],
            "actual": pd.Categorical.from_codes(test.target[chosen], classes),
            "predicted": pd.Categorical.from_codes(answers.predicted[chosen], classes),
            "probability_of_actual": of_actual[chosen],
        }
    )


MOST_CURVES = 9
"""Of more, the commonest get curves."""

MOST_POINTS = 200
"""Of a curve: more can be neither seen nor, in a page of `dvc plots`, drawn."""


def curves(models: Mapping[str, Answers], classes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the points of the ROC curves and of the precision-recall curves.

    Both have the columns `class`, which is ranked against the rest (of two, the positive one
    alone), and `model`; the first `false_positive_rate` and `true_positive_rate`, the second
    `recall` and `precision`. A class that all test rows are of, or none, has no curves.
    """
    roc, precision_recall = [], []
    target, ranked = next((one.target, one.ranked) for one in models.values())
    for index in _commonest(target, ranked):
        is_actual = target == index
        if is_actual.all() or not is_actual.any():
            continue
        for model, answers in models.items():
            score = answers.probabilities[:, index]
            whose = {"class": classes[index], "model": model}
            false_positives, true_positives, _ = roc_curve(is_actual, score)
            roc.append(
                _points(
                    whose,
                    {"false_positive_rate": false_positives, "true_positive_rate": true_positives},
                )
            )
            precision, recall, _ = precision_recall_curve(is_actual, score, drop_intermediate=True)
            # From the highest ranked row on.
            precision_recall.append(
                _points(whose, {"recall": recall[::-1], "precision": precision[::-1]})
            )
    return (
        _together(roc, ["false_positive_rate", "true_positive_rate"]),
        _together(precision_recall, ["recall", "precision"]),
    )


def _commonest(target: npt.NDArray[np.int64], ranked: list[int]) -> list[int]:
    """Return the classes with the most rows, in their own order."""
    counts = np.bincount(target, minlength=max(ranked) + 1)
    return sorted(sorted(ranked, key=lambda index: -counts[index])[:MOST_CURVES])


def _points(whose: dict[str, str], coordinates: dict[str, npt.NDArray[np.float64]]) -> pd.DataFrame:
    n = len(next(iter(coordinates.values())))
    kept = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int))
    return pd.DataFrame({**whose, **{name: one[kept] for name, one in coordinates.items()}})


def _together(tables: list[pd.DataFrame], coordinates: list[str]) -> pd.DataFrame:
    names = ["class", "model", *coordinates]
    return pd.concat([pd.DataFrame(columns=names), *tables]) if not tables else pd.concat(tables)
