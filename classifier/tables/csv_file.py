"""CSV files: compressed or not, in one encoding or another; how one is read, where it is broken.

How its cells are parted and spelled is found out by a look at the beginning of the file.
"""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import sys
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, takewhile, zip_longest
from pathlib import Path
from statistics import mode
from typing import IO, Any, NoReturn, TextIO, cast

import pandas as pd
from pandas.api.types import is_float_dtype, is_string_dtype
from pandas.errors import ParserError

from classifier.io.schema import LARGEST_EXACT
from classifier.io.user_error import NeedsParameterError, UserError, quoted
from classifier.tables.layout import Layout, find_layout
from classifier.tables.prepare_params import MARKS, Reading
from classifier.tables.table_file import TableFile
from classifier.tables.values import DecimalMark, Spelling, spelling_of

MAGIC = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zip": b"PK\x03\x04", "none": b""}
"""How files begin, by their compression."""

OPEN: dict[str, Callable[[Path], Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}

ROWS_AT_A_TIME = 65_536
"""The rows that are read at a time: all at once, pandas would take three times the memory."""

AS_TEXT: dict[str, Any] = {"dtype": "str", "na_filter": False}

NOT_IN_ENCODING = "\N{REPLACEMENT CHARACTER}"

SNIFFED_CHARACTERS = 65_536
SNIFFED_RECORDS = 1000

DELIMITERS = {MARKS[name]: name for name in ("comma", "semicolon", "tab", "pipe", "blanks")}

DECIMAL = re.compile(r"[+-]?\d+([.,])\d+")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*")
GROUPED_DECIMAL = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*(?!\1)([.,])\d+")

LEADING_ZERO = re.compile(r"0\d+")

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class TextFile:
    """A file of text."""

    path: Path
    name: str
    """What messages call it."""
    compression: str
    encoding: str

    def open_text(self, errors: str = "replace") -> TextIO:
        """Open it, by default with a mark in place of what is not in its encoding."""
        return io.TextIOWrapper(
            self.open_binary(), encoding=self.encoding, errors=errors, newline=""
        )

    def beginning(self) -> str:
        """Return the first characters; raises `UserError` if it is not in its encoding at all."""
        try:
            with self.open_text() as text:
                return text.read(SNIFFED_CHARACTERS)
        except UnicodeError as error:
            raise NeedsParameterError(
                f"{self.name} is not {self.encoding} text: {error}", "encoding", "auto"
            ) from None

    def content(self) -> str:
        """Return all of it; raises `UserError` if it is not in its encoding."""
        try:
            with self.open_text("strict") as text:
                return text.read()
        except UnicodeError as error:
            self.refuse_encoding(f"{self.name} is not {self.spelled_encoding} text: {error}")

    @property
    def spelled_encoding(self) -> str:
        return self.encoding.upper().removesuffix("-SIG")

    def refuse_encoding(self, problem: str) -> NoReturn:
        """Raise a `UserError` that names another encoding if all of the file is in that."""
        advice = "save the file as UTF-8, or name the encoding that it has"
        other = "cp1252" if self.encoding.startswith("utf-8") else "utf-8"
        try:
            with self.open_binary() as binary:
                deque(codecs.iterdecode(binary, other), maxlen=0)
        except UnicodeError:
            raise UserError(f"{problem}; {advice}") from None
        raise NeedsParameterError(problem, "encoding", other, advice)

    def open_binary(self) -> IO[bytes]:
        """Open it unpacked; raises `UserError` for an archive of more or less than one file."""
        if self.compression == "none":
            return self.path.open("rb")
        if self.compression != "zip":
            return cast("IO[bytes]", OPEN[self.compression](self.path))
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


def open_text_file(path: Path, name: str, encoding: str) -> TextFile:
    """Find out the compression, and the encoding if it is `auto`: UTF-8, or UTF-16 with a mark.

    Raises `UserError` if it is an archive of more or less than one file.
    """
    with path.open("rb") as binary:
        start = binary.read(6)
    compression = next(kind for kind, magic in MAGIC.items() if start.startswith(magic))
    file = TextFile(path, name, compression, encoding)
    with file.open_binary() as unpacked:
        start = unpacked.read(3)
    if encoding == "auto" and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return replace(file, encoding="utf-16")
    is_marked = start == codecs.BOM_UTF8
    if encoding == "auto" or codecs.lookup(encoding).name == "utf-8":
        return replace(file, encoding="utf-8-sig" if is_marked else "utf-8")
    return file


@dataclass(frozen=True, kw_only=True)
class CsvFile(TableFile):
    """A CSV file, and how to read it."""

    file: TextFile
    n_lines_above: int
    """Lines before the first row of the table."""
    layout: Layout

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
        with self.file.open_text("strict") as text:
            try:
                for _ in range(self.n_lines_above):
                    text.readline()
                with pd.read_csv(
                    text,
                    skiprows=[row - self.layout.first_row for row in self.layout.no_data],
                    sep=r"\s+" if self.delimiter == " " else self.delimiter,
                    names=self.columns,
                    header=None,
                    index_col=False,
                    # They count as rows, so that row numbers are those of a spreadsheet.
                    skip_blank_lines=False,
                    **how,
                ) as chunks:
                    for chunk in chunks:
                        chunk.index = self.layout.rows_of(chunk.index)
                        yield chunk
            except (ParserError, UnicodeError) as error:
                self._refuse_broken_rows()
                raise UserError(f"{self.name} cannot be read as CSV: {error}") from None

    def _refuse_broken_rows(self) -> None:
        n_columns, first_row = len(self.columns), self.layout.first_row
        with self.file.open_text() as text:
            above = ([line] for line in islice(text, self.n_lines_above))
            table = csv_records(text, self.delimiter)
            for number, fields in chain(enumerate(above, 1), enumerate(table, first_row)):
                is_data = number >= first_row and number not in self.layout.no_data
                if any(NOT_IN_ENCODING in field for field in fields):
                    self._refuse_encoding(number, fields, is_data=is_data)
                if len(fields) in {0, n_columns} or not is_data:
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

    def _refuse_encoding(self, number: int, fields: list[str], *, is_data: bool) -> None:
        column = next(index for index, field in enumerate(fields) if NOT_IN_ENCODING in field)
        name = self.columns[column] if column < len(self.columns) else str(column + 1)
        where = f"column '{name}', row {number}" if is_data else f"row {number}"
        shown = self.file.spelled_encoding
        self.file.refuse_encoding(f"{self.name}: {where} is not {shown} text: '{fields[column]}'")


def _is_lost(cells: pd.Series) -> bool:
    """Say whether the cells' spelling is lost, and was not that of numbers alone.

    It may be of numbers in some parts of the file and texts in others, of texts some of which are
    taken for gaps, or of whole numbers with more digits than a float has.
    """
    if is_float_dtype(cells):
        return bool(cells.abs().max() > LARGEST_EXACT)
    return cells.dtype == object or (is_string_dtype(cells) and bool(cells.isna().any()))


def csv_records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Return the fields of each record; several blanks are as one, also between quotes."""
    if delimiter == " ":
        lines = (" ".join(line.split()) + "\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter)


def open_csv(file: TextFile, reading: Reading) -> CsvFile:
    """Find out how a file is to be read; raises `UserError` if there is no table in it."""
    lines, is_whole = _first_lines(file)
    delimiter = _find_delimiter(lines) if reading.delimiter == "auto" else MARKS[reading.delimiter]
    n_comments = _count_comments(lines, delimiter)
    records = list(islice(csv_records(lines[n_comments:], delimiter), SNIFFED_RECORDS))
    spelling = spelling_of(reading, _find_decimal(records[1:], delimiter, reading))
    are_all = is_whole and len(records) < SNIFFED_RECORDS
    last = [] if are_all else list(csv_records(_last_lines(file), delimiter))[1:]

    def count_rows() -> int:
        with file.open_text() as text:
            n_lines = sum(1 for _ in islice(text, n_comments))
            return n_lines + sum(1 for _ in csv_records(text, delimiter))

    layout = find_layout(
        file.name,
        records,
        last,
        count_rows,
        reading=reading,
        spelling=spelling,
        n_comments=n_comments,
    )
    if layout.has_header and not layout.sample and is_whole:
        raise UserError(f"{file.name} has no rows below its header")
    from_first_row = iter(lines[n_comments:])
    above = csv_records(from_first_row, delimiter)
    deque(islice(above, layout.first_row - n_comments - 1), maxlen=0)
    found: dict[str, str | bool] = {
        "delimiter": DELIMITERS[delimiter],
        "encoding": file.encoding.removesuffix("-sig"),
        "decimal": "comma" if spelling.decimal == "," else "point",
        "header": layout.has_header,
    }
    packed = "" if file.compression == "none" else f"{file.compression}, "
    comments = f", lines beginning with # left out: {n_comments}" if n_comments else ""
    return CsvFile(
        name=file.name,
        description=f"CSV ({packed}{found['encoding']}), delimiter {found['delimiter']}, "
        f"decimal {found['decimal']}, {layout.description}{comments}",
        resolved=found,
        file=file,
        delimiter=delimiter,
        spelling=spelling,
        n_lines_above=len(lines) - len([*from_first_row]),
        layout=layout,
        columns=layout.columns,
        unnamed=layout.unnamed,
        codes=_codes(layout.columns, layout.sample, spelling),
    )


def _first_lines(file: TextFile) -> tuple[list[str], bool]:
    """Return the first lines of a file, and whether these are all.

    Raises `UserError` if it is empty or no text.
    """
    start = file.beginning()
    if not start.strip():
        raise UserError(f"{file.name} is empty; it must be a table")
    if "\0" in start:
        raise UserError(f"{file.name} is not a table that can be read here; save it as CSV")
    is_whole = len(start) < SNIFFED_CHARACTERS
    lines = list(io.StringIO(start, newline=""))
    if not is_whole and len(lines) > 1:
        # The last one is cut off.
        lines.pop()
    return lines, is_whole


def _last_lines(file: TextFile) -> list[str]:
    with file.open_text() as text:
        blocks = deque(iter(partial(text.read, SNIFFED_CHARACTERS), ""), maxlen=2)
    return list(io.StringIO("".join(blocks), newline=""))


def _find_delimiter(lines: list[str]) -> str:
    """Return the one that parts most lines alike, into as many fields as any.

    Where two of them do, the first is it: names contain commas rather than semicolons, and texts
    contain blanks rather than anything else.
    """
    widths: dict[str, list[int]] = {}
    for delimiter in "\t;,| ":
        n_comments = _count_comments(lines, delimiter)
        records = islice(csv_records(lines[n_comments:], delimiter), 100)
        # There may be nothing below the comments.
        widths[delimiter] = [len(record) for record in records if record] or [0]
    # R has no name for the names of rows.
    even = [
        delimiter
        for delimiter, (width, *others) in widths.items()
        if width > 1 and set(others) in ({width}, {width + 1}, set())
    ]
    without_blanks = [delimiter for delimiter in even if delimiter != " "]
    if even:
        return max(without_blanks or even, key=lambda candidate: widths[candidate][0])

    def n_alike(candidate: str) -> int:
        usual = mode(widths[candidate])
        return widths[candidate].count(usual) if usual > 1 else 0

    # Other rows may be above the table, or below it.
    best = max("\t;,|", key=n_alike)
    return best if n_alike(best) else ","


def _count_comments(lines: list[str], delimiter: str) -> int:
    n = sum(1 for _ in takewhile(lambda line: line.startswith("#"), lines[:-1]))
    if n == 0:
        return 0
    last, first = (next(csv_records([line], delimiter)) for line in lines[n - 1 : n + 1])
    # As wide as the rest, it holds the names of the columns.
    return n - 1 if len(last) == len(first) else n


def _find_decimal(records: list[list[str]], delimiter: str, reading: Reading) -> DecimalMark:
    if reading.decimal != "auto":
        return "," if reading.decimal == "comma" else "."
    decimals, either = Counter[str](), Counter[str]()
    for field in chain.from_iterable(records):
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


def _codes(columns: list[str], records: list[list[str]], spelling: Spelling) -> frozenset[str]:
    found = set()
    for name, column in zip(columns, zip_longest(*records, fillvalue=""), strict=False):
        cells = {cell.strip() for cell in column} - {*spelling.gaps}
        if all(map(str.isdecimal, cells)) and any(map(LEADING_ZERO.fullmatch, cells)):
            found.add(name)
    return frozenset(found)
