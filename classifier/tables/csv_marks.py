"""What parts the fields of CSV, and what its numbers: found out by a look at the first lines."""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice, takewhile
from statistics import mode

from classifier.tables.prepare_params import Reading
from classifier.tables.values import DecimalMark

DECIMAL = re.compile(r"[+-]?\d+([.,])\d+")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*")
GROUPED_DECIMAL = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(?:\1\d{3})*(?!\1)([.,])\d+")

csv.field_size_limit(sys.maxsize)


def csv_records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Return the fields of each record; several blanks are as one, also between quotes."""
    if delimiter == " ":
        lines = (" ".join(line.split()) + "\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter)


def count_comments(lines: list[str], delimiter: str) -> int:
    """Return how many of the first lines begin with # and do not name the columns."""
    n = sum(1 for _ in takewhile(lambda line: line.startswith("#"), lines[:-1]))
    if n == 0:
        return 0
    last, first = (next(csv_records([line], delimiter)) for line in lines[n - 1 : n + 1])
    # As wide as the rest, it holds the names of the columns.
    return n - 1 if len(last) == len(first) else n


def find_delimiter(lines: list[str]) -> str:
    """Return the one that parts most lines alike, into as many fields as any.

    Where two of them do, the first is it: names contain commas rather than semicolons, and texts
    contain blanks rather than anything else.
    """
    widths: dict[str, list[int]] = {}
    for delimiter in "\t;,| ":
        records = islice(csv_records(lines[count_comments(lines, delimiter) :], delimiter), 100)
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


def find_decimal(records: list[list[str]], delimiter: str, reading: Reading) -> DecimalMark:
    """Return the decimal mark of most numbers, if none is named.

    That of 1.234 counts if no other number tells, and commas do not part the fields.
    """
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
