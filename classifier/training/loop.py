"""The training loop: of one network, or of several side by side."""

import math
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from classifier.io.user_error import UserError
from classifier.network.model import Task
from classifier.training.folds import Fold
from classifier.training.run import (
    Evaluation,
    Run,
    copy_weights,
    seeds_of_networks,
    start_runs,
)
from classifier.training.side_by_side import Stack
from classifier.training.step import batches, loss_and_accuracy, make_step
from classifier.training.train_params import TrainParams


class Alone:
    """A run that trains by itself, with the methods of a `Stack`."""

    def __init__(self, run: Run, params: TrainParams) -> None:
        self._run, self._batch_size = run, params.batch_size
        self._step = make_step(
            run.model,
            run.optimizer,
            run.loss_weight,
            run.fold.train,
            max_grad_norm=params.max_grad_norm,
        )
        run.model.train()

    def steps(self, epoch: int, first: int) -> Iterator[None]:
        """Train on each batch of an epoch from number `first` on."""
        rows, seed = self._run.fold.train, self._run.seed
        for batch in batches(rows, self._batch_size, seed=seed, epoch=epoch, first=first):
            self._step(batch)
            yield

    def give_back(self) -> None:
        """Do nothing: the run has kept its memory."""


def train(
    runs: Sequence[Run], params: TrainParams, *, with_train_loss: bool = True
) -> Iterator[bool]:
    """Train until all runs are over, changing them in place.

    Yields False after every batch, and True when, every `eval_every` epochs, the networks that
    train are evaluated; without the training rows, if these are not asked for. At each of these
    moments the runs are complete: copies of them, trained on, give the same bits as these.
    """
    most_rows = max(len(run.fold.train) for run in runs)
    n_batches = math.ceil(most_rows / params.batch_size) if params.batch_size else 1
    while going_on := [run for run in runs if not run.is_over(params)]:
        is_alone = len(runs) == 1
        trained = Alone(runs[0], params) if is_alone else Stack(going_on, params, n_batches)
        while not any(run.is_over(params) for run in going_on):
            epoch = going_on[0].epoch
            for _ in trained.steps(epoch, going_on[0].batch):
                for run in going_on:
                    run.batch += 1
                yield False
            for run in going_on:
                run.epoch, run.batch = epoch + 1, 0
            if (epoch + 1) % params.eval_every == 0:
                for run in going_on:
                    evaluate(run, params, with_train_loss=with_train_loss)
                yield True
        trained.give_back()


def evaluate_last(
    runs: Sequence[Run], params: TrainParams, *, with_train_loss: bool = True
) -> bool:
    """Evaluate the networks whose last epoch was not evaluated; say whether there are any."""
    unevaluated = [run for run in runs if run.epoch % params.eval_every]
    for run in unevaluated:
        evaluate(run, params, with_train_loss=with_train_loss)
    return bool(unevaluated)


def evaluate(run: Run, params: TrainParams, *, with_train_loss: bool) -> None:
    """Evaluate the weights as they are, and keep them if they are the best so far.

    Without the training rows, their loss and accuracy are not a number.

    Raises
    ------
    UserError
        If a loss of rows that are looked at is infinite or not a number.

    """
    train_loss, train_accuracy = math.nan, math.nan
    if with_train_loss:
        train_loss, train_accuracy = loss_and_accuracy(run.model, run.fold.train, run.loss_weight)
    val_loss, val_accuracy = loss_and_accuracy(run.model, run.fold.val, run.loss_weight)
    if not math.isfinite(val_loss) or (with_train_loss and not math.isfinite(train_loss)):
        raise UserError(
            f"training diverged: at epoch {run.epoch} train_loss is {train_loss} and val_loss is "
            f"{val_loss}; in params.yaml try a lower train.lr (it is {params.lr}) or "
            f"train.momentum ({params.momentum}), or another prepare.scaler"
        )
    run.history.append(Evaluation(run.epoch, train_loss, val_loss, train_accuracy, val_accuracy))
    run.early_stopping = run.early_stopping.after(run.epoch, val_loss, params.min_delta)
    if run.early_stopping.best_epoch == run.epoch:
        run.best_weights = copy_weights(run.model)


def train_from_seeds(
    params: TrainParams,
    seeds: Sequence[int],
    task: Task,
    folds: Sequence[Fold],
    edges: Tensor | None,
    *,
    report: Callable[[Sequence[Run]], None] = lambda _: None,
) -> list[list[Run]]:
    """Train the networks of all folds from each of the seeds, all of them side by side.

    Returns the runs of each seed. With one seed, they are what the stage `train` makes of these
    parameters and this seed, with several, but for how sums are rounded, and for the units that
    are dropped, which are the same for all. After each evaluation, `report` is called with all
    runs; what it raises ends the training.
    """
    of_networks = [one for seed in seeds for one in seeds_of_networks(seed, len(folds))]
    runs = start_runs(params, of_networks, task, [*folds] * len(seeds), edges)
    for is_evaluated in train(runs, params, with_train_loss=False):
        if is_evaluated:
            report(runs)
    evaluate_last(runs, params, with_train_loss=False)
    return [runs[first : first + len(folds)] for first in range(0, len(runs), len(folds))]
