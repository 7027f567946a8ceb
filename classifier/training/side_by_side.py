"""Several networks that train as one: their products are batched, and each goes its own way.

Each has its own weights, rows, order of rows, optimizer's memory, best epoch and end. A network
that has stopped is taken out of the batch. What a product of matrices is rounded to may depend on
how many others are computed with it: so the others' weights depend, in their last digits, on when
one stopped.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.rnn import pad_sequence

from classifier.training.replay import Replayed
from classifier.training.run import Run
from classifier.training.step import make_optimizer, order_of_rows
from classifier.training.train_params import TrainParams


class Batches:
    """Batches of several networks, each of its own rows in its own order.

    They are features, shape (n_networks, n, n_features), class indices, and what each row counts
    for in its network's loss, both of shape (n_networks, n): where a network has fewer rows in a
    batch than another, a row that counts nothing fills it up.
    """

    def __init__(self, runs: Sequence[Run], batch_size: int | None, n_batches: int) -> None:
        self._runs, self._batch_size, self._n_batches = runs, batch_size, n_batches
        self._whole = None
        if n_batches == 1:
            self._whole = self._batch([torch.arange(len(run.fold.train)) for run in runs])

    def of_epoch(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the batches of an epoch from number `first` on."""
        if self._whole is not None:
            yield from [self._whole][first:]
            return
        dealt = [
            self._dealt(order_of_rows(len(run.fold.train), run.seed, epoch)) for run in self._runs
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
        all_rows = self._runs[0].fold.train
        device = all_rows.target.device
        indices = pad_sequence(
            [
                run.fold.train.positions(of_run.to(device))
                for run, of_run in zip(self._runs, numbers, strict=True)
            ],
            batch_first=True,
        )
        target = all_rows.target[indices]
        weight = torch.ones(indices.shape, device=device)
        for network, (run, of_run) in enumerate(zip(self._runs, numbers, strict=True)):
            if run.loss_weight is not None:
                weight[network] = run.loss_weight[target[network]]
            weight[network, len(of_run) :] = 0
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

    def __init__(self, runs: Sequence[Run], params: TrainParams, n_batches: int) -> None:
        if len({(run.epoch, run.batch) for run in runs}) > 1:
            raise ValueError("runs at different places cannot train as one")
        self._runs = runs
        self._batches = Batches(runs, params.batch_size, n_batches)
        self._network = copy.deepcopy(runs[0].model).train()
        self._max_grad_norm = params.max_grad_norm
        self._weights: dict[str, Tensor] = {}
        for name, _ in self._network.named_parameters():
            of_runs = [run.model.get_parameter(name) for run in runs]
            stacked = torch.stack([weight.detach() for weight in of_runs])
            for weight, part in zip(of_runs, stacked, strict=True):
                weight.data = part
            self._weights[name] = stacked.requires_grad_()
        self._optimizer = make_optimizer(params, self._weights.values())
        self._stack_memory()
        self._runs_share_memory = False
        is_on_cpu = runs[0].device.type == "cpu"
        self._step = Replayed(self._one_step) if is_on_cpu else self._one_step

    def steps(self, epoch: int, first: int) -> Iterator[None]:
        """Train each network on its part of each batch of an epoch from number `first` on."""
        for batch in self._batches.of_epoch(epoch, first):
            self._step(*batch)
            if not self._runs_share_memory:
                self._share_memory()
            yield

    def give_back(self) -> None:
        """Give the runs memory of their own, as those have that were restored."""
        for run in self._runs:
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
        first, *others = [run.optimizer.state_dict() for run in self._runs]
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
            for number, run in enumerate(self._runs):
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
