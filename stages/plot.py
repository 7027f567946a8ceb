"""Draw the training run and the confusion matrix."""

import csv
from collections import Counter
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from pydantic import Field

from stages.parts.atomic_write import atomic_write
from stages.parts.params import Params, read_params
from stages.parts.reporting.confusion_chart import Pairs, class_names, draw_confusion
from stages.parts.reporting.loss_chart import Losses, draw_run
from stages.parts.reporting.training_report import read_training_report
from stages.parts.user_error import user_errors_in_one_line

REPORTS = Path("reports")


class PlotParams(Params):
    """The `plot` section of params.yaml."""

    log_scale: bool = Field(description="true or false")
    dpi: int = Field(ge=50, le=600, description="a whole number from 50 to 600")


def main() -> None:
    params = read_params("plot", PlotParams)
    losses = read_losses(REPORTS / "losses.csv")
    report = read_training_report(REPORTS / "training.json")
    pairs, classes = count_pairs(REPORTS / "predictions.csv")

    # A person's own settings of matplotlib must not change the pictures.
    mpl.rcdefaults()
    run = draw_run(losses, report, log_scale=params.log_scale)
    confusion = draw_confusion(pairs, classes)

    write_png(run, REPORTS / "loss.png", params.dpi)
    write_png(confusion, REPORTS / "confusion.png", params.dpi)


def read_losses(path: Path) -> Losses:
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return {name: [float(row[index]) for row in rows] for index, name in enumerate(names)}


def count_pairs(path: Path) -> tuple[Pairs, list[str]]:
    """Return how often each actual class got each prediction, and the classes in order."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        pairs = Counter((row["actual"], row["predicted"]) for row in rows)
        return pairs, class_names(rows.fieldnames or [])


def write_png(figure: Figure, path: Path, dpi: int) -> None:
    with atomic_write(path) as temporary:
        # Without this, matplotlib signs the picture with its version.
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


if __name__ == "__main__":
    with user_errors_in_one_line("plot"):
        main()
