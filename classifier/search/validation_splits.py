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


class SplitOfRows(Params):
    """What the `prepare` section of params.yaml says of how rows are split."""

    split: Literal["random", "group", "time"] = Field(description="one of random, group, time")


@dataclass(frozen=True)
class ValidationSplit:
    """What a network is trained and judged on, never the test rows."""

    task: Task
    train: Rows
    val: Rows
    edges: Tensor
    """Of the piecewise-linear embedding, as `start_run` takes them."""
    val_units: npt.NDArray[np.int64]
    """Which validation rows are equal, shape (n_val,): those with the same number, from 0 on."""

    @classmethod
    def of(cls, train: Split, val: Split, task: Task, device: torch.device) -> "ValidationSplit":
        edges = quantiles((train.features[:, index] for index in task.numbers), N_BINS)
        train_rows, val_rows = _on(device, train), _on(device, val)
        return cls(task, train_rows, val_rows, torch.from_numpy(edges), units_of(val))


def _on(device: torch.device, split: Split) -> Rows:
    features, target = torch.from_numpy(split.features), torch.from_numpy(split.target)
    return Rows(features.to(device), target.to(device))


def count_splits(wanted: int | Literal["auto"], n_train: int, n_val: int) -> int:
    """Return in how many ways so many training and validation rows are to be split.

    `auto` is as many as it takes to have `ENOUGH_VAL_ROWS`, or as the rows allow.

    Raises
    ------
    UserError
        If as many are wanted as the rows do not allow.

    """
    by = read_params("prepare", SplitOfRows, only_its_keys=True).split
    # Rows can be split by time but once, and the prepared ones do not say of which group they are.
    most = 1 + _count_folds(n_train, n_val) if by == "random" else 1
    if wanted == "auto":
        return min(most, -(-ENOUGH_VAL_ROWS // n_val))
    if wanted > most:
        why = f"train.parquet has {n_train} rows and val.parquet {n_val}"
        if by != "random":
            why = f"with prepare.split: {by} there is no second one"
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

    The first are as they are. In each other, about as many of the training rows are for validation,
    none of them twice, and all the others, with those for validation until then, for training.

    There are fewer than `n` only where there are too few different training rows.
    """
    yield train, val
    if n > 1:
        fold = _folds(train, val, seed)
        for number in np.unique(fold[fold > 0])[: n - 1]:
            yield _joined(_chosen(train, fold != number), val), _chosen(train, fold == number)


def _folds(train: Split, val: Split, seed: int) -> npt.NDArray[np.int64]:
    """Return in which split each training row is for validation, from 1 on, shape (n_train,).

    Of each class, what is equal, the most of it first, goes where the fewest rows are. Rows of a
    class that has no validation rows are in none, 0: they are too rare.
    """
    first, unit = _equal_rows(train)
    sizes, class_of_unit = np.bincount(unit), train.target[first]
    units = np.random.default_rng(seed).permutation(len(first))
    units = units[np.isin(class_of_unit[units], val.target)]
    units = units[np.lexsort([-sizes[units], class_of_unit[units]])]
    n_folds = _count_folds(len(train.target), len(val.target))
    fold_of_unit = np.zeros(len(first), np.int64)
    n_rows = np.zeros((1 + class_of_unit.max(), n_folds), np.int64)
    for each in units:
        of_class = n_rows[class_of_unit[each]]
        fold = np.lexsort([n_rows.sum(axis=0), of_class])[0]
        of_class[fold] += sizes[each]
        fold_of_unit[each] = 1 + fold
    return fold_of_unit[unit]


def units_of(split: Split) -> npt.NDArray[np.int64]:
    """Return which rows are equal: the same number, from 0 on, in their order, shape (n,)."""
    first, unit = _equal_rows(split)
    numbered: npt.NDArray[np.int64] = np.unique(first[unit], return_inverse=True)[1]
    return numbered


def _equal_rows(split: Split) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the positions of rows that are different, and which of these each row equals.

    The target is a part of a row.
    """
    rows = np.column_stack([split.features, split.target.astype(np.float32)])
    _, first, unit = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, unit.ravel()


def _chosen(split: Split, rows: npt.NDArray[np.bool_]) -> Split:
    return Split(split.rows[rows], split.features[rows], split.target[rows])


def _joined(one: Split, other: Split) -> Split:
    return Split(
        np.concatenate([one.rows, other.rows]),
        np.concatenate([one.features, other.features]),
        np.concatenate([one.target, other.target]),
    )
