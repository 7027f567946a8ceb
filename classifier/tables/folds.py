"""Folds: which network leaves out which rows, to be stopped and judged by them."""

import numpy as np
import numpy.typing as npt

from classifier.dealing import deal
from classifier.io.user_error import UserError
from classifier.tables.labels import Labels
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.splits import Positions

NO_FOLD = -1
"""The fold of rows that no network leaves out."""


def deal_folds(
    params: PrepareParams, labels: Labels, together: Positions, parts: dict[str, Positions]
) -> Positions:
    """Return the number of the network that leaves a row out, shape (n,); test rows have none.

    With one fold, these are the validation rows. With several, each row that does not test is left
    out by one network, stratified by class. Rows with the same number in `together`, shape (n,),
    have the same fold. Those without which a network would not be trained on some class train all
    of them: what has a class to itself, or one of the groups of a class that came into one fold.

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
    units, target = together[rows], labels.indices[rows]
    is_dealt = may_be_left_out(units, target)
    n_left_out = len(np.unique(units[is_dealt]))
    if n_left_out < params.folds:
        what = "different rows" if params.group is None else f"groups in '{params.group}'"
        raise UserError(
            f"{labels.where}: {n_left_out} {what} can be left out in turn, too few for "
            f"prepare.folds {params.folds}; lower it"
        )
    dealt = np.full(len(rows), NO_FOLD)
    dealt[is_dealt] = deal(units[is_dealt], target[is_dealt], params.folds, params.seed)
    for each in _by_class(target):
        folds = np.unique(dealt[each])
        if len(folds) == 1 and folds[0] != NO_FOLD:
            having = np.unique(units[each])
            dealt[units == having[np.bincount(units)[having].argmin()]] = NO_FOLD
    fold[rows] = dealt
    return fold


def may_be_left_out(units: Positions, target: Positions) -> npt.NDArray[np.bool_]:
    """Return which rows may be left out, shape (n,): without the others no class would be trained.

    Given are the numbers of what belongs together and the classes, both of shape (n,).
    """
    lone = [units[each[0]] for each in _by_class(target) if len(np.unique(units[each])) == 1]
    return ~np.isin(units, lone)


def _by_class(target: Positions) -> list[Positions]:
    """Return the positions of the rows of each class."""
    return np.split(np.argsort(target, kind="stable"), np.cumsum(np.bincount(target))[:-1])
