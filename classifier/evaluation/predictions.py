"""Rows, each with what the model says of it, and the curves of all models on the test rows."""

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.metrics import precision_recall_curve, roc_curve

from classifier.evaluation.answers import Answers
from classifier.io.prepared import Split
from classifier.io.schema import plain_number
from classifier.io.user_error import shortened

MOST_WRONG = 20
"""A person may look at so many rows."""

MOST_CHARACTERS = 80
"""Of a cell that people see; a longer one is cut."""

MOST_CURVES = 9
"""Where there are more classes than that, the commonest get curves."""

MOST_POINTS = 200
"""A curve has no more points: these could be neither seen nor, in a page of `dvc plots`, drawn."""


def predictions_table(rows: Split, answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Return a row for each of them: its place in the source table, its class, and the model's."""
    columns = {
        "row": rows.rows,
        "actual": pd.Categorical.from_codes(rows.target, classes),
        "predicted": pd.Categorical.from_codes(answers.predicted, classes),
    }
    for index, name in enumerate(classes):
        columns[f"probability_{name}"] = answers.probabilities[:, index]
    return pd.DataFrame(columns)


def most_wrong(test: Split, answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Return the rows that are wrong, the surest first, at most `MOST_WRONG` of them.

    Labels that are wrong in the table are often among them. The index numbers the test rows.
    """
    order = np.argsort(answers.of_target, kind="stable")
    chosen = order[~answers.is_right[order]][:MOST_WRONG]
    table = predictions_table(test, answers, classes)[["row", "actual", "predicted"]]
    return table.assign(probability_of_actual=answers.of_target).iloc[chosen]


def with_cells(
    table: pd.DataFrame, cells: Mapping[str, pd.Series], free_texts: Collection[str]
) -> pd.DataFrame:
    """Return rows with their cells of the source table behind them, as texts, empty for gaps.

    Of the columns of free texts, that is the beginning of a long one, on one line. A column that is
    called as one of the rows' own gets a `_` behind its name, or more.
    """
    columns = {str(name): column.to_numpy() for name, column in table.items()}
    for name, column in cells.items():
        unique = name
        while unique in columns or (unique != name and unique in cells):
            unique += "_"
        spelled = column.map(str, na_action="ignore")
        if name in free_texts:
            spelled = spelled.map(partial(shortened, most=MOST_CHARACTERS), na_action="ignore")
        if is_numeric_dtype(column):
            spelled = spelled.map(plain_number, na_action="ignore")
        columns[unique] = spelled.to_numpy()
    return pd.DataFrame(columns)


def curves(models: Mapping[str, Answers], classes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the points of the ROC curves and of the precision-recall curves.

    Both have the columns `class`, which is ranked against the rest (of two, the positive one
    alone), and `model`; the first `false_positive_rate` and `true_positive_rate`, the second
    `recall` and `precision`. A class that all test rows are of, or none, has no curves.
    """
    target, ranked = next((one.target, one.ranked) for one in models.values())
    counts = np.bincount(target, minlength=len(classes))
    commonest = sorted(ranked, key=lambda index: -counts[index])[:MOST_CURVES]
    roc, precision_recall = [], []
    for index in sorted(commonest):
        if not 0 < counts[index] < len(target):
            continue
        for model, answers in models.items():
            is_actual, score = target == index, answers.probabilities[:, index]
            false_positives, true_positives, _ = roc_curve(is_actual, score)
            precision, recall, _ = precision_recall_curve(is_actual, score, drop_intermediate=True)
            whose = classes[index], model
            roc += _points(whose, false_positives, true_positives)
            # From the highest ranked row on.
            precision_recall += _points(whose, recall[::-1], precision[::-1])
    names = ["class", "model"]
    return (
        pd.DataFrame(roc, columns=[*names, "false_positive_rate", "true_positive_rate"]),
        pd.DataFrame(precision_recall, columns=[*names, "recall", "precision"]),
    )


def _points(
    whose: tuple[str, str], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> list[tuple[str, str, float, float]]:
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int))
    return [(*whose, *point) for point in zip(x[kept].tolist(), y[kept].tolist(), strict=True)]
