"""The rows of a table: which there are, of which class, and in which part."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.io.user_error import UserError
from classifier.tables.copies import first_equal_rows, joined
from classifier.tables.dates import seconds
from classifier.tables.encoding import Encoder
from classifier.tables.kinds import Dates, KindFinder, Numbers
from classifier.tables.labels import Labels, has_target, parse_labels
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.splits import Positions, Splitter
from classifier.tables.suspicions import draw_sample
from classifier.tables.table_file import TableFile, open_table
from classifier.tables.values import date_cells, numbers, texts

MOST_NAMES = 20
"""In a message."""


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
    left_out: dict[str, str]
    """Columns that are no features, with the reason; not those that parameters leave out."""
    n_without_target: int
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
    table = file.read(text_columns={str(name) for name in by_name})
    left_out = file.left_out(table)
    left_out.pop(params.target, None)
    names = choose_features(file.columns, params, left_out)

    with_target = has_target(table[params.target])
    if not with_target.any():
        raise UserError(f"{file.name}: the target column '{params.target}' is empty in every row")
    used = dict.fromkeys([*names, params.target, params.group, params.order_by])
    cells = {name: table[name] for name in used if name is not None}
    rows = table.index.to_numpy()
    # Column by column, it makes room for the features.
    del table
    if not with_target.all():
        rows = rows[with_target]
        cells = {name: column[with_target] for name, column in cells.items()}

    labels = parse_labels(cells[params.target], file.spelling, file.name)
    first = first_equal_rows([column for name, column in cells.items() if name != params.group])
    parts = split(params, labels, first, cells, file)
    return TableRows(
        file=file,
        numbers=rows,
        cells={name: cells.pop(name) for name in names},
        labels=labels.limited_to(parts["train"]),
        parts=parts,
        left_out=left_out,
        n_without_target=int((~with_target).sum()),
        is_copy=first != np.arange(len(first)),
    )


def split(
    params: PrepareParams,
    labels: Labels,
    first: Positions,
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
    first
        For each row the position of the first that is equal, shape (n,).
    cells
        Have the column of groups or times.
    file
        Where they are from.

    Raises
    ------
    UserError
        If there are too few rows, groups or times.

    """
    splitter = Splitter(params.test_size, params.val_size, params.rare_classes, params.seed)
    if params.group is not None:
        groups = texts(cells[params.group], file.spelling.gaps)
        _refuse_gap(groups, file, "group")
        return splitter.by_group(labels, joined(first, pd.factorize(groups)[0]))
    if params.order_by is not None:
        return splitter.by_time(labels, times(cells[params.order_by], params, file))
    return splitter.at_random(labels, first)


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


def check_names(columns: list[str], params: PrepareParams) -> None:
    """Refuse parameters that name a column that there is not, or the target.

    Raises
    ------
    UserError
        Names the parameter and the columns.

    """
    there = in_quotes(columns)
    if params.target not in columns:
        raise UserError(
            f"{params.data} has no column '{params.target}'{nearest(params.target, columns)}; "
            f"prepare.target must be one of: {there}"
        )
    for key in ("ignore", "features", "categorical", "group", "order_by"):
        value = getattr(params, key) or []
        for name in [value] if isinstance(value, str) else value:
            if name not in columns:
                raise UserError(
                    f"params.yaml: prepare.{key} names '{name}'{nearest(name, columns)}, but the "
                    f"columns of {params.data} are: {there}"
                )
            if name == params.target:
                raise UserError(f"params.yaml: prepare.{key} names '{name}', which is the target")


def choose_features(
    columns: list[str], params: PrepareParams, left_out: dict[str, str]
) -> list[str]:
    """Return the names of the feature columns, in the table's order.

    Raises
    ------
    UserError
        If none is left.

    """
    chosen = columns if params.features is None else params.features
    others = {params.target, params.group, *params.ignore, *left_out}
    features = [name for name in columns if name in chosen and name not in others]
    if not features:
        there = in_quotes(columns)
        raise UserError(
            f"{params.data} has no features left: prepare.target is '{params.target}', and "
            f"prepare.ignore and prepare.features leave out the rest of: {there}"
        )
    return features


def in_quotes(names: list[str]) -> str:
    """Return the names for a message, the first of many alone."""
    shown = ", ".join(f"'{name}'" for name in names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more, up to '{names[-1]}'" if more > 0 else shown


def nearest(name: str, names: list[str]) -> str:
    """Return what may have been meant, for a message."""
    by_lower = {one.lower(): one for one in reversed(names)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    meant = " or ".join(f"'{by_lower[one]}'" for one in close)
    return f" (did you mean {meant}?)" if meant else ""
