"""One try: the networks of `train` with some parameters, and what they are worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from classifier.io.prepared import VAL_FILE, read_split
from classifier.network.model import Task
from classifier.search.luck import Numbers, losses_of_resamples
from classifier.training.folds import Fold, read_edges, read_folds
from classifier.training.loop import train_from_seeds
from classifier.training.run import Run, best_val_loss_of
from classifier.training.train_params import TrainParams


@dataclass(frozen=True)
class RowsOfTries:
    """What every try is trained on and judged by, never the test rows."""

    task: Task
    folds: list[Fold]
    edges: Tensor
    """Of the piecewise-linear embedding, as `start_run` takes them."""
    units: npt.NDArray[np.int64]
    """Which of the rows left out, fold after fold, belong together: those with the same number."""


@cache
def rows_of_tries(task: Task, device: torch.device) -> RowsOfTries:
    """Read the prepared rows, once in each process."""
    folds, val = read_folds(device), read_split(VAL_FILE)
    units = val.units[np.argsort(val.fold, kind="stable")]
    return RowsOfTries(task, folds, read_edges(folds, task), units)


@dataclass(frozen=True)
class Tried:
    """What a try has come to."""

    val_loss: float
    """The mean of the rows left out, each network at its best epoch; of several seeds the mean."""
    epochs: int
    """Of the network that has trained longest."""
    drawn: Numbers
    left_out: Numbers
    """See `losses_of_resamples`."""


def try_out(
    params: TrainParams,
    seeds: Sequence[int],
    rows: RowsOfTries,
    report: Callable[[Sequence[Run]], None],
) -> Tried:
    """Train the networks of all folds from each of the seeds, all of them side by side.

    After each evaluation, `report` is called with all runs; what it raises ends the try. See
    `train_from_seeds`.

    Raises
    ------
    UserError
        If a loss is infinite or not a number.

    """
    of_seeds = train_from_seeds(params, seeds, rows.task, rows.folds, rows.edges, report=report)
    losses, weights = np.mean([_losses_of_rows(runs) for runs in of_seeds], axis=0)
    drawn, left_out = losses_of_resamples(losses, weights, rows.units)
    runs = [run for of_seed in of_seeds for run in of_seed]
    return Tried(best_val_loss_of(runs), max(run.epoch for run in runs), drawn, left_out)


@torch.no_grad()
def _losses_of_rows(runs: Sequence[Run]) -> Numbers:
    """Return what each row left out loses (nats), and what it counts for, shape (2, n)."""
    found = []
    for run in runs:
        network, val = run.best_network().eval(), run.fold.val.gathered()
        features, target = val.features.cpu(), val.target.cpu()
        parts = zip(network.parts(features), network.parts(target), strict=True)
        losses = [nn.functional.cross_entropy(network(x), y, reduction="none") for x, y in parts]
        weight = run.loss_weight
        weights = torch.ones(len(target)) if weight is None else weight.cpu()[target]
        found.append(torch.stack([torch.cat(losses), weights]).double().numpy())
    return np.concatenate(found, axis=1)
