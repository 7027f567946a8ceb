"""Folds: which network leaves out which rows, to be stopped and judged by them."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from classifier.io.user_error import UserError
from classifier.tables.labels import Labels
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.splits import Positions, dealt

NO_FOLD = -1
"""The fold of rows that no network leaves out."""


def deal_folds(
    params: PrepareParams, labels: Labels, together: Positions, parts: dict[str, Positions]
) -> Positions:
    """Return the number of the network that leaves a row out, shape (n,); test rows have none.

    With one fold, these are the validation rows. With several, each row that does not test is left
    out by one network, stratified by class. Rows with the same number in `together`, shape (n,),
    have the same fold; those that have a class to themselves train all networks.

    Raises
    ------
    UserError
        If there are too few different rows, or groups.

    """
    fold = np.full(len(together), NO_FOLD)
    if params.folds == 1:
        fold[parts["val"]] = 0
        return fold
    rows = np.concatenate([parts["train"], parts["val"]])
    rows = np.sort(rows)
    pairs = np.unique(np.stack([together[rows], labels.indices[rows]]), axis=1)
    is_lone = np.bincount(pairs[1], minlength=len(labels.classes))[pairs[1]] == 1
    rows = rows[~np.isin(together[rows], pairs[0, is_lone])]
    target, units = labels.indices[rows], np.unique(together[rows], return_inverse=True)[1]
    n_units = len(np.unique(units))
    if n_units < params.folds:
        what = "different rows" if params.group is None else f"groups in '{params.group}'"
        raise UserError(
            f"{labels.where}: {n_units} {what} do not test, too few for prepare.folds "
            f"{params.folds}; lower it"
        )
    deal = _stratified if params.group is None else _of_groups
    fold[rows] = deal(target, units, params.folds, params.seed)
    return fold


def _stratified(target: Positions, units: Positions, n_folds: int, seed: int) -> Positions:
    """Return the folds of rows, shape (n,), whose units are each of one class."""
    _, first, sizes = np.unique(units, return_index=True, return_counts=True)
    by_chance = np.random.default_rng(seed).permutation(len(sizes))
    largest_first = by_chance[np.argsort(-sizes[by_chance], kind="stable")]
    class_of_unit = target[first[largest_first]]
    fold_of_unit = np.zeros(len(sizes), np.int64)
    n_rows = np.zeros(n_folds)
    for index in np.unique(target):
        # Folds that have got too few rows of the classes before get more of this one.
        chosen = largest_first[class_of_unit == index]
        lacking = (n_rows.sum() + sizes[chosen].sum()) / n_folds - n_rows
        fold_of_unit[chosen] = dealt(sizes[chosen], lacking)
        np.add.at(n_rows, fold_of_unit[chosen], sizes[chosen])
    return fold_of_unit[units]


def _of_groups(target: Positions, groups: Positions, n_folds: int, seed: int) -> Positions:
    """Return the folds of rows, shape (n,), whose groups may be of several classes."""
    fold = np.zeros(len(target), np.int64)
    splits = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        # Some class may have fewer rows than there are folds.
        for number, (_, rows) in enumerate(splits.split(target, target, groups)):
            fold[rows] = number
    return fold
