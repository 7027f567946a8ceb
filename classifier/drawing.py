"""The pictures: of the training run, and of the test."""

import io
import math
import textwrap
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classifier.verdict import TrainingReport, what_happened

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
TRAIN, VAL, BEST, OVERFITTING = BLUE, VERMILION, GREEN, ORANGE

TITLE_WIDTH = 88
"""Characters to a line of the title of a training run."""

FEW_EVALUATIONS = 20
"""Where there are fewer, each gets a marker: a line through one point cannot be seen."""

LINE = 30
"""Characters to a line of a name beside a chart."""

MOST_CLASSES_WITH_TEXT = 40
"""Of more classes, names and counts would be too many to read and too large a picture."""

CHARACTER = 0.1
"""Width in inches that is enough for a character."""

DARK = 0.5
"""A cell with a larger share of its row is so dark that its count is written in white."""

CurveKind = Literal["ROC", "precision-recall"]

STYLES = {
    "network": (BLUE, "-"),
    "logistic_regression": (VERMILION, "--"),
    "gradient_boosting": (GREEN, "-."),
}
"""Colour and line of each model's curves."""

COLUMNS = 3
SIDE = 3.2
"""A class's square is so wide, in inches."""

MOST_COLUMNS = 30
"""Where there are more columns than that, the least important are left out."""


def png_of(figure: Figure, dpi: int, **options: Any) -> bytes:  # noqa: ANN401 (matplotlib's)
    """Return the content of a file; the options are those of matplotlib's `savefig`."""
    buffer = io.BytesIO()
    # Without this, matplotlib signs the picture with its version.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, **options)
    return buffer.getvalue()


