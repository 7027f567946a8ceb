"""Several networks that train as one: their products are batched, and each goes its own way.

Each has its own weights, rows, order of rows, optimizer's memory, best epoch and end. A network
that has stopped is taken out of the batch. What a product of matrices is rounded to may depend on
how many others are computed with it: so the others' weights depend, in their last digits, on when
one stopped.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.rnn import pad_sequence

from classifier.io.arithmetic import has_avx2
from classifier.network.model import Task, widths
from classifier.training import ranks
from classifier.training.device import (
    MULTIPLY_ADDS_BY_OPENBLAS,
    choose_threads,
    compute_deterministically,
    multiply_adds,
)
from classifier.training.folds import Fold
from classifier.training.loop import (
    Run,
    TrainParams,
    evaluate,
    loss_weight,
    start_run,
    train_batches,
)
from classifier.training.replay import Replayed
from classifier.training.step import Rows, make_optimizer, order_of_rows


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


def settle_arithmetic(params: TrainParams, folds: Sequence[Fold], task: Task) -> int:
    """Let PyTorch compute as the parameters ask; return the number of threads."""
    n_rows = max(fold.train.n_on_all_ranks for fold in folds)
    in_a_step = len(folds) * min(params.batch_size or n_rows, n_rows) // ranks.SIZE
    work = multiply_adds(in_a_step, widths(params, task), params.members)
    everywhere = params.same_bytes == "everywhere"
    threads = choose_threads(params.threads, work, params.members, on_any_machine=everywhere)
    on_x86 = folds[0].train.target.device.type == "cpu" and has_avx2()
    by_openblas = everywhere and on_x86 and work >= MULTIPLY_ADDS_BY_OPENBLAS
    compute_deterministically(threads, by_openblas=by_openblas)
    return threads


def seeds_of_networks(seed: int, n: int) -> list[int]:
    """Return the seeds of `n` networks; that of the first is the seed itself."""
    others = [np.random.SeedSequence((seed, number)) for number in range(1, n)]
    return [seed, *(int(other.generate_state(1)[0]) for other in others)]


def start_runs(
    params: TrainParams,
    seeds: Sequence[int],
    task: Task,
    device: torch.device,
    edges: Tensor | None = None,
) -> list[Run]:
    """Return a run at epoch 0 for each of the seeds; the other arguments are `start_run`'s.

    The random numbers go on from those of the first.
    """
    runs = [start_run(_with_seed(params, seed), task, device, edges) for seed in reversed(seeds)]
    return runs[::-1]


def _with_seed(params: TrainParams, seed: int) -> TrainParams:
    return params.model_copy(update={"seed": seed})


def train(
    runs: Sequence[Run],
    folds: Sequence[Fold],
    seeds: Sequence[int],
    params: TrainParams,
    *,
    with_train_loss: bool = True,
) -> Iterator[bool]:
    """Train until all runs are over, changing them in place.

    Yields False after every batch, and True when, every `eval_every` epochs, the networks that
    train are evaluated; without the training rows, if these are not asked for. At each of these
    moments the runs are complete: copies of them, trained on, give the same bits as these.
    """
    weights = [loss_weight(run, fold.train, params) for run, fold in zip(runs, folds, strict=True)]
    if len(runs) == 1:
        of_network = _with_seed(params, seeds[0])
        for is_due in train_batches(runs[0], folds[0].train, weights[0], of_network):
            if is_due:
                _evaluate(runs, folds, params, with_train_loss=with_train_loss)
            yield is_due
        return
    n_batches = max(-(-len(fold.train) // (params.batch_size or len(fold.train))) for fold in folds)
    while numbers := [number for number, run in enumerate(runs) if not run.is_over(params)]:
        stack = Stack([runs[number] for number in numbers], params)
        batches = Batches(
            [folds[number].train for number in numbers],
            [weights[number] for number in numbers],
            [seeds[number] for number in numbers],
            params.batch_size,
            n_batches,
        )
        while not any(run.is_over(params) for run in stack.runs):
            epoch, first = stack.runs[0].epoch, stack.runs[0].batch
            for features, target, weight in batches.of_epoch(epoch, first):
                stack.step(features, target, weight)
                for run in stack.runs:
                    run.batch += 1
                yield False
            for run in stack.runs:
                run.epoch, run.batch = epoch + 1, 0
            if (epoch + 1) % params.eval_every == 0:
                of_stack = [folds[number] for number in numbers]
                _evaluate(stack.runs, of_stack, params, with_train_loss=with_train_loss)
                yield True
        stack.give_back()


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
    are dropped, which are the same for all. After each evaluation,
    `report` is called with all runs; what it raises ends the training.
    """
    of_networks = [one for seed in seeds for one in seeds_of_networks(seed, len(folds))]
    all_folds = [*folds] * len(seeds)
    device = folds[0].train.target.device
    runs = start_runs(params, of_networks, task, device, edges)
    for is_evaluated in train(runs, all_folds, of_networks, params, with_train_loss=False):
        if is_evaluated:
            report(runs)
    evaluate_last(runs, all_folds, params, with_train_loss=False)
    return [runs[first : first + len(folds)] for first in range(0, len(runs), len(folds))]


