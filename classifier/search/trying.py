"""One try: a network trained with some parameters, from several seeds side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from classifier.embeddings import N_BINS
from classifier.io.prepared import read_quantiles, read_split
from classifier.model import MLP, Task
from classifier.training.loop import (
    Evaluation,
    Run,
    TrainParams,
    evaluate,
    loss_weight,
    start_run,
    train,
)
from classifier.training.rows import Rows

Report = Callable[[Sequence[Run]], None]
"""Called with a try's runs after each of their evaluations."""


@dataclass(frozen=True)
class PreparedRows:
    """What a try reads: the training and the validation rows, never the test rows."""

    task: Task
    train: Rows
    val: Rows
    edges: Tensor
    """Of the piecewise-linear embedding, as `start_run` takes them."""

    @classmethod
    def read(cls, folder: Path, task: Task, device: torch.device) -> "PreparedRows":
        def rows(part: str) -> Rows:
            split = read_split(folder / f"{part}.parquet")
            features, target = torch.from_numpy(split.features), torch.from_numpy(split.target)
            return Rows(features.to(device), target.to(device))

        edges = read_quantiles(folder / "train.parquet", task.numbers, N_BINS)
        return cls(task, rows("train"), rows("val"), torch.from_numpy(edges))


@dataclass
class SeededRun:
    """A run with random numbers of its own, the same as if it were alone."""

    run: Run
    evaluations: Iterator[Evaluation]
    rng_state: list[Tensor]

    @classmethod
    def start(cls, params: TrainParams, rows: PreparedRows) -> "SeededRun":
        run = start_run(params, rows.task, rows.train.features.device, rows.edges)
        return cls(run, _evaluations(run, rows, params), _rng_state(run.device))

    def go_on(self) -> bool:
        """Train up to the next evaluation, and say whether there is one."""
        _set_rng_state(self.run.device, self.rng_state)
        is_evaluated = next(self.evaluations, None) is not None
        self.rng_state = _rng_state(self.run.device)
        return is_evaluated


def try_out(
    params: TrainParams, seeds: Sequence[int], rows: PreparedRows, report: Report
) -> list[Run]:
    """Train a network from each of the seeds, and return the runs.

    They go side by side, evaluation by evaluation, so that `report` sees all of them at one epoch.
    Each is what the stage `train` makes of these parameters and this seed. What `report` raises
    ends the try.

    Raises
    ------
    UserError
        If a loss is infinite or not a number.

    """
    seeded = [SeededRun.start(params.model_copy(update={"seed": seed}), rows) for seed in seeds]
    runs = [each.run for each in seeded]
    while seeded := [each for each in seeded if each.go_on()]:
        report(runs)
    return runs


def mean_val_loss(runs: Sequence[Run]) -> float:
    """Return the mean over runs of the loss of their best weights on the validation rows."""
    return math.fsum(run.early_stopping.best_val_loss for run in runs) / len(runs)


def losses_of_rows(runs: Sequence[Run], val: Rows) -> npt.NDArray[np.float64]:
    """Return each validation row's cross-entropy (nats), the mean over the runs, shape (n,)."""
    of_runs = [_losses(run.model, run.best_weights, val) for run in runs]
    mean: npt.NDArray[np.float64] = np.mean(of_runs, axis=0)
    return mean


@torch.no_grad()
def _losses(model: MLP, weights: dict[str, Tensor], rows: Rows) -> npt.NDArray[np.float64]:
    model.load_state_dict(weights)
    model.eval()
    parts = zip(model.parts(rows.features), model.parts(rows.target), strict=True)
    losses = [nn.functional.cross_entropy(model(x), y, reduction="none") for x, y in parts]
    of_rows: npt.NDArray[np.float64] = torch.cat(losses).double().cpu().numpy()
    return of_rows


def _evaluations(run: Run, rows: PreparedRows, params: TrainParams) -> Iterator[Evaluation]:
    """Train; yield what the stage `train` records."""
    for evaluation in train(run, rows.train, rows.val, params):
        if evaluation is not None:
            yield evaluation
    if run.epoch % params.eval_every != 0:
        weight = loss_weight(run, rows.train, params)
        yield evaluate(run, rows.train, rows.val, weight, params)


def _rng_state(device: torch.device) -> list[Tensor]:
    """Return the states of the random generators that dropout draws from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def _set_rng_state(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])
