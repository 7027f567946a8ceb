"""Rows that are equal."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.tables.values import is_number, texts


def first_equal_rows(columns: list[pd.Series]) -> npt.NDArray[np.int64]:
    """Return for each row the position of the first that is equal in all columns, shape (n,).

    Texts are equal whatever the blanks around them; so are all gaps.
    """
    n = len(columns[0])
    first = np.arange(n)
    # Of these rows, each is equal to another in all columns so far. Numbers come first, since most
    # of them are different.
    candidates, group = np.arange(n), np.zeros(n, np.int64)
    columns = sorted(columns, key=lambda cells: not is_number(cells))
    if is_number(columns[0]):
        candidates = np.flatnonzero(columns[0].duplicated(keep=False))
        group = group[: len(candidates)]
    for column in columns if len(candidates) else []:
        cells = column.iloc[candidates]
        codes = pd.factorize(cells if is_number(cells) else texts(cells))[0] + 1
        group = pd.factorize(group * (codes.max() + 1) + codes)[0]
        is_shared = np.bincount(group)[group] > 1
        candidates, group = candidates[is_shared], group[is_shared]
        if not len(candidates):
            return first
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
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    n = len(first) + int(groups.max()) + 1
    edges = coo_array((np.ones(len(first)), (first, len(first) + groups)), shape=(n, n))
    component: npt.NDArray[np.int64] = connected_components(edges, directed=False)[1]
    return np.asarray(component[first], dtype=np.int64)
