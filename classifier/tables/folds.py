"""Folds: which network leaves out which rows, to be stopped and judged by them."""

import numpy as np
from scipy.sparse import csr_array

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
    units = np.unique(together[rows], return_inverse=True)[1]
    # Of each unit, what is kept together, the number of rows of each class.
    counts = csr_array((np.ones(len(rows), np.int64), (units, labels.indices[rows])))
    is_lone = np.bincount(counts.indices) == 1
    left_out = np.flatnonzero(counts @ is_lone == 0)
    if len(left_out) < params.folds:
        what = "different rows" if params.group is None else f"groups in '{params.group}'"
        raise UserError(
            f"{labels.where}: {len(left_out)} {what} can be left out in turn, too few for "
            f"prepare.folds {params.folds}; lower it"
        )
    fold_of_unit = np.full(counts.shape[0], NO_FOLD)
    fold_of_unit[left_out] = _dealt(counts[left_out], params.folds, params.seed)
    by_class = counts.tocsc()
    for start, stop in zip(by_class.indptr[:-1], by_class.indptr[1:], strict=True):
        having = by_class.indices[start:stop]
        folds = np.unique(fold_of_unit[having])
        if len(folds) == 1 and folds[0] != NO_FOLD:
            fold_of_unit[having[counts[having].sum(axis=1).argmin()]] = NO_FOLD
    fold[rows] = fold_of_unit[units]
    return fold


def _dealt(counts: csr_array, n_folds: int, seed: int) -> Positions:
    """Return the folds of units, shape (n,), given their rows of each class, shape (n, n_classes).

    Those with the rarest classes come first, the larger before the smaller. Each goes to the fold
    that has the smallest share of its classes' rows, and of such folds to the one with fewest rows:
    none is empty, and with units of one class, no class is in one fold alone.
    """
    sizes, n_rows = counts.sum(axis=1), counts.sum(axis=0)
    rarity = np.argsort(np.argsort(n_rows, kind="stable"))
    rarest = np.minimum.reduceat(rarity[counts.indices], counts.indptr[:-1])
    by_chance = np.random.default_rng(seed).permutation(len(sizes))
    weights = (counts.data / n_rows[counts.indices] ** 2.0).tolist()
    # Lists: arrays of so few numbers take several times as long.
    starts, classes, n = counts.indptr.tolist(), counts.indices.tolist(), counts.data.tolist()
    of_class, of_fold = [[0] * n_folds for _ in n_rows], [0] * n_folds
    fold = np.zeros(len(sizes), np.int64)
    for unit in np.lexsort([by_chance, -sizes, rarest]).tolist():
        entries = range(starts[unit], starts[unit + 1])
        shares = [[weights[i] * share for share in of_class[classes[i]]] for i in entries]
        share = map(sum, zip(*shares, strict=True))
        *_, best = min(zip(share, of_fold, range(n_folds), strict=True))
        fold[unit] = best
        for i in entries:
            of_class[classes[i]][best] += n[i]
            of_fold[best] += n[i]
    return fold
