"""Ctrl-C and SIGTERM, held back until the work in hand is safe on all ranks."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from classifier.training import ranks

SECONDS_BETWEEN = 0.2
"""How long a signal may wait; asking the other ranks after each batch would slow training."""


SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """The first SIGINT or SIGTERM that came."""

    signal_number: int | None = None


@contextmanager
def signals_held_back(*, second_one_ends: bool) -> Iterator[Interruption]:
    """Remember the first signal instead of ending; if `second_one_ends`, that does at once."""
    interruption = Interruption()

    def remember(number: int, _frame: FrameType | None) -> None:
        interruption.signal_number = number
        if second_one_ends:
            let_go()

    def let_go() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, remember)
    try:
        yield interruption
    finally:
        let_go()


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
