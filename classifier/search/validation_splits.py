"""The splits of the training and validation rows that a try is judged by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from classifier.io.params import PARAMS_FILE, Params, read_params
from classifier.io.prepared import Split, quantiles, read_split
from classifier.io.user_error import UserError
from classifier.network.layers import N_BINS
from classifier.network.model import Task
from classifier.training.step import Rows

ENOUGH_VAL_ROWS = 1_000
"""In all splits together: a mean loss of so many is known to about 0.02."""


@dataclass(frozen=True)
class ValidationSplit:
    """What a network is trained and judged on, never the test rows."""

    task: Task
    train: Rows
    val: Rows
    edges: Tensor
    """Of the piecewise-linear embedding, as `start_run` takes them."""
    val_units: npt.NDArray[np.int64]
    """Which validation rows belong together, shape (n_val,): those with the same number."""

    @classmethod
    def of(cls, train: Split, val: Split, task: Task, device: torch.device) -> "ValidationSplit":
        """Return these rows on a device."""
        edges = quantiles((train.features[:, index] for index in task.numbers), N_BINS)
        train_rows, val_rows = (
            Rows(
                torch.from_numpy(split.features).to(device),
                torch.from_numpy(split.target).to(device),
            )
            for split in (train, val)
        )
        return cls(task, train_rows, val_rows, torch.from_numpy(edges), val.units)


class SplitOfRows(Params):
    """What the `prepare` section of params.yaml says of how rows are split."""

    split: Literal["random", "group", "time"] = Field(description="one of random, group, time")


def count_splits(wanted: int | Literal["auto"], train: Split, val: Split, seed: int) -> int:
    """Return in how many ways the training and validation rows are to be split.

    With several folds, `auto` is one for each. Else it is as many as it takes to have
    `ENOUGH_VAL_ROWS`, or as the rows allow. By time, rows can be split but once.

    Raises
    ------
    UserError
        If as many are wanted as the rows do not allow.

    """
    kind = read_params("prepare", SplitOfRows, only_its_keys=True).split
    n_train, n_val = len(train.target), len(val.target)
    n_folds = 1 + int(val.fold.max())
    if n_folds > 1:
        if wanted != "auto" and wanted > n_folds:
            raise UserError(
                f"{PARAMS_FILE}: search.splits is {wanted}, but must be at most {n_folds}, as many "
                "as prepare.folds"
            )
        return n_folds if wanted == "auto" else wanted
    n = -(-ENOUGH_VAL_ROWS // n_val) if wanted == "auto" else wanted
    if n == 1:  # as of large tables, which take long to split
        return n
    most = 1 if kind == "time" else 1 + len(np.setdiff1d(_folds(train, val, seed), [0]))
    if wanted == "auto":
        return min(most, n)
    if wanted > most:
        why = f"train.parquet has {n_train} rows and val.parquet {n_val}"
        if kind == "time":
            why = "with prepare.split: time there is no second one"
        elif kind == "group":
            why += ", and a group with a class that the latter lacks, or larger than it, trains"
        raise UserError(
            f"{PARAMS_FILE}: search.splits is {wanted}, but must be at most {most}: {why}"
        )
    return wanted


def _count_folds(n_train: int, n_val: int) -> int:
    """Return how many parts of the training rows are about as large as the validation rows."""
    n = round(n_train / n_val)
    return n if n > 1 else 0


def read_splits(
    folder: Path, task: Task, device: torch.device, n: int, seed: int
) -> list[ValidationSplit]:
    """Read the prepared training and validation rows, split in `n` ways: see `split_again`."""
    train, val = (read_split(folder / f"{part}.parquet") for part in ("train", "val"))
    splits = split_again(train, val, n, seed)
    return [ValidationSplit.of(*split, task, device) for split in splits]


def split_again(train: Split, val: Split, n: int, seed: int) -> Iterator[tuple[Split, Split]]:
    """Yield training and validation rows, split in `n` ways.

    With several folds, these are the rows of each network, and those that it leaves out. Else the
    first are as they are. In each other, about as many of the training rows are for validation,
    none of them twice, and all the others, with those for validation until then, for training. Rows
    that belong together stay together.

    As many as `count_splits` returns there are.
    """
    if val.fold.max() > 0:
        rows = train.followed_by(val)
        for number in range(n):
            yield rows.take(rows.fold != number), rows.take(rows.fold == number)
        return
    yield train, val
    if n > 1:
        fold = _folds(train, val, seed)
        for number in np.unique(fold[fold > 0])[: n - 1]:
            others = train.take(fold != number)
            yield others.followed_by(val), train.take(fold == number)


def _folds(train: Split, val: Split, seed: int) -> npt.NDArray[np.int64]:
    """Return in which split each training row is for validation, from 1 on, shape (n_train,).

    Rows that belong together go, the most of them first, where the fewest rows of their classes
    are. Rows of a class that has no validation rows are in none, 0: they are too rare. So is what
    belongs together with them, and what is more than all the validation rows.
    """
    _, unit, sizes = np.unique(train.units, return_inverse=True, return_counts=True)
    rows_of_unit = np.split(np.argsort(unit, kind="stable"), np.cumsum(sizes)[:-1])
    by_chance = np.random.default_rng(seed).permutation(len(sizes))
    largest_first = by_chance[np.argsort(-sizes[by_chance], kind="stable")]
    too_rare = unit[~np.isin(train.target, val.target)]

    n_of_class = np.bincount(train.target)
    n_folds = _count_folds(len(train.target), len(val.target))
    n_rows = np.zeros((n_folds, len(n_of_class)))
    fold = np.zeros(len(train.target), np.int64)
    if n_folds == 0:
        return fold
    is_small = sizes[largest_first] <= len(val.target)
    for each in largest_first[is_small & ~np.isin(largest_first, too_rare)]:
        rows = rows_of_unit[each]
        classes = train.target[rows]
        crowded = (n_rows[:, classes] / n_of_class[classes] ** 2).sum(axis=1)
        number = np.lexsort([n_rows.sum(axis=1), crowded])[0]
        np.add.at(n_rows[number], classes, 1)
        fold[rows] = 1 + number
    return fold
