"""Writing a table a chunk at a time: CSV, compressed CSV or Parquet, as the suffix says."""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from stages.parts.atomic_write import atomic_write
from stages.parts.user_error import UserError

SUFFIXES = (".csv", ".csv.gz", ".parquet")

Write = Callable[[pa.Table], None]

ROWS_AT_A_TIME = 10_000
"""As Python objects, rows take many times the memory that they take in a table."""


@contextmanager
def table_writer(
    path: Path | None, delimiter: str = ",", decimal_point: str = "."
) -> Iterator[Write]:
    """Yield a function that appends rows to a file; it is there when the block has ended well.

    Parameters
    ----------
    path
        None is standard output.
    delimiter, decimal_point
        Of CSV.

    Raises
    ------
    UserError
        If the suffix is none of those that say what to write.

    """
    if path is None:
        yield _csv_writer(sys.stdout, delimiter, decimal_point)
        return
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"cannot write {path}; its name must end with one of {', '.join(SUFFIXES)}")
    with atomic_write(path) as temporary:
        if path.suffix == ".parquet":
            with _parquet_writer(temporary) as write:
                yield write
        elif path.suffix == ".gz":
            # Without a time in it, nor the temporary name.
            with (
                temporary.open("wb") as binary,
                gzip.GzipFile("", "wb", fileobj=binary, mtime=0) as compressed,
                io.TextIOWrapper(compressed, encoding="utf-8", newline="") as text,
            ):
                yield _csv_writer(text, delimiter, decimal_point)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                yield _csv_writer(text, delimiter, decimal_point)


@dataclass(frozen=True)
class _Lines:
    """A file for csv.writer, which quotes a carriage return only if its own lines end in one."""

    file: TextIO

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")


def _csv_writer(file: TextIO, delimiter: str, decimal_point: str) -> Write:
    writer = csv.writer(_Lines(file), delimiter=delimiter)
    is_first = True

    def write(table: pa.Table) -> None:
        nonlocal is_first
        if is_first:
            writer.writerow(table.column_names)
            is_first = False
        for batch in table.to_batches(ROWS_AT_A_TIME):
            columns = (_values(column, decimal_point) for column in batch.columns)
            writer.writerows(zip(*columns, strict=True))

    return write


def _values(column: pa.Array, decimal_point: str) -> list[object]:
    if pa.types.is_temporal(column.type):
        # As text: Python has no nanoseconds, and pyarrow would make pandas' times of them.
        column = column.cast(pa.string())
    values: list[object] = column.to_pylist()
    if pa.types.is_floating(column.type) and decimal_point != ".":
        return [
            value if value is None else str(value).replace(".", decimal_point) for value in values
        ]
    return values


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Write]:
    writer: pq.ParquetWriter | None = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
