"""Where the arithmetic happens, and that it always gives the same result there."""

import os
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.library import Library

from classifier.io.arithmetic import has_avx2
from classifier.io.user_error import UserError
from classifier.network.model import Task, widths
from classifier.training import ranks
from classifier.training.folds import Fold
from classifier.training.train_params import TrainParams

MULTIPLY_ADDS_PER_THREAD = 4_000_000
"""With fewer a thread takes longer to be woken up than to do its part of a training step."""

MULTIPLY_ADDS_OF_MEMBERS_PER_THREAD = 16_000_000
"""The same for several networks in one, much of whose step is something else."""

MULTIPLY_ADDS_BY_OPENBLAS = 500_000
"""With fewer in a training step, calling it takes longer than the products."""

MOST_THREADS_ON_ANY_MACHINE = 2
"""As many as nearly every machine has; where it has one, they take turns."""


def select_device(params: TrainParams) -> torch.device:
    """Return `train.device`; `auto` takes the first of cuda, mps and cpu there is.

    Of several CUDA devices, each rank on this machine has its own. Ranks cannot share mps.

    Raises
    ------
    UserError
        If there is no such device on this machine, or none left for this rank.

    """
    name = params.device
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and ranks.SIZE == 1,
        "cpu": True,
    }
    kind = next(kind for kind, there in available.items() if there) if name == "auto" else name
    if not available[kind]:
        there = ", ".join(kind for kind, there in available.items() if there)
        raise UserError(
            f"params.yaml: train.device is '{name}', but this machine has none; "
            f"it has: {there} (auto takes the first)"
        )
    if kind != "cuda" or ranks.SIZE == 1:
        return torch.device(kind)
    if torch.cuda.device_count() <= ranks.LOCAL_RANK:
        raise UserError(
            f"this machine has {torch.cuda.device_count()} CUDA devices, too few for the ranks on "
            "it; in params.yaml lower train.torchrun.nproc_per_node"
        )
    device = torch.device("cuda", ranks.LOCAL_RANK)
    torch.cuda.set_device(device)
    return device


def settle_arithmetic(params: TrainParams, folds: Sequence[Fold], task: Task) -> int:
    """Let PyTorch compute as the parameters ask; return the number of threads."""
    n_rows = max(fold.train.n_on_all_ranks for fold in folds)
    in_a_step = len(folds) * min(params.batch_size or n_rows, n_rows) // ranks.SIZE
    work = multiply_adds(in_a_step * params.members, widths(params, task))
    threads = choose_threads(params, work)
    on_x86 = folds[0].train.target.device.type == "cpu" and has_avx2()
    everywhere = params.same_bytes == "everywhere"
    by_openblas = everywhere and on_x86 and work >= MULTIPLY_ADDS_BY_OPENBLAS
    compute_deterministically(threads, by_openblas=by_openblas)
    return threads


def multiply_adds(rows: int, widths: Sequence[int]) -> int:
    """Return those of a forward pass of so many rows; `widths` are those of a network's layers."""
    return rows * sum(inputs * outputs for inputs, outputs in pairwise(widths))


def choose_threads(params: TrainParams, multiply_adds: int) -> int:
    """Return the number of CPU threads to train with.

    `auto` is one thread for every 4 million `multiply_adds` of a step's forward pass; of a network
    with several members, for 16 million. It is at least one, and at most what PyTorch takes by
    itself: one for each core, or OMP_NUM_THREADS. Where bytes are to be the same everywhere, it is
    at most two, whatever there is: how sums are rounded depends on it.
    """
    if params.threads != "auto":
        return params.threads
    per_thread = MULTIPLY_ADDS_PER_THREAD
    if params.members > 1:
        per_thread = MULTIPLY_ADDS_OF_MEMBERS_PER_THREAD
    everywhere = params.same_bytes == "everywhere"
    most = MOST_THREADS_ON_ANY_MACHINE if everywhere else torch.get_num_threads()
    return max(1, min(multiply_adds // per_thread, most))


def compute_deterministically(threads: int, *, by_openblas: bool = False) -> None:
    """Make the same program give the same bits on each run.

    The number of threads decides how sums are split, and so how they are rounded.
    See https://docs.pytorch.org/docs/stable/notes/randomness.html. `by_openblas`, the CPU's
    products of matrices are those of NumPy's OpenBLAS: as fast as MKL's and, with the variables of
    `arithmetic.py`, the same on every processor, where MKL's then take up to four times as long.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # `use_deterministic_algorithms` does the same, and imports PyTorch's compiler, for a second.
    torch.set_deterministic_debug_mode("error")
    torch.set_num_threads(threads)
    _overridden.clear()
    if by_openblas:
        # Its threads and PyTorch's keep each other waiting.
        threadpool_limits(1, user_api="blas")
        library = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        with warnings.catch_warnings(action="ignore"):  # that there are such kernels already
            for name, kernel in {"mm": mm, "bmm": mm, "addmm": addmm}.items():
                library.impl(name, kernel, "CPU")  # type: ignore[no-untyped-call]
        _overridden.append(library)


_overridden: list[Library] = []
"""What makes products otherwise than PyTorch does, as long as it is here."""


def mm(one: Tensor, other: Tensor) -> Tensor:
    """Return the product of two matrices, or of several each, as `torch.mm` and `torch.bmm` do."""
    return torch.from_numpy(np.matmul(_as_array(one), _as_array(other)))


def addmm(
    added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return `beta * added + alpha * one @ other`, as `torch.addmm` does."""
    product = mm(one, other)
    return (product if alpha == 1 else product.mul_(alpha)).add_(added, alpha=beta)


def _as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return its numbers in an order that BLAS takes; otherwise NumPy multiplies by itself."""
    array = tensor.detach().numpy()
    *_, rows, columns = array.shape
    *_, by_row, by_column = (stride // array.itemsize for stride in array.strides)
    if (by_column == 1 and by_row >= columns) or (by_row == 1 and by_column >= rows):
        return array
    return np.ascontiguousarray(array)


def rng_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the random generators that training draws from, by kind of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_rng_states(device: torch.device, states: dict[str, Tensor]) -> None:
    """Put the random generators into the states that `rng_states` returned."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type])
