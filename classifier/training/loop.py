"""The training loop, and when it stops."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from classifier.io.user_error import UserError
from classifier.network.layers import PiecewiseLinearEmbedding
from classifier.network.model import MLP, Architecture, Task, make_network
from classifier.training import ranks
from classifier.training.device import DeviceName
from classifier.training.ranks import Torchrun
from classifier.training.step import (
    ClassWeights,
    OptimizerName,
    Rows,
    batches,
    class_weights,
    loss_and_accuracy,
    make_optimizer,
    make_step,
)


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


StopReason = Literal["early_stopping", "max_epochs"]


class TrainParams(Architecture):
    """The `train` section of params.yaml."""

    optimizer: OptimizerName = Field(description="one of sgd, adam, adamw")
    lr: float = Field(gt=0, description="a number above 0")
    momentum: float = Field(ge=0, lt=1, description="a number of at least 0 and below 1")
    weight_decay: float = Field(ge=0, description="a number of at least 0")
    max_grad_norm: float | None = Field(gt=0, description="a number above 0, or null for no limit")
    class_weights: ClassWeights = Field(description="one of none, balanced")
    batch_size: int | None = Field(
        ge=1, description="a whole number of at least 1, or null for all rows"
    )
    max_epochs: int = Field(ge=1, description="a whole number of at least 1")
    eval_every: int = Field(ge=1, description="a whole number of at least 1")
    patience: int = Field(ge=1, description="a whole number of at least 1")
    min_delta: float = Field(ge=0, description="a number of at least 0")
    save_every_seconds: float = Field(ge=0, description="a number of at least 0")
    device: DeviceName = Field(description="one of auto, cpu, cuda, mps")
    same_bytes: Literal["everywhere", "here"] = Field(description="one of everywhere, here")
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        description="auto or a whole number of at least 1"
    )
    torchrun: Torchrun = Field(description="a section: see docs/one-big-run.md")
    calibration: Literal["none", "temperature"] = Field(description="one of none, temperature")
    seed: int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")

    @model_validator(mode="before")
    @classmethod
    def _has_no_launcher(cls, values: object) -> object:
        if isinstance(values, dict) and "launcher" in values:
            raise ValueError(
                "train.launcher is no parameter any more: for torchrun, set train.torchrun, for "
                "example its nproc_per_node; otherwise remove the line"
            )
        return values


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
    """A training run: all that changes while it trains."""

    model: MLP
    optimizer: torch.optim.Optimizer
    best_weights: dict[str, Tensor]
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    history: list[Evaluation] = field(default_factory=list)
    epoch: int = 0
    """Epochs completed."""
    batch: int = 0
    """Batches completed of the epoch under way."""

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def best_network(self) -> MLP:
        """Return a copy of the network, on the CPU, with the weights of the best epoch."""
        network = copy.deepcopy(self.model).cpu()
        network.load_state_dict(self.best_weights)
        return network

    def is_over(self, params: TrainParams) -> bool:
        return self.epoch >= params.max_epochs or self.stop_reason(params) == "early_stopping"

    def stop_reason(self, params: TrainParams) -> StopReason:
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


def start_run(
    params: TrainParams, task: Task, device: torch.device, edges: Tensor | None = None
) -> Run:
    """Return a run at epoch 0, its weights drawn from `params.seed`: the same on all ranks.

    `edges`, shape (number of numbers, N_BINS + 1), are those of a piecewise-linear embedding, which
    needs them.
    """
    torch.manual_seed(params.seed)
    model = make_network(params, task)
    if isinstance(model.embedding, PiecewiseLinearEmbedding):
        if edges is None:
            raise ValueError("a piecewise-linear embedding needs edges")
        model.embedding.set_edges(edges)
    model = model.to(device)
    optimizer = make_optimizer(
        params.optimizer,
        model.parameters(),
        lr=params.lr,
        momentum=params.momentum,
        weight_decay=params.weight_decay,
    )
    ranks.use_own_random_numbers(params.seed)
    return Run(model, optimizer, copy_weights(model))


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def train(
    run: Run, train_rows: Rows, val_rows: Rows, params: TrainParams
) -> Iterator[Evaluation | None]:
    """Train until early stopping or `max_epochs`, changing `run` in place.

    Yields an Evaluation every `eval_every` epochs, and None after every batch. At each of these
    moments `run` is complete: a copy of it, trained on, gives the same bits as this one.
    """
    weight = loss_weight(run, train_rows, params)
    for is_due in train_batches(run, train_rows, weight, params):
        yield evaluate(run, train_rows, val_rows, weight, params) if is_due else None


def train_batches(
    run: Run, train_rows: Rows, weight: Tensor | None, params: TrainParams
) -> Iterator[bool]:
    """Train until `run` is over; its early stopping is left to the caller.

    Yields False after every batch, and True when an evaluation is due.
    """
    step = make_step(
        run.model,
        run.optimizer,
        weight,
        train_rows,
        max_grad_norm=params.max_grad_norm,
    )
    run.model.train()
    while not run.is_over(params):
        for batch in batches(
            train_rows, params.batch_size, seed=params.seed, epoch=run.epoch, first=run.batch
        ):
            step(batch)
            run.batch += 1
            yield False
        run.epoch += 1
        run.batch = 0
        if run.epoch % params.eval_every == 0:
            yield True


def loss_weight(run: Run, train_rows: Rows, params: TrainParams) -> Tensor | None:
    """Return what a row of each class counts for in the losses; all ranks have to call this."""
    return class_weights(params.class_weights, train_rows.classes, run.model.n_classes)


def evaluate(
    run: Run, train_rows: Rows | None, val_rows: Rows, weight: Tensor | None, params: TrainParams
) -> Evaluation:
    """Evaluate the weights as they are, and keep them if they are the best so far.

    Without training rows, their loss and accuracy are not a number. `weight` is what `loss_weight`
    returned.

    Raises
    ------
    UserError
        If a loss of rows that are there is infinite or not a number.

    """
    train_loss, train_accuracy = math.nan, math.nan
    if train_rows is not None:
        train_loss, train_accuracy = loss_and_accuracy(run.model, train_rows, weight)
    val_loss, val_accuracy = loss_and_accuracy(run.model, val_rows, weight)
    losses = [val_loss] if train_rows is None else [train_loss, val_loss]
    if not all(map(math.isfinite, losses)):
        raise UserError(
            f"training diverged: at epoch {run.epoch} train_loss is {train_loss} and val_loss is "
            f"{val_loss}; in params.yaml try a lower train.lr (it is {params.lr}) or "
            f"train.momentum ({params.momentum}), or another prepare.scaler"
        )
    evaluation = Evaluation(run.epoch, train_loss, val_loss, train_accuracy, val_accuracy)
    run.history.append(evaluation)
    run.early_stopping = run.early_stopping.after(run.epoch, val_loss, params.min_delta)
    if run.early_stopping.best_epoch == run.epoch:
        run.best_weights = copy_weights(run.model)
    return evaluation
