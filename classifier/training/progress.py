"""What a person sees while training runs: a bar, and losses.csv."""

import csv
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from tqdm import tqdm

from classifier.training.early_stopping import EarlyStopping
from classifier.training.loop import Evaluation

SECONDS_BETWEEN_LINES = 10
"""In a log, where a tenth of the epochs takes longer."""


class Progress:
    """A bar on a terminal; in a log, a line for every tenth of the epochs, and now and then."""

    def __init__(self, max_epochs: int, epoch: int) -> None:
        self._max_epochs = max_epochs
        self._epoch = epoch
        self._started = epoch, time.monotonic()
        self._printed_at = time.monotonic()
        self._bar = tqdm(
            total=max_epochs,
            initial=epoch,
            # tqdm cuts what is too long at its end; the losses have to fit into 80 columns.
            bar_format="{percentage:3.0f}%|{bar}| epoch {n_fmt}/{total_fmt}{postfix} <{remaining}",
            disable=not sys.stderr.isatty(),
        )

    def close(self) -> None:
        self._bar.close()

    def show(self, evaluation: Evaluation, early_stopping: EarlyStopping) -> None:
        losses = (
            f"train_loss={evaluation.train_loss:.4f} val_loss={evaluation.val_loss:.4f} "
            f"best={early_stopping.best_val_loss:.4f}"
        )
        self._bar.set_postfix_str(losses, refresh=False)
        self._bar.update(evaluation.epoch - self._epoch)
        tenth = self._max_epochs / 10
        is_due = (
            evaluation.epoch // tenth > self._epoch // tenth
            or time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES
        )
        if self._bar.disable and is_due:
            self._printed_at = time.monotonic()
            left = self._time_left(evaluation.epoch)
            print(f"epoch {evaluation.epoch}/{self._max_epochs} {losses}{left}", flush=True)
        self._epoch = evaluation.epoch

    def _time_left(self, epoch: int) -> str:
        """Say how long it takes to the last epoch, unless training stops early."""
        first_epoch, start = self._started
        if epoch == first_epoch:
            return ""
        each = (time.monotonic() - start) / (epoch - first_epoch)
        return f", about {tqdm.format_interval(each * (self._max_epochs - epoch))} to the last"


@contextmanager
def losses_file(
    path: Path, history: Iterable[Evaluation]
) -> Iterator[Callable[[Evaluation], None]]:
    """Yield a function that adds a row to losses.csv; when training fails, the file is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Evaluation)])

        def append(evaluation: Evaluation) -> None:
            writer.writerow(astuple(evaluation))
            file.flush()

        for evaluation in history:
            append(evaluation)
        try:
            yield append
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        os.fsync(file.fileno())
