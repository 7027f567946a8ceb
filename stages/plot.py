"""Draw the training run and the confusion matrix."""

import csv
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from classifier.charts import draw_confusion, draw_run
from classifier.io.atomic_write import atomic_write
from classifier.io.params import Params, read_params
from classifier.io.user_error import user_errors_in_one_line
from classifier.verdict.diagnosis import TrainingReport

REPORTS = Path("reports")


class PlotParams(Params):
    """The `plot` section of params.yaml."""

    log_scale: bool = Field(description="true or false")
    dpi: int = Field(ge=50, le=600, description="a whole number from 50 to 600")


def main() -> None:
    params = read_params("plot", PlotParams)
    losses = pd.read_csv(REPORTS / "losses.csv")
    report = TrainingReport.model_validate_json((REPORTS / "training.json").read_bytes())
    predictions = read_predictions(REPORTS / "predictions.csv")

    # A person's own settings of matplotlib must not change the pictures.
    mpl.rcdefaults()
    run = draw_run(losses, report, log_scale=params.log_scale)
    confusion = draw_confusion(predictions)

    write_png(run, REPORTS / "loss.png", params.dpi)
    write_png(confusion, REPORTS / "confusion.png", params.dpi)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read predictions.csv; a class is a text, whatever it looks like."""
    # Not by pandas, for which a text ends before a NUL.
    with path.open(encoding="utf-8", newline="") as file:
        return pd.DataFrame(csv.DictReader(file))


def write_png(figure: Figure, path: Path, dpi: int) -> None:
    with atomic_write(path) as temporary:
        # Without this, matplotlib signs the picture with its version.
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


if __name__ == "__main__":
    with user_errors_in_one_line("plot"):
        main()
