"""Draw the training run and the test, and put all that is known on one page."""

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from pydantic import RootModel

from classifier.drawing.charts import draw_confusion, draw_curves, draw_importance, draw_reliability
from classifier.drawing.style import png_of
from classifier.drawing.training_run import draw_run
from classifier.evaluation.evaluated import Evaluated
from classifier.io.files import read_json, read_text, write_bytes
from classifier.io.later_params import PlotParams
from classifier.io.params import read_params, read_section
from classifier.io.prepared import PreparedRows
from classifier.io.schema import TableReport, read_schema
from classifier.io.user_error import user_errors_in_one_line
from classifier.report.facts import Facts
from classifier.report.page import write_card, write_page
from classifier.search.search_report import LastSearch, SearchReport
from classifier.verdict.diagnosis import TrainingReport

PREPARED, REPORTS = Path("data/prepared"), Path("reports")

WHERE_AND_HOW_FAST = {"save_every_seconds", "device", "threads", "torchrun"}
"""Parameters that are not on the page."""


def main() -> None:
    params = read_params("plot", PlotParams)
    facts = read_facts()
    intended_use = read_text(Path("intended-use.md"), encoding="utf-8-sig")
    losses = pd.read_csv(REPORTS / "losses.csv")
    predictions = read_texts(REPORTS / "predictions.csv")
    roc, precision_recall = (
        read_points(REPORTS / f"{name}.csv") for name in ("roc", "precision_recall")
    )

    # A person's own settings of matplotlib must not change the pictures.
    mpl.rcdefaults()
    figures = {
        "loss": draw_run(losses, facts.training, log_scale=params.log_scale),
        "confusion": draw_confusion(predictions),
        "roc": draw_curves(roc, "ROC"),
        "precision_recall": draw_curves(precision_recall, "precision-recall"),
        "reliability": draw_reliability(read_points(REPORTS / "reliability.csv")),
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
    baselines = read_json(REPORTS / "baseline.json", RootModel[dict[str, dict[str, Any]]]).root
    most_wrong = read_texts(REPORTS / "most_wrong.csv")
    return Facts(
        metrics=read_json(Path("metrics.json"), Evaluated),
        training=read_json(REPORTS / "training.json", TrainingReport),
        table=read_json(REPORTS / "table.json", TableReport),
        schema=read_schema(PREPARED / "schema.json"),
        rows=rows.class_counts,
        params=params,
        left_out=[one["left_out"] for one in baselines.values() if "left_out" in one],
        search=read_search(params["train"], rows.hash_of_train_and_val),
        importance=read_points(REPORTS / "importance.csv"),
        most_wrong=most_wrong.astype({"probability_of_actual": float}),
    )


def read_search(train: dict[str, Any], prepared_rows: str) -> SearchReport | None:
    """Read what the last search has found, if these are its parameters, found with these rows."""
    path = REPORTS / "search.json"
    search = read_json(path, LastSearch, made_by=f"make search, or git checkout {path}").root
    if search is None or search.prepared_rows != prepared_rows:
        return None
    is_of_these = all(train[name] == value for name, value in search.params.items())
    return search if is_of_these else None


def read_points(path: Path) -> pd.DataFrame:
    """Read numbers, and whose they are."""
    points = read_texts(path)
    numbers = points.columns.difference(["class", "column", "model", "of"])
    return points.astype(dict.fromkeys(numbers, float))


def read_texts(path: Path) -> pd.DataFrame:
    """Read a table whose cells are texts, whatever they look like: a class may be called NA."""
    # Not by pandas, for which a text ends before a NUL.
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    return pd.DataFrame(rows, columns=reader.fieldnames)


if __name__ == "__main__":
    with user_errors_in_one_line("plot"):
        main()
