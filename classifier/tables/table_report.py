"""What `prepare` understood of a table: for a person to check, and reports/table.json."""

import numpy as np
import numpy.typing as npt

from classifier.io.schema import GAPS, TableReport
from classifier.io.user_error import shortened
from classifier.tables.encoding import PreparedTable
from classifier.tables.labels import A_GLANCE, spelled_alike
from classifier.tables.names import by_reason, in_quotes
from classifier.tables.rows import TableRows
from classifier.tables.suspicions import columns_alike

MOST_LINES = 60
MOST_CHARACTERS = 60
"""The most characters of a cell that are shown."""
FAR_OFF = 2
"""By this factor a part may be smaller or larger than it is to be: a metric's interval is 1.4 times
as wide on half of the rows."""


def table_report_of(table: PreparedTable) -> TableReport:
    """Count what there is, and collect what is suspicious."""
    rows, columns, schema = table.rows, table.columns, table.schema
    n = len(rows.numbers)
    sizes = [int(count.sum()) for count in _class_counts(rows).values()]
    n_used = sum(sizes)
    warnings = [str(suspicion) for column in columns for suspicion in column.suspicions]
    warnings += map(str, columns_alike({one.schema.name: one.features for one in columns}))
    warnings += [
        f"classes {in_quotes(names)} differ in case or blanks alone; if they are the "
        "same, spell them alike in the table"
        for names in spelled_alike(schema.classes)
    ]
    warnings += [
        f"class '{name}' often stands for a missing value; if it does, add '{name}' to "
        "prepare.target_gaps"
        for name in schema.classes
        if name in GAPS
    ]
    params = rows.params
    val, test = params.val_size, params.test_size
    fractions, asked = [1 - test - val, val, test], "prepare.val_size and prepare.test_size"
    purposes = "train, validate and test"
    if params.folds > 1:
        fractions = [*[(1 - test) / params.folds] * params.folds, test]
        asked, purposes = "prepare.folds and prepare.test_size", "be left out in turn and test"
        sizes = sizes[-len(fractions) :]
    wanted = [round(n_used * fraction) for fraction in fractions]
    if any(max(pair) > FAR_OFF * min(pair) for pair in zip(sizes, wanted, strict=True)):
        warnings.append(
            f"{asked} ask for {_listed(wanted)} rows to {purposes}, but groups, copies, equal "
            f"times or rare classes make it {_listed(sizes)}"
        )
    for part in ("val", "test"):
        is_absent = rows.labels.count(rows.parts[part]) == 0
        absent = [name for name, is_so in zip(schema.classes, is_absent, strict=True) if is_so]
        if absent:
            warnings.append(f"no {part} row is of class {in_quotes(absent)}")
    if schema.label_kind == "integer" and len(schema.classes) > A_GLANCE:
        warnings.append(
            f"the target has {len(schema.classes)} whole numbers as classes; if they are a "
            "quantity, group them in a column of its own, such as low, medium and high"
        )
    n_copies = int(rows.is_copy.sum())
    if n_copies > n / 2:
        warnings.append(f"{n_copies} of {n} rows are copies: only {n - n_copies} are different")
    return TableReport(
        file=rows.file.description,
        rows=n_used,
        rows_without_target=rows.n_without_target,
        rows_of_rare_classes=n - n_used,
        copies=n_copies,
        gaps=sum(column.n_gaps for column in columns),
        columns=len(columns),
        features=schema.n_features,
        columns_left_out=len(table.left_out),
        left_out=table.left_out,
        suspicions=len(warnings),
        warnings=warnings,
    )


def summary(report: TableReport, table: PreparedTable) -> str:
    """Return a line for each column, what was left out, what is suspicious, and rows by class."""
    lines = [
        [column.schema.name, column.schema.kind, str(column.n_gaps), column.content]
        for column in table.columns[:MOST_LINES]
    ]
    remarks = []
    if len(table.columns) > MOST_LINES:
        remarks.append(f"and {len(table.columns) - MOST_LINES} columns more")
    remarks += [f"left out: {columns}" for columns in by_reason(report.left_out)]
    counted = {
        "rows without a target, left out": report.rows_without_target,
        "rows of rare classes, left out": report.rows_of_rare_classes,
        "rows that are copies of others, kept on their side": report.copies,
    }
    remarks += [f"{what}: {count}" for what, count in counted.items() if count]
    remarks += [f"warning: {warning}" for warning in report.warnings]
    lines_of_classes = _lines_of_classes(table.rows)
    return "\n".join(
        [
            f"{table.rows.file.name}: {report.file}",
            "",
            *_aligned([["column", "kind", "gaps", "range or categories"], *lines], {2}),
            *remarks,
            "",
            *_aligned(lines_of_classes, set(range(1, len(lines_of_classes[0])))),
        ]
    )


def _class_counts(rows: TableRows) -> dict[str, npt.NDArray[np.int64]]:
    """Return by part, or fold, how many rows there are of each class, shape (n_classes,)."""
    parts = rows.parts
    if rows.params.folds > 1:
        folds = {f"fold {number}": rows.fold == number for number in range(rows.params.folds)}
        always = {"train": parts["train"]} if len(parts["train"]) else {}
        parts = always | folds | {"test": parts["test"]}
    return {part: rows.labels.count(positions) for part, positions in parts.items()}


def _listed(numbers: list[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}"


def _lines_of_classes(rows: TableRows) -> list[list[str]]:
    classes, counts = rows.labels.classes, _class_counts(rows)
    of_class = zip(*counts.values(), strict=True)
    lines = [
        [name, *map(str, row)] for name, row in zip(classes[:MOST_LINES], of_class, strict=False)
    ]
    if len(classes) > MOST_LINES:
        lines.append([f"and {len(classes) - MOST_LINES} classes more", *[""] * len(counts)])
    sums = (str(count.sum()) for count in counts.values())
    return [[rows.params.target, *counts], *lines, ["all", *sums]]


def _aligned(lines: list[list[str]], right: set[int]) -> list[str]:
    """Return lines of cells as columns; those of the numbers in `right` end at their right."""
    shown = [[shortened(cell, MOST_CHARACTERS) for cell in cells] for cells in lines]
    widths = [max(map(len, cells)) for cells in zip(*shown, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in shown
    ]
