"""The pictures of ROC and precision-recall curves."""

import math
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classifier.drawing.style import BLUE, GREEN, VERMILION, shortened

CurveKind = Literal["ROC", "precision-recall"]

STYLES = {
    "network": (BLUE, "-"),
    "logistic_regression": (VERMILION, "--"),
    "gradient_boosting": (GREEN, "-."),
}

COLUMNS = 3
SIDE = 3.2
"""Of a class's square, in inches."""


def draw_curves(points: pd.DataFrame, kind: CurveKind) -> Figure:
    """Draw the curves of each class, those of all models in one square.

    Parameters
    ----------
    points
        What roc.csv or precision_recall.csv holds: class, model, and the coordinates.
    kind
        Of curve.

    """
    classes = list(points.groupby("class", sort=False))
    n_columns = max(1, min(COLUMNS, len(classes)))
    n_rows = max(1, math.ceil(len(classes) / n_columns))
    figure = Figure(figsize=(SIDE * n_columns + 0.9, SIDE * n_rows + 1.2), layout="constrained")
    squares = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for square, (name, of_class) in zip(squares, classes, strict=False):
        draw_square(square, str(name), of_class, kind)
        if kind == "ROC":
            square.plot([0, 1], [0, 1], ":", color="gray", linewidth=1, label="chance")
    for square in squares[len(classes) :]:
        square.set_axis_off()
    if classes:
        # In rows where they would be wider than the squares.
        n_labels = 4 if n_columns == COLUMNS else 2
        figure.supxlabel(str(points.columns[2]).replace("_", " "), fontsize=10)
        figure.supylabel(str(points.columns[3]).replace("_", " "), fontsize=10)
        figure.legend(
            *squares[0].get_legend_handles_labels(),
            loc="outside upper left",
            ncols=n_labels,
            frameon=False,
        )
    else:
        figure.text(0.5, 0.5, "The test rows are of one class: no curves", ha="center")
    return figure


def draw_square(square: Axes, name: str, of_class: pd.DataFrame, kind: CurveKind) -> None:
    for model, curve in of_class.groupby("model", sort=False):
        color, line = STYLES[str(model)]
        x, y = (curve[column] for column in curve.columns[2:])
        # Between two thresholds, precision is not known to be in between.
        steps = "default" if kind == "ROC" else "steps-pre"
        label = str(model).replace("_", " ")
        square.plot(x, y, line, color=color, drawstyle=steps, label=label)
    # A class name may hold a dollar sign, which is no start of a formula.
    square.set_title(f"class {shortened(name)}", fontsize=10, parse_math=False)
    square.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    square.grid(alpha=0.3)
