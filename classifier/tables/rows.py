"""The rows of a table: of which class, which of them belong together, and in which part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from classifier.io.prepared import write_parquet
from classifier.io.user_error import UserError
from classifier.tables.kinds import Dates, Numbers, kind_of
from classifier.tables.labels import Labels, parse_labels
from classifier.tables.names import by_reason, check_names, choose_features
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.splits import NO_FOLD, Positions, Splitter, deal_folds
from classifier.tables.table_file import TableFile
from classifier.tables.values import (
    Spelling,
    category_names,
    holds_values,
    is_number,
    numbers,
    seconds,
)


@dataclass(frozen=True)
class TableRows:
    """The rows that have a target, split, with the cells that features are made of."""

    params: PrepareParams
    file: TableFile
    numbers: Positions
    """The rows' numbers as a spreadsheet shows them, shape (n,)."""
    cells: dict[str, pd.Series]
    """The columns of features, by name."""
    labels: Labels
    """The classes of all rows; those in no part may have the index -1."""
    is_copy: npt.NDArray[np.bool_]
    """Whether a row is equal to one further up, shape (n,)."""
    units: Positions
    """Numbers, shape (n,), the same for rows that belong together: equal ones, those of a group."""
    parts: dict[str, Positions]
    """Positions of the train, val and test rows, each in order.

    The train rows train all networks; each of the val rows is left out by one of them, and trains
    the others.
    """
    training: Positions
    """Positions of the rows that train some network, in order."""
    fold: Positions
    """The number of the network that leaves a row out, shape (n,); `NO_FOLD`: none does."""
    left_out: dict[str, str]
    """Columns that are no features, with the reason; not those that parameters leave out."""
    n_without_target: int
    test_cells: pd.DataFrame
    """All columns of the test rows."""

    @property
    def n_train(self) -> int:
        """How many rows a network is trained on; of several networks, about."""
        n, n_folds = len(self.training), self.params.folds
        return n if n_folds == 1 else n - n // n_folds

    def hold_values(self) -> dict[str, bool]:
        """Return by name whether a column holds numbers or texts."""
        return {str(name): holds_values(cells) for name, cells in self.test_cells.items()}


def read_rows(params: PrepareParams) -> TableRows:
    """Read the table, find its classes, and split it.

    Raises `UserError` if the file, a parameter or the classes are such that this cannot be done.
    """
    file = open_table(Path(params.data), params.data, params, [params.target])
    check_names(file.columns, params)
    by_name = {params.target, params.group, *params.categorical, *params.text} - {None}
    table = file.read(text_columns={*map(str, by_name), *file.codes})
    left_out = file.left_out(table)
    left_out.pop(params.target, None)
    names = choose_features(file.columns, params, left_out)

    # What else stands for a missing value in a column of features is a class here.
    gaps = Spelling(gaps=("", *params.target_gaps))
    with_target = category_names(table[params.target], gaps).notna()
    if not with_target.any():
        raise UserError(f"{file.name}: the target column '{params.target}' is empty in every row")
    if not with_target.all():
        table = table[with_target]
    used = dict.fromkeys([*names, params.target, params.group, params.order_by])
    cells = {name: table[name] for name in used if name is not None}
    labels = parse_labels(cells[params.target], file.spelling, file.name)
    if not any(first_equal_rows([cells[name]], file.spelling).any() for name in names):
        why = by_reason(left_out | dict.fromkeys(names, "it is the same in every row"))
        raise UserError(f"{file.name} has no column that says anything: {'; '.join(why)}")
    compared = [cells[name] for name in cells if name != params.group]
    first = together = first_equal_rows(compared, file.spelling)
    splitter = Splitter(params.test_size, params.val_size, params.rare_classes, params.seed)
    if params.group is not None:
        groups = category_names(cells[params.group], file.spelling)
        _refuse_gap(groups, file, "group")
        together = joined(first, pd.factorize(groups)[0])
        parts = splitter.by_group(labels, together)
    elif params.order_by is not None:
        parts = splitter.by_time(labels, _times(cells[params.order_by], params, file))
    else:
        parts = splitter.at_random(labels, together)
    fold = deal_folds(params, labels, together, parts)
    learning = np.sort(np.concatenate([parts["train"], parts["val"]]))
    trains_all = fold[learning] == NO_FOLD
    parts |= {"train": learning[trains_all], "val": learning[~trains_all]}
    training = parts["train"] if params.folds == 1 else learning
    # The table is to be freed column by column, to make room for the features.
    return TableRows(
        params=params,
        file=file,
        numbers=table.index.to_numpy(),
        cells={name: cells.pop(name) for name in names},
        labels=labels.limited_to(training),
        is_copy=first != np.arange(len(first)),
        units=pd.factorize(together)[0],
        parts=parts,
        training=training,
        fold=fold,
        left_out=left_out,
        n_without_target=int((~with_target).sum()),
        test_cells=table.iloc[parts["test"]],
    )


