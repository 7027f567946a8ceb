"""Writing a table a chunk at a time: CSV, compressed CSV or Parquet, as the suffix says."""

import gzip
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

    Where `path` is None, CSV goes to standard output. Raises `UserError` if its suffix is none of
    those that say what to write.
    """
    if path is None:
        yield _csv_writer(sys.stdout, delimiter, decimal)
        return
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"cannot write {path}; its name must end with one of {', '.join(SUFFIXES)}")
    # Not by the name: where the disk is full, Arrow does not always say so.
    with atomic_write(path) as temporary, temporary.open("wb") as binary:
        if path.suffix == ".parquet":
            with _parquet_writer(binary) as write:
                yield write
            return
        # Without a time in it, nor the temporary name.
        is_compressed = path.suffix == ".gz"
        file = gzip.GzipFile("", "wb", fileobj=binary, mtime=0) if is_compressed else binary
        with file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            yield _csv_writer(text, delimiter, decimal)


@dataclass(frozen=True)
class _Lines:
    """A file for the csv module, which quotes a carriage return only if its lines end in one."""

    file: TextIO

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")


def _csv_writer(file: TextIO, delimiter: str, decimal: str) -> Write:
    header = True

    def write(table: pd.DataFrame) -> None:
        nonlocal header
        # By Arrow: Python, and so pandas' CSV, has no nanoseconds.
        times = table.columns[[_is_temporal(kind) for kind in table.dtypes]]
        table.astype(dict.fromkeys(times, pd.ArrowDtype(pa.string()))).to_csv(
            _Lines(file),
            sep=delimiter,
            decimal=decimal,
            header=header,
            index=False,
            lineterminator="\r\n",
        )
        header = False

    return write


def _is_temporal(kind: object) -> bool:
    return isinstance(kind, pd.ArrowDtype) and bool(pa.types.is_temporal(kind.pyarrow_dtype))


@contextmanager
def _parquet_writer(file: BinaryIO) -> Iterator[Write]:
    with ExitStack() as opened:
        writer: pq.ParquetWriter | None = None

        def write(table: pd.DataFrame) -> None:
            nonlocal writer
            rows = pa.Table.from_pandas(table, preserve_index=False)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(file, rows.schema))
            writer.write_table(rows)

        yield write
