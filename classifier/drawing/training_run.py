"""The picture of a training run."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classifier.drawing.style import BLUE, GREEN, ORANGE, VERMILION
from classifier.verdict.advice import what_happened
from classifier.verdict.diagnosis import TrainingReport

TRAIN, VAL, BEST, OVERFITTING = BLUE, VERMILION, GREEN, ORANGE

TITLE_WIDTH = 88
"""Characters to a line of the title."""

FEW_EVALUATIONS = 20
"""Below this, each gets a marker: a line through one point cannot be seen."""


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


def draw_losses(axes: Axes, losses: pd.DataFrame, name: str) -> None:
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
