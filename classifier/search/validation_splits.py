"""The splits of the training and validation rows that a try is judged by."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from classifier.dealing import deal
from classifier.io.params import PARAMS_FILE, Params, read_params
from classifier.io.prepared import Split, quantiles
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


def split_as_wanted(
    wanted: int | Literal["auto"], train: Split, val: Split, seed: int
) -> list[tuple[Split, Split]]:
    """Return training and validation rows, split in as many ways as are wanted: see `split_again`.

    With several folds, `auto` is one for each. Else it is as many as it takes to have
    `ENOUGH_VAL_ROWS`, or as the rows allow. By time, rows can be split but once.

    Raises
    ------
    UserError
        If as many are wanted as the rows do not allow.

    """
    kind = read_params("prepare", SplitOfRows, only_its_keys=True).split
    n_train, n_val, n_folds = len(train.target), len(val.target), 1 + int(val.fold.max())
    enough = n_folds if n_folds > 1 else -(-ENOUGH_VAL_ROWS // n_val)
    n = enough if wanted == "auto" else wanted
    splits = split_again(train, val, 1 if kind == "time" else n, seed)
    if wanted == "auto" or wanted == len(splits):
        return splits
    why = f"train.parquet has {n_train} rows and val.parquet {n_val}"
    if n_folds > 1:
        why = f"prepare.folds is {n_folds}"
    elif kind == "time":
        why = "with prepare.split: time there is no second one"
    elif kind == "group":
        why += ", and a group with a class that the latter lacks, or larger than it, trains"
    raise UserError(
        f"{PARAMS_FILE}: search.splits is {wanted}, but must be at most {len(splits)}: {why}"
    )


def split_again(train: Split, val: Split, n: int, seed: int) -> list[tuple[Split, Split]]:
    """Return training and validation rows, split in `n` ways, or as many as there are.

    With several folds, these are the rows of each network, and those that it leaves out. Else the
    first are as they are. In each other, about as many of the training rows are for validation,
    none of them twice, and all the others, with those for validation until then, for training. Rows
    that belong together stay together. Rows of a class that has no validation rows always train:
    they are too rare. So does what belongs together with them, and what is more than all the
    validation rows.
    """
    is_one_fold = val.fold.max() == 0
    if n == 1 and is_one_fold:  # as of large tables, which take long to split
        return [(train, val)]
    rows = train.followed_by(val)
    n_folds = round(len(train.rows) / len(val.rows))
    if is_one_fold and n_folds > 1:
        _, unit, sizes = np.unique(train.units, return_inverse=True, return_counts=True)
        trains = sizes > len(val.rows)
        trains[unit[~np.isin(train.target, val.target)]] = True
        dealt = np.flatnonzero(~trains[unit])
        rows.fold[dealt] = 1 + deal(train.units[dealt], train.target[dealt], n_folds, seed)
    numbers = np.unique(rows.fold[rows.fold >= 0])[:n]
    return [(rows.take(rows.fold != number), rows.take(rows.fold == number)) for number in numbers]
