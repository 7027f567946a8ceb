"""Rows that are equal."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from classifier.tables.values import Spelling, category_names, is_number


def first_equal_rows(columns: list[pd.Series], spelling: Spelling) -> npt.NDArray[np.int64]:
    """Return for each row the position of the first that is equal in all columns, shape (n,).

    Texts are equal whatever the blanks around them, or if they are the same number; so are gaps.
    """
    first = np.arange(len(columns[0]))
    # Numbers come first, since most of them are different.
    columns = sorted(columns, key=lambda cells: not is_number(cells))
    # Of these rows, each is equal to another in all columns so far.
    candidates = first.copy()
    if is_number(columns[0]):
        candidates = np.flatnonzero(columns[0].duplicated(keep=False))
    group = np.zeros(len(candidates), np.int64)
    for column in columns:
        if not len(candidates):
            return first
        cells = column.iloc[candidates]
        codes = pd.factorize(cells if is_number(cells) else category_names(cells, spelling))[0] + 1
        group = pd.factorize(group * (codes.max() + 1) + codes)[0]
        is_shared = np.bincount(group)[group] > 1
        candidates, group = candidates[is_shared], group[is_shared]
    _, position, group = np.unique(group, return_index=True, return_inverse=True)
    first[candidates] = candidates[position[group]]
    return first


def joined(first: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number for each row, shape (n,), the same for rows that are equal or of one group.

    Parameters
    ----------
    first
        As `first_equal_rows` returns it.
    groups
        Numbers from 0 on, shape (n,).

    """
    n = len(first) + int(groups.max()) + 1
    edges = coo_array((np.ones(len(first)), (first, len(first) + groups)), shape=(n, n))
    component: npt.NDArray[np.int64] = connected_components(edges, directed=False)[1]
    return np.asarray(component[first], dtype=np.int64)
