"""Writing a table a chunk at a time: CSV, compressed CSV or Parquet, as the suffix says."""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from stages.parts.atomic_write import atomic_write
from stages.parts.user_error import UserError

SUFFIXES = (".csv", ".csv.gz", ".parquet")

Write = Callable[[pa.Table], None]


@contextmanager
def table_writer(path: Path | None) -> Iterator[Write]:
    """Yield a function that appends rows to a file; it is there when the block has ended well.

    Parameters
    ----------
    path
        None is standard output.

    Raises
    ------
    UserError
        If the suffix is none of those that say what to write.

    """
    if path is None:
        yield _csv_writer(sys.stdout)
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
                yield _csv_writer(text)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                yield _csv_writer(text)


def _csv_writer(file: TextIO) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    is_first = True

    def write(table: pa.Table) -> None:
        nonlocal is_first
        if is_first:
            writer.writerow(table.column_names)
            is_first = False
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))

    return write


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
