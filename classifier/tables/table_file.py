"""Tables in files, CSV or Parquet, whichever the content says, as DataFrames.

The index of a DataFrame has the row numbers that a spreadsheet shows: the header is row 1.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from classifier.io.user_error import UserError
from classifier.tables.csv_file import FIRST_ROW, CsvFile, sniff
from classifier.tables.values import DecimalMark

CHUNK_ROWS = 10_000
"""Rows per chunk: bounds the memory that a table of any length takes."""


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; its columns keep the types of Arrow."""

    path: Path
    name: str
    """What messages call it."""

    delimiter = ","
    decimal: DecimalMark = "."
    """What CSV made of it is to have."""

    def columns(self) -> list[str]:
        metadata = pq.read_metadata(self.path)
        if metadata.num_rows == 0:
            raise UserError(f"{self.name} has no rows")
        return [str(name) for name in metadata.schema.to_arrow_schema().names]

    def read(self, columns: list[str], text_column: str) -> pd.DataFrame:  # noqa: ARG002 (as CSV)
        return _as_frame(pq.read_table(self.path, columns=columns), FIRST_ROW)

    def chunks(self, columns: list[str], n_rows: int) -> Iterator[pd.DataFrame]:
        """Read the columns, `n_rows` rows at a time; they have types of their own."""
        first_row = FIRST_ROW
        waiting: list[pa.RecordBatch] = []
        with pq.ParquetFile(self.path) as file:
            # Where a chunk ends depends on nothing but the number of rows: its size may decide
            # how a network's sums are rounded. A batch ends with its group of rows.
            for batch in file.iter_batches(n_rows):
                waiting.append(batch)
                table = pa.Table.from_batches(waiting)
                while len(table) > n_rows:
                    yield _as_frame(table.slice(0, n_rows).select(columns), first_row)
                    table = table.slice(n_rows)
                    first_row += n_rows
                waiting = table.to_batches()
            if waiting:
                yield _as_frame(pa.Table.from_batches(waiting).select(columns), first_row)


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


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table."""

    file: CsvFile | ParquetFile
    columns: list[str]

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def delimiter(self) -> str:
        return self.file.delimiter

    @property
    def decimal(self) -> DecimalMark:
        return self.file.decimal

    def read(self, text_column: str) -> pd.DataFrame:
        """Read all rows with more than gaps: numbers where all cells are, text otherwise.

        `text_column` is to stay text, where the file is text.
        """
        with _errors_explained(self.name):
            table = self.file.read(self.columns, text_column)
        blank = table.isna().all(axis="columns")
        if blank.all():
            raise UserError(f"{self.name} has nothing but gaps")
        return table[~blank] if blank.any() else table

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Read the rows that are not empty, `CHUNK_ROWS` at a time, those of CSV as text."""
        with _errors_explained(self.name):
            for chunk in self.file.chunks(self.columns, CHUNK_ROWS):
                empty = chunk.eq("") if isinstance(self.file, CsvFile) else chunk.isna()
                yield chunk[~empty.all(axis="columns")]


def open_table(path: Path, name: str) -> TableFile:
    """Look at the beginning of a file.

    Raises
    ------
    UserError
        If there is no table in it, or one whose columns lack names of their own.

    """
    with _errors_explained(name):
        with path.open("rb") as binary:
            is_parquet = binary.read(4) == b"PAR1"
        file = ParquetFile(path, name) if is_parquet else sniff(path, name)
        columns = file.columns()
    for number, column in enumerate(columns, start=1):
        if not column.strip():
            raise UserError(f"{name}: column {number} has no name; give it one, or remove it")
        if columns.index(column) != number - 1:
            raise UserError(
                f"{name}: columns {columns.index(column) + 1} and {number} are both called "
                f"'{column}'; rename one"
            )
    return TableFile(file, columns)


@contextmanager
def _errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{name} is missing") from None
    except IsADirectoryError:
        raise UserError(f"{name} is a folder, not a table") from None
    except (pa.ArrowException, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{name} cannot be read: {error}") from None
