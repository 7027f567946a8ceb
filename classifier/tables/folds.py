"""Which network leaves out which rows."""

import numpy as np
import numpy.typing as npt

from classifier.io.user_error import UserError
from classifier.tables.labels import Labels
from classifier.tables.prepare_params import PrepareParams

Positions = npt.NDArray[np.int64]

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
    Raises `UserError` if there are too few different rows, or groups.
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
    dealt[is_dealt] = _deal(units[is_dealt], target[is_dealt], params.folds, params.seed)
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


def _deal(units: Positions, target: Positions, n_folds: int, seed: int) -> Positions:
    """Return the folds of rows, from 0 on, given their units and classes, all of shape (n,).

    Rows with the same number in `units` have the same fold. The units with the rarest classes come
    first, the larger before the smaller. Each goes to the fold that has the smallest share of its
    classes' rows, and of such folds to the one with fewest rows: none is empty where there are
    enough units, and with units of one class, no class is in one fold alone.
    """
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    n_rows = np.bincount(target)
    rarity = np.argsort(np.argsort(n_rows, kind="stable"))
    # An entry for each class of each unit, in the order of the units.
    pairs, n_of_pair = np.unique(unit * len(n_rows) + target, return_counts=True)
    unit_of_pair, class_of_pair = np.divmod(pairs, len(n_rows))
    first = np.searchsorted(unit_of_pair, np.arange(len(sizes) + 1))
    rarest = np.minimum.reduceat(rarity[class_of_pair], first[:-1])
    by_chance = np.random.default_rng(seed).permutation(len(sizes))
    weights = (n_of_pair / n_rows[class_of_pair] ** 2.0).tolist()
    # Lists: arrays of so few numbers take several times as long.
    starts, classes, n = first.tolist(), class_of_pair.tolist(), n_of_pair.tolist()
    of_class, of_fold = [[0] * n_folds for _ in n_rows], [0] * n_folds
    fold = np.zeros(len(sizes), np.int64)
    for each in np.lexsort([by_chance, -sizes, rarest]).tolist():
        entries = range(starts[each], starts[each + 1])
        shares = [[weights[i] * share for share in of_class[classes[i]]] for i in entries]
        share = map(sum, zip(*shares, strict=True))
        *_, best = min(zip(share, of_fold, range(n_folds), strict=True))
        fold[each] = best
        for i in entries:
            of_class[classes[i]][best] += n[i]
            of_fold[best] += n[i]
    return fold[unit]
