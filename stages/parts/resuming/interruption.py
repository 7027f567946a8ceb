"""Ctrl-C and SIGTERM, held back until the work in hand is safe."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """Remember the first SIGINT or SIGTERM; if `second_one_ends`, that does at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    signal_number: int | None = None

    def __init__(self, *, second_one_ends: bool) -> None:
        self._second_one_ends = second_one_ends

    def __enter__(self) -> Self:
        for number in self.SIGNALS:
            signal.signal(number, self._remember)
        return self

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number
        if self._second_one_ends:
            self._let_go()

    def _let_go(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()