def draw_run(losses: pd.DataFrame, report: TrainingReport, *, log_scale: bool) -> Figure:
    """Draw loss above accuracy against epoch, with the verdict as the title.

    Marked are the best epoch, the stopping point, the loss of predicting class frequencies where
    it is in sight, and, where that is the verdict, the stretch of overfitting.

    The losses are what losses.csv holds: one row per evaluation.
    """
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(2, sharex=True, height_ratios=[3, 2])
    for axes, name in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        draw_losses(axes, losses, name)
        mark_epochs(axes, report)
    loss_axes.plot(
        report.best_epoch,
        report.best_val_loss,
        "*",
        color=BEST,
        markersize=14,
        zorder=3,
        label=f"best: epoch {report.best_epoch}, val loss {report.best_val_loss:#.4g}",
    )
    if report.verdict == "overfitting":
        # Above the axes and ending with the run: over no data, however short the stretch.
        above = loss_axes.get_xaxis_transform()
        loss_axes.text(
            report.epochs_run, 1.01, "overfitting", transform=above, ha="right", va="bottom"
        )
    loss_axes.set(ylabel="cross-entropy loss", yscale="log" if log_scale else "linear")
    if report.verdict == "not_learning" or report.baseline_loss < loss_axes.get_ylim()[1]:
        loss_axes.axhline(
            report.baseline_loss,
            color="black",
            linewidth=1,
            linestyle=(0, (1, 3)),
            label=f"predicting class frequencies: {report.baseline_loss:#.4g}",
        )
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy")
    accuracy_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    title = "\n".join(textwrap.wrap(what_happened(report), TITLE_WIDTH))
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    # Outside, so that it hides no data whatever their course.
    figure.legend(
        *loss_axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure


def draw_losses(axes: Axes, losses: pd.DataFrame, name: str) -> None:
    marker = "o" if len(losses) < FEW_EVALUATIONS else None
    for rows, color, line in (("train", TRAIN, "-"), ("val", VAL, "--")):
        values = losses[f"{rows}_{name}"]
        axes.plot(losses["epoch"], values, line, color=color, marker=marker, label=rows)
        if (lowest := f"{rows}_{name}_lowest") in losses:
            highest = losses[f"{rows}_{name}_highest"]
            label = f"{rows}, from network to network"
            axes.fill_between(
                losses["epoch"], losses[lowest], highest, color=color, alpha=0.15, label=label
            )
    axes.grid(alpha=0.3)


def mark_epochs(axes: Axes, report: TrainingReport) -> None:
    axes.axvline(report.best_epoch, color=BEST, linestyle="-.", linewidth=1)
    label = f"end: epoch {report.epochs_run}, {report.stop_reason.replace('_', ' ')}"
    axes.axvline(report.epochs_run, color="dimgray", linestyle=":", label=label)
    if report.verdict == "overfitting":
        axes.axvspan(report.best_epoch, report.epochs_run, color=OVERFITTING, alpha=0.2, zorder=0)


def draw_confusion(predictions: pd.DataFrame) -> Figure:
    """Draw how many rows of each actual class, one below the other, got which prediction.

    The colour is the share of the row, so that rare classes are as plain to see as common ones.
    The predictions are what predictions.csv holds, the classes as texts.
    """
    counts, classes = confusion_counts(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with_text = len(classes) <= MOST_CLASSES_WITH_TEXT
    cell = max(0.36, CHARACTER * len(f"{counts.max():,}"))
    side = max(3.3, cell * len(classes)) if with_text else 8
    figure = Figure(figsize=(side + 3, side + 2.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the actual class", shrink=0.8)
    axes.set(
        title="Confusion matrix of the test rows", xlabel="predicted class", ylabel="actual class"
    )
    if with_text:
        names = [in_two_lines(name) for name in classes]
        fits = max(map(len, names)) * CHARACTER < side / len(names)
        # A class name may hold a dollar sign, which is no start of a formula.
        axes.set_xticks(range(len(names)), names, rotation=0 if fits else 90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        size = 8 if len(classes) > 5 else 11
        colors = np.select([shares == 0, shares > DARK], ["darkgray", "white"], "black")
        for (row, column), count in np.ndenumerate(counts):
            color = str(colors[row, column])
            axes.text(
                column, row, f"{count:,}", ha="center", va="center", fontsize=size, color=color
            )
    return figure


def confusion_counts(predictions: pd.DataFrame) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return how often each actual class, a row, got each prediction, and the classes in order."""
    prefix = "probability_"
    names = [str(name) for name in predictions]
    classes = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    table = pd.crosstab(predictions["actual"], predictions["predicted"])
    return table.reindex(index=classes, columns=classes, fill_value=0).to_numpy(), classes


def in_two_lines(name: str) -> str:
    """Return a name on two lines at most; what does not fit is left out in between."""
    name = " ".join(name.split())
    lines = textwrap.wrap(name, LINE)
    if len(lines) > 2:
        lines = [f"{name[: LINE - 1]}…", name[-LINE:]]
    return "\n".join(lines)


def draw_curves(points: pd.DataFrame, kind: CurveKind) -> Figure:
    """Draw the curves of each class, those of all models in one square.

    The points are what roc.csv or precision_recall.csv holds: class, model, and the coordinates.
    """
    classes = list(points.groupby("class", sort=False))
    n_columns = max(1, min(COLUMNS, len(classes)))
    n_rows = max(1, math.ceil(len(classes) / n_columns))
    figure = Figure(figsize=(SIDE * n_columns + 0.9, SIDE * n_rows + 1.2), layout="constrained")
    squares = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for square, (name, of_class) in zip(squares, classes, strict=False):
        draw_square(square, str(name), of_class, kind)
    for square in squares[len(classes) :]:
        square.set_axis_off()
    if not classes:
        figure.text(0.5, 0.5, "The test rows are of one class: no curves", ha="center")
        return figure
    x, y = (str(name).replace("_", " ") for name in points.columns[2:])
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)
    figure.legend(
        *squares[0].get_legend_handles_labels(),
        loc="outside upper left",
        # In rows where they would be wider than the squares.
        ncols=4 if n_columns == COLUMNS else 2,
        frameon=False,
    )
    return figure


def draw_square(square: Axes, name: str, of_class: pd.DataFrame, kind: CurveKind) -> None:
    for model, curve in of_class.groupby("model", sort=False):
        color, line = STYLES[str(model)]
        x, y = (curve[column] for column in curve.columns[2:])
        # Between two thresholds, precision is not known to be in between.
        steps = "default" if kind == "ROC" else "steps-pre"
        label = str(model).replace("_", " ")
        square.plot(x, y, line, color=color, drawstyle=steps, label=label)
    square.set_title(f"class {shortened(name)}", fontsize=10)
    square.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    square.grid(alpha=0.3)
    if kind == "ROC":
        square.plot([0, 1], [0, 1], ":", color="gray", linewidth=1, label="chance")


def draw_reliability(bins: pd.DataFrame) -> Figure:
    """Draw accuracy against confidence, with intervals, and the number of rows below.

    The bins are what reliability.csv holds.
    """
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    axes, rows = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], ":", color="gray", label="as often as it says")
    diagrams = bins.groupby("of", sort=False)
    for (of, shown), color, width in zip(diagrams, (BLUE, VERMILION), (0.04, 0.02), strict=False):
        errors = [shown["accuracy"] - shown["low"], shown["high"] - shown["accuracy"]]
        axes.errorbar(
            shown["confidence"],
            shown["accuracy"],
            # An end may be beyond what it is the end of, by a rounding.
            [error.clip(lower=0) for error in errors],
            fmt="o-",
            color=color,
            capsize=3,
            label=shortened(str(of)),
        )
        # The narrower bars are drawn over the others.
        rows.bar(shown["confidence"], shown["n_test"], width=width, color=color)
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), ylabel="how often it is so, with its interval")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", frameon=False)
    rows.set(xlabel="probability that is said", ylabel="test rows")
    return figure


def draw_importance(importance: pd.DataFrame) -> Figure:
    """Draw how much the loss rises when a column is shuffled, the most important column on top.

    The importances are what importance.csv holds.
    """
    shown = importance.head(MOST_COLUMNS).iloc[::-1]
    figure = Figure(figsize=(7, 1.4 + 0.28 * max(len(shown), 2)), layout="constrained")
    axes = figure.add_subplot()
    half = (shown["high"] - shown["low"]) / 2
    axes.barh(range(len(shown)), shown["importance"], xerr=half, color=BLUE, capsize=2)
    axes.set_yticks(range(len(shown)), map(shortened, shown["column"]))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("rise of the log loss when the column is shuffled (validation rows)")
    axes.grid(alpha=0.3, axis="x")
    if len(shown) < len(importance):
        axes.set_title(f"the {len(shown)} most important of {len(importance)} columns", fontsize=10)
    return figure


def shortened(name: str) -> str:
    """Return a name as far as there is room for it, in which a dollar sign starts no formula."""
    shown = name if len(name) <= LINE else f"{name[: LINE - 1]}…"
    return shown.replace("$", r"\$")
