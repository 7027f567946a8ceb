"""CSV files as people have them: how to read one."""

import csv
import io
import re
from itertools import islice
from pathlib import Path

import pyarrow as pa

from stages.parts.tables.csv_file import CsvFile
from stages.parts.user_error import UserError

SNIFFED_BYTES = 65_536

DECIMAL = re.compile(r"\s*[+-]?\d+([.,])\d+\s*")


def sniff(path: Path, name: str, compression: str | None) -> CsvFile:
    """Find out how to read a CSV file.

    Raises
    ------
    UserError
        If it is empty or no CSV file.

    """
    with pa.input_stream(path, compression=compression) as file:
        start = file.read(SNIFFED_BYTES)
    if not start.strip():
        raise UserError(f"{name} is empty; it must be a table with a header")
    if start.startswith(b"PK\x03\x04"):
        raise UserError(f"{name} looks like a workbook or a zip file; save it as CSV or Parquet")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name} is UTF-16 text; save it as UTF-8")
    if b"\0" in start:
        raise UserError(f"{name} is not a table; it must be CSV or Parquet")
    text = start.decode("utf-8-sig", errors="replace")

    def records(delimiter: str) -> list[list[str]]:
        lines = io.StringIO(text, newline="")
        return list(islice(csv.reader(lines, delimiter=delimiter), 50))

    # Where two of them split the header into equally many names, the first is it: names contain
    # commas rather than semicolons.
    widths = {delimiter: len(records(delimiter)[0]) for delimiter in "\t;,"}
    delimiter = max(widths, key=lambda candidate: widths[candidate])
    if widths[delimiter] == 1:
        delimiter = ","
    points = {
        match[1]
        for record in records(delimiter)[1:]
        for field in record
        if (match := DECIMAL.fullmatch(field))
    }
    decimal_point = "," if points == {","} and delimiter != "," else "."
    return CsvFile(path, name, compression, delimiter, decimal_point)
