"""A training step: the weights move once, by the loss of one batch of rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from classifier.network.model import MLP
from classifier.training import ranks
from classifier.training.replay import Replayed
from classifier.training.train_params import ClassWeights, TrainParams


@dataclass(frozen=True)
class Rows:
    """Features, shape (n, n_features), and class indices, shape (n,), that this rank holds."""

    features: Tensor
    target: Tensor
    first: int = 0
    """The number of the first of these rows among those of all ranks."""
    n: int | None = None
    """How many rows all ranks hold together; None: these are all."""
    chosen: Tensor | None = None
    """Which of these it is about, shape (n_chosen,); None: all."""

    def __len__(self) -> int:
        return len(self.target if self.chosen is None else self.chosen)

    @property
    def classes(self) -> Tensor:
        """The class indices of those that it is about, shape (n_chosen,)."""
        return self.target if self.chosen is None else self.target[self.chosen]

    @property
    def n_on_all_ranks(self) -> int:
        return len(self) if self.n is None else self.n

    def choose(self, is_chosen: Tensor) -> "Rows":
        """Return the rows where a mask is true, shape (n,): about these alone it is then."""
        return replace(self, chosen=is_chosen.nonzero().flatten())

    def positions(self, numbers: Tensor) -> Tensor:
        """Return where the rows of these numbers are, of those it is about."""
        return numbers if self.chosen is None else self.chosen[numbers]

    def gathered(self) -> "Rows":
        """Return those that it is about, without the others."""
        if self.chosen is None:
            return self
        return Rows(self.features.index_select(0, self.chosen), self.classes)


def batches(
    rows: Rows, batch_size: int | None, *, seed: int, epoch: int, first: int
) -> Iterator[Rows]:
    """Yield the batches of an epoch from number `first` on: those of their rows that are here.

    Their order is a function of seed and epoch alone, so it needs no state, and the batches are
    the same for any number of ranks.
    """
    n = rows.n_on_all_ranks
    if batch_size is None or batch_size >= n:
        if first == 0:
            yield rows
        return
    order = order_of_rows(n, seed, epoch)
    for indices in torch.split(order.to(rows.target.device), batch_size)[first:]:
        here = indices if len(rows.target) == n else _those_here(indices, rows)
        yield Rows(
            torch.index_select(rows.features, 0, here),
            torch.index_select(rows.target, 0, here),
            n=len(indices),
        )


def order_of_rows(n: int, seed: int, epoch: int) -> Tensor:
    """Return the numbers of `n` rows in the order of an epoch, shape (n,), on the CPU."""
    epoch_seed = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    return torch.randperm(n, generator=torch.Generator().manual_seed(epoch_seed))


def _those_here(indices: Tensor, rows: Rows) -> Tensor:
    here = indices - rows.first
    return here[(here >= 0) & (here < len(rows.target))]


def class_counts(target: Tensor, n_classes: int) -> list[float]:
    """Return how many rows of each class there are on all ranks, shape (n_classes,)."""
    return ranks.total(torch.bincount(target.cpu(), minlength=n_classes).tolist())


def class_weights(kind: ClassWeights, target: Tensor, n_classes: int) -> Tensor | None:
    """Return what a row of each class counts for in the loss, shape (n_classes,), or None.

    `balanced`: n / (n_classes * count), so that each class counts for as much in all as
    scikit-learn's `class_weight="balanced"` has it. Rows are counted on all ranks.
    """
    if kind == "none":
        return None
    # A class without rows has no part in the loss.
    counts = torch.tensor(class_counts(target, n_classes), dtype=torch.float64)
    n = counts.sum()
    return (n / (n_classes * counts.clamp(min=1))).float().to(target.device)


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, reduction: Literal["mean", "sum"]
) -> Tensor:
    """Return the cross-entropy (nats) of logits, shape (n, n_classes), as `nn.CrossEntropyLoss`.

    With logits of several members, shape (n, members, n_classes), it is the mean of theirs.
    """
    if logits.dim() == 2:
        return nn.functional.cross_entropy(logits, target, weight, reduction=reduction)
    members = logits.shape[1]
    of_all = target.unsqueeze(1).expand(-1, members).flatten()
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), of_all, weight, reduction=reduction)
    return loss if reduction == "mean" else loss / members


@torch.no_grad()
def loss_and_accuracy(model: MLP, rows: Rows, weight: Tensor | None = None) -> tuple[float, float]:
    """Return the mean cross-entropy (nats) and the accuracy (0 to 1) on all ranks, in eval mode.

    With `weight`, shape (n_classes,), the mean is the weighted one of `nn.CrossEntropyLoss`. The
    model is left in training mode if it was.
    """
    rows = rows.gathered()
    was_training = model.training
    model.eval()
    loss, correct, total = 0.0, 0.0, 0.0
    for features, target in zip(model.parts(rows.features), model.parts(rows.target), strict=True):
        logits = model(features)
        loss += cross_entropy(logits, target, weight, "sum").item()
        correct += int((logits.argmax(dim=1) == target).sum())
        total += len(target) if weight is None else weight[target].sum().item()
    model.train(was_training)
    loss, correct, total, n = ranks.total([loss, correct, total, len(rows.target)])
    return loss / total, correct / n


def make_optimizer(params: TrainParams, weights: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Return an optimizer that updates all weights in one operation (`fused`).

    `momentum` is for sgd only.
    """
    kwargs: dict[str, Any] = {"lr": params.lr, "weight_decay": params.weight_decay, "fused": True}
    match params.optimizer:
        case "sgd":
            return _without_compiler(torch.optim.SGD)(weights, momentum=params.momentum, **kwargs)
        case "adam":
            return _without_compiler(torch.optim.Adam)(weights, **kwargs)
        case "adamw":
            return _without_compiler(torch.optim.AdamW)(weights, **kwargs)


def _without_compiler(
    optimizer: type[torch.optim.Optimizer],
) -> Callable[..., torch.optim.Optimizer]:
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
