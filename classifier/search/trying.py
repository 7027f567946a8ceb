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
from classifier.training.side_by_side import evaluate_last, seeds_of_networks, start_runs, train

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

    With one seed, they are what the stage `train` makes of these parameters and this seed; with
    several, but for how sums are rounded. After each evaluation, `report` is called with the loss
    so far and the epoch; what it raises ends the try.

    Raises
    ------
    UserError
        If a loss is infinite or not a number.

    """
    folds = rows.folds * len(seeds)
    of_networks = [one for seed in seeds for one in seeds_of_networks(seed, len(rows.folds))]
    device = folds[0].train.target.device
    runs = start_runs(params, of_networks, rows.task, device, rows.edges)
    for is_evaluated in train(runs, folds, of_networks, params, with_train_loss=False):
        if is_evaluated:
            report(_val_loss(runs, folds), max(run.epoch for run in runs))
    evaluate_last(runs, folds, params, with_train_loss=False)
    losses, weights = np.mean(
        [
            _losses_of_rows(runs[first : first + len(rows.folds)], rows.folds, params)
            for first in range(0, len(runs), len(rows.folds))
        ],
        axis=0,
    )
    drawn, left_out = losses_of_resamples(losses, weights, rows.units)
    return Tried(_val_loss(runs, folds), [run.epoch for run in runs], drawn, left_out)


def _val_loss(runs: Sequence[Run], folds: Sequence[Fold]) -> float:
    losses = [run.early_stopping.best_val_loss for run in runs]
    return float(np.average(losses, weights=[len(fold.val) for fold in folds]))


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
