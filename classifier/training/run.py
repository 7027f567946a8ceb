"""A training run: how it starts, what changes while it trains, and when it is over."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from classifier.network.layers import PiecewiseLinearEmbedding
from classifier.network.model import MLP, Task, make_network
from classifier.training import ranks
from classifier.training.folds import Fold
from classifier.training.step import class_weights, make_optimizer
from classifier.training.train_params import TrainParams


@dataclass(frozen=True)
class EarlyStopping:
    """What early stopping remembers between evaluations."""

    best_epoch: int = 0
    best_val_loss: float = math.inf
    evaluations_without_improvement: int = 0

    def after(self, epoch: int, val_loss: float, min_delta: float) -> "EarlyStopping":
        """Return the memory after one more evaluation.

        It is an improvement if `val_loss` lies below the best by more than `min_delta`.
        """
        if val_loss < self.best_val_loss - min_delta:
            return EarlyStopping(best_epoch=epoch, best_val_loss=val_loss)
        return EarlyStopping(
            self.best_epoch, self.best_val_loss, self.evaluations_without_improvement + 1
        )


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy (nats) and accuracy (0 to 1) of one set of weights, in eval mode.

    The losses are means weighted by `class_weights`.
    """

    epoch: int
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float


@dataclass
class Run:
    """A network that trains, its rows, and all that changes meanwhile."""

    model: MLP
    optimizer: torch.optim.Optimizer
    fold: Fold
    seed: int
    loss_weight: Tensor | None
    """What a row of each class counts for in the losses, shape (n_classes,); None: all the same."""
    best_weights: dict[str, Tensor]
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    history: list[Evaluation] = field(default_factory=list)
    epoch: int = 0
    """Epochs completed."""
    batch: int = 0
    """Batches completed of the epoch under way."""

    @property
    def device(self) -> torch.device:
        return self.fold.train.target.device

    @property
    def n_val(self) -> int:
        """How many rows the network leaves out, on all ranks."""
        return self.fold.val.n_on_all_ranks

    def best_network(self) -> MLP:
        """Return a copy of the network, on the CPU, with the weights of the best epoch."""
        network = copy.deepcopy(self.model).cpu()
        network.load_state_dict(self.best_weights)
        return network

    def is_over(self, params: TrainParams) -> bool:
        return self.epoch >= params.max_epochs or self.stop_reason(params) == "early_stopping"

    def stop_reason(self, params: TrainParams) -> Literal["early_stopping", "max_epochs"]:
        """Say why a run that is over has stopped."""
        if self.early_stopping.evaluations_without_improvement >= params.patience:
            return "early_stopping"
        return "max_epochs"

    def is_past_the_end(self, params: TrainParams) -> bool:
        """Say whether a run with these parameters would have ended before this one's position."""
        if (self.epoch, self.batch) > (params.max_epochs, 0):
            return True
        counted = EarlyStopping()
        for evaluation in self.history:
            counted = counted.after(evaluation.epoch, evaluation.val_loss, params.min_delta)
            went_on = (self.epoch, self.batch) > (evaluation.epoch, 0)
            if went_on and counted.evaluations_without_improvement >= params.patience:
                return True
        return False


@dataclass
class Training:
    """Runs that train side by side."""

    runs: list[Run]
    at_first_stop: list[dict[str, Any]] | None = None
    """The states of all runs when the first of them stopped, but not the last.

    From there on others are trained than with more patience.
    """

    @property
    def epoch(self) -> int:
        """Epochs completed by the network that has trained longest."""
        return max(run.epoch for run in self.runs)

    def is_over(self, params: TrainParams) -> bool:
        return all(run.is_over(params) for run in self.runs)

    def is_past_the_end(self, params: TrainParams) -> bool:
        """Say whether, with these parameters, one would have ended before its position here."""
        return any(run.is_past_the_end(params) for run in self.runs)


def seeds_of_networks(seed: int, n: int) -> list[int]:
    """Return the seeds of `n` networks; that of the first is the seed itself."""
    others = [np.random.SeedSequence((seed, number)) for number in range(1, n)]
    return [seed, *(int(other.generate_state(1)[0]) for other in others)]


def start_runs(
    params: TrainParams,
    seeds: Sequence[int],
    task: Task,
    folds: Sequence[Fold],
    edges: Tensor | None = None,
) -> list[Run]:
    """Return a run at epoch 0 for each of the folds, from its seed: see `start_run`.

    The random numbers go on from those of the first.
    """
    backwards = zip(reversed(seeds), reversed(folds), strict=True)
    return [
        start_run(params.model_copy(update={"seed": seed}), task, fold, edges)
        for seed, fold in backwards
    ][::-1]


def start_run(params: TrainParams, task: Task, fold: Fold, edges: Tensor | None = None) -> Run:
    """Return a run at epoch 0, its weights drawn from `params.seed`: the same on all ranks.

    `edges`, shape (number of numbers, N_BINS + 1), are those of a piecewise-linear embedding, which
    needs them. All ranks have to call this.
    """
    torch.manual_seed(params.seed)
    model = make_network(params, task)
    if isinstance(model.embedding, PiecewiseLinearEmbedding):
        if edges is None:
            raise ValueError("a piecewise-linear embedding needs edges")
        model.embedding.set_edges(edges)
    model = model.to(fold.train.target.device)
    optimizer = make_optimizer(params, model.parameters())
    weight = class_weights(params.class_weights, fold.train.classes, task.n_classes)
    ranks.use_own_random_numbers(params.seed)
    return Run(model, optimizer, fold, params.seed, weight, copy_weights(model))


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def best_val_loss_of(runs: Sequence[Run]) -> float:
    """Return the mean of the rows left out, each by its network at that one's best epoch."""
    losses = [run.early_stopping.best_val_loss for run in runs]
    return float(np.average(losses, weights=[run.n_val for run in runs]))
