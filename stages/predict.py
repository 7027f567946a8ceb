"""Predict the classes of new rows, with nothing but the exported model."""

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from stages.parts.exported_model import load_exported_model
from stages.parts.reporting.table_writer import table_writer
from stages.parts.tables.raw_values import raw_values
from stages.parts.tables.schema import CategoricalColumn, Schema
from stages.parts.tables.table import Table, TableFile, open_table
from stages.parts.user_error import UserError, user_errors_in_one_line


def main() -> None:
    arguments = parse_arguments()
    # As in evaluation: the number of threads decides how sums are rounded.
    torch.set_num_threads(1)
    model, schema = load_exported_model(arguments.model)
    with (
        opened(arguments.table) as file,
        table_writer(arguments.output, file.delimiter, file.decimal_point) as write,
    ):
        check_columns(file, schema)
        unseen = Counter[str]()
        for chunk in file.chunks():
            raw = {column.name: raw_values(column, chunk) for column in schema.columns}
            unseen += count_unseen(raw, schema)
            write(with_predictions(chunk, raw, model, schema))
    for name, count in unseen.items():
        print(
            f"predict: warning: column '{name}': rows with a value that no training row has, and "
            f"that counts as no category: {count}",
            file=sys.stderr,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("table", help="a CSV or Parquet file; - reads standard input")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="a file that ends with .csv, .csv.gz or .parquet (default: CSV on standard output)",
    )
    parser.add_argument("--model", type=Path, default=Path("models/model.pt2"))
    return parser.parse_args()


@contextmanager
def opened(name: str) -> Iterator[TableFile]:
    if name != "-":
        yield open_table(Path(name), name)
        return
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield open_table(Path(copy.name), "standard input")


def check_columns(file: TableFile, schema: Schema) -> None:
    """Refuse a table that lacks a column, or has one that the predictions are to have.

    Raises
    ------
    UserError
        Names the columns.

    """
    missing = [column.name for column in schema.columns if column.name not in file.columns]
    if missing:
        raise UserError(
            f"{file.name} lacks {quoted(missing)}; the model needs the columns "
            f"{quoted([column.name for column in schema.columns])}"
        )
    taken = [name for name in prediction_names(schema) if name in file.columns]
    if taken:
        raise UserError(
            f"{file.name} already has {quoted(taken)}, where the predictions would go; "
            "rename or remove them"
        )


def quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def prediction_names(schema: Schema) -> list[str]:
    return ["predicted", *(f"probability_{name}" for name in schema.classes)]


def count_unseen(raw: dict[str, npt.NDArray[np.float64]], schema: Schema) -> Counter[str]:
    """Count, for each column of categories, the values that are none of them."""
    return Counter(
        {
            column.name: int((raw[column.name] == -1).sum())
            for column in schema.columns
            if isinstance(column, CategoricalColumn)
        }
    )


def with_predictions(
    table: Table, raw: dict[str, npt.NDArray[np.float64]], model: nn.Module, schema: Schema
) -> pa.Table:
    """Return the rows with the most probable class and the probabilities of all.

    Raises
    ------
    UserError
        If a value is so large that there are no probabilities.

    """
    probabilities = model(torch.from_numpy(np.column_stack(list(raw.values())))).numpy()
    without = np.isnan(probabilities).any(axis=1)
    if without.any():
        raise UserError(
            f"{table.source}: row {table.rows[without.argmax()]} holds a number far too large for "
            "the model; correct it, or leave it empty"
        )
    classes = pa.array(schema.classes)
    if schema.label_kind != "text":
        classes = classes.cast(pa.int64() if schema.label_kind == "integer" else pa.bool_())
    predicted = classes.take(pa.array(probabilities.argmax(axis=1)))
    values = [predicted, *(pa.array(column) for column in probabilities.T)]
    data = table.data
    for name, column in zip(prediction_names(schema), values, strict=True):
        data = data.append_column(name, column)
    return data


if __name__ == "__main__":
    with user_errors_in_one_line("predict"):
        try:
            main()
        except BrokenPipeError:
            # Whoever read standard output, such as `head`, has had enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
