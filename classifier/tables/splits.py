"""Which rows train, validate and test, and which network leaves out which of them."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from classifier.io.schema import GAPS
from classifier.io.user_error import NeedsParameterError, UserError
from classifier.tables.labels import Labels
from classifier.tables.prepare_params import PrepareParams, RareClasses

Positions = npt.NDArray[np.int64]

PARTS = ("train", "val", "test")

NO_FOLD = -1
"""The fold of rows that no network leaves out."""

MOST_FOLDS = 10
"""The most folds that small groups are put into, where there are large ones."""


@dataclass(frozen=True)
class Splitter:
    """Splits rows three ways; rows with the same number in `together` come into the same part.

    The number of a part is its position in `PARTS`.
    """

    test_size: float
    val_size: float
    """Fractions of all rows, as near as what is kept together allows."""
    rare_classes: RareClasses
    seed: int

    def at_random(self, labels: Labels, together: Positions) -> dict[str, Positions]:
        """Return the positions of the train, val and test rows, stratified by class.

        Each part has all classes, but for those with too few rows to be in each: see
        `rare_classes`. What is kept together is of one class. Raises `UserError` if a part would be
        empty, or a class has too few rows.
        """
        _, first, unit, sizes = np.unique(
            together, return_index=True, return_inverse=True, return_counts=True
        )
        n_classes = len(labels.classes)
        class_of_unit = labels.indices[first]
        rare = self._rare(labels, np.bincount(class_of_unit, minlength=n_classes))
        is_common = ~np.isin(labels.indices, rare)
        part = np.full(len(together), self._part_of_rare)
        part[is_common] = self._stratified(labels.indices[is_common])
        # Nothing was kept together so far: what its first row has got is only right for one row.
        part_of_unit = part[first]
        for index in np.setdiff1d(np.arange(n_classes), rare):
            wanted = np.bincount(part[labels.indices == index], minlength=len(PARTS))
            units = np.flatnonzero(class_of_unit == index)
            part_of_unit[units] = self._kept_together(part_of_unit[units], sizes[units], wanted)
        return _positions(part_of_unit[unit])

    def _stratified(self, target: Positions) -> Positions:
        """Return the parts of rows whose classes are given, shape (n,)."""
        rows = np.arange(len(target))
        part = np.zeros(len(target), np.int64)
        for number, n in zip((2, 1), self._sizes(len(target)), strict=True):
            how = {"test_size": n, "random_state": self.seed}
            try:
                rows, chosen = train_test_split(rows, stratify=target[rows], **how)
            except ValueError:
                # There are more classes than rows to choose.
                rows, chosen = train_test_split(rows, **how)
            part[chosen] = number
        return part

    def _kept_together(self, part: Positions, sizes: Positions, wanted: Positions) -> Positions:
        """Return the parts of units, rows that are kept together, of one class, shape (n,).

        Units of several rows are dealt out first: some row may have thousands of copies. Single
        rows then make up for it: as few as possible change their part. Given are the part that each
        unit's first row has got, the units' numbers of rows, and those wanted in each part.
        """
        part, lacking = part.copy(), wanted.copy()
        several = np.flatnonzero(sizes > 1)
        several = several[np.argsort(-sizes[several], kind="stable")]
        part[several] = _filled_up(sizes[several], lacking)
        single = np.random.default_rng(self.seed).permutation(np.flatnonzero(sizes == 1))
        # Where a part has too many by now, the others share what is left.
        lacking = np.maximum(lacking, 0)
        goal = lacking * len(single) // max(1, lacking.sum())
        surplus = np.bincount(part[single], minlength=len(PARTS)) - goal
        for source, target in np.ndindex(len(PARTS), len(PARTS)):
            n = min(surplus[source], -surplus[target])
            if n > 0:
                part[single[part[single] == source][:n]] = target
                surplus[[source, target]] += [-n, n]
        return _none_empty(part)

    def by_group(self, labels: Labels, together: Positions) -> dict[str, Positions]:
        """Return the positions of the rows, as stratified as whole groups can be.

        A class is in the training rows, but may be in no validation or test row. Where a group is
        larger than one of these parts is to be, see `_by_size`. Raises `UserError` if there are too
        few groups, or groups with some class.
        """
        groups = np.unique(together, return_inverse=True)[1]
        pairs = np.unique(np.stack([groups, labels.indices]), axis=1)
        rare = self._rare(labels, np.bincount(pairs[1], minlength=len(labels.classes)), "groups")
        is_free = ~np.isin(labels.indices, rare)
        if self.rare_classes != "drop":
            is_free = ~np.isin(groups, groups[~is_free])
        self._sizes(groups.max() + 1)
        part = np.full(len(groups), self._part_of_rare)
        part[is_free] = 0
        sizes = np.bincount(groups[part == 0], minlength=groups.max() + 1)
        limit = round(min(self.test_size, self.val_size) * sizes.sum())
        is_large = (sizes > limit)[groups] & (part == 0)
        if is_large.any():
            rows = np.flatnonzero(is_free | is_large)
            part[rows] = self._by_size(
                labels.indices[rows], groups[rows], is_large[rows], ~is_free[rows]
            )
        else:
            for number, size in [(2, self.test_size), (1, self.val_size / (1 - self.test_size))]:
                rows = np.flatnonzero(is_free & (part == 0))
                chosen = self._fold(labels.indices[rows], groups[rows], size)
                part[rows[chosen]] = number
        return self._of_known_classes(labels, _positions(part), "set another prepare.seed")

    def _by_size(
        self,
        target: Positions,
        groups: Positions,
        is_large: npt.NDArray[np.bool_],
        trains: npt.NDArray[np.bool_],
    ) -> Positions:
        """Return the parts of rows, shape (n,), some of whose groups are large.

        Units are what has to train, each large group, and stratified folds of the small ones. They
        are dealt out in this order, the larger first, so that the largest group trains. Then each
        part gets something, and training every class, if it can be. Given are the rows' classes and
        groups, and whether the group is large, or has to train, all of shape (n,).
        """
        n_groups = groups.max() + 1
        unit = np.where(trains, 0, 1 + groups)
        small = np.flatnonzero(~is_large)
        of_commonest = np.bincount(target[small], minlength=1).max()
        n_folds = min(MOST_FOLDS, of_commonest, len(np.unique(groups[small])))
        if n_folds > 1:
            for number, fold in enumerate(self._folds(target[small], groups[small], n_folds), 1):
                unit[small[fold]] = n_groups + number
        names, unit, sizes = np.unique(unit, return_inverse=True, return_counts=True)
        if len(names) < len(PARTS):
            raise self._too_few_groups()
        by_chance = np.random.default_rng(self.seed).permutation(len(names))
        order = np.lexsort([by_chance, -sizes, names > 0, names > n_groups])
        unit, sizes = order.argsort()[unit], sizes[order]

        lacking = np.array([1 - self.test_size - self.val_size, self.val_size, self.test_size])
        lacking = lacking * len(target)
        # The first is for training, even where that is to have less than another part.
        lacking[0] = lacking.max()
        part = _none_empty(_filled_up(sizes, lacking))
        for index in np.unique(target):
            having = np.unique(unit[target == index])
            others = having[np.bincount(part)[part[having]] > 1]
            if part[having].all() and len(others):
                part[others[-1]] = 0
        return part[unit]

    def _fold(self, target: Positions, groups: Positions, size: float) -> Positions:
        # There can be no more of them than rows of the commonest class.
        n_folds = min(max(2, round(1 / size)), np.bincount(target, minlength=1).max())
        if len(np.unique(groups)) < n_folds or n_folds < 2:
            raise self._too_few_groups()
        return self._folds(target, groups, n_folds)[0]

    def _folds(self, target: Positions, groups: Positions, n_folds: int) -> list[Positions]:
        """Return stratified folds of whole groups."""
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=self.seed)
        with warnings.catch_warnings():
            # That some class has fewer rows than there are folds.
            warnings.simplefilter("ignore", UserWarning)
            return [fold for _, fold in splitter.split(target, target, groups)]

    def _too_few_groups(self) -> UserError:
        return UserError(
            f"prepare.group has too few groups for prepare.test_size {self.test_size} and "
            f"prepare.val_size {self.val_size}; raise these, or set prepare.split: random"
        )

    def by_time(self, labels: Labels, order: npt.NDArray[np.float64]) -> dict[str, Positions]:
        """Return the positions of the earliest rows to train on, later ones, and the latest.

        Rows of the same time are in the same part. Raises `UserError` if there are too few
        different times, or the training rows lack a class.
        """
        n = len(order)
        n_test, n_val = self._sizes(n)
        ordered = np.sort(order)
        start_test = _nearest_step(ordered, n - n_test)
        start_val = _nearest_step(ordered[:start_test], n - n_test - n_val)
        if start_test == 0 or start_val == 0:
            raise UserError(
                "prepare.order_by has too few different values to train on the first rows, and "
                "to validate and test on later ones; name another column, or set prepare.split: "
                "random"
            )
        part = np.searchsorted([ordered[start_val], ordered[start_test]], order, side="right")
        return self._of_known_classes(labels, _positions(part))

    @property
    def _part_of_rare(self) -> int:
        """The part of the rows of rare classes; -1 is none."""
        return 0 if self.rare_classes == "train_only" else -1

    def _sizes(self, n: int) -> tuple[int, int]:
        """Return how many are for the test and for validation."""
        n_test, n_val = round(self.test_size * n), round(self.val_size * n)
        for key, size, taken in [
            ("test_size", self.test_size, n_test),
            ("val_size", self.val_size, n_val),
        ]:
            if taken == 0 or n_test + n_val >= n:
                raise UserError(
                    f"params.yaml: prepare.{key} is {size}, which of {n} takes "
                    f"{taken}, leaving {n - n_test - n_val} to train on; each part needs some"
                )
        return n_test, n_val

    def _rare(self, labels: Labels, counts: Positions, what: str = "different rows") -> Positions:
        """Return the classes with fewer than there are parts; refuse them if that is chosen."""
        rare: Positions = np.flatnonzero(counts < len(PARTS))
        if len(rare) and self.rare_classes == "error":
            what = what if counts[rare[0]] > 1 else what.removesuffix("s")
            name = labels.classes[rare[0]]
            settles = ("target_gaps", name) if name in GAPS else ("rare_classes", "train_only")
            also = f"; so have {len(rare) - 1} other classes" if len(rare) > 1 else ""
            raise NeedsParameterError(
                f"{labels.where}: class '{name}' has {counts[rare[0]]} "
                f"{what}, too few for each of train, val and test to have one{also}",
                parameter=settles[0],
                value=settles[1],
                otherwise="add rows of it, or leave it out with prepare.rare_classes: drop",
            )
        if len(counts) - len(rare) < 2:
            raise UserError(
                f"{labels.where}: fewer than two classes have {len(PARTS)} {what}, in the "
                "columns that are used; add rows, or use more columns"
            )
        return rare

    def _of_known_classes(
        self, labels: Labels, positions: dict[str, Positions], otherwise: str | None = None
    ) -> dict[str, Positions]:
        """Drop the rows whose class is in no training row, or refuse them if that is chosen."""
        is_known = np.isin(labels.indices, labels.indices[positions["train"]])
        if self.rare_classes != "drop":
            if not is_known.all():
                absent = labels.classes[labels.indices[~is_known].min()]
                problem = f"{labels.where}: class '{absent}' is in no training row"
                raise NeedsParameterError(problem, "rare_classes", "drop", otherwise)
            return positions
        positions = {name: rows[is_known[rows]] for name, rows in positions.items()}
        for name, rows in positions.items():
            if not len(rows):
                raise UserError(
                    f"{labels.where}: all {name} rows are of classes that are in no training "
                    "row, and prepare.rare_classes: drop leaves none; "
                    f"{otherwise or 'set another prepare.test_size or prepare.val_size'}"
                )
        return positions


def _filled_up(sizes: Positions, lacking: npt.NDArray[Any]) -> Positions:
    """Return the parts of units, shape (n,): each in turn goes to the part that lacks most rows.

    So does scikit-learn's `StratifiedGroupKFold`. What each part lacks, shape (3,), becomes less.
    """
    part = np.zeros(len(sizes), np.int64)
    for unit, size in enumerate(sizes):
        part[unit] = lacking.argmax()
        lacking[part[unit]] -= size
    return part


def _none_empty(part: Positions) -> Positions:
    """Return the parts of units, shape (n,), each with something of what the others have."""
    while (counts := np.bincount(part, minlength=len(PARTS))).min() == 0:
        part[np.flatnonzero(part == counts.argmax())[-1]] = counts.argmin()
    return part


def _positions(part: Positions) -> dict[str, Positions]:
    return {name: np.flatnonzero(part == number) for number, name in enumerate(PARTS)}


def _nearest_step(ordered: npt.NDArray[np.float64], position: int) -> int:
    """Return the start of a run of equal values that is nearest to a position, 0 if none is."""
    starts = 1 + np.flatnonzero(np.diff(ordered) > 0)
    return int(starts[np.abs(starts - position).argmin()]) if len(starts) else 0


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
