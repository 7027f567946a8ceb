"""Parquet files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from classifier.io.user_error import UserError
from classifier.tables.header import names_of
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import TableFile
from classifier.tables.values import spelling_of

FIRST_ROW = 2
"""Where a spreadsheet would show the first row: below the names."""


@dataclass(frozen=True, kw_only=True)
class ParquetFile(TableFile):
    """A Parquet file; its columns keep the types of Arrow."""

    path: Path

    def resolved(self) -> dict[str, str | bool]:
        return {}

    def describe(self) -> str:
        return "Parquet"

    def left_out(self, table: pd.DataFrame) -> dict[str, str]:
        index = dict.fromkeys(self.unnamed, "it is an index that pandas has added")
        return {**super().left_out(table), **index}

    def cells(self, text_columns: set[str]) -> pd.DataFrame:  # noqa: ARG002 (as CSV)
        return _as_frame(pq.read_table(self.path).rename_columns(self.columns), FIRST_ROW)

    def parts(self, n_rows: int) -> Iterator[pd.DataFrame]:
        first_row = FIRST_ROW
        waiting: list[pa.RecordBatch] = []
        with pq.ParquetFile(self.path) as file:
            # Where a chunk ends depends on nothing but the number of rows: its size may decide
            # how a network's sums are rounded. A batch ends with its group of rows.
            for batch in file.iter_batches(n_rows):
                waiting.append(batch.rename_columns(self.columns))
                table = pa.Table.from_batches(waiting)
                while len(table) > n_rows:
                    yield _as_frame(table.slice(0, n_rows), first_row)
                    table = table.slice(n_rows)
                    first_row += n_rows
                waiting = table.to_batches()
            if waiting:
                yield _as_frame(pa.Table.from_batches(waiting), first_row)


def open_parquet(path: Path, name: str, reading: Reading) -> ParquetFile:
    """Read the names of the columns.

    Raises
    ------
    UserError
        If there are no rows.

    """
    metadata = pq.read_metadata(path)
    if metadata.num_rows == 0:
        raise UserError(f"{name} has no rows")
    header = [str(column) for column in metadata.schema.to_arrow_schema().names]
    columns, unnamed = names_of(header, has_header=True)
    return ParquetFile(
        path=path, name=name, columns=columns, unnamed=unnamed, spelling=spelling_of(reading)
    )


def _as_frame(table: pa.Table, first_row: int) -> pd.DataFrame:
    plain = pa.schema([field.with_type(_plain(field.type)) for field in table.schema])
    frame = table.cast(plain).to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    frame.index += first_row
    return frame


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type without ways to store it that pandas does not know."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return views.get(kind, kind)
