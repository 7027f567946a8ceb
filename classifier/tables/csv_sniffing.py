"""CSV files as people have them: what a look at the beginning of one says."""

import io
import re
from collections import Counter
from itertools import islice

from classifier.io.user_error import NeedsParameterError, UserError
from classifier.tables.csv_file import CsvFile, csv_records
from classifier.tables.header import has_names, names_of
from classifier.tables.opening import TextFile
from classifier.tables.prepare_params import MARKS, Reading
from classifier.tables.values import DecimalMark, Spelling, spelling_of

SNIFFED_CHARACTERS = 65_536
SNIFFED_RECORDS = 1000

DECIMAL = re.compile(r"[+-]?\d+([.,])\d+")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*")
GROUPED_DECIMAL = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*(?!\1)([.,])\d+")

LEADING_ZERO = re.compile(r"0\d+")


def sniff_csv(file: TextFile, reading: Reading) -> CsvFile:
    """Find out how to read a CSV file.

    Raises
    ------
    UserError
        If it is empty or no CSV file.

    """
    try:
        with file.open_text() as text:
            start = text.read(SNIFFED_CHARACTERS)
    except UnicodeError as error:
        raise NeedsParameterError(
            f"{file.name} is not {file.encoding} text: {error}", "encoding", "auto"
        ) from None
    if not start.strip():
        raise UserError(f"{file.name} is empty; it must be a table")
    if "\0" in start:
        raise UserError(f"{file.name} is not a table; it must be CSV, Parquet or .xlsx")
    lines = list(io.StringIO(start, newline=""))
    if len(start) == SNIFFED_CHARACTERS and len(lines) > 1:
        # The last one is cut off.
        lines.pop()
    delimiter = _find_delimiter(lines) if reading.delimiter == "auto" else MARKS[reading.delimiter]
    n_comments = _count_comments(lines, delimiter)
    records = list(islice(csv_records(lines[n_comments:], delimiter), SNIFFED_RECORDS))
    first, below = records[0], [record for record in records[1:] if record]
    if not any(field.strip() for field in first):
        raise UserError(f"{file.name}: row {n_comments + 1} is blank; it must name the columns")
    decimal = _find_decimal(below, delimiter, reading)
    spelling = spelling_of(reading, decimal)
    has_header = has_names(f"{file.name}: row {n_comments + 1}", first, below, reading, spelling)
    if has_header and not below and len(start) < SNIFFED_CHARACTERS:
        raise UserError(f"{file.name} has no rows below its header")
    if has_header and below and all(len(record) == len(first) + 1 for record in below):
        # As R writes the names of rows.
        first = ["", *first]
    columns, unnamed = names_of(first, has_header=has_header)
    return CsvFile(
        name=file.name,
        file=file,
        delimiter=delimiter,
        spelling=spelling,
        n_comments=n_comments,
        has_header=has_header,
        columns=columns,
        unnamed=unnamed,
        codes=_codes(columns, below if has_header else [first, *below], spelling),
    )


def _find_delimiter(lines: list[str]) -> str:
    """Return the one that parts most lines alike, into as many fields as any.

    Where two of them do, the first is it: names contain commas rather than semicolons, and texts
    contain blanks rather than anything else.
    """
    widths: dict[str, list[int]] = {}
    for delimiter in "\t;,| ":
        n_comments = _count_comments(lines, delimiter)
        records = islice(csv_records(lines[n_comments:], delimiter), 100)
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
    last, first = (next(csv_records([line], delimiter)) for line in lines[n - 1 : n + 1])
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


def _codes(columns: list[str], records: list[list[str]], spelling: Spelling) -> frozenset[str]:
    found = set()
    for index, name in enumerate(columns):
        cells = {record[index].strip() for record in records if index < len(record)}
        cells -= {*spelling.gaps}
        if all(cell.isdecimal() for cell in cells) and any(map(LEADING_ZERO.fullmatch, cells)):
            found.add(name)
    return frozenset(found)
