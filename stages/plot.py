"""Draw the training run and the confusion matrix."""

import csv
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from pydantic import Field

from stages.parts.atomic_write import atomic_write
from stages.parts.params import Params, read_params
from stages.parts.reporting.confusion_chart import class_names, draw_confusion
from stages.parts.reporting.loss_chart import draw_run
from stages.parts.reporting.training_report import read_training_report
from stages.parts.user_error import user_errors_in_one_line

REPORTS = Path("reports")


class PlotParams(Params):
    """The `plot` section of params.yaml."""

    log_scale: bool = Field(description="true or false")
    dpi: int = Field(ge=50, le=600, description="a whole number from 50 to 600")


def main() -> None:
    params = read_params("plot", PlotParams)
    losses = read_columns(REPORTS / "losses.csv")
    report = read_training_report(REPORTS / "training.json")
    predictions = read_columns(REPORTS / "predictions.csv")

    # A person's own settings of matplotlib must not change the pictures.
    mpl.rcdefaults()
    numbers = {name: [float(text) for text in texts] for name, texts in losses.items()}
    run = draw_run(numbers, report, log_scale=params.log_scale)
    confusion = draw_confusion(
        predictions["actual"], predictions["predicted"], class_names(predictions)
    )

    write_png(run, REPORTS / "loss.png", params.dpi)
    write_png(confusion, REPORTS / "confusion.png", params.dpi)


def read_columns(path: Path) -> dict[str, list[str]]:
    """Return the columns of a CSV file by name, as texts: a class may be named 1, NA or nothing."""
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def write_png(figure: Figure, path: Path, dpi: int) -> None:
    with atomic_write(path) as temporary:
        # Without this, matplotlib signs the picture with its version.
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


if __name__ == "__main__":
    with user_errors_in_one_line("plot"):
        main()
