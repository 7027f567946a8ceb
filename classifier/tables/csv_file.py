"""CSV files as people have them: how to read one, and where one is broken."""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd
from pandas.errors import ParserError

from classifier.io.user_error import NeedsParameterError, UserError
from classifier.tables.header import column_names, has_names, without_name
from classifier.tables.opening import TextFile
from classifier.tables.reading import MARKS, Reading
from classifier.tables.values import GAPS, DecimalMark, Spelling, thousands_marks

ROWS_AT_A_TIME = 65_536
"""Of a table that is read whole: all at once, pandas would take three times the memory."""

SNIFFED_CHARACTERS = 65_536
SNIFFED_RECORDS = 1000

AS_TEXT: dict[str, Any] = {"dtype": "str", "na_filter": False}

DECIMAL = re.compile(r"[+-]?\d+([.,])\d+")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*")
GROUPED_DECIMAL = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*(?!\1)([.,])\d+")

NAMES = {MARKS[name]: name for name in ("comma", "semicolon", "tab", "pipe", "blanks")}
"""Of delimiters."""

LEADING_ZERO = re.compile(r"0\d+")

NOT_IN_ENCODING = "\N{REPLACEMENT CHARACTER}"

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class CsvFile:
    """A CSV file, and how to read it."""

    file: TextFile
    delimiter: str
    spelling: Spelling
    n_comments: int
    """Lines above the table that begin with #."""
    has_header: bool
    columns: list[str]
    unnamed: frozenset[str]
    """Those of them that the file has no name for."""
    codes: frozenset[str]
    """Names of columns of whole numbers, some of which begin with 0, as far as was looked."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def first_row(self) -> int:
        """The row of a spreadsheet that holds the first record."""
        return self.n_comments + self.has_header + 1

    def resolved(self) -> dict[str, str | bool]:
        """Return the parameters of reading, as they were found out."""
        return {
            "delimiter": NAMES[self.delimiter],
            "encoding": self.file.encoding.removesuffix("-sig"),
            "decimal": "comma" if self.spelling.decimal == "," else "point",
            "header": self.has_header,
        }

    def describe(self) -> str:
        found = self.resolved()
        packed = "" if self.file.compression == "none" else f"{self.file.compression}, "
        parts = [
            f"CSV ({packed}{found['encoding']})",
            f"delimiter {found['delimiter']}",
            f"decimal {found['decimal']}",
            f"names in row {self.first_row - 1}" if self.has_header else "no header",
        ]
        if self.n_comments:
            parts.append(f"lines beginning with # left out: {self.n_comments}")
        return ", ".join(parts)

    def read(self, text_columns: set[str]) -> pd.DataFrame:
        """Read all rows, each column as numbers where all its cells are, as texts otherwise.

        Those in `text_columns` stay text.
        """
        table = self._read(dict.fromkeys(text_columns, "str"))
        # Numbers in some parts of the file and texts in others: the numbers' spelling is lost.
        mixed = [name for name in self.columns if table[name].dtype == object]
        if mixed:
            table[mixed] = self._read(dict.fromkeys(mixed, "str"))[mixed]
        if table[self.columns[-1]].isna().any():
            self._refuse_broken_rows()
        return table

    def chunks(self, n_rows: int) -> Iterator[pd.DataFrame]:
        """Read the cells as the texts that are in the file, `n_rows` rows at a time."""
        all_rows_are_whole = False
        for chunk in self._parsed(chunksize=n_rows, **AS_TEXT):
            if not all_rows_are_whole and (chunk[self.columns[-1]] == "").any():
                self._refuse_broken_rows()
                all_rows_are_whole = True
            yield chunk

    def _read(self, dtypes: dict[str, str]) -> pd.DataFrame:
        parts: dict[str, list[pd.Series]] = {name: [] for name in self.columns}
        # Those of texts are told later: the target has fewer of them.
        gaps = {
            name: [*GAPS, *([] if name in dtypes else self.spelling.gaps)] for name in self.columns
        }
        for chunk in self._parsed(
            chunksize=ROWS_AT_A_TIME,
            dtype=dtypes,
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
        with self.file.open(errors="replace") as text:
            for _ in range(self.n_comments):
                text.readline()
            n_columns = len(self.columns)
            for number, fields in enumerate(
                _records(text, self.delimiter), start=self.n_comments + 1
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
        raise NeedsParameterError(
            f"{self.name}: {where} is not {shown} text: '{fields[column]}'",
            "encoding",
            "cp1252" if self.file.is_utf_8 else "utf-8",
            "save the file as UTF-8, or name the encoding that it has",
        )


def sniff_csv(file: TextFile, reading: Reading) -> CsvFile:
    """Find out how to read a CSV file.

    Raises
    ------
    UserError
        If it is empty or no CSV file.

    """
    try:
        with file.open(errors="replace") as text:
            start = text.read(SNIFFED_CHARACTERS)
    except UnicodeError as error:
        raise NeedsParameterError(
            f"{file.name} is not {file.encoding} text: {error}", "encoding", "auto"
        ) from None
    if not start.strip():
        raise UserError(f"{file.name} is empty; it must be a table")
    if "\0" in start:
        raise UserError(f"{file.name} is not a table; it must be CSV, Parquet or .xlsx")
    lines = io.StringIO(start, newline="")
    all_lines = [*lines]
    if len(start) == SNIFFED_CHARACTERS and len(all_lines) > 1:
        # The last one is cut off.
        all_lines.pop()
    delimiter = (
        _find_delimiter(all_lines) if reading.delimiter == "auto" else MARKS[reading.delimiter]
    )
    n_comments = _count_comments(all_lines, delimiter)
    records = list(islice(_records(all_lines[n_comments:], delimiter), SNIFFED_RECORDS))
    first, below = records[0], [record for record in records[1:] if record]
    if not any(field.strip() for field in first):
        raise UserError(f"{file.name}: row {n_comments + 1} is blank; it must name the columns")
    decimal = _find_decimal(below, delimiter, reading)
    spelling = Spelling(decimal, thousands_marks(reading.thousands, decimal), tuple(reading.gaps))
    has_header = has_names(f"{file.name}: row {n_comments + 1}", first, below, reading, spelling)
    if has_header and not below and len(start) < SNIFFED_CHARACTERS:
        raise UserError(f"{file.name} has no rows below its header")
    if has_header and below and all(len(record) == len(first) + 1 for record in below):
        # As R writes the names of rows.
        first = ["", *first]
    columns = column_names(first if has_header else [""] * len(first))
    return CsvFile(
        file=file,
        delimiter=delimiter,
        spelling=spelling,
        n_comments=n_comments,
        has_header=has_header,
        columns=columns,
        unnamed=without_name(first, columns) if has_header else frozenset(),
        codes=_codes(columns, below if has_header else [first, *below]),
    )


def _records(
    lines: Iterator[str] | list[str] | io.TextIOBase, delimiter: str
) -> Iterator[list[str]]:
    if delimiter == " ":
        return csv.reader((_with_single_blanks(line) for line in lines), delimiter=" ")
    return csv.reader(lines, delimiter=delimiter)


def _with_single_blanks(line: str) -> str:
    # Several of them between quotes are a text.
    parts = re.findall(r'"(?:[^"]|"")*"|[^\s"]+', line) if '"' in line else line.split()
    return " ".join(parts) + "\n"


def _find_delimiter(lines: list[str]) -> str:
    """Return the one that parts most lines alike, into as many fields as any.

    Where two of them do, the first is it: names contain commas rather than semicolons, and texts
    contain blanks rather than anything else.
    """
    widths: dict[str, list[int]] = {}
    for delimiter in "\t;,| ":
        n_comments = _count_comments(lines, delimiter)
        records = islice(_records(lines[n_comments:], delimiter), 100)
        widths[delimiter] = [len(record) for record in records if record]
    # R has no name for the names of rows.
    even = [
        delimiter
        for delimiter, (width, *others) in widths.items()
        if width > 1 and set(others) in ({width}, {width + 1}, set())
    ]
    without_blanks = [delimiter for delimiter in even if delimiter != " "]
    if even:
        return max(without_blanks or even, key=lambda candidate: widths[candidate][0])
    widest = max("\t;,|", key=lambda candidate: widths[candidate][0])
    return widest if widths[widest][0] > 1 else ","


def _count_comments(lines: list[str], delimiter: str) -> int:
    n = 0
    while n < len(lines) - 1 and lines[n].startswith("#"):
        n += 1
    if n == 0:
        return 0
    last, first = (next(_records([line], delimiter)) for line in lines[n - 1 : n + 1])
    # As wide as the rest, it holds the names of the columns.
    return n - 1 if len(last) == len(first) else n


def _find_decimal(records: list[list[str]], delimiter: str, reading: Reading) -> DecimalMark:
    if reading.decimal != "auto":
        return "," if reading.decimal == "comma" else "."
    decimals, either = Counter[str](), Counter[str]()
    for record in records:
        for field in record:
            text = field.strip()
            if match := GROUPED_DECIMAL.fullmatch(text):
                decimals[match[2]] += 1
            elif match := GROUPED.fullmatch(text):
                either[match[1]] += 1
            elif match := DECIMAL.fullmatch(text):
                decimals[match[1]] += 1
    if not decimals and delimiter != ",":
        decimals = either
    return "," if decimals[","] > decimals["."] else "."


def _codes(columns: list[str], records: list[list[str]]) -> frozenset[str]:
    found = set()
    for index, name in enumerate(columns):
        cells = {record[index].strip() for record in records if index < len(record)} - {*GAPS}
        if all(cell.isdecimal() for cell in cells) and any(map(LEADING_ZERO.fullmatch, cells)):
            found.add(name)
    return frozenset(found)
