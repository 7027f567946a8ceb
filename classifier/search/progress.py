"""What a person sees while a search runs: tries done, the best so far, the time left."""

import sys
import time
from collections.abc import Sequence

from optuna.trial import FrozenTrial
from tqdm import tqdm

from classifier.search.result import best_first

SECONDS_BETWEEN_LINES = 10
"""In a log, where a tenth of the tries takes longer."""


class SearchProgress:
    """A bar on a terminal; in a log, a line for every tenth of the tries, and now and then."""

    def __init__(self, n_wanted: int, n_done: int) -> None:
        self._n_wanted = n_wanted
        self._started = n_done, time.monotonic()
        self._printed = n_done, time.monotonic()
        self._bar = tqdm(
            total=n_wanted,
            initial=n_done,
            # tqdm cuts what is too long at its end.
            bar_format="{n_fmt}/{total_fmt} tries <{remaining}{postfix}",
            disable=not sys.stderr.isatty(),
        )

    def close(self) -> None:
        self._bar.close()

    def show(self, tries: Sequence[FrozenTrial]) -> None:
        n = len(tries)
        best = best_in_words(tries)
        self._bar.set_postfix_str(best, refresh=False)
        self._bar.update(n - self._bar.n)
        n_before, moment = self._printed
        tenth = self._n_wanted / 10
        is_due = n // tenth > n_before // tenth or time.monotonic() - moment > SECONDS_BETWEEN_LINES
        if self._bar.disable and is_due and n > n_before:
            self._printed = n, time.monotonic()
            print(f"try {n}/{self._n_wanted}{self._time_left(n)}, {best}", flush=True)

    def _time_left(self, n: int) -> str:
        first, start = self._started
        each = (time.monotonic() - start) / max(1, n - first)
        left = each * max(0, self._n_wanted - n)
        return f", about {tqdm.format_interval(left)} left" if left else ""


def best_in_words(tries: Sequence[FrozenTrial]) -> str:
    ranked = best_first(tries)
    if not ranked:
        return "none has finished yet"
    params = " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in ranked[0].params.items()
    )
    return f"best held_out_loss={ranked[0].values[0]:.4f} {params}"
