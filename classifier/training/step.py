"""A training step: the weights move once, by one batch."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from classifier.training import ranks
from classifier.training.loss import cross_entropy
from classifier.training.replay import Replayed
from classifier.training.rows import Rows

OptimizerName = Literal["sgd", "adam", "adamw"]


def make_optimizer(
    name: OptimizerName,
    weights: Iterable[Tensor],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> Optimizer:
    """Return an optimizer that updates all weights in one operation (`fused`).

    `momentum` is for sgd only.
    """
    kwargs: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    match name:
        case "sgd":
            return _without_compiler(torch.optim.SGD)(weights, momentum=momentum, **kwargs)
        case "adam":
            return _without_compiler(torch.optim.Adam)(weights, **kwargs)
        case "adamw":
            return _without_compiler(torch.optim.AdamW)(weights, **kwargs)


def _without_compiler(optimizer: type[Optimizer]) -> Callable[..., Optimizer]:
    """Return the class of an optimizer with its methods unwrapped: `step` is to have no gradient.

    What PyTorch wraps them in imports its compiler, for a second, to tell it to leave them alone.
    """
    methods = {name: getattr(optimizer, name) for name in dir(optimizer) if name != "__class__"}
    unwrapped = {
        name: method.__wrapped__
        for name, method in methods.items()
        if hasattr(method, "__wrapped__")
    }
    return type(optimizer.__name__, (optimizer,), unwrapped)


Step = Callable[[Rows], None]


def make_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    weight: Tensor | None,
    train_rows: Rows,
    *,
    max_grad_norm: float | None,
) -> Step:
    """Return the function that trains on one batch.

    It descends the mean loss of the batch's rows (and of the network's members), weighted by
    `weight`, shape (n_classes,). A gradient longer than `max_grad_norm` is shortened to that.
    """

    def update() -> None:
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        with torch.no_grad():
            optimizer.step()
        optimizer.zero_grad()

    if ranks.SIZE > 1:
        return _step_of_all_ranks(model, optimizer, weight, train_rows, update)

    def step(features: Tensor, target: Tensor) -> None:
        loss = cross_entropy(model(features), target, weight, "mean")
        loss.backward()  # type: ignore[no-untyped-call]
        update()

    # On other devices the time between operations passes while the device computes.
    fast_step = Replayed(step) if train_rows.features.device.type == "cpu" else step
    return lambda batch: fast_step(batch.features, batch.target)


def _step_of_all_ranks(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    weight: Tensor | None,
    train_rows: Rows,
    update: Callable[[], None],
) -> Step:
    """Return the function that trains on this rank's rows of a batch, of which it may have none."""
    # The buffers, an embedding's, are the same everywhere and stay so.
    parallel = DistributedDataParallel(model, broadcast_buffers=False)
    _settle_order_of_gradients(parallel, optimizer, train_rows)

    def step(rows: Rows) -> None:
        loss = cross_entropy(parallel(rows.features), rows.target, weight, "sum")
        # DistributedDataParallel takes the mean over ranks, where their sum is wanted.
        loss = loss * (ranks.SIZE / size(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        update()

    def size(rows: Rows) -> float:
        if weight is None:
            return rows.n_on_all_ranks
        return ranks.total([weight[rows.target].sum().item()])[0]

    return step


def _settle_order_of_gradients(
    parallel: DistributedDataParallel, optimizer: torch.optim.Optimizer, train_rows: Rows
) -> None:
    """Let DistributedDataParallel see a backward pass, before the first that counts.

    After its first one it sends the gradients in another order, which with three ranks or more
    rounds sums differently: a run that goes on would have its first step elsewhere than one that
    was not interrupted.
    """
    parallel.eval()  # without dropout, which would use up random numbers
    parallel(train_rows.features[:0]).sum().backward()
    optimizer.zero_grad()
    parallel.train()  # type: ignore[no-untyped-call]
