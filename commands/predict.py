"""Predict the classes of new rows, with nothing but the exported model."""

import argparse
import math
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.evaluation.answers import Decision
from classifier.exported_model.load import ExportedModel
from classifier.io.pieces import folded, pieces
from classifier.io.schema import CategoricalColumn, Schema, TextColumn
from classifier.io.table_writer import table_writer
from classifier.io.user_error import (
    NeedsParameterError,
    UserError,
    quoted,
    user_errors_in_one_line,
)
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import TableFile
from classifier.tables.values import raw_values
from commands.reading_options import add_reading_options, as_option, in_shell, reading_from


def main() -> None:
    arguments = parse_arguments()
    model = ExportedModel(arguments.model)
    schema = model.schema
    decision = decision_of(arguments.threshold, schema.classes)
    with (
        opened(arguments.table, reading_of(arguments, schema), schema) as file,
        table_writer(arguments.output, file.delimiter, file.spelling.decimal) as write,
    ):
        refuse_prediction_names(file, schema)
        unseen, new_words, words = Counter[str](), Counter[str](), Counter[str]()
        for chunk, raw, probabilities in predicted_chunks(model, file):
            unseen += count_unseen(raw, schema)
            for column in schema.columns:
                if isinstance(column, TextColumn):
                    of_text = Counter(folded(" ".join(raw[column.name])).split())
                    words[column.name] += of_text.total()
                    new_words[column.name] += count_new(of_text, column)
            write(with_predictions(chunk, probabilities, schema, decision))
    for name, count in unseen.items():
        print(
            f"predict: warning: column '{name}': rows with a value that no training row has, and "
            f"that counts as no category: {count}",
            file=sys.stderr,
        )
    for name, n_words in words.items():
        if new_words[name] > n_words / 2:
            print(
                f"predict: warning: column '{name}': most words, {new_words[name]} of {n_words}, "
                "have little in common with those of the training rows",
                file=sys.stderr,
            )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m commands.predict", description=__doc__)
    parser.add_argument(
        "table", help="CSV, Parquet, a workbook and the like; - reads standard input"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="a file that ends with .csv, .csv.gz or .parquet (default: CSV on standard output)",
    )
    parser.add_argument("--model", type=Path, default=Path("models/model.onnx"))
    parser.add_argument(
        "--threshold",
        metavar="CLASS=PROBABILITY",
        help="of two classes, take a row for this one from this probability on (default: 0.5)",
    )
    add_reading_options(parser)
    return parser.parse_args()


def decision_of(threshold: str | None, classes: list[str]) -> Decision:
    """Return how probabilities become a class; raises `UserError` if the threshold is none."""
    if threshold is None:
        return Decision()
    name, _, text = threshold.rpartition("=")
    try:
        probability = float(text)
    except ValueError:
        probability = math.nan
    if len(classes) != 2 or name not in classes or not 0 < probability < 1:
        raise UserError(
            f"--threshold is '{threshold}', but must be one of two classes and a probability "
            f"between 0 and 1, such as {in_shell(classes[-1] + '=0.3')}; the classes are: "
            f"{quoted(classes)}"
        )
    return Decision(classes.index(name), probability)


def reading_of(arguments: argparse.Namespace, schema: Schema) -> Reading:
    """Return how to read the table: as it was for training where that is about the values."""
    reading = reading_from(arguments)
    return reading.model_copy(
        update={
            "gaps": [*schema.gaps, *reading.gaps],
            "not_gaps": [*schema.not_gaps, *reading.not_gaps],
        }
    )


@contextmanager
def opened(name: str, reading: Reading, schema: Schema) -> Iterator[TableFile]:
    wanted = [column.name for column in schema.columns]
    try:
        if name != "-":
            yield open_table(Path(name), name, reading, wanted)
            return
        with tempfile.NamedTemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
            yield open_table(Path(copy.name), "standard input", reading, wanted)
    except NeedsParameterError as error:
        # By the names that columns have without a header, the model has to know them.
        helps = error.parameter != "header" or all(
            re.fullmatch(r"c\d+", column.name) for column in schema.columns
        )
        raise UserError(error.with_advice(as_option(error) if helps else None)) from None


def predicted_chunks(
    model: ExportedModel, file: TableFile
) -> Iterator[tuple[pd.DataFrame, dict[str, npt.NDArray[Any]], npt.NDArray[np.float64]]]:
    """Yield some rows after the other, their raw values by column, and their probabilities.

    The values are of shape (n,), the probabilities of shape (n, n_classes). Raises `UserError` if
    the table lacks a column, or a cell is not of its column's kind, or so large a number that there
    are no probabilities.
    """
    schema = model.schema
    missing = [column.name for column in schema.columns if column.name not in file.columns]
    if missing:
        raise UserError(
            f"{file.name} lacks {quoted(missing)}; the model needs the columns "
            f"{quoted([column.name for column in schema.columns])}"
        )
    for chunk in file.chunks():
        raw = {
            column.name: raw_values(column, chunk[column.name], file.spelling, file.name)
            for column in schema.columns
        }
        probabilities = model.probabilities(raw)
        without = np.isnan(probabilities).any(axis=1)
        if without.any():
            raise UserError(
                f"{file.name}: row {chunk.index[without.argmax()]} holds a number far too large "
                "for the model; correct it, or leave it empty"
            )
        yield chunk, raw, probabilities


def refuse_prediction_names(file: TableFile, schema: Schema) -> None:
    """Refuse a table that has a column which the predictions are to have."""
    taken = [name for name in prediction_names(schema) if name in file.columns]
    if taken:
        raise UserError(
            f"{file.name} already has {quoted(taken)}, where the predictions would go; "
            "rename or remove them"
        )


def prediction_names(schema: Schema) -> list[str]:
    return ["predicted", *(f"probability_{name}" for name in schema.classes)]


def count_unseen(raw: dict[str, npt.NDArray[Any]], schema: Schema) -> Counter[str]:
    """Count, for each column of categories, the values that are none of them, nor gaps."""
    return Counter(
        {
            column.name: int((~pd.Series(raw[column.name]).isin(["", *column.categories])).sum())
            for column in schema.columns
            if isinstance(column, CategoricalColumn) and not column.other
        }
    )


def count_new(words: Counter[str], column: TextColumn) -> int:
    """Count the folded words most of whose pieces the model does not know."""
    known, pieces_of = set(column.pieces), {word: set(pieces(word)) for word in words}
    return sum(
        words[word] for word, parts in pieces_of.items() if len(parts & known) < len(parts) / 2
    )


def with_predictions(
    table: pd.DataFrame,
    probabilities: npt.NDArray[np.float64],
    schema: Schema,
    decision: Decision,
) -> pd.DataFrame:
    """Return the rows with the predicted class and the probabilities of all."""
    classes = pd.Series(schema.classes)
    if schema.label_kind == "integer":
        classes = classes.astype("int64")
    elif schema.label_kind == "boolean":
        classes = classes == "true"
    predicted = classes.take(decision.classes(probabilities)).to_numpy()
    values = [predicted, *probabilities.T]
    added = pd.DataFrame(dict(zip(prediction_names(schema), values, strict=True)), table.index)
    return pd.concat([table, added], axis="columns")


if __name__ == "__main__":
    with user_errors_in_one_line("predict"):
        main()
