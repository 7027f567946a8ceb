"""What `prepare` understood of a table, for a person to check."""

import numpy as np
import numpy.typing as npt

from classifier.io.schema import Schema
from classifier.tables.encoding import EncodedColumn

MOST_LINES = 60
MOST_CHARACTERS = 60
"""Of a cell."""


def summary(
    columns: list[EncodedColumn], schema: Schema, targets: dict[str, npt.NDArray[np.int64]]
) -> str:
    """Return a line for each column, and one for each class with its rows in each split.

    `targets` are the class indices of each split.
    """
    lines = [["column", "kind", "gaps", "range or categories"]]
    remarks: list[str] = []
    for column in columns[:MOST_LINES]:
        name = column.schema.name
        lines.append([name, column.schema.kind, str(column.n_gaps), column.content])
        if column.numbers_the_rows:
            remarks.append(
                f"'{name}' is another whole number in every row: if it only says which row it is, "
                "name it in prepare.ignore"
            )
    if len(columns) > MOST_LINES:
        remarks.append(f"and {len(columns) - MOST_LINES} columns more")
    return "\n".join(
        [*_aligned(lines, {2}), *remarks, "", *_aligned(_class_counts(schema, targets), {1, 2, 3})]
    )


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
