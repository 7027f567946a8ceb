"""One try: networks trained with some parameters, from all seeds on all splits side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from classifier.io.user_error import UserError
from classifier.network.model import MLP
from classifier.search.held_out import HeldOutLoss
from classifier.search.validation_splits import ValidationSplit
from classifier.training.device import rng_states, set_rng_states
from classifier.training.loop import TrainParams, loss_weight, start_run, train_batches
from classifier.training.step import Rows, loss_and_accuracy


class SeededRun:
    """A run with random numbers of its own, the same as if it were alone."""

    def __init__(self, params: TrainParams, split: ValidationSplit) -> None:
        self._params, self._split = params, split
        self.run = start_run(params, split.task, split.train.features.device, split.edges)
        self._weight = loss_weight(self.run, split.train, params)
        target = split.val.target
        of_rows = torch.ones(len(target)) if self._weight is None else self._weight[target]
        weights = of_rows.cpu().double().numpy()
        self.held_out = HeldOutLoss(weights, split.val_units, params.min_delta)
        self._evaluations = self._train()
        self._rng_states = rng_states(self.run.device)

    def go_on(self) -> bool:
        """Train up to the next evaluation, and say whether there is one.

        Raises
        ------
        UserError
            If the loss is infinite or not a number.

        """
        set_rng_states(self.run.device, self._rng_states)
        is_evaluated = next(self._evaluations, False)
        self._rng_states = rng_states(self.run.device)
        return is_evaluated

    def _train(self) -> Iterator[Literal[True]]:
        """Train; evaluate, and then yield, when the stage `train` does."""
        for is_due in train_batches(self.run, self._split.train, self._weight, self._params):
            if is_due:
                self._evaluate()
                yield True
        if self.run.epoch % self._params.eval_every != 0:
            self._evaluate()
            yield True
        self._finite_loss(self._split.train, "train_loss")

    def _evaluate(self) -> None:
        run, val = self.run, self._split.val
        val_loss = self._finite_loss(val, "val_loss")
        run.early_stopping = run.early_stopping.after(run.epoch, val_loss, self._params.min_delta)
        self.held_out.add(losses_of_rows(run.model, val))

    def _finite_loss(self, rows: Rows, name: str) -> float:
        loss, _ = loss_and_accuracy(self.run.model, rows, self._weight)
        if not math.isfinite(loss):
            raise UserError(f"training diverged: at epoch {self.run.epoch} {name} is {loss}")
        return loss


Report = Callable[[Sequence[SeededRun]], None]
"""Called with a try's runs after each of their evaluations."""


def try_out(
    params: TrainParams, seeds: Sequence[int], splits: Sequence[ValidationSplit], report: Report
) -> list[SeededRun]:
    """Train a network from each of the seeds on each of the splits, and return the runs.

    They go side by side, evaluation by evaluation, so that `report` sees all of them at one epoch.
    Each is what the stage `train` makes of these parameters, this seed and these rows. What
    `report` raises ends the try.

    Raises
    ------
    UserError
        If a loss is infinite or not a number.

    """
    runs = [
        SeededRun(params.model_copy(update={"seed": seed}), split)
        for split in splits
        for seed in seeds
    ]
    under_way = runs
    while under_way := [run for run in under_way if run.go_on()]:
        report(runs)
    return runs


def mean_loss(runs: Sequence[SeededRun]) -> float:
    """Return the mean over runs of the loss on held-out rows."""
    return math.fsum(run.held_out.mean for run in runs) / len(runs)


@torch.no_grad()
def losses_of_rows(model: MLP, rows: Rows) -> npt.NDArray[np.float64]:
    """Return each row's cross-entropy (nats) in eval mode, shape (n,).

    The model is left in training mode if it was.
    """
    was_training = model.training
    model.eval()
    parts = zip(model.parts(rows.features), model.parts(rows.target), strict=True)
    losses = [nn.functional.cross_entropy(model(x), y, reduction="none") for x, y in parts]
    model.train(was_training)
    of_rows: npt.NDArray[np.float64] = torch.cat(losses).cpu().double().numpy()
    return of_rows
