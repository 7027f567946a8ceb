"""The processes that torchrun started to train one run together: its ranks.

Without torchrun there is one, rank 0 of 1, and what it says is what all say. As in
torch.distributed, the group that a process belongs to is the process's own, not an argument.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from stages.parts.user_error import UserError

LAUNCHED = dist.is_torchelastic_launched()
RANK = int(os.environ["RANK"]) if LAUNCHED else 0
LOCAL_RANK = int(os.environ["LOCAL_RANK"]) if LAUNCHED else 0
"""Among the ranks on this machine."""
SIZE = int(os.environ["WORLD_SIZE"]) if LAUNCHED else 1

A_YEAR = timedelta(days=365)


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the ranks; leave when all of them are done.

    When another one dies, this one ends without a word: torchrun reports who died first.
    """
    if SIZE == 1:
        yield
        return
    try:
        _join()
        yield
        # Whoever left now would be done for good, even if rank 0 had to be started again.
        dist.barrier()
    except RuntimeError as error:
        if not _is_of_the_connection(error):
            raise
        sys.exit(1)
    dist.destroy_process_group()


def _join() -> None:
    store, _, _ = next(rendezvous("env://"))
    # Rank 0 comes when no other run trains in its folder, which may take as long as that run.
    if RANK == 0:
        store.set("rank 0 is here", "")
    else:
        store.wait(["rank 0 is here"], A_YEAR)
    # Without a name for it: gloo for tensors on the CPU, nccl for those on a CUDA device.
    dist.init_process_group(store=store, rank=RANK, world_size=SIZE)


def _is_of_the_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def shard(n: int, rank: int = RANK, size: int = SIZE) -> range:
    """Return which of `n` rows a rank holds: an equal part, to one row."""
    return range(n * rank // size, n * (rank + 1) // size)


def use_own_random_numbers(seed: int) -> None:
    """Start the random numbers of this rank, for dropout; rank 0's stay as they are."""
    if RANK > 0:
        torch.manual_seed(int(np.random.SeedSequence((seed, RANK)).generate_state(1)[0]))


def total(values: Sequence[float]) -> list[float]:
    """Return the sums over all ranks: the same bits for each."""
    if SIZE == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    dist.broadcast(sums, 0)
    return sums.tolist()


def largest(values: Sequence[float]) -> list[float]:
    """Return the largest over all ranks, value by value."""
    if SIZE == 1:
        return list(values)
    maxima = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(maxima, dist.ReduceOp.MAX)
    return maxima.tolist()


def from_first(content: bytes) -> bytes:
    """Return the `content` that rank 0 has."""
    if SIZE == 1:
        return content
    length = torch.tensor(len(content))
    dist.broadcast(length, 0)
    received = torch.zeros(int(length), dtype=torch.uint8)
    if RANK == 0:
        received[:] = torch.tensor(bytearray(content), dtype=torch.uint8)
    dist.broadcast(received, 0)
    return received.numpy().tobytes()


def gathered(own: Tensor) -> Tensor:
    """Return the tensors of all ranks, stacked; for one process, its own."""
    if SIZE == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(SIZE)]
    dist.all_gather(parts, own)
    return torch.stack(parts)


def own_part(stacked: Tensor) -> Tensor:
    """Return what this rank gave to `gathered`."""
    return stacked if SIZE == 1 else stacked[RANK]


def must_have_the_same(value: str) -> None:
    """Compare a text that sums up code, parameters and data with that of rank 0.

    Raises
    ------
    UserError
        If this rank has another one.

    """
    if from_first(value.encode()) != value.encode():
        raise UserError(
            f"rank {RANK} has other code, parameters or data than rank 0; "
            "each machine needs the same commit, params.yaml and data/prepared"
        )
