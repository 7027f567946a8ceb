"""CSV files: compressed or not, in one encoding or another; how one is read, where it is broken."""

import bz2
import csv
import gzip
import io
import lzma
import re
import sys
import zipfile
from codecs import iterdecode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TextIO

import pandas as pd
from pandas.api.types import is_float_dtype, is_string_dtype
from pandas.errors import ParserError

from classifier.io.schema import LARGEST_EXACT
from classifier.io.user_error import NeedsParameterError, UserError, quoted
from classifier.tables.table_file import TableFile

MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
"""How compressed files begin."""

OPEN: dict[str, Callable[[Path, str], Any]] = {
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
    "none": Path.open,
}

BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

ROWS_AT_A_TIME = 65_536
"""The rows that are read at a time: all at once, pandas would take three times the memory."""

AS_TEXT: dict[str, Any] = {"dtype": "str", "na_filter": False}

NOT_IN_ENCODING = "\N{REPLACEMENT CHARACTER}"

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class TextFile:
    """A file of text."""

    path: Path
    name: str
    """What messages call it."""
    compression: str
    encoding: str

    def open_text(self) -> TextIO:
        """Open it with a mark in place of what is not in its encoding."""
        return io.TextIOWrapper(
            self.open_binary(), encoding=self.encoding, errors="replace", newline=""
        )

    def open_binary(self) -> IO[bytes]:
        """Open it unpacked; raises `UserError` for an archive of more or less than one file."""
        if self.compression != "zip":
            binary: IO[bytes] = OPEN[self.compression](self.path, "rb")
            return binary
        archive = zipfile.ZipFile(self.path)
        # Folders, and what macOS adds of its own.
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            names = quoted([member.filename for member in members[:5]])
            raise UserError(
                f"{self.name} holds {len(members)} files ({names}); it must hold one: the table"
            )
        if members[0].flag_bits & 1:
            raise UserError(f"{self.name} is encrypted; unpack it")
        return archive.open(members[0])

    def is_in(self, encoding: str) -> bool:
        """Say whether all of it is text in an encoding."""
        try:
            with self.open_binary() as binary:
                for _ in iterdecode(binary, encoding):
                    pass
        except UnicodeError:
            return False
        return True


def open_text_file(path: Path, name: str, encoding: str) -> TextFile:
    """Find out the compression, and the encoding if it is `auto`: UTF-8, or UTF-16 with a mark.

    Raises `UserError` if it is an archive of more or less than one file.
    """
    with path.open("rb") as binary:
        start = binary.read(6)
    compressions = [kind for magic, kind in MAGIC.items() if start.startswith(magic)]
    file = TextFile(path, name, compressions[0] if compressions else "none", encoding)
    if encoding != "auto" and encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}:
        return file
    with file.open_binary() as unpacked:
        start = unpacked.read(3)
    marked = (kind for mark, kind in BYTE_ORDER_MARKS.items() if start.startswith(mark))
    found = next(marked, "utf-8")
    return replace(file, encoding=found if encoding == "auto" or found == "utf-8-sig" else "utf-8")


