"""The pictures: of a training run, and of which classes are taken for which."""

import textwrap

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classifier.verdict.advice import what_happened
from classifier.verdict.diagnosis import TrainingReport

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
TRAIN, VAL, BEST, OVERFITTING = "#0072B2", "#D55E00", "#009E73", "#E69F00"

TITLE_WIDTH = 88
"""Characters to a line of the title."""

FEW_EVALUATIONS = 20
"""Below this, each gets a marker: a line through one point cannot be seen."""

LINE = 30
"""Characters to a line of a class name; it gets two lines, what fits not is left out in between."""

MOST_CLASSES_WITH_TEXT = 40
"""Above this, names and counts would be too many to read and too large a picture."""

CHARACTER = 0.1
"""Width in inches that is enough for a character."""

DARK = 0.5
"""From this share of a row on, a cell is so dark that its count is written in white."""


def draw_run(losses: pd.DataFrame, report: TrainingReport, *, log_scale: bool) -> Figure:
    """Draw loss above accuracy against epoch, with the verdict as the title.

    Marked are the best epoch, the stopping point, the loss of predicting class frequencies where
    it is in sight, and, where that is the verdict, the stretch of overfitting.

    Parameters
    ----------
    losses
        What losses.csv holds: one row per evaluation.
    report
        Of the same run.
    log_scale
        Of the loss axis.

    """
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(2, sharex=True, height_ratios=[3, 2])
    for axes, name in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        draw_curves(axes, losses, name)
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
        loss_axes.text(
            report.epochs_run,
            1.01,
            "overfitting",
            transform=loss_axes.get_xaxis_transform(),
            ha="right",
            va="bottom",
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


def draw_curves(axes: Axes, losses: pd.DataFrame, name: str) -> None:
    marker = "o" if len(losses["epoch"]) < FEW_EVALUATIONS else None
    for rows, color, linestyle in (("train", TRAIN, "-"), ("val", VAL, "--")):
        axes.plot(
            losses["epoch"],
            losses[f"{rows}_{name}"],
            linestyle,
            color=color,
            marker=marker,
            label=rows,
        )
    axes.grid(alpha=0.3)


def mark_epochs(axes: Axes, report: TrainingReport) -> None:
    axes.axvline(report.best_epoch, color=BEST, linestyle="-.", linewidth=1)
    axes.axvline(
        report.epochs_run,
        color="dimgray",
        linestyle=":",
        label=f"end: epoch {report.epochs_run}, {report.stop_reason.replace('_', ' ')}",
    )
    if report.verdict == "overfitting":
        axes.axvspan(report.best_epoch, report.epochs_run, color=OVERFITTING, alpha=0.2, zorder=0)


def draw_confusion(predictions: pd.DataFrame) -> Figure:
    """Draw how many rows of each actual class, one below the other, got which prediction.

    The colour is the share of the row, so that rare classes are as plain to see as common ones.

    Parameters
    ----------
    predictions
        What predictions.csv holds, the classes as texts.

    """
    counts, classes = confusion_counts(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with_text = len(classes) <= MOST_CLASSES_WITH_TEXT
    digits = len(f"{counts.max():,}")
    cell = max(0.36, CHARACTER * digits)
    side = max(3.3, cell * len(classes)) if with_text else 8
    figure = Figure(figsize=(side + 3, side + 2.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the actual class", shrink=0.8)
    axes.set(
        title="Confusion matrix of the test rows",
        xlabel="predicted class",
        ylabel="actual class",
    )
    if with_text:
        names = [in_two_lines(name) for name in classes]
        # A class name may hold a dollar sign, which is no start of a formula.
        fits = max(map(len, names)) * CHARACTER < side / len(names)
        axes.set_xticks(range(len(names)), names, rotation=0 if fits else 90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        for row, column in np.ndindex(counts.shape):
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=8 if len(classes) > 5 else 11,
                color=text_color(shares[row, column]),
            )
    return figure


def confusion_counts(
    predictions: pd.DataFrame,
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return how often each actual class, a row, got each prediction, and the classes in order."""
    prefix = "probability_"
    names = [str(name) for name in predictions]
    classes = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    table = pd.crosstab(predictions["actual"], predictions["predicted"])
    return table.reindex(index=classes, columns=classes, fill_value=0).to_numpy(), classes


def text_color(share: float) -> str:
    if share == 0:
        return "darkgray"
    return "white" if share > DARK else "black"


def in_two_lines(name: str) -> str:
    name = " ".join(name.split())
    lines = textwrap.wrap(name, LINE)
    if len(lines) > 2:
        lines = [f"{name[: LINE - 1]}…", name[-LINE:]]
    return "\n".join(lines)
