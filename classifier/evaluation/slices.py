"""The metrics of groups of rows: a good average can hide a bad group."""

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from classifier.evaluation.answers import Answers
from classifier.evaluation.bootstrap import mean_interval
from classifier.evaluation.evaluated import SliceMetrics
from classifier.evaluation.metrics import wilson_interval

MOST_GROUPS = 10
"""A column of more numbers, or dates, is cut into quarters; of more texts, the rarest are taken
together."""

MISSING = "(missing)"


def groups(cells: pd.Series) -> pd.Series:
    """Return each row's group, a category: numbers in their order, texts from the commonest on.

    The cells of a column, shape (n,), are finite numbers, dates, or texts without blanks around
    them, NaN for gaps.
    """
    is_ordered = is_numeric_dtype(cells) or is_datetime64_any_dtype(cells)
    names, order = _of_numbers(cells) if is_ordered else _of_texts(cells)
    # A text may look like a name of ours.
    categories = dict.fromkeys([*order, MISSING])
    return pd.Series(pd.Categorical(names.astype(object).fillna(MISSING), categories), cells.index)


def _of_numbers(cells: pd.Series) -> tuple[pd.Series, list[str]]:
    if cells.nunique() <= MOST_GROUPS:
        group = cells.rank(method="dense")
    else:
        # By the middle of its ranks: equal numbers stay together, however many.
        group = np.floor(4 * (cells.rank() - 0.5) / cells.count())
    ends = cells.groupby(group).agg(["min", "max"])
    names = _spans(ends, digits=12)
    if len(set(names)) < len(names):
        names = _spans(ends, digits=17)
    return group.map(dict(zip(ends.index, names, strict=True))), names


def _spans(ends: pd.DataFrame, digits: int) -> list[str]:
    shown = [
        [_spelled(end, digits) for end in dict.fromkeys(span)]
        for span in ends.itertuples(index=False)
    ]
    return [" to ".join(span) for span in shown]


def _spelled(end: float | pd.Timestamp, digits: int) -> str:
    if isinstance(end, pd.Timestamp):
        return f"{end:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    return f"{end:.{digits}g}"


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

    The group of each row is a category, shape (n,); `confidence` is that of the intervals.
    """
    is_right, losses = answers.is_right, answers.log_losses()
    return {
        str(name): SliceMetrics(
            n_test=len(rows),
            accuracy=is_right[rows].mean(),
            accuracy_interval=wilson_interval(int(is_right[rows].sum()), len(rows), confidence),
            log_loss=losses[rows].mean(),
            log_loss_interval=mean_interval(losses[rows], confidence),
        )
        for name, rows in group.groupby(group, observed=True).indices.items()
    }
