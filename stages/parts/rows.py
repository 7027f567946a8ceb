"""Rows on the device that trains, and the order in which it sees them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Features, shape (n, n_features), and class indices, shape (n,)."""

    features: Tensor
    target: Tensor


def batches(
    rows: Rows, batch_size: int | None, *, seed: int, epoch: int, first: int
) -> Iterator[Rows]:
    """Yield the batches of an epoch from number `first` on.

    Their order is a function of seed and epoch alone, so it needs no state.
    """
    n = len(rows.target)
    if batch_size is None or batch_size >= n:
        if first == 0:
            yield rows
        return
    epoch_seed = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch_seed))
    for indices in torch.split(order.to(rows.target.device), batch_size)[first:]:
        yield Rows(
            torch.index_select(rows.features, 0, indices),
            torch.index_select(rows.target, 0, indices),
        )