def first_equal_rows(table: list[pd.Series], spelling: Spelling) -> Positions:
    """Return for each row the position of the first that is equal in all columns, shape (n,).

    Texts are equal whatever the blanks around them, or if they are the same number; so are gaps.
    """
    first = np.arange(len(table[0]))
    # Of these rows, each is equal to another in all columns so far.
    candidates, group = first, np.zeros(len(first), np.int64)
    # Numbers come first, since most of them are different.
    for column in sorted(table, key=lambda cells: not is_number(cells)):
        cells = column.iloc[candidates]
        plain = cells if is_number(cells) else category_names(cells, spelling)
        codes, distinct = pd.factorize(plain)
        group = pd.factorize(group * (len(distinct) + 1) + codes)[0]
        is_shared = np.bincount(group)[group] > 1
        candidates, group = candidates[is_shared], group[is_shared]
    _, position, number = np.unique(group, return_index=True, return_inverse=True)
    first[candidates] = candidates[position[number]]
    return first


def joined(first: Positions, groups: Positions) -> Positions:
    """Return for each row the position of the first that it belongs together with, shape (n,).

    Rows that are equal do, by `first`, those of one of the groups, which are numbers from 0 on, and
    all that are so linked.
    """
    n = len(first) + int(groups.max()) + 1
    edges = coo_array((np.ones(len(first)), (first, len(first) + groups)), shape=(n, n))
    component = connected_components(edges, directed=False)[1][first]
    _, position, number = np.unique(component, return_index=True, return_inverse=True)
    return np.asarray(position[number])


def _times(cells: pd.Series, params: PrepareParams, file: TableFile) -> npt.NDArray[np.float64]:
    """Return what orders the rows, shape (n,): numbers, or seconds since 1970.

    Raises `UserError` if they are neither numbers nor dates, or one is missing.
    """
    where = f"{file.where(cells)}, which is prepare.order_by,"
    match kind_of(cells, file, params.day_first):
        case Numbers(unit=unit):
            found = numbers(cells, file.spelling, where, unit)
        case Dates(format=text_format):
            found = seconds(cells, file.spelling, where, text_format)
        case _:
            raise UserError(f"{where} must hold numbers or dates; name another")
    _refuse_gap(pd.Series(found, cells.index, name=cells.name), file, "order_by")
    return found


def _refuse_gap(cells: pd.Series, file: TableFile, parameter: str) -> None:
    missing = cells.isna()
    if missing.any():
        raise UserError(
            f"{file.where(cells)}, which is prepare.{parameter}, is empty in row "
            f"{missing.idxmax()}; fill it in, or remove the row"
        )


def write_cells(path: Path, table: pd.DataFrame, spelling: Spelling) -> None:
    """Write all columns of rows, also those that are no features; of other values, nulls."""
    write_parquet(path, pa.table({name: _plain(cells, spelling) for name, cells in table.items()}))


def _plain(cells: pd.Series, spelling: Spelling) -> pa.Array:
    if is_number(cells):
        return pa.array(numbers(cells, spelling, str(cells.name)))
    if not holds_values(cells):
        return pa.nulls(len(cells))
    category = category_names(cells, spelling)
    lower = category.str.lower()
    if lower.dropna().isin(["true", "false"]).all():
        category = lower
    return pa.array(category.astype(object), pa.string())
