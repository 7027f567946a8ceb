"""The metrics of groups of rows: a good average can hide a bad group."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_numeric_dtype

from classifier.evaluation.answers import Answers
from classifier.evaluation.bootstrap import mean_interval
from classifier.evaluation.calibration import wilson_interval
from classifier.evaluation.evaluated import Interval, SliceMetrics
from classifier.io.later_params import EvaluateParams
from classifier.io.prepared import open_parquet

MOST_GROUPS = 10
"""A column of more numbers is cut into quarters; of more texts, the rarest are taken together."""

MISSING = "(missing)"


def read_cells(path: Path, params: EvaluateParams, source: str) -> dict[str, pd.Series]:
    """Return the columns of `evaluate.slices`, as `prepare` has written them.

    These are numbers, or texts without blanks around them, NaN for gaps.

    Raises
    ------
    UserError
        If the table, which messages call `source`, lacks one, or one holds something else.

    """
    with open_parquet(path) as file:
        columns = {field.name: not pa.types.is_null(field.type) for field in file.schema_arrow}
        params.must_slice(columns, source)
        # With what else is selected: pyarrow takes a name before a dot for one with parts.
        table = file.read(columns=params.slices).select(params.slices)
    return {str(name): column.replace({None: np.nan}) for name, column in table.to_pandas().items()}


def groups(cells: pd.Series) -> pd.Series:
    """Return each row's group, a category: numbers in their order, texts from the commonest on.

    Parameters
    ----------
    cells
        Of a column, shape (n,): finite numbers, or texts without blanks around them, NaN for gaps.

    """
    if is_numeric_dtype(cells):
        names, order = _of_numbers(cells)
    else:
        names, order = _of_texts(cells)
    # A text may look like a name of ours.
    categories = dict.fromkeys([*order, MISSING])
    return pd.Series(pd.Categorical(names.astype(object).fillna(MISSING), categories), cells.index)


def _of_numbers(cells: pd.Series) -> tuple[pd.Series, list[str]]:
    counts = cells.value_counts(sort=False).sort_index()
    if len(counts) <= MOST_GROUPS:
        group = np.arange(len(counts))
    else:
        # By the middle of its ranks: equal numbers stay together, however many.
        middle = (counts.cumsum() - counts / 2) / counts.sum()
        group = np.floor(4 * middle).to_numpy()
    ends = [counts.index[group == one][[0, -1]] for one in np.unique(group)]
    names = _spans(ends, digits=12)
    if len(set(names)) < len(names):
        names = _spans(ends, digits=17)
    name_of = dict(zip(np.unique(group), names, strict=True))
    return cells.map(dict(zip(counts.index, map(name_of.get, group), strict=True))), names


def _spans(ends: list[pd.Index], digits: int) -> list[str]:
    shown = [[f"{end:.{digits}g}" for end in dict.fromkeys(low_and_high)] for low_and_high in ends]
    return [" to ".join(low_and_high) for low_and_high in shown]


def _of_texts(names: pd.Series) -> tuple[pd.Series, list[str]]:
    counts = names.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    order = [str(name) for name in counts.index]
    if len(order) > MOST_GROUPS:
        rare = order[MOST_GROUPS - 1 :]
        others = f"({len(rare)} others)"
        names = names.mask(names.isin(rare), others)
        order = [*order[: MOST_GROUPS - 1], others]
    return names, order


def measure_slices(
    answers: Answers, group: pd.Series, confidence: float
) -> dict[str, SliceMetrics]:
    """Return the metrics of each group of rows that there is.

    Parameters
    ----------
    answers
        To `n` rows.
    group
        Of each, a category, shape (n,).
    confidence
        Of the intervals.

    """
    is_right, losses = answers.predicted == answers.target, answers.log_losses()
    found = {}
    for code, name in enumerate(group.cat.categories):
        here = group.cat.codes.to_numpy() == code
        n = int(here.sum())
        if not n:
            continue
        low, high = wilson_interval(int(is_right[here].sum()), n, confidence)
        found[str(name)] = SliceMetrics(
            n_test=n,
            accuracy=is_right[here].mean(),
            accuracy_interval=Interval(low=low, high=high),
            log_loss=losses[here].mean(),
            log_loss_interval=mean_interval(losses[here], confidence) if n > 1 else None,
        )
    return found
