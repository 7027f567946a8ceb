"""A training step that several ranks take together, each on its own rows of the batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.parts import ranks
from stages.parts.rows import Rows


def make_shared_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, weight: Tensor | None, train_rows: Rows
) -> Callable[[Rows], None]:
    """Return the function that trains on this rank's rows of a batch, of which it may have none.

    The gradient is that of the mean loss of the batch's rows on all ranks, weighted by `weight`,
    shape (n_classes,).
    """
    parallel = DistributedDataParallel(model)
    _settle_order_of_gradients(parallel, optimizer, train_rows)

    def step(rows: Rows) -> None:
        logits = parallel(rows.features)
        loss = nn.functional.cross_entropy(logits, rows.target, weight, reduction="sum")
        # DistributedDataParallel takes the mean over ranks, where their sum is wanted.
        loss = loss * (ranks.SIZE / size(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

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
