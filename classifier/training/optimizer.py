"""The optimizers of torch."""

from collections.abc import Iterable
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
    """Return an optimizer that updates all weights in one operation (`fused`).

    `momentum` is for sgd only.
    """
    kwargs: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    match name:
        case "sgd":
            return torch.optim.SGD(weights, momentum=momentum, **kwargs)
        case "adam":
            return torch.optim.Adam(weights, **kwargs)
        case "adamw":
            return torch.optim.AdamW(weights, **kwargs)
