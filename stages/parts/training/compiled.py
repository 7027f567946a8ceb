"""The loss and its gradients as machine code, made by torch.compile."""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def finds_compiler(device_type: str) -> bool:
    """Say whether there is what torch.compile needs: a C++ compiler, and on CUDA Triton.

    Only for those who compile: the import takes a second.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415
    from torch._inductor.exc import InvalidCxxCompiler  # noqa: PLC0415
    from torch.utils._triton import has_triton  # noqa: PLC0415

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return device_type != "cuda" or has_triton()


def compiled(loss: Loss, device_type: str) -> Loss:
    """Return `loss`, compiled for each shape of its inputs; on CUDA, repeated as CUDA graphs."""
    # This also tells the compiler to choose without timing, which differs from run to run.
    torch.use_deterministic_algorithms(mode=True)
    torch.compiler.reset()
    # `dynamic` code depends on which shapes came before, and so on where a run was resumed.
    mode = "reduce-overhead" if device_type == "cuda" else None
    return torch.compile(loss, fullgraph=True, dynamic=False, mode=mode)
