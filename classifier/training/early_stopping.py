"""When to stop, and which epoch was best."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EarlyStopping:
    """What early stopping remembers between evaluations."""

    best_epoch: int = 0
    best_val_loss: float = math.inf
    evaluations_without_improvement: int = 0

    def after(self, epoch: int, val_loss: float, min_delta: float) -> "EarlyStopping":
        """Return the memory after one more evaluation.

        It is an improvement if `val_loss` lies below the best by more than `min_delta`.
        """
        if val_loss < self.best_val_loss - min_delta:
            return EarlyStopping(best_epoch=epoch, best_val_loss=val_loss)
        return EarlyStopping(
            self.best_epoch, self.best_val_loss, self.evaluations_without_improvement + 1
        )
