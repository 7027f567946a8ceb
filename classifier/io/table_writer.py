"""Writing a table a chunk at a time: CSV, compressed CSV or Parquet, as the suffix says."""

import gzip
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from classifier.io.files import atomic_write
from classifier.io.user_error import UserError

SUFFIXES = (".csv", ".csv.gz", ".parquet")

Write = Callable[[pd.DataFrame], None]


@contextmanager
def table_writer(path: Path | None, delimiter: str = ",", decimal: str = ".") -> Iterator[Write]:
    """Yield a function that appends rows to a file; it is there when the block has ended well.

    Parameters
    ----------
    path
        None is standard output.
    delimiter, decimal
        Of CSV.

    Raises
    ------
    UserError
        If the suffix is none of those that say what to write.

    """
    if path is None:
        yield _csv_writer(sys.stdout, delimiter, decimal)
        return
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"cannot write {path}; its name must end with one of {', '.join(SUFFIXES)}")
    with atomic_write(path) as temporary:
        if path.suffix == ".parquet":
            # Not by the name: where the disk is full, Arrow does not always say so.
            with temporary.open("wb") as binary, _parquet_writer(binary) as write:
                yield write
        elif path.suffix == ".gz":
            # Without a time in it, nor the temporary name.
            with (
                temporary.open("wb") as binary,
                gzip.GzipFile("", "wb", fileobj=binary, mtime=0) as compressed,
                io.TextIOWrapper(compressed, encoding="utf-8", newline="") as text,
            ):
                yield _csv_writer(text, delimiter, decimal)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                yield _csv_writer(text, delimiter, decimal)


@dataclass(frozen=True)
class _Lines:
    """A file for the csv module, which quotes a carriage return only if its lines end in one."""

    file: TextIO

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")


def _csv_writer(file: TextIO, delimiter: str, decimal: str) -> Write:
    is_first = True

    def write(table: pd.DataFrame) -> None:
        nonlocal is_first
        times = [name for name, kind in table.dtypes.items() if _is_temporal(kind)]
        # By Arrow: Python, and so pandas' CSV, has no nanoseconds.
        table.astype(dict.fromkeys(times, pd.ArrowDtype(pa.string()))).to_csv(
            _Lines(file),
            sep=delimiter,
            decimal=decimal,
            header=is_first,
            index=False,
            lineterminator="\r\n",
        )
        is_first = False

    return write


def _is_temporal(kind: object) -> bool:
    return isinstance(kind, pd.ArrowDtype) and bool(pa.types.is_temporal(kind.pyarrow_dtype))


@contextmanager
def _parquet_writer(file: BinaryIO) -> Iterator[Write]:
    writer: pq.ParquetWriter | None = None

    def write(table: pd.DataFrame) -> None:
        nonlocal writer
        rows = pa.Table.from_pandas(table, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(file, rows.schema)
        writer.write_table(rows)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
