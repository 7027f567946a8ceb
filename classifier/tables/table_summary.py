"""What `prepare` understood of a table, for a person to check."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier.io.schema import CategoricalColumn, Schema
from classifier.tables.encoding import EncodedColumn

MOST_LINES = 60
MOST_CHARACTERS = 60
"""Of a cell."""


@dataclass(frozen=True)
class ColumnSummary:
    name: str
    kind: str
    gaps: int
    content: str
    """The range of its numbers, or its categories."""
    numbers_the_rows: bool
    """Whether these are whole numbers, no two of them the same."""


def describe(column: EncodedColumn) -> ColumnSummary:
    schema, values = column.schema, column.values
    if isinstance(schema, CategoricalColumn):
        names = [*schema.categories, *(["other"] if schema.other else [])]
        content, numbers_the_rows = f"{len(names)}: {', '.join(names)}", False
    else:
        content = f"{values.min():g} to {values.max():g}"
        numbers_the_rows = bool((values % 1 == 0).all() and values.is_unique)
    return ColumnSummary(
        schema.name, schema.kind, int(values.isna().sum()), content, numbers_the_rows
    )


def summary(
    columns: list[ColumnSummary], schema: Schema, targets: dict[str, npt.NDArray[np.int64]]
) -> str:
    """Return a line for each column, and one for each class with its rows in each split.

    `targets` are the class indices of each split.
    """
    lines = [["column", "kind", "gaps", "range or categories"]]
    lines += [[one.name, one.kind, str(one.gaps), one.content] for one in columns[:MOST_LINES]]
    remarks = [
        f"'{one.name}' is another whole number in every row: if it only says which row it is, "
        "name it in prepare.ignore"
        for one in columns[:MOST_LINES]
        if one.numbers_the_rows
    ]
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
