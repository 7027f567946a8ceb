"""CSV files as people have them: how to read one, and where one is broken."""

import csv
import gzip
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from pandas.errors import ParserError

from classifier.io.user_error import UserError
from classifier.tables.values import GAPS, DecimalMark

FIRST_ROW = 2
"""The row of a spreadsheet that holds the table's first record; row 1 is the header."""

ROWS_AT_A_TIME = 65_536
"""Of a table that is read whole: all at once, pandas would take three times the memory."""

SNIFFED_CHARACTERS = 65_536

AS_TEXT: dict[str, Any] = {"dtype": "str", "na_filter": False}

DECIMAL = re.compile(r"\s*[+-]?\d+([.,])\d+\s*")

NOT_UTF_8 = "\N{REPLACEMENT CHARACTER}"

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class CsvFile:
    """A CSV file, and what is special about it."""

    path: Path
    name: str
    """What messages call it."""
    is_gzipped: bool
    delimiter: str
    decimal: DecimalMark

    def columns(self) -> list[str]:
        """Return the names in the header."""
        # With the row below it: pandas overlooks fields too many there.
        start = pd.concat(self._parsed(header=None, chunksize=2, nrows=2, **AS_TEXT))
        if len(start) < 2:
            raise UserError(f"{self.name} has no rows below its header")
        return [str(name) for name in start.iloc[0]]

    def read(self, columns: list[str], text_column: str) -> pd.DataFrame:
        """Read all rows, each column as numbers where all its cells are, as texts otherwise.

        Parameters
        ----------
        columns
            The names in the header.
        text_column
            The one of them that is to stay text.

        """
        table = self._read(columns, {text_column: "str"})
        # Numbers in some parts of the file and texts in others: the numbers' spelling is lost.
        mixed = [name for name in columns if table[name].dtype == object]
        if mixed:
            table[mixed] = self._read(columns, dict.fromkeys(mixed, "str"))[mixed]
        if table[columns[-1]].isna().any():
            self._refuse_broken_rows()
        return table

    def chunks(self, columns: list[str], n_rows: int) -> Iterator[pd.DataFrame]:
        """Read the cells as the texts that are in the file, `n_rows` rows at a time."""
        all_rows_are_whole = False
        for chunk in self._parsed(names=columns, header=0, chunksize=n_rows, **AS_TEXT):
            if not all_rows_are_whole and (chunk[columns[-1]] == "").any():
                self._refuse_broken_rows()
                all_rows_are_whole = True
            yield chunk

    def _read(self, columns: list[str], dtypes: dict[str, str]) -> pd.DataFrame:
        parts: dict[str, list[pd.Series]] = {name: [] for name in columns}
        for chunk in self._parsed(
            names=columns,
            header=0,
            chunksize=ROWS_AT_A_TIME,
            dtype=dtypes,
            na_values=GAPS,
            keep_default_na=False,
            decimal=self.decimal,
            low_memory=False,
        ):
            for name in columns:
                # Copied: else all of the chunk would stay in memory with it.
                parts[name].append(chunk[name].copy())
        return pd.DataFrame({name: pd.concat(parts.pop(name)) for name in columns}, copy=False)

    def _parsed(self, **how: Any) -> Iterator[pd.DataFrame]:  # noqa: ANN401 (pandas' own)
        """Yield chunks of the file as pandas reads them; rows are numbered as in a spreadsheet.

        A row with too few fields is filled up: see `_refuse_broken_rows`.
        """
        try:
            with pd.read_csv(
                self.path,
                sep=self.delimiter,
                compression="gzip" if self.is_gzipped else None,
                index_col=False,
                # They count as rows, so that row numbers are those of a spreadsheet.
                skip_blank_lines=False,
                **how,
            ) as chunks:
                for chunk in chunks:
                    chunk.index += FIRST_ROW
                    yield chunk
        except (ParserError, UnicodeDecodeError) as error:
            self._refuse_broken_rows()
            raise UserError(f"{self.name} cannot be read as CSV: {error}") from None

    def _refuse_broken_rows(self) -> None:
        with open_text(self.path, is_gzipped=self.is_gzipped) as file:
            rows = csv.reader(file, delimiter=self.delimiter)
            header = next(rows)
            if any(NOT_UTF_8 in name for name in header):
                raise UserError(f"{self.name}: row 1 is not UTF-8 text; save the file as UTF-8")
            for number, fields in enumerate(rows, start=FIRST_ROW):
                if len(fields) not in {0, len(header)}:
                    advice = (
                        "fill in what is missing, or close a quote left open"
                        if len(fields) < len(header)
                        else f"put quotes around a text that contains {self.delimiter!r}"
                    )
                    raise UserError(
                        f"{self.name}: row {number} has {len(fields)} fields, but the header has "
                        f"{len(header)}; {advice}"
                    )
                for name, text in zip(header, fields, strict=False):
                    if NOT_UTF_8 in text:
                        raise UserError(
                            f"{self.name}: column '{name}', row {number} is not UTF-8 text: "
                            f"'{text}'; save the file as UTF-8"
                        )


def open_text(path: Path, *, is_gzipped: bool) -> TextIO:
    if is_gzipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def sniff(path: Path, name: str) -> CsvFile:
    """Find out how to read a CSV file.

    Raises
    ------
    UserError
        If it is empty or no CSV file.

    """
    with path.open("rb") as binary:
        magic = binary.read(4)
    if magic == b"PK\x03\x04":
        raise UserError(f"{name} looks like a workbook or a zip file; save it as CSV or Parquet")
    if magic.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name} is UTF-16 text; save it as UTF-8")
    is_gzipped = magic.startswith(b"\x1f\x8b")
    with open_text(path, is_gzipped=is_gzipped) as file:
        start = file.read(SNIFFED_CHARACTERS)
    if not start.strip():
        raise UserError(f"{name} is empty; it must be a table with a header")
    if "\0" in start:
        raise UserError(f"{name} is not a table; it must be CSV or Parquet")

    def records(delimiter: str) -> list[list[str]]:
        lines = io.StringIO(start, newline="")
        return list(islice(csv.reader(lines, delimiter=delimiter), 50))

    if not records(",")[0]:
        raise UserError(f"{name}: row 1 is blank; it must name the columns")
    # Where two of them split the header into equally many names, the first is it: names contain
    # commas rather than semicolons.
    widths = {delimiter: len(records(delimiter)[0]) for delimiter in "\t;,"}
    delimiter = max(widths, key=lambda candidate: widths[candidate])
    if widths[delimiter] == 1:
        delimiter = ","
    marks = {
        match[1]
        for record in records(delimiter)[1:]
        for field in record
        if (match := DECIMAL.fullmatch(field))
    }
    decimal: DecimalMark = "," if marks == {","} and delimiter != "," else "."
    return CsvFile(path, name, is_gzipped, delimiter, decimal)
