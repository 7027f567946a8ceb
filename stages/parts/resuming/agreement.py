"""What all ranks do after the same batch: stop, or save."""

import time
from dataclasses import dataclass

from stages.parts.resuming.interruption import Interruption
from stages.parts.training import ranks

SECONDS_BETWEEN = 0.2
"""How long a signal may wait; asking the other ranks after each batch would slow training."""


@dataclass(frozen=True)
class Decision:
    signal_number: int | None = None
    """Stop: a rank has received this signal."""
    save: bool = False


NOTHING = Decision()


class Agreement:
    """Asks all ranks, after batches that they count alike, what to do."""

    def __init__(self, interruption: Interruption, save_every_seconds: float) -> None:
        self._interruption = interruption
        self._save_every_seconds = save_every_seconds
        self._seconds_between = min(SECONDS_BETWEEN, save_every_seconds)
        self._asked_at = self._saved_at = time.monotonic()
        self._batches_between = self._batches_left = 1

    def after_batch(self) -> Decision:
        """Return what to do now; rank 0's clock says when to save."""
        self._batches_left -= 1
        if self._batches_left > 0:
            return NOTHING
        now = time.monotonic()
        per_batch = (now - self._asked_at) / self._batches_between
        fitting = self._seconds_between / max(per_batch, 1e-9)
        # One batch after another, in case the ones so far were quick by chance.
        batches = max(1, min(int(fitting), 2 * self._batches_between))
        is_due = now - self._saved_at >= self._save_every_seconds
        signal_number, save, batches_between = ranks.largest(
            [
                self._interruption.signal_number or 0,
                is_due and ranks.RANK == 0,
                batches if ranks.RANK == 0 else 0,
            ]
        )
        self._batches_between = self._batches_left = int(batches_between)
        self._asked_at = time.monotonic()
        if save:
            self._saved_at = self._asked_at
        return Decision(int(signal_number) or None, bool(save))
