"""A table in a file: CSV, Parquet or a workbook, and how its cells are parted and spelled.

All this is found out by a look at the beginning of the file.
"""

import io
import re
import zipfile
from collections import Counter
from itertools import islice
from pathlib import Path

from classifier.io.user_error import NeedsParameterError, UserError
from classifier.tables.csv_file import CsvFile, TextFile, csv_records, open_text_file
from classifier.tables.names import has_names, names_of
from classifier.tables.prepare_params import MARKS, Reading
from classifier.tables.table_file import TableFile, errors_explained
from classifier.tables.typed_files import open_parquet, open_workbook
from classifier.tables.values import DecimalMark, Spelling, spelling_of

WORKBOOK_MEMBER = "[Content_Types].xml"

OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
"""How files of Excel before 2007 begin."""

SNIFFED_CHARACTERS = 65_536
SNIFFED_RECORDS = 1000

DELIMITERS = {MARKS[name]: name for name in ("comma", "semicolon", "tab", "pipe", "blanks")}

DECIMAL = re.compile(r"[+-]?\d+([.,])\d+")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*")
GROUPED_DECIMAL = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*(?!\1)([.,])\d+")

LEADING_ZERO = re.compile(r"0\d+")


def open_table(path: Path, name: str, reading: Reading) -> TableFile:
    """Look at the beginning of a file; raises `UserError` if there is no table in it."""
    with errors_explained(name):
        with path.open("rb") as binary:
            magic = binary.read(4)
        if magic == b"PAR1":
            return open_parquet(path, name, reading)
        if magic == OLD_WORKBOOK:
            raise UserError(f"{name} is a workbook of Excel before 2007; save it as .xlsx or CSV")
        if magic == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                is_workbook = WORKBOOK_MEMBER in archive.namelist()
            if is_workbook:
                return open_workbook(path, name, reading)
        return _open_csv(open_text_file(path, name, reading.encoding), reading)


def _open_csv(file: TextFile, reading: Reading) -> CsvFile:
    lines, is_whole = _first_lines(file)
    delimiter = _find_delimiter(lines) if reading.delimiter == "auto" else MARKS[reading.delimiter]
    n_comments = _count_comments(lines, delimiter)
    records = list(islice(csv_records(lines[n_comments:], delimiter), SNIFFED_RECORDS))
    first, below = records[0], [record for record in records[1:] if record]
    where = f"{file.name}: row {n_comments + 1}"
    if not any(field.strip() for field in first):
        raise UserError(f"{where} is blank; it must name the columns")
    spelling = spelling_of(reading, _find_decimal(below, delimiter, reading))
    has_header = has_names(where, first, below, reading, spelling)
    if has_header and not below and is_whole:
        raise UserError(f"{file.name} has no rows below its header")
    if has_header and below and all(len(record) == len(first) + 1 for record in below):
        # As R writes the names of rows.
        first = ["", *first]
    columns, unnamed = names_of(first, has_header=has_header)
    found: dict[str, str | bool] = {
        "delimiter": DELIMITERS[delimiter],
        "encoding": file.encoding.removesuffix("-sig"),
        "decimal": "comma" if spelling.decimal == "," else "point",
        "header": has_header,
    }
    packed = "" if file.compression == "none" else f"{file.compression}, "
    header = f"names in row {n_comments + 1}" if has_header else "no header"
    comments = f", lines beginning with # left out: {n_comments}" if n_comments else ""
    return CsvFile(
        name=file.name,
        description=f"CSV ({packed}{found['encoding']}), delimiter {found['delimiter']}, "
        f"decimal {found['decimal']}, {header}{comments}",
        resolved=found,
        file=file,
        delimiter=delimiter,
        spelling=spelling,
        n_comments=n_comments,
        has_header=has_header,
        columns=columns,
        unnamed=unnamed,
        codes=_codes(columns, below if has_header else [first, *below], spelling),
    )


def _first_lines(file: TextFile) -> tuple[list[str], bool]:
    """Return the first lines of a file, and whether these are all.

    Raises `UserError` if it is empty or no text.
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
    is_whole = len(start) < SNIFFED_CHARACTERS
    lines = list(io.StringIO(start, newline=""))
    if not is_whole and len(lines) > 1:
        # The last one is cut off.
        lines.pop()
    return lines, is_whole


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
