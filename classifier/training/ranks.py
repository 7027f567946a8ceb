"""Processes, the ranks, that train one model: how they start, and what they tell each other."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal
from uuid import uuid4

import numpy as np
import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from classifier.io.params import Params
from classifier.io.user_error import UserError


class Torchrun(Params):
    """Options of torchrun, by its own names.

    See https://docs.pytorch.org/docs/stable/elastic/run.html.
    """

    nproc_per_node: int = Field(ge=1, description="a whole number of at least 1")
    nnodes: int = Field(ge=1, description="a whole number of at least 1")
    node_rank: int = Field(ge=0, description="a whole number of at least 0")
    rdzv_backend: Literal["static", "c10d"]
    rdzv_endpoint: str | None = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]+$",
        description="null, or a machine's name and a port, such as host:29500",
    )
    max_restarts: int = Field(ge=0, description="a whole number of at least 0")

    @property
    def is_wanted(self) -> bool:
        return self.nproc_per_node > 1 or self.nnodes > 1

    def options(self) -> list[str]:
        """Return the arguments of torchrun before the program."""
        options = [
            f"--nproc-per-node={self.nproc_per_node}",
            f"--max-restarts={self.max_restarts}",
        ]
        if self.nnodes == 1:
            return ["--standalone", *options]
        options += [f"--nnodes={self.nnodes}", f"--rdzv-backend={self.rdzv_backend}"]
        if self.rdzv_endpoint is not None:
            options.append(f"--rdzv-endpoint={self.rdzv_endpoint}")
        if self.rdzv_backend == "static":
            options.append(f"--node-rank={self.node_rank}")
        return options


def become_torchrun(torchrun: Torchrun, module: str) -> None:
    """Let torchrun take this process's place, and run `module` in each rank.

    Signals and the exit status are torchrun's from then on. No shell is asked.
    """
    program = [sys.executable, "-m", "torch.distributed.run", *torchrun.options(), "-m", module]
    sys.stdout.flush()
    os.execv(sys.executable, program)  # noqa: S606


LAUNCHED = dist.is_torchelastic_launched()
RANK = int(os.environ["RANK"]) if LAUNCHED else 0
LOCAL_RANK = int(os.environ["LOCAL_RANK"]) if LAUNCHED else 0
"""The number of this rank among those on this machine."""
SIZE = int(os.environ["WORLD_SIZE"]) if LAUNCHED else 1

A_YEAR = timedelta(days=365)


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the ranks; leave when all of them are done.

    When another one dies, this one ends as well, with one line; torchrun starts all again, if it
    is to (`--max-restarts`).
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
        sys.exit(f"train: rank {RANK} ends because it has lost another rank ({error})")
    dist.destroy_process_group()


def _join() -> None:
    store, _, _ = next(rendezvous("env://"))
    group = _announce_group(store) if RANK == 0 else _learn_group(store)
    # Without a backend's name: gloo for tensors on the CPU, nccl for those on a CUDA device.
    dist.init_process_group(store=PrefixStore(group, store), rank=RANK, world_size=SIZE)


def _announce_group(store: Store) -> str:
    """Return a name for the group of all ranks, which those get to know that are alive.

    torchrun's store outlives the ranks: what they wrote there to find one another is still there
    when they are started again, and would lead nowhere.
    """
    group = uuid4().hex
    awaited = set(range(1, SIZE))
    while awaited:
        for rank in sorted(awaited):
            if store.check([f"arrival/{rank}"]):
                store.set(store.get(f"arrival/{rank}").decode(), group)
            if store.check([f"{group}/{rank}"]):
                awaited.remove(rank)
        time.sleep(0.01)
    return group


def _learn_group(store: Store) -> str:
    """Return the name that rank 0 announces to this process."""
    arrival = uuid4().hex
    store.set(f"arrival/{RANK}", arrival)
    # Rank 0 comes when no other run trains in its folder, which may take as long as that run.
    store.wait([arrival], A_YEAR)
    group: str = store.get(arrival).decode()
    store.set(f"{group}/{RANK}", "")
    return group


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
    return gathered(torch.tensor(values, dtype=torch.float64)).sum(dim=0).tolist()


def largest(values: Sequence[float]) -> list[float]:
    """Return the largest over all ranks, value by value."""
    if SIZE == 1:
        return list(values)
    return gathered(torch.tensor(values, dtype=torch.float64)).amax(dim=0).tolist()


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
    # Cloned: torch.set_rng_state reads a tensor that lies within another from a wrong address.
    return stacked if SIZE == 1 else stacked[RANK].clone()


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
