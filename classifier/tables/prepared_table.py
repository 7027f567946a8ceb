"""A table as the network sees it: what `prepare` writes, and `start` looks at."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from classifier.io.prepared import write_parquet
from classifier.io.schema import Schema
from classifier.io.user_error import UserError
from classifier.tables.encoding import EncodedColumn, LeftOut
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.rows import TableRows
from classifier.tables.values import Spelling, category_names, holds_values, is_number, numbers


@dataclass(frozen=True)
class PreparedTable:
    """The rows, and the columns that have something to say."""

    rows: TableRows
    columns: list[EncodedColumn]
    left_out: dict[str, str]
    """Columns that say nothing, with the reason; not those that parameters leave out."""
    schema: Schema


def put_together(
    rows: TableRows, encoded: list[EncodedColumn | LeftOut], params: PrepareParams
) -> PreparedTable:
    """Part the columns from those that are left out, and describe them.

    Raises
    ------
    UserError
        If all are left out.

    """
    columns = [column for column in encoded if isinstance(column, EncodedColumn)]
    without = [column for column in encoded if isinstance(column, LeftOut)]
    if not columns:
        raise UserError(
            f"{params.data} has no column that says anything: '{without[0].name}' is left out, "
            f"since {without[0].reason}; so are all others"
        )
    schema = Schema(
        target=params.target,
        label_kind=rows.labels.kind,
        classes=rows.labels.classes,
        scaler=params.scaler,
        gaps=params.gaps,
        not_gaps=params.not_gaps,
        columns=[column.schema for column in columns],
    )
    left_out = rows.left_out | {column.name: column.reason for column in without}
    return PreparedTable(rows, columns, left_out, schema)


def write_cells(path: Path, table: pd.DataFrame, spelling: Spelling) -> None:
    """Write all columns of rows, also those that are no features; of other values, nulls."""
    columns = {name: _plain(column, spelling) for name, column in table.items()}
    write_parquet(path, pa.table(columns))


def _plain(column: pd.Series, spelling: Spelling) -> pa.Array:
    if is_number(column):
        return pa.array(numbers(column, spelling, str(column.name)))
    if not holds_values(column):
        return pa.nulls(len(column))
    spelled = category_names(column, spelling)
    lower = spelled.str.lower()
    if lower.dropna().isin(["true", "false"]).all():
        spelled = lower
    return pa.array(spelled.astype(object), pa.string())
