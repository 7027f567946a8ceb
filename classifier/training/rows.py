"""Rows on the device that trains, and the order in which it sees them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Features, shape (n, n_features), and class indices, shape (n,), that this rank holds."""

    features: Tensor
    target: Tensor
    first: int = 0
    """The number of the first of these rows among those of all ranks."""
    n: int | None = None
    """How many rows all ranks hold together; None: these are all."""

    @property
    def n_on_all_ranks(self) -> int:
        return len(self.target) if self.n is None else self.n


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
    epoch_seed = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch_seed))
    for indices in torch.split(order.to(rows.target.device), batch_size)[first:]:
        here = indices if len(rows.target) == n else _those_here(indices, rows)
        yield Rows(
            torch.index_select(rows.features, 0, here),
            torch.index_select(rows.target, 0, here),
            n=len(indices),
        )


def _those_here(indices: Tensor, rows: Rows) -> Tensor:
    here = indices - rows.first
    return here[(here >= 0) & (here < len(rows.target))]
