"""What a person sees while something takes long."""

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10
"""After so many a log gets a line where a tenth of the whole takes longer."""


class Progress:
    """A bar on a terminal; in a log, a line for every tenth of the whole, and now and then."""

    def __init__(self, what: str, total: int, done: int, end: str) -> None:
        """Count what is called `what`, such as epoch, up to `total`; what is left leads to `end`.

        `done` of them are there already.
        """
        self._what, self._total, self._done, self._end = what, total, done, end
        self._first_done, self._started_at = done, time.monotonic()
        self._printed_at = self._started_at
        self._bar = tqdm(
            total=total,
            initial=done,
            # tqdm cuts what is too long at its end; the numbers have to fit into 80 columns.
            bar_format="{percentage:3.0f}%|{bar}| "
            + what
            + " {n_fmt}/{total_fmt}{postfix} <{remaining}",
            disable=not sys.stderr.isatty(),
        )

    def close(self) -> None:
        self._bar.close()

    def show(self, done: int, numbers: str) -> None:
        """Say that so many are done, and what has come of it."""
        self._bar.set_postfix_str(numbers, refresh=False)
        self._bar.update(done - self._done)
        tenth = self._total / 10
        is_due = (
            done // tenth > self._done // tenth
            or time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES
        )
        self._done = done
        if self._bar.disable and is_due:
            self._printed_at = time.monotonic()
            left = self._time_left()
            print(f"{self._what} {done}/{self._total} {numbers}{left}", flush=True)

    def _time_left(self) -> str:
        if self._done == self._first_done:
            return ""
        each = (time.monotonic() - self._started_at) / (self._done - self._first_done)

        left = each * max(0, self._total - self._done)
        return f", about {tqdm.format_interval(left)} {self._end}"
