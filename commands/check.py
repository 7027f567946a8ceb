"""Say whether a model is still right for a table: with nothing but its file, and metrics.json."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from classifier.checking import (
    UNSURE,
    Checked,
    CountedColumn,
    Labelled,
    Limits,
    check_columns,
    compare,
    decide,
)
from classifier.evaluation.answers import Answers, Decision, find_positive
from classifier.evaluation.evaluated import Evaluated
from classifier.evaluation.metrics import measure
from classifier.evaluation.slices import groups, measure_slices
from classifier.exported_model.load import ExportedModel
from classifier.io.files import read_json, write_bytes, write_json
from classifier.io.profile import ColumnProfile
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


def main() -> int:
    """Return the exit status."""
    arguments = parse_arguments()
    model = ExportedModel(arguments.model)
    test = read_metrics(arguments.model, model.schema)
    limits = Limits.model_validate(vars(arguments), extra="ignore")
    with opened(arguments.table, reading_of(arguments, model.schema), model.schema) as file:
        checked = check_table(model, file, test, list(dict.fromkeys(arguments.slice)), limits)
    checked.verdict, checked.said = decide(checked, test)
    page = arguments.output.with_suffix(".html")
    write_json(page.with_suffix(".json"), checked)
    write_bytes(page, filled_in("check.html", checked, checked=checked, test=test).encode())
    print(*checked.said, f"more is in {page}", sep="\n")
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
    for name, limit in Limits.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=share, default=limit.default, help=limit.description)
    add_reading_options(parser)
    return parser.parse_args()


def share(text: str) -> float:
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


def check_table(
    model: ExportedModel, file: TableFile, test: Evaluated | None, slices: list[str], limits: Limits
) -> Checked:
    """Compare a table with the training rows, a chunk at a time, and labels with the answers.

    Raises `UserError` where the table is not one for this model.
    """
    schema, profile = model.schema, model.profile()
    if missing := [name for name in slices if name not in file.columns]:
        raise UserError(f"{file.name} lacks {quoted(missing)}, which --slice names")
    name, threshold = (test.positive_class, test.threshold) if test else (None, None)
    positive = find_positive(name, schema.classes, np.array(profile.class_counts))
    decision = Decision(positive, threshold)
    columns = list(map(CountedColumn, schema.columns, profile.columns))
    target = CategoricalColumn.model_construct(name=schema.target, categories=schema.classes)
    of_training = ColumnProfile(cuts=[], counts=[*profile.class_counts, 0, 0])
    dates = [one.name for one in schema.columns if isinstance(one, DatetimeColumn)]
    labels, taken_for = (CountedColumn(target, of_training) for _ in range(2))
    promised, n_unsure, labelled = 0.0, 0, pd.DataFrame()
    generator = np.random.default_rng(0)
    most = min(MOST_MEASURED, 40 * MOST_MEASURED // len(schema.classes))
    for chunk, raw, probabilities in predicted_chunks(model, file):
        for column in columns:
            column.add(raw[column.column.name])
        predicted = decision.classes(probabilities)
        taken_for.add(np.array(schema.classes, object)[predicted])
        of_predicted = probabilities[np.arange(len(chunk)), predicted]
        promised += of_predicted.sum()
        n_unsure += int((of_predicted < UNSURE).sum())
        if schema.target in file.columns:
            names = label_names(chunk[schema.target], schema.label_kind, file.name)
            labels.add(names.dropna().to_numpy(object))
            index = pd.Index(schema.classes).get_indexer(names)
            moments = {one: pd.to_datetime(np.floor(raw[one]), unit="s") for one in dates}
            parts = {
                "target": pd.DataFrame({"index": index}, chunk.index),
                "probabilities": pd.DataFrame(probabilities, chunk.index),
                "cells": chunk[slices].assign(**moments),
            }
            rows = pd.concat(parts, axis="columns").set_axis(generator.random(len(chunk)))
            labelled = pd.concat([labelled, rows[index >= 0]]).sort_index().iloc[:most]
    n = int(taken_for.new.sum())
    if not n:
        raise UserError(f"{file.name} has nothing but gaps")
    checked = Checked(
        table=file.name,
        target=schema.target,
        n_training=sum(profile.class_counts),
        rows=n,
        limits=limits,
        columns=check_columns([*columns, *([labels] if labels.new.any() else [])], limits),
        classes=taken_for.shares()[:-2],
        promised_accuracy=promised / n,
        n_unsure=n_unsure,
    )
    if len(labelled):
        probabilities = labelled["probabilities"].to_numpy()
        answers = Answers(labelled["target", "index"].to_numpy(), probabilities, decision)
        majority_class = int(np.argmax(profile.class_counts))
        metrics = measure(answers, schema.classes, majority_class, limits.confidence, rows="new")
        checked.labelled = Labelled(
            n_labels=labels.new.sum(),
            n_unknown=labels.new[-2],
            promised_accuracy=probabilities[np.arange(len(labelled)), answers.predicted].mean(),
            metrics=metrics,
            changes=compare(test, metrics, limits.confidence) if test else {},
            groups={
                name: measure_slices(answers, grouped(cells, file.spelling), limits.confidence)
                for name, cells in labelled.get("cells", {}).items()
            },
        )
    return checked


def grouped(cells: pd.Series, spelling: Spelling) -> pd.Series:
    """Return each row's group; of texts, by their numbers where all are."""
    if is_datetime64_any_dtype(cells):
        return groups(cells)
    spelled = texts(cells, spelling.gaps)
    numbers = pd.Series(parse_numbers(spelled, spelling), cells.index)
    return groups(numbers if numbers.notna().equals(spelled.notna()) else spelled)


if __name__ == "__main__":
    with user_errors_in_one_line("check"):
        status = main()
    sys.exit(status)
