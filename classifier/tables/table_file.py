"""A file that holds a table, as DataFrames.

All of its rows, or some, are a `table`, and one column of them are `cells`, a Series. The index of
both has the row numbers that a spreadsheet shows: the header is row 1.
"""

import lzma
import sqlite3
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from python_calamine import CalamineError

from classifier.io.user_error import UserError
from classifier.tables.values import Spelling, is_text

FIRST_ROW = 2
"""Where a spreadsheet would show the first row of a file that has names apart from its rows."""

CHUNK_ROWS = 10_000
"""Rows per chunk: bounds the memory that a table of any length takes."""


@dataclass(frozen=True, kw_only=True)
class TableFile(ABC):
    """A file that holds a table; each kind of file is a class of its own."""

    name: str
    """What messages call it."""
    description: str
    """How the file is read, in a line."""
    resolved: dict[str, str | bool]
    """The parameters of reading, as they were found out."""
    columns: list[str]
    unnamed: list[str]
    """The columns that the file has no name for."""
    spelling: Spelling
    """How texts spell numbers and gaps."""
    codes: frozenset[str] = frozenset()
    """Names of columns of whole numbers, some of which begin with 0, as far as was looked."""
    delimiter: str = ","
    """What parts the fields in CSV that is made of the table."""

    @abstractmethod
    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:
        """Return all rows; see `read`."""

    @abstractmethod
    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        """Yield the rows, `n_rows` at a time, those of CSV as text, empty ones as gaps or not."""

    def read(self, text_columns: set[str]) -> pd.DataFrame:
        """Read all rows with more than gaps: numbers where all cells are, text otherwise.

        Those in `text_columns` stay text if they are; only empty cells of them are gaps.
        """
        with errors_explained(self.name):
            table = self._all_rows(text_columns)
        # As texts, gaps have kept their spelling.
        gaps = [None, *self.spelling.gaps]
        is_gap = table.apply(lambda cells: cells.isin(gaps) if is_text(cells) else cells.isna())
        blank = is_gap.all(axis="columns")
        if blank.all():
            raise UserError(f"{self.name} has nothing but gaps")
        return table[~blank] if blank.any() else table

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Read the rows that are not empty, `CHUNK_ROWS` at a time, those of CSV as text."""
        with errors_explained(self.name):
            for chunk in self._rows_by(CHUNK_ROWS):
                yield chunk[~chunk.isna().all(axis="columns")]

    def where(self, cells: pd.Series) -> str:
        """Return what messages call a column."""
        return f"{self.name}: column '{cells.name}'"

    def left_out(self, table: pd.DataFrame) -> dict[str, str]:
        """Return the columns without a name that hold no data, each with the reason.

        These are the first, as `to_csv` writes it for the index, and an empty one at the end.
        """
        first, last = self.columns[0], self.columns[-1]
        found = {}
        if first in self.unnamed:
            found[first] = "it is first and has no name: it numbers or names the rows"
        if last in self.unnamed and table[last].isna().all():
            found[last] = "it is last, and has neither a name nor a value"
        return found


@contextmanager
def errors_explained(name: str) -> Iterator[None]:
    """Turn errors of reading the file that messages call `name` into a `UserError`."""
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
        CalamineError,
        UnicodeError,
        sqlite3.Error,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
    ) as error:
        raise UserError(f"{name} cannot be read: {error}") from None
