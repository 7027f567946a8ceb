"""Tables in files, CSV, Parquet or workbooks, whichever the content says, as DataFrames.

The index of a DataFrame has the row numbers that a spreadsheet shows: the header is row 1.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from classifier.io.user_error import UserError
from classifier.tables.csv_file import CsvFile
from classifier.tables.csv_sniffing import sniff_csv
from classifier.tables.opening import open_text_file
from classifier.tables.parquet_file import ParquetFile, open_parquet
from classifier.tables.reading import Reading
from classifier.tables.values import Spelling, is_text
from classifier.tables.workbook import Workbook, open_workbook

CHUNK_ROWS = 10_000
"""Rows per chunk: bounds the memory that a table of any length takes."""

WORKBOOK_MEMBER = "[Content_Types].xml"

OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
"""How files of Excel before 2007 begin."""


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table."""

    file: CsvFile | ParquetFile | Workbook

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def columns(self) -> list[str]:
        return self.file.columns

    @property
    def codes(self) -> frozenset[str]:
        """Names of columns of whole numbers, some of which begin with 0, as far as was looked."""
        return self.file.codes

    @property
    def delimiter(self) -> str:
        return self.file.delimiter

    @property
    def spelling(self) -> Spelling:
        return self.file.spelling

    def resolved(self) -> dict[str, str | bool]:
        """Return the parameters of reading, as they were found out."""
        return self.file.resolved()

    def describe(self) -> str:
        """Say in a line how the file is read."""
        return self.file.describe()

    def read(self, text_columns: set[str]) -> pd.DataFrame:
        """Read all rows with more than gaps: numbers where all cells are, text otherwise.

        Those in `text_columns` stay text if they are; only empty cells of them are gaps.
        """
        with _errors_explained(self.name):
            table = self.file.read(text_columns)
        # As texts, gaps have kept their spelling.
        is_gap = table.apply(
            lambda one: one.isin([None, *self.spelling.gaps]) if is_text(one) else one.isna()
        )
        blank = is_gap.all(axis="columns")
        if blank.all():
            raise UserError(f"{self.name} has nothing but gaps")
        return table[~blank] if blank.any() else table

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Read the rows that are not empty, `CHUNK_ROWS` at a time, those of CSV as text."""
        with _errors_explained(self.name):
            for chunk in self.file.chunks(CHUNK_ROWS):
                empty = chunk.eq("") if isinstance(self.file, CsvFile) else chunk.isna()
                yield chunk[~empty.all(axis="columns")]

    def left_out(self, table: pd.DataFrame) -> dict[str, str]:
        """Return the columns without a name that hold no data, each with the reason.

        These are the first, as `to_csv` writes it for the index, and an empty one at the end.
        """
        first, last = self.columns[0], self.columns[-1]
        found = {}
        if first in self.file.unnamed:
            found[first] = "it is first and has no name: it numbers or names the rows"
        if last in self.file.unnamed and table[last].isna().all():
            found[last] = "it is last, and has neither a name nor a value"
        found |= {
            name: "it is an index that pandas has added"
            for name in self.columns
            if isinstance(self.file, ParquetFile) and name in self.file.unnamed
        }
        return found


def open_table(path: Path, name: str, reading: Reading) -> TableFile:
    """Look at the beginning of a file.

    Raises
    ------
    UserError
        If there is no table in it.

    """
    with _errors_explained(name):
        with path.open("rb") as binary:
            magic = binary.read(4)
        if magic == b"PAR1":
            return TableFile(open_parquet(path, name, reading))
        if magic == OLD_WORKBOOK:
            raise UserError(f"{name} is a workbook of Excel before 2007; save it as .xlsx or CSV")
        if magic == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                is_workbook = WORKBOOK_MEMBER in archive.namelist()
            if is_workbook:
                return TableFile(open_workbook(path, name, reading))
        return TableFile(sniff_csv(open_text_file(path, name, reading.encoding), reading))


@contextmanager
def _errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{name} is missing") from None
    except IsADirectoryError:
        raise UserError(f"{name} is a folder, not a table") from None
    except (
        pa.ArrowException,
        EOFError,
        OSError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
    ) as error:
        raise UserError(f"{name} cannot be read: {error}") from None