def evaluate_last(
    runs: Sequence[Run],
    folds: Sequence[Fold],
    params: TrainParams,
    *,
    with_train_loss: bool = True,
) -> bool:
    """Evaluate the networks whose last epoch was not evaluated; say whether there are any."""
    unevaluated = [number for number, run in enumerate(runs) if run.epoch % params.eval_every]
    of_runs = [runs[number] for number in unevaluated]
    of_folds = [folds[number] for number in unevaluated]
    _evaluate(of_runs, of_folds, params, with_train_loss=with_train_loss)
    return bool(unevaluated)


def _evaluate(
    runs: Sequence[Run], folds: Sequence[Fold], params: TrainParams, *, with_train_loss: bool
) -> None:
    for run, fold in zip(runs, folds, strict=True):
        weight = loss_weight(run, fold.train, params)
        evaluate(run, fold.train if with_train_loss else None, fold.val, weight, params)


class Batches:
    """Batches of several networks, each of its own rows in its own order.

    They are features, shape (n_networks, n, n_features), class indices, and what each row counts
    for in its network's loss, both of shape (n_networks, n): where a network has fewer rows in a
    batch than another, a row that counts nothing fills it up.
    """

    def __init__(
        self,
        rows: Sequence[Rows],
        class_weights: Sequence[Tensor | None],
        seeds: Sequence[int],
        batch_size: int | None,
        n_batches: int,
    ) -> None:
        self._rows, self._class_weights, self._seeds = rows, class_weights, seeds
        self._batch_size, self._n_batches = batch_size, n_batches
        self._whole = None
        if n_batches == 1:
            self._whole = self._batch([torch.arange(len(each)) for each in rows])

    def of_epoch(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the batches of an epoch from number `first` on."""
        if self._whole is not None:
            yield from [self._whole][first:]
            return
        dealt = [
            self._dealt(order_of_rows(len(rows), seed, epoch))
            for rows, seed in zip(self._rows, self._seeds, strict=True)
        ]
        for number in range(first, self._n_batches):
            yield self._batch([of_network[number] for of_network in dealt])

    def _dealt(self, order: Tensor) -> Sequence[Tensor]:
        parts = torch.split(order, self._batch_size or len(order))
        # A network with fewer rows has as many batches, smaller ones.
        is_short = len(parts) < self._n_batches
        return torch.tensor_split(order, self._n_batches) if is_short else parts

    def _batch(self, numbers: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the batch of the rows of these numbers, of each network among its own."""
        all_rows = self._rows[0]
        device = all_rows.target.device
        indices = pad_sequence(
            [
                rows.positions(of_network.to(device))
                for rows, of_network in zip(self._rows, numbers, strict=True)
            ],
            batch_first=True,
        )
        target = all_rows.target[indices]
        weight = torch.ones(indices.shape, device=device)
        for network, (of_network, class_weight) in enumerate(
            zip(numbers, self._class_weights, strict=True)
        ):
            if class_weight is not None:
                weight[network] = class_weight[target[network]]
            weight[network, len(of_network) :] = 0
        features = all_rows.features.index_select(0, indices.flatten())
        return (
            features.view(*indices.shape, -1),
            target,
            weight / weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny),
        )


