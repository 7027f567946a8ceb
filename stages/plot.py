"""Draw the losses."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from stages.parts.atomic_write import atomic_write
from stages.parts.params import Params, read_params
from stages.parts.training_report import TrainingReport, read_training_report
from stages.parts.user_error import user_errors_in_one_line

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"


class PlotParams(Params):
    """The `plot` section of params.yaml."""

    log_scale: bool = Field(description="true or false")
    dpi: int = Field(ge=50, le=600, description="a whole number from 50 to 600")


def main() -> None:
    params = read_params("plot", PlotParams)
    losses = pd.read_csv("reports/losses.csv")
    report = read_training_report(Path("reports/training.json"))

    figure = draw_losses(losses, report, log_scale=params.log_scale)

    with atomic_write(Path("reports/loss.png")) as temporary:
        # Without this, matplotlib signs the picture with its version.
        figure.savefig(temporary, format="png", dpi=params.dpi, metadata={"Software": None})


def draw_losses(losses: pd.DataFrame, report: TrainingReport, *, log_scale: bool) -> Figure:
    """Draw train and val loss against epoch; mark the best epoch and the stopping point."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    marker = "o" if len(losses) < 20 else None
    axes.plot(losses["epoch"], losses["train_loss"], color=BLUE, marker=marker, label="train loss")
    axes.plot(
        losses["epoch"], losses["val_loss"], "--", color=VERMILLION, marker=marker, label="val loss"
    )
    axes.plot(
        report.best_epoch,
        report.best_val_loss,
        "*",
        color=GREEN,
        markersize=16,
        zorder=3,
        label=f"best: {report.best_val_loss:.4g} at epoch {report.best_epoch}",
    )
    why = report.stop_reason.replace("_", " ")
    axes.axvline(
        report.epochs_run,
        color="gray",
        linestyle=":",
        label=f"stopped at epoch {report.epochs_run}: {why}",
    )
    axes.set(xlabel="epoch", ylabel="cross-entropy loss", yscale="log" if log_scale else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    with user_errors_in_one_line("plot"):
        main()
