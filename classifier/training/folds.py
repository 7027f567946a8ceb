"""The rows of each network that is trained, and those that it leaves out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from classifier.io.prepared import (
    PREPARED,
    TRAIN_FILE,
    VAL_FILE,
    Split,
    count_folds,
    count_rows,
    quantiles,
    read_quantiles,
    read_split,
)
from classifier.io.user_error import UserError
from classifier.network.layers import N_BINS
from classifier.network.model import Task
from classifier.training import ranks
from classifier.training.step import Rows


@dataclass(frozen=True)
class Fold:
    """The rows of one network, and those that it leaves out, to be stopped by them.

    Of several networks, both are chosen among the same rows: all that train some network.
    """

    train: Rows
    val: Rows


def read_folds(device: torch.device, folder: Path = PREPARED) -> list[Fold]:
    """Read the rows of each network: those that others leave out train it, too.

    With several ranks, it is what this one holds.
    """
    train_file, val_file = folder / TRAIN_FILE.name, folder / VAL_FILE.name
    n_train, n_val = count_rows(train_file), count_rows(val_file)
    train, val = ranks.shard(n_train), ranks.shard(n_val)
    train_split, val_split = read_split(train_file, train), read_split(val_file, val)
    n_folds = count_folds(val_file)
    if n_folds == 1:
        return [
            Fold(
                _rows(train_split, device, first=train.start, n=n_train),
                _rows(val_split, device, first=val.start, n=n_val),
            )
        ]
    split = train_split.followed_by(val_split)
    rows, fold = _rows(split, device), torch.from_numpy(split.fold).to(device)
    return [
        Fold(rows.choose(fold != number), rows.choose(fold == number)) for number in range(n_folds)
    ]


def must_be_one_network() -> None:
    """Raise a `UserError` if there are several networks, which several ranks cannot train."""
    n_folds = count_folds(VAL_FILE)
    if n_folds > 1:
        raise UserError(
            f"prepare.folds is {n_folds}, and several processes train one network only: in "
            "params.yaml set prepare.folds to 1, or train.torchrun.nproc_per_node and nnodes"
        )


def _rows(split: Split, device: torch.device, first: int = 0, n: int | None = None) -> Rows:
    features, target = torch.from_numpy(split.features), torch.from_numpy(split.target)
    return Rows(features.to(device), target.to(device), first, n)


def read_edges(folds: Sequence[Fold], task: Task) -> Tensor:
    """Return what `start_run` takes as edges, by all rows that train some network."""
    if len(folds) == 1:
        return torch.from_numpy(read_quantiles(TRAIN_FILE, task.numbers, N_BINS))
    features = folds[0].train.features.cpu().numpy()
    return torch.from_numpy(quantiles((features[:, index] for index in task.numbers), N_BINS))