class Stack:
    """Runs at the same place, whose weights and optimizer's memory lie in stacks, as parts of them.

    So what changes a stack changes the runs.
    """

    def __init__(self, runs: Sequence[Run], params: TrainParams) -> None:
        if len({(run.epoch, run.batch) for run in runs}) > 1:
            raise ValueError("runs at different places cannot train as one")
        self.runs = runs
        self._network = copy.deepcopy(runs[0].model).train()
        self._max_grad_norm = params.max_grad_norm
        self._weights: dict[str, Tensor] = {}
        for name, _ in self._network.named_parameters():
            of_runs = [run.model.get_parameter(name) for run in runs]
            stacked = torch.stack([weight.detach() for weight in of_runs])
            for weight, part in zip(of_runs, stacked, strict=True):
                weight.data = part
            self._weights[name] = stacked.requires_grad_()
        self._optimizer = make_optimizer(
            params.optimizer,
            self._weights.values(),
            lr=params.lr,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
        )
        self._stack_memory()
        self._runs_share_memory = False
        is_on_cpu = next(iter(self._weights.values())).device.type == "cpu"
        self._step = Replayed(self._one_step) if is_on_cpu else self._one_step

    def step(self, features: Tensor, target: Tensor, weight: Tensor) -> None:
        """Train each network on its part of a batch: see `Batches`."""
        self._step(features, target, weight)
        if not self._runs_share_memory:
            self._share_memory()

    def give_back(self) -> None:
        """Give the runs memory of their own, as those have that were restored."""
        for run in self.runs:
            for weight in run.model.parameters():
                weight.data = weight.data.clone()
            for memory in run.optimizer.state.values():
                memory |= {key: _copy_of(value) for key, value in memory.items()}

    def _one_step(self, features: Tensor, target: Tensor, weight: Tensor) -> None:
        # With the same hidden units dropped in all networks: random numbers take most of the time.
        logits = vmap(self._logits, randomness="same")(self._weights, features)
        loss = (_losses_of_rows(logits, target) * weight).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._max_grad_norm is not None:
            _clip_each([weight.grad for weight in self._weights.values()], self._max_grad_norm)
        with torch.no_grad():
            self._optimizer.step()
        self._optimizer.zero_grad()

    def _logits(self, weights: dict[str, Tensor], features: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._network, weights, (features,))
        return logits

    def _stack_memory(self) -> None:
        """Give the optimizer what those of the runs remember."""
        first, *others = [run.optimizer.state_dict() for run in self.runs]
        state = {
            index: {
                key: torch.stack([value, *(other["state"][index][key] for other in others)])
                if _is_of_each_network(key, value)
                # The number of steps of a run that stops stays what it is.
                else _copy_of(value)
                for key, value in memory.items()
            }
            for index, memory in first["state"].items()
        }
        self._optimizer.load_state_dict(first | {"state": state})

    def _share_memory(self) -> None:
        """Make what the runs' optimizers remember parts of what this one does."""
        for name, stacked in self._weights.items():
            for number, run in enumerate(self.runs):
                run.optimizer.state[run.model.get_parameter(name)] = {
                    key: value[number] if _is_of_each_network(key, value) else value
                    for key, value in self._optimizer.state[stacked].items()
                }
        self._runs_share_memory = True


def _copy_of(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.clone()


def _is_of_each_network(key: str, value: Tensor | None) -> bool:
    """Say whether networks differ in what an optimizer remembers of a weight."""
    return value is not None and key != "step"


def _losses_of_rows(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropies (nats), shape (n_networks, n), of several members the mean."""
    if logits.dim() == 4:
        of_all = target.unsqueeze(2).expand(-1, -1, logits.shape[2])
        return _losses_of_rows(logits.flatten(1, 2), of_all.flatten(1)).view(of_all.shape).mean(2)
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    return losses.view(target.shape)


def _clip_each(gradients: Sequence[Tensor | None], max_norm: float) -> None:
    """Shorten the gradient of each network to a length, as `nn.utils.clip_grad_norm_` does."""
    found = [gradient for gradient in gradients if gradient is not None]
    norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in found]
    length = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    factor = (max_norm / (length + 1e-6)).clamp(max=1)
    for gradient in found:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
