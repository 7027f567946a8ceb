"""Say whether a model is still right for a table: with nothing but its file, and metrics.json."""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_string_dtype

from classifier.checking import (
    UNSURE,
    Checked,
    CountedColumn,
    Labelled,
    Limits,
    Shares,
    check_columns,
    compare,
    decide,
)
from classifier.evaluation.answers import Answers, Decision, find_positive
from classifier.evaluation.bootstrap import mean_interval
from classifier.evaluation.evaluated import Evaluated
from classifier.evaluation.metrics import measure
from classifier.evaluation.slices import groups, measure_slices
from classifier.exported_model.load import ExportedModel
from classifier.io.files import read_json, write_bytes, write_json
from classifier.io.later_params import MOST_PROBABLE
from classifier.io.profile import ColumnProfile, Profile
from classifier.io.schema import CategoricalColumn, DatetimeColumn, Schema
from classifier.io.user_error import UserError, quoted, user_errors_in_one_line
from classifier.report.page import filled_in
from classifier.tables.labels import label_names
from classifier.tables.table_file import TableFile
from classifier.tables.values import Spelling, parse_numbers, texts
from commands.predict import opened, predicted_chunks, reading_of
from commands.reading_options import add_reading_options

STATUS = {"go on": 0, "look": 3, "train anew": 4}
"""Exit statuses; 1 is that of errors, 2 that of wrong options and of make."""

MOST_MEASURED = 100_000
"""Of more rows with labels, so many are drawn: intervals are narrow enough."""

LIMITS = {
    "confidence": (0.95, "of intervals and tests; evaluate.confidence should be the same"),
    "least-difference": (0.05, "look at a column that differs in such a share of the rows"),
    "least-loss": (0.02, "train anew where accuracy is lower by so much"),
}


