"""What `prepare` understood of a table, for a person to check."""

import numpy as np

from stages.parts.raw_values import numbers, read_texts
from stages.parts.schema import CategoricalColumn, NumericColumn, Schema
from stages.parts.split import Split
from stages.parts.table import Table

MOST_LINES = 60
MOST_WIDTH = 60


def summary(table: Table, schema: Schema, splits: dict[str, Split]) -> str:
    """Return a line for each column, and one for each class with its rows in each split."""
    columns = [["column", "kind", "gaps", "range or categories"]]
    for column in schema.columns[:MOST_LINES]:
        gaps, content = _describe(column, table)
        columns.append([column.name, column.kind, str(gaps), content])
    classes = [[schema.target, *splits]]
    for index, name in enumerate(schema.classes[:MOST_LINES]):
        counts = [str((split.target == index).sum()) for split in splits.values()]
        classes.append([name, *counts])
    classes.append(["all", *(str(len(split.target)) for split in splits.values())])
    left_out = len(schema.columns) - MOST_LINES
    return "\n".join(
        [
            *_aligned(columns, right={2}),
            *([f"and {left_out} columns more"] if left_out > 0 else []),
            "",
            *_aligned(classes, right={1, 2, 3}),
        ]
    )


def _describe(column: NumericColumn | CategoricalColumn, table: Table) -> tuple[int, str]:
    """Return the number of gaps, and what the column's values are."""
    if isinstance(column, CategoricalColumn):
        texts = read_texts(table, column.name)
        is_gap = np.array([text is None for text in texts.distinct])
        names = ", ".join([*column.categories, *(["other"] if column.other else [])])
        return int(is_gap[texts.codes].sum()), f"{column.n_categories}: {names}"
    raw = numbers(table, column.name)
    content = f"{np.nanmin(raw):g} to {np.nanmax(raw):g}"
    if len(raw) > 2 and (np.diff(raw) == 1).all():
        content += " (it counts the rows; if that is all, name it in prepare.ignore)"
    return int(np.isnan(raw).sum()), content


def _aligned(lines: list[list[str]], right: set[int]) -> list[str]:
    """Return lines of cells as columns; those of the numbers in `right` end at their right."""
    widths = [min(max(map(len, cells)), MOST_WIDTH) for cells in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell[:width].rjust(width) if number in right else cell[:width].ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    ]
