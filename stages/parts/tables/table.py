"""Tables in files, CSV or Parquet, whichever the content says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.parts.tables.csv_file import FIRST_ROW, CsvFile
from stages.parts.tables.csv_sniffing import sniff
from stages.parts.user_error import UserError

CHUNK_ROWS = 10_000
"""Rows per chunk: bounds the memory that a table of any length takes."""


@dataclass(frozen=True)
class Table:
    """Some rows of a table, none of them blank."""

    source: str
    """What messages call the file."""
    rows: npt.NDArray[np.int64]
    """Row numbers as a spreadsheet shows them, shape (n,)."""
    data: pa.Table
    decimal_point: str = "."

    def __len__(self) -> int:
        return len(self.rows)

    def slice(self, start: int, length: int) -> "Table":
        """Return at most `length` rows from position `start` on; nothing is copied."""
        rows, data = self.rows[start : start + length], self.data.slice(start, length)
        return Table(self.source, rows, data, self.decimal_point)


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file."""

    path: Path
    name: str
    """What messages call it."""

    delimiter, decimal_point = ",", "."
    """What CSV made of it is to have."""

    def first_types(self) -> list[tuple[str, pa.DataType]]:
        """Return the columns' names and types."""
        metadata = pq.read_metadata(self.path)
        if metadata.num_rows == 0:
            raise UserError(f"{self.name} has no rows")
        schema = metadata.schema.to_arrow_schema()
        return list(zip(schema.names, schema.types, strict=True))

    def read(self, types: dict[str, pa.DataType]) -> pa.Table:
        """Read some columns whole."""
        return pq.read_table(self.path, columns=list(types))

    def text_batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Read the columns; unlike those of a CSV file they have types of their own."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(CHUNK_ROWS):
                yield batch.select(names)


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table."""

    file: CsvFile | ParquetFile
    types: dict[str, pa.DataType]
    """By name; those that the file's beginning suggests."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def delimiter(self) -> str:
        return self.file.delimiter

    @property
    def decimal_point(self) -> str:
        return self.file.decimal_point

    @property
    def columns(self) -> list[str]:
        return list(self.types)

    def read(self, columns: list[str], text_column: str) -> Table:
        """Read some columns whole: numbers where all values are, text otherwise.

        Parameters
        ----------
        columns
            Their names.
        text_column
            The one of them that is to stay text, where the file is text.

        """
        types = {name: self.types[name] for name in columns}
        if isinstance(self.file, CsvFile):
            types[text_column] = pa.string()
        with _errors_explained(self.name):
            data = self.file.read(types)
        table = self._without_blank_rows(data, FIRST_ROW)
        if len(table) == 0:
            raise UserError(f"{self.name} has nothing but gaps in the columns that are used")
        return table

    def chunks(self) -> Iterator[Table]:
        """Read all columns, `CHUNK_ROWS` rows at a time, those of a CSV file as text."""
        first_row = FIRST_ROW
        with _errors_explained(self.name):
            for data in _in_chunks(self.file.text_batches(self.columns)):
                yield self._without_blank_rows(data, first_row)
                first_row += len(data)

    def _without_blank_rows(self, data: pa.Table, first_row: int) -> Table:
        rows = np.arange(first_row, first_row + len(data))
        blank = np.ones(len(data), dtype=bool)
        for column in data.columns:
            if not blank.any():
                break
            empty = column.is_null()
            if pa.types.is_string(column.type):
                empty = pa.compute.or_(empty, pa.compute.equal(column, ""))
            blank &= pa.compute.fill_null(empty, fill_value=True).to_numpy()
        if blank.any():
            rows, data = rows[~blank], data.filter(~blank)
        return Table(self.name, rows, data, self.file.decimal_point)


def open_table(path: Path, name: str) -> TableFile:
    """Look at the beginning of a file.

    Raises
    ------
    UserError
        If there is no table in it, or one whose columns lack names of their own.

    """
    with _errors_explained(name):
        with path.open("rb") as binary:
            magic = binary.read(4)
        file: CsvFile | ParquetFile
        if magic == b"PAR1":
            file = ParquetFile(path, name)
        else:
            file = sniff(path, name, "gzip" if magic.startswith(b"\x1f\x8b") else None)
        first_types = file.first_types()
    names = [column for column, _ in first_types]
    for number, column in enumerate(names, 1):
        if not column.strip():
            raise UserError(f"{name}: column {number} has no name; give it one, or remove it")
        if names.index(column) != number - 1:
            raise UserError(
                f"{name}: columns {names.index(column) + 1} and {number} are both called "
                f"'{column}'; rename one"
            )
    return TableFile(file, dict(first_types))


@contextmanager
def _errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{name} is missing") from None
    except IsADirectoryError:
        raise UserError(f"{name} is a folder, not a table") from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: row 1 is not UTF-8 text; save the file as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name} cannot be read: {error}") from None


def _in_chunks(batches: Iterator[Any]) -> Iterator[pa.Table]:
    """Cut batches of any length into tables of `CHUNK_ROWS` rows, the last one shorter.

    Where the cuts are depends on nothing but the number of rows: a batch's size may decide how
    a network's sums are rounded.
    """
    waiting: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while len(waiting) > CHUNK_ROWS:
            yield waiting.slice(0, CHUNK_ROWS)
            waiting = waiting.slice(CHUNK_ROWS)
    if waiting is not None:
        yield waiting
