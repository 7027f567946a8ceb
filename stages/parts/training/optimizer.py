"""The optimizers of torch, ready in a few milliseconds."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

OptimizerName = Literal["sgd", "adam", "adamw"]


def make_optimizer(
    name: OptimizerName,
    weights: Iterable[Tensor],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> Optimizer:
    """Return an optimizer of torch that updates all weights in one operation (`fused`).

    `momentum` is for sgd only.
    """
    kwargs: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    if name == "sgd":
        return _without_compiler(torch.optim.SGD)(weights, momentum=momentum, **kwargs)
    adam = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return _without_compiler(adam)(weights, **kwargs)


def _without_compiler(optimizer: type[Optimizer]) -> Callable[..., Optimizer]:
    """Return the class without the wrappers that keep torch's compiler away from its methods.

    They import that compiler first, which takes as long as importing all the rest of torch.
    """
    methods = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    unwrapped = {name: inspect.unwrap(getattr(optimizer, name)) for name in methods}
    unwrapped["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), unwrapped)
