"""How far predictions are off."""

from typing import Literal

import torch
from torch import Tensor, nn

from classifier.network.model import MLP
from classifier.training import ranks
from classifier.training.rows import Rows

ClassWeights = Literal["none", "balanced"]


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
