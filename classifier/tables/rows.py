"""The rows of a table, of which class and in which part, and the table as the network sees it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from classifier.io.prepared import write_parquet
from classifier.io.schema import Schema
from classifier.io.user_error import UserError
from classifier.tables.copies import first_equal_rows, joined
from classifier.tables.dates import seconds
from classifier.tables.encoding import EncodedColumn, Encoder, LeftOut
from classifier.tables.kinds import Dates, KindFinder, Numbers
from classifier.tables.labels import Labels, has_target, parse_labels
from classifier.tables.names import check_names, choose_features
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.splits import Positions, Splitter
from classifier.tables.suspicions import draw_sample
from classifier.tables.table_file import TableFile
from classifier.tables.values import (
    Spelling,
    category_names,
    date_cells,
    holds_values,
    is_number,
    numbers,
)


@dataclass(frozen=True)
class TableRows:
    """The rows that have a target, split, with the cells that features are made of."""

    file: TableFile
    numbers: npt.NDArray[np.int64]
    """As a spreadsheet shows them, shape (n,)."""
    cells: dict[str, pd.Series]
    """The columns of features, by name."""
    labels: Labels
    """Of all rows; those in no part may have the index -1."""
    parts: dict[str, Positions]
    """Positions of the train, val and test rows, each in order."""
    units: npt.NDArray[np.int64]
    """Numbers, shape (n,), the same for rows that belong together: equal ones, those of a group."""
    wanted: tuple[float, float, float]
    """What fractions of all these are to be."""
    left_out: dict[str, str]
    """Columns that are no features, with the reason; not those that parameters leave out."""
    n_without_target: int
    test_cells: pd.DataFrame
    """All columns of the test rows."""

    def hold_values(self) -> dict[str, bool]:
        """Return by name whether a column holds numbers or texts."""
        return {str(name): holds_values(column) for name, column in self.test_cells.items()}

    is_copy: npt.NDArray[np.bool_]
    """Whether a row is equal to one further up, shape (n,)."""


def read_rows(params: PrepareParams) -> TableRows:
    """Read the table, find its classes, and split it.

    Raises
    ------
    UserError
        If the file, a parameter or the classes are such that this cannot be done.

    """
    file = open_table(Path(params.data), params.data, params)
    check_names(file.columns, params)
    by_name = {params.target, params.group, *params.categorical} - {None}
    table = file.read(text_columns={*map(str, by_name), *file.codes})
    left_out = file.left_out(table)
    left_out.pop(params.target, None)
    names = choose_features(file.columns, params, left_out)

    with_target = has_target(table[params.target], params.target_gaps)
    if not with_target.any():
        raise UserError(f"{file.name}: the target column '{params.target}' is empty in every row")
    used = dict.fromkeys([*names, params.target, params.group, params.order_by])
    if not with_target.all():
        table = table[with_target]
    cells = {name: table[name] for name in used if name is not None}
    rows = table.index.to_numpy()

    labels = parse_labels(cells[params.target], file.spelling, file.name)
    first = first_equal_rows(
        [column for name, column in cells.items() if name != params.group], file.spelling
    )
    units = find_units(params, first, cells, file)
    parts = split(params, labels, units, cells, file)
    test_cells = table.iloc[parts["test"]]
    # Column by column, it makes room for the features.
    del table
    return TableRows(
        file=file,
        numbers=rows,
        cells={name: cells.pop(name) for name in names},
        labels=labels.limited_to(parts["train"]),
        parts=parts,
        units=units,
        wanted=(1 - params.test_size - params.val_size, params.val_size, params.test_size),
        left_out=left_out,
        n_without_target=int((~with_target).sum()),
        test_cells=test_cells,
        is_copy=first != np.arange(len(first)),
    )


def find_units(
    params: PrepareParams, first: Positions, cells: dict[str, pd.Series], file: TableFile
) -> Positions:
    """Return which rows belong together, numbered in their order, shape (n,): see `TableRows`.

    `first` has for each row the position of the first that is equal, shape (n,).

    Raises
    ------
    UserError
        If a row is of no group.

    """
    together = first
    if params.group is not None:
        groups = category_names(cells[params.group], file.spelling)
        _refuse_gap(groups, file, "group")
        together = joined(first, pd.factorize(groups)[0])
    units: Positions = pd.factorize(together)[0]
    return units


def split(
    params: PrepareParams,
    labels: Labels,
    units: Positions,
    cells: dict[str, pd.Series],
    file: TableFile,
) -> dict[str, Positions]:
    """Return the positions of the train, val and test rows, each in order.

    Parameters
    ----------
    params
        Say how.
    labels
        Of the rows.
    units
        Which rows belong together, as `find_units` returns it.
    cells
        Have the column of times.
    file
        Where they are from.

    Raises
    ------
    UserError
        If there are too few rows, groups or times.

    """
    splitter = Splitter(params.test_size, params.val_size, params.rare_classes, params.seed)
    if params.group is not None:
        return splitter.by_group(labels, units)
    if params.order_by is not None:
        return splitter.by_time(labels, times(cells[params.order_by], params, file))
    return splitter.at_random(labels, units)


def times(cells: pd.Series, params: PrepareParams, file: TableFile) -> npt.NDArray[np.float64]:
    """Return what orders the rows, shape (n,): numbers, or seconds since 1970.

    Raises
    ------
    UserError
        If they are neither numbers nor dates, or one is missing.

    """
    where = f"{file.name}: column '{cells.name}', which is prepare.order_by,"
    kind = KindFinder(file.name, file.spelling, params.day_first).find(cells, np.arange(len(cells)))
    match kind:
        case Numbers():
            found = numbers(cells, file.spelling, where, kind.unit)
        case Dates():
            found = seconds(date_cells(cells, file.spelling), kind.format, where)
        case _:
            raise UserError(f"{where} must hold numbers or dates; name another")
    _refuse_gap(pd.Series(found, cells.index, name=cells.name), file, "order_by")
    return found


def _refuse_gap(cells: pd.Series, file: TableFile, parameter: str) -> None:
    missing = cells.isna()
    if missing.any():
        raise UserError(
            f"{file.name}: column '{cells.name}', which is prepare.{parameter}, is empty in row "
            f"{missing.idxmax()}; fill it in, or remove the row"
        )


def make_encoder(rows: TableRows, params: PrepareParams) -> Encoder:
    """Return what turns the cells into features, having learnt from the training rows."""
    train = rows.parts["train"]
    return Encoder(
        kinds=KindFinder(rows.file.name, rows.file.spelling, params.day_first),
        train=train,
        sample=draw_sample(train[~rows.is_copy[train]], rows.labels.indices),
        categorical=params.categorical,
        codes=rows.file.codes,
        scaler=params.scaler,
        missing_indicator=params.missing_indicator,
        max_categories=params.max_categories,
        beyond_max_categories=params.beyond_max_categories,
    )


@dataclass(frozen=True)
class PreparedTable:
    """The rows, and the columns that have something to say."""

    rows: TableRows
    columns: list[EncodedColumn]
    left_out: dict[str, str]
    """Columns that say nothing, with the reason; not those that parameters leave out."""
    schema: Schema


def put_together(
    rows: TableRows, encoded: list[EncodedColumn | LeftOut], params: PrepareParams
) -> PreparedTable:
    """Part the columns from those that are left out, and describe them.

    Raises
    ------
    UserError
        If all are left out.

    """
    columns = [column for column in encoded if isinstance(column, EncodedColumn)]
    without = [column for column in encoded if isinstance(column, LeftOut)]
    if not columns:
        raise UserError(
            f"{params.data} has no column that says anything: '{without[0].name}' is left out, "
            f"since {without[0].reason}; so are all others"
        )
    schema = Schema(
        target=params.target,
        label_kind=rows.labels.kind,
        classes=rows.labels.classes,
        scaler=params.scaler,
        gaps=params.gaps,
        not_gaps=params.not_gaps,
        columns=[column.schema for column in columns],
    )
    left_out = rows.left_out | {column.name: column.reason for column in without}
    return PreparedTable(rows, columns, left_out, schema)


def write_cells(path: Path, table: pd.DataFrame, spelling: Spelling) -> None:
    """Write all columns of rows, also those that are no features; of other values, nulls."""
    columns = {name: _plain(column, spelling) for name, column in table.items()}
    write_parquet(path, pa.table(columns))


def _plain(column: pd.Series, spelling: Spelling) -> pa.Array:
    if is_number(column):
        return pa.array(numbers(column, spelling, str(column.name)))
    if not holds_values(column):
        return pa.nulls(len(column))
    spelled = category_names(column, spelling)
    lower = spelled.str.lower()
    if lower.dropna().isin(["true", "false"]).all():
        spelled = lower
    return pa.array(spelled.astype(object), pa.string())