@dataclass
class Counted:
    """What is kept of the new rows."""

    columns: list[CountedColumn]
    target: CountedColumn
    """The labels."""
    predicted: npt.NDArray[np.int64]
    """Rows by predicted class, shape (n_classes,)."""
    promised: float = 0.0
    """The sum of the predicted class's probabilities."""
    n_unsure: int = 0
    measured: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Rows with a known label: `own` columns, `probabilities`, and `cells` to group them by."""

    @property
    def n(self) -> int:
        return int(self.predicted.sum())


def main() -> int:
    """Return the exit status."""
    arguments = parse_arguments()
    model = ExportedModel(arguments.model)
    schema, profile = model.schema, model.profile()
    test = read_metrics(arguments.model, schema)
    limits = Limits(arguments.confidence, arguments.least_difference, arguments.least_loss)
    name, threshold = (test.positive_class, test.threshold) if test else (None, None)
    positive = find_positive(name, schema.classes, np.array(profile.class_counts))
    decision = Decision(positive, threshold or MOST_PROBABLE)
    with opened(arguments.table, reading_of(arguments, schema), schema) as file:
        counted = count_rows(model, profile, file, decision, arguments.slice)
    columns = [*counted.columns, *([counted.target] if counted.target.new.any() else [])]
    checked = Checked(
        table=file.name,
        rows=counted.n,
        columns=check_columns(columns, limits),
        classes=[
            Shares(of=of, training=training, new=new)
            for of, training, new in zip(
                schema.classes,
                profile.class_counts / np.sum(profile.class_counts),
                counted.predicted / counted.n,
                strict=True,
            )
        ],
        promised_accuracy=counted.promised / counted.n,
        n_unsure=counted.n_unsure,
    )
    if len(counted.measured):
        how = schema.classes, int(np.argmax(profile.class_counts)), limits.confidence
        checked.labelled = check_labelled(counted, decision, how, test, file.spelling)
    checked.verdict, checked.said = decide(checked, test, limits)
    parts = {"schema": schema, "profile": profile, "decision": decision, "limits": limits}
    page = filled_in("check.html", checked, checked=checked, **parts)
    page_file = arguments.output.with_suffix(".html")
    write_json(page_file.with_suffix(".json"), checked)
    write_bytes(page_file, page.encode())
    print(*checked.said, f"more is in {page_file}", sep="\n")
    return STATUS[checked.verdict]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m commands.check", description=__doc__)
    parser.add_argument("table", help="CSV, Parquet or a workbook (.xlsx); - reads standard input")
    help_text = "the page, .html, and in .json what is on it (default: check.html)"
    parser.add_argument("-o", "--output", type=Path, default=Path("check.html"), help=help_text)
    help_text = "beside it or its folder, metrics.json says what it was worth"
    parser.add_argument("--model", type=Path, default=Path("models/model.onnx"), help=help_text)
    help_text = "a column, for each value of which the model is measured"
    parser.add_argument("--slice", action="append", default=[], help=help_text)
    limits = parser.add_argument_group("from where on a difference counts (from 0 to 1)")
    for option, (default, help_text) in LIMITS.items():
        limits.add_argument(f"--{option}", type=a_share, default=default, help=help_text)
    add_reading_options(parser)
    return parser.parse_args()


def a_share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError
    return value


def read_metrics(model: Path, schema: Schema) -> Evaluated | None:
    """Read metrics.json where it lies beside a model or its folder."""
    places = [folder / "metrics.json" for folder in (model.parent, model.parent.parent)]
    path = next(filter(Path.is_file, places), None)
    found = None if path is None else read_json(path, Evaluated)
    if found is not None and list(found.classes) != schema.classes:
        raise UserError(f"{path} is of another model than {model}, beside which it lies; move it")
    return found


def count_rows(
    model: ExportedModel, profile: Profile, file: TableFile, decision: Decision, slices: list[str]
) -> Counted:
    """Count the rows, a chunk at a time; raises `UserError` where there are none."""
    schema, n_classes = model.schema, len(model.schema.classes)
    if missing := [name for name in slices if name not in file.columns]:
        raise UserError(f"{file.name} lacks {quoted(missing)}, which --slice names")
    target = CategoricalColumn(
        name=schema.target,
        kind="text",
        categories=schema.classes,
        other=False,
        missing_indicator=False,
    )
    of_training = ColumnProfile(cuts=[], counts=[*profile.class_counts, 0, 0])
    counted = Counted(
        columns=list(map(CountedColumn, schema.columns, profile.columns)),
        target=CountedColumn(target, of_training),
        predicted=np.zeros(n_classes, np.int64),
    )
    generator = np.random.default_rng(0)
    for chunk, raw, probabilities in predicted_chunks(model, file):
        for column in counted.columns:
            column.add(raw[column.column.name])
        predicted = decision.classes(probabilities)
        of_predicted = probabilities[np.arange(len(predicted)), predicted]
        counted.predicted += np.bincount(predicted, minlength=n_classes)
        counted.promised += of_predicted.sum()
        counted.n_unsure += int((of_predicted < UNSURE).sum())
        if schema.target in file.columns:
            names = label_names(chunk[schema.target], schema.label_kind, file.name)
            counted.target.add(names.dropna().to_numpy(object))
            index = pd.Index(schema.classes).get_indexer(names)
            own = {"target": index, "key": generator.random(len(chunk))}
            grouped = {name: texts(chunk[name], file.spelling.gaps) for name in slices} | {
                column.name: pd.Series(
                    pd.to_datetime(np.floor(raw[column.name]), unit="s"), chunk.index
                )
                for column in schema.columns
                if isinstance(column, DatetimeColumn)
            }
            parts = {"own": own, "probabilities": probabilities, "cells": grouped}
            frames = {name: pd.DataFrame(part, chunk.index) for name, part in parts.items()}
            rows = pd.concat([counted.measured, pd.concat(frames, axis="columns")[index >= 0]])
            most = min(MOST_MEASURED, max(1000, 40 * MOST_MEASURED // n_classes))
            counted.measured = rows if len(rows) <= most else rows.nsmallest(most, ("own", "key"))
    if not counted.n:
        raise UserError(f"{file.name} has nothing but gaps")
    return counted


def check_labelled(
    counted: Counted,
    decision: Decision,
    how: tuple[list[str], int, float],
    test: Evaluated | None,
    spelling: Spelling,
) -> Labelled:
    """Measure the model on labelled rows; `how` are the classes, the commonest, the confidence."""
    rows, confidence = counted.measured.sort_index(), how[2]
    target = rows["own", "target"].to_numpy(np.int64)
    answers = Answers(target, rows["probabilities"].to_numpy(), decision)
    metrics = measure(answers, *how, rows="new")
    is_right = answers.predicted == target
    excess = answers.probabilities[np.arange(len(target)), answers.predicted] - is_right
    return Labelled(
        n_labels=counted.target.new.sum(),
        n_unknown=counted.target.new[-2],
        metrics=metrics,
        changes={} if test is None else compare(test, metrics, confidence),
        overconfidence=excess.mean(),
        overconfidence_interval=mean_interval(excess, confidence) if len(excess) > 1 else None,
        groups={
            name: measure_slices(
                answers, groups(as_numbers(rows[part, name], spelling)), confidence
            )
            for part, name in rows
            if part == "cells"
        },
    )


def as_numbers(cells: pd.Series, spelling: Spelling) -> pd.Series:
    """Return texts as numbers where all of them are, NaN for gaps; dates as they are."""
    if not is_string_dtype(cells):
        return cells
    numbers = pd.Series(parse_numbers(cells, spelling), cells.index)
    return numbers if numbers.notna().equals(cells.notna()) else cells


if __name__ == "__main__":
    with user_errors_in_one_line("check"):
        status = main()
    sys.exit(status)
