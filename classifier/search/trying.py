"""One try: the networks of `train` with some parameters, and what they are worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from classifier.io.prepared import read_split
from classifier.network.model import Task
from classifier.search.luck import losses_of_resamples
from classifier.training.folds import Fold, read_edges, read_folds
from classifier.training.loop import Run, TrainParams, loss_weight
from classifier.training.side_by_side import train_from_seeds

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RowsOfTries:
    """What every try is trained on and judged by, never the test rows."""

    task: Task
    folds: list[Fold]
    edges: Tensor
    """Of the piecewise-linear embedding, as `start_run` takes them."""
    units: npt.NDArray[np.int64]
    """Which of the rows left out, fold after fold, belong together: those with the same number."""

    @classmethod
    def read(
        cls, train_file: Path, val_file: Path, task: Task, device: torch.device
    ) -> "RowsOfTries":
        """Read them from the prepared files."""
        folds = read_folds(train_file, val_file, device)
        val = read_split(val_file)
        units = val.units[np.argsort(val.fold, kind="stable")]
        return cls(task, folds, read_edges(train_file, folds, task), units)


@dataclass(frozen=True)
class Tried:
    """What a try has come to."""

    val_loss: float
    """The mean of the rows left out, each network at its best epoch; of several seeds the mean."""
    epochs: list[int]
    """Of each network: those of the first seed, then those of the next."""
    drawn: Numbers
    left_out: Numbers
    """See `losses_of_resamples`."""


def try_out(
    params: TrainParams,
    seeds: Sequence[int],
    rows: RowsOfTries,
    report: Callable[[float, int], None],
) -> Tried:
    """Train the networks of all folds from each of the seeds, all of them side by side.

    After each evaluation, `report` is called with the loss so far and the epoch; what it raises
    ends the try. See `train_from_seeds`.

    Raises
    ------
    UserError
        If a loss is infinite or not a number.

    """
    of_seeds = train_from_seeds(
        params,
        seeds,
        rows.task,
        rows.folds,
        rows.edges,
        report=lambda runs: report(_val_loss(runs, rows.folds), max(run.epoch for run in runs)),
    )
    losses, weights = np.mean([_losses_of_rows(runs, rows.folds, params) for runs in of_seeds], 0)
    drawn, left_out = losses_of_resamples(losses, weights, rows.units)
    runs = [run for of_seed in of_seeds for run in of_seed]
    return Tried(_val_loss(runs, rows.folds), [run.epoch for run in runs], drawn, left_out)


def _val_loss(runs: Sequence[Run], folds: Sequence[Fold]) -> float:
    """Return the mean of the rows left out by the networks of each seed, seed after seed."""
    losses = [run.early_stopping.best_val_loss for run in runs]
    n_left_out = [len(fold.val) for fold in folds] * (len(runs) // len(folds))
    return float(np.average(losses, weights=n_left_out))


@torch.no_grad()
def _losses_of_rows(runs: Sequence[Run], folds: Sequence[Fold], params: TrainParams) -> Numbers:
    """Return what each row left out loses (nats), and what it counts for, shape (2, n)."""
    found = []
    for run, fold in zip(runs, folds, strict=True):
        network, val = run.best_network().eval(), fold.val.gathered()
        features, target = val.features.cpu(), val.target.cpu()
        parts = zip(network.parts(features), network.parts(target), strict=True)
        losses = [nn.functional.cross_entropy(network(x), y, reduction="none") for x, y in parts]
        weight = loss_weight(run, fold.train, params)
        weights = torch.ones(len(target)) if weight is None else weight.cpu()[target]
        found.append(torch.stack([torch.cat(losses), weights]).double().numpy())
    return np.concatenate(found, axis=1)
