"""Rows dealt into folds, stratified by class."""

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]


def deal(units: Positions, target: Positions, n_folds: int, seed: int) -> Positions:
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