@dataclass(frozen=True, kw_only=True)
class CsvFile(TableFile):
    """A CSV file, and how to read it."""

    file: TextFile
    n_comments: int
    """Lines above the table that begin with #."""
    has_header: bool

    @property
    def first_row(self) -> int:
        """The row of a spreadsheet that holds the first record."""
        return self.n_comments + self.has_header + 1

    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:
        table = self._read(text_columns)
        lost = {name for name in self.columns if name not in text_columns and _is_lost(table[name])}
        if lost:
            table[list(lost)] = self._read(lost)[list(lost)]
        if table[self.columns[-1]].isna().any():
            self._refuse_broken_rows()
        return table

    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        all_rows_are_whole = False
        for chunk in self._parsed(chunksize=n_rows, **AS_TEXT):
            if not all_rows_are_whole and (chunk[self.columns[-1]] == "").any():
                self._refuse_broken_rows()
                all_rows_are_whole = True
            yield chunk[~chunk.eq("").all(axis="columns")]

    def _read(self, text_columns: set[str]) -> pd.DataFrame:
        parts: dict[str, list[pd.Series]] = {name: [] for name in self.columns}
        # Which texts are gaps is told later: the target has fewer of them.
        gaps = {name: [""] if name in text_columns else self.spelling.gaps for name in self.columns}
        for chunk in self._parsed(
            chunksize=ROWS_AT_A_TIME,
            dtype=dict.fromkeys(text_columns, "str"),
            na_values=gaps,
            keep_default_na=False,
            decimal=self.spelling.decimal,
            low_memory=False,
        ):
            for name in self.columns:
                # Copied: else all of the chunk would stay in memory with it.
                parts[name].append(chunk[name].copy())
        if not parts[self.columns[0]]:
            raise UserError(f"{self.name} has no rows below its header")
        return pd.DataFrame({name: pd.concat(parts.pop(name)) for name in self.columns}, copy=False)

    def _parsed(self, **how: Any) -> Iterator[pd.DataFrame]:  # noqa: ANN401 (pandas' own)
        """Yield chunks of the file as pandas reads them; rows are numbered as in a spreadsheet.

        A row with too few fields is filled up: see `_refuse_broken_rows`.
        """
        with self.file.open_binary() as binary:
            try:
                with pd.read_csv(
                    binary,
                    encoding=self.file.encoding,
                    skiprows=self.n_comments,
                    sep=r"\s+" if self.delimiter == " " else self.delimiter,
                    names=self.columns,
                    header=0 if self.has_header else None,
                    index_col=False,
                    # They count as rows, so that row numbers are those of a spreadsheet.
                    skip_blank_lines=False,
                    **how,
                ) as chunks:
                    for chunk in chunks:
                        chunk.index += self.first_row
                        yield chunk
            except (ParserError, UnicodeError) as error:
                self._refuse_broken_rows()
                raise UserError(f"{self.name} cannot be read as CSV: {error}") from None

    def _refuse_broken_rows(self) -> None:
        with self.file.open_text() as text:
            for _ in range(self.n_comments):
                text.readline()
            n_columns = len(self.columns)
            for number, fields in enumerate(
                csv_records(text, self.delimiter), start=self.n_comments + 1
            ):
                is_header = number < self.first_row
                if any(NOT_IN_ENCODING in field for field in fields):
                    self._refuse_encoding(number, fields, is_header=is_header)
                if len(fields) in {0, n_columns} or is_header:
                    continue
                advice = (
                    "fill in what is missing, or close a quote left open"
                    if len(fields) < n_columns
                    else f"put quotes around a text that contains {self.delimiter!r}"
                )
                raise UserError(
                    f"{self.name}: row {number} has {len(fields)} fields, but there are "
                    f"{n_columns} columns; {advice}"
                )

    def _refuse_encoding(self, number: int, fields: list[str], *, is_header: bool) -> None:
        column = next(index for index, field in enumerate(fields) if NOT_IN_ENCODING in field)
        name = self.columns[column] if column < len(self.columns) else str(column + 1)
        where = f"row {number}" if is_header else f"column '{name}', row {number}"
        shown = self.file.encoding.upper().removesuffix("-SIG")
        problem = f"{self.name}: {where} is not {shown} text: '{fields[column]}'"
        advice = "save the file as UTF-8, or name the encoding that it has"
        other = "cp1252" if self.file.encoding.startswith("utf-8") else "utf-8"
        if not self.file.is_in(other):
            raise UserError(f"{problem}; {advice}")
        raise NeedsParameterError(problem, "encoding", other, advice)


def _is_lost(cells: pd.Series) -> bool:
    """Say whether the cells' spelling is lost, and was not that of numbers alone.

    It may be of numbers in some parts of the file and texts in others, of texts some of which are
    taken for gaps, or of whole numbers with more digits than a float has.
    """
    if is_float_dtype(cells):
        return bool(cells.abs().max() > LARGEST_EXACT)
    return cells.dtype == object or (is_string_dtype(cells) and bool(cells.isna().any()))


def csv_records(
    lines: Iterator[str] | list[str] | io.TextIOBase, delimiter: str
) -> Iterator[list[str]]:
    """Return the fields of each record; several blanks part fields as one does."""
    if delimiter == " ":
        return csv.reader((_with_single_blanks(line) for line in lines), delimiter=" ")
    return csv.reader(lines, delimiter=delimiter)


def _with_single_blanks(line: str) -> str:
    # Several of them between quotes are a text.
    parts = re.findall(r'"(?:[^"]|"")*"|[^\s"]+', line) if '"' in line else line.split()
    return " ".join(parts) + "\n"
