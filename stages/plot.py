"""Draw the training run and the test, and put all that is known on one page."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from classifier.drawing import (
    draw_confusion,
    draw_curves,
    draw_importance,
    draw_reliability,
    draw_run,
    png_of,
)
from classifier.evaluation.evaluated import BaselineReports, Evaluated, LeftOut
from classifier.io.files import read_json, read_text, write_bytes
from classifier.io.later_params import PlotParams
from classifier.io.params import read_params, read_section
from classifier.io.prepared import PREPARED, PreparedRows
from classifier.io.schema import TableReport, read_schema
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.report.page import Facts, write_card, write_page
from classifier.search.search_report import LastSearch, SearchReport
from classifier.verdict import TrainingReport

REPORTS = Path("reports")

LOSSES = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]
INTERVAL = ["low", "high"]

WHERE_AND_HOW_FAST = {"save_every_seconds", "device", "threads", "torchrun"}
"""Parameters that are not on the page."""


def main() -> None:
    params = read_params("plot", PlotParams)
    facts = read_facts()
    intended_use = read_text(Path("intended-use.md"), encoding="utf-8-sig")
    losses = read_csv(REPORTS / "losses.csv", numbers=["epoch", *LOSSES], others=float)
    predictions = read_csv(REPORTS / "predictions.csv", texts=["actual", "predicted"])
    curve = ["class", "model"]
    roc = read_csv(REPORTS / "roc.csv", curve, ["false_positive_rate", "true_positive_rate"])
    precision_recall = read_csv(REPORTS / "precision_recall.csv", curve, ["recall", "precision"])
    reliability = read_csv(
        REPORTS / "reliability.csv", ["of"], ["confidence", "accuracy", *INTERVAL, "n_test"]
    )

    # A person's own settings of matplotlib must not change the pictures.
    mpl.rcdefaults()
    figures = {
        "loss": draw_run(losses, facts.training, log_scale=params.log_scale),
        "confusion": draw_confusion(predictions),
        "roc": draw_curves(roc, "ROC"),
        "precision_recall": draw_curves(precision_recall, "precision-recall"),
        "reliability": draw_reliability(reliability),
        "importance": draw_importance(facts.importance),
    }
    pictures = {name: png_of(figure, params.dpi) for name, figure in figures.items()}
    page = write_page(facts, intended_use, pictures)
    card = write_card(facts, intended_use)

    for name, picture in pictures.items():
        write_bytes(REPORTS / f"{name}.png", picture)
    write_bytes(REPORTS / "report.html", page.encode())
    write_bytes(REPORTS / "model-card.md", card.encode())


def read_facts() -> Facts:
    rows = read_json(PREPARED / "rows.json", PreparedRows)
    params = {
        section: {
            key: value
            for key, value in read_section(section).items()
            if key not in WHERE_AND_HOW_FAST
        }
        for section in ("prepare", "train", "baseline", "evaluate")
    }
    baselines = read_json(REPORTS / "baseline.json", BaselineReports).root
    importance = read_csv(REPORTS / "importance.csv", ["column"], ["importance", *INTERVAL])
    return Facts(
        metrics=read_json(Path("metrics.json"), Evaluated),
        training=read_json(REPORTS / "training.json", TrainingReport),
        table=read_json(REPORTS / "table.json", TableReport),
        schema=read_schema(PREPARED / "schema.json"),
        rows=rows.class_counts.model_dump(),
        params=params,
        left_out=[one.left_out for one in baselines.values() if isinstance(one, LeftOut)],
        search=read_search(params["train"], rows.hash_of_train_and_val),
        importance=importance,
        most_wrong=read_csv(
            REPORTS / "most_wrong.csv", ["row", "actual", "predicted"], ["probability_of_actual"]
        ),
    )


def read_search(train: dict[str, Any], prepared_rows: str) -> SearchReport | None:
    """Read what the last search has found, if these are its parameters, found with these rows."""
    path = REPORTS / "search.json"
    search = read_json(path, LastSearch, made_by=f"make search, or git checkout {path}").root
    if search is None or search.prepared_rows != prepared_rows:
        return None
    is_of_these = all(train[name] == value for name, value in search.params.items())
    return search if is_of_these else None


def read_csv(
    path: Path, texts: Sequence[str] = (), numbers: Sequence[str] = (), others: type = str
) -> pd.DataFrame:
    """Read a table that has at least these columns.

    A text is kept whatever it looks like: a class may be called NA.

    Raises
    ------
    UserError
        If there is no file, or it holds something else.

    """
    # Not by pandas, for which a text ends before a NUL.
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file, strict=True)
        cells = [dict(zip(names, row, strict=True)) for row in rows]
        kinds = dict.fromkeys(names, others) | dict.fromkeys(texts, str)
        return pd.DataFrame(cells, columns=names).astype(kinds | dict.fromkeys(numbers, float))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; to make it: dvc repro") from None
    except (ValueError, KeyError, csv.Error):
        raise UserError(
            f"{path} is not what a stage has written; to make it anew: dvc repro"
        ) from None


if __name__ == "__main__":
    with user_errors_in_one_line("plot"):
        main()
