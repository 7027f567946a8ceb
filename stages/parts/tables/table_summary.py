"""What `prepare` understood of a table, for a person to check."""

import numpy as np
import numpy.typing as npt

from stages.parts.tables.raw_values import numbers, read_texts
from stages.parts.tables.schema import NumericColumn, Schema
from stages.parts.tables.table import Table

MOST_LINES = 60
MOST_CHARACTERS = 60
"""Of a cell."""


def summary(table: Table, schema: Schema, targets: dict[str, npt.NDArray[np.int64]]) -> str:
    """Return a line for each column, and one for each class with its rows in each split.

    `targets` are the class indices of each split.
    """
    columns = [["column", "kind", "gaps", "range or categories"]]
    remarks: list[str] = []
    for column in schema.columns[:MOST_LINES]:
        if isinstance(column, NumericColumn):
            raw = numbers(table, column.name)
            gaps = np.isnan(raw)
            content = f"{np.nanmin(raw):g} to {np.nanmax(raw):g}"
            if number_the_rows(raw):
                remarks.append(
                    f"'{column.name}' is another whole number in every row: if it only says which "
                    "row it is, name it in prepare.ignore"
                )
        else:
            texts = read_texts(table, column.name)
            gaps = np.array([text is None for text in texts.distinct])[texts.codes]
            names = [*column.categories, *(["other"] if column.other else [])]
            content = f"{len(names)}: {', '.join(names)}"
        columns.append([column.name, column.kind, str(gaps.sum()), content])
    left_out = len(schema.columns) - MOST_LINES
    if left_out > 0:
        remarks.append(f"and {left_out} columns more")
    return "\n".join(
        [
            *_aligned(columns, {2}),
            *remarks,
            "",
            *_aligned(_class_counts(schema, targets), {1, 2, 3}),
        ]
    )


def number_the_rows(raw: npt.NDArray[np.float64]) -> bool:
    """Say whether these are whole numbers, no two of them the same."""
    # A few rows nearly always tell fractions from whole numbers.
    some_are_whole = (np.trunc(raw[:100]) == raw[:100]).all()
    return bool(some_are_whole and (np.trunc(raw) == raw).all() and len(np.unique(raw)) == len(raw))


def _class_counts(schema: Schema, targets: dict[str, npt.NDArray[np.int64]]) -> list[list[str]]:
    counts = [np.bincount(target, minlength=len(schema.classes)) for target in targets.values()]
    lines = [
        [name, *(str(count[index]) for count in counts)]
        for index, name in enumerate(schema.classes[:MOST_LINES])
    ]
    if len(schema.classes) > MOST_LINES:
        lines.append([f"and {len(schema.classes) - MOST_LINES} classes more", "", "", ""])
    return [[schema.target, *targets], *lines, ["all", *(str(count.sum()) for count in counts)]]


def _aligned(lines: list[list[str]], right: set[int]) -> list[str]:
    """Return lines of cells as columns; those of the numbers in `right` end at their right."""
    shown = [[_shortened(cell) for cell in cells] for cells in lines]
    widths = [max(map(len, cells)) for cells in zip(*shown, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in shown
    ]


def _shortened(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 3] + "..."
