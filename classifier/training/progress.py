"""What a person sees while training runs: a bar, and losses.csv."""

import csv
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, fields
from pathlib import Path

from tqdm import tqdm

from classifier.io.atomic_write import errors_name
from classifier.training import ranks
from classifier.training.loop import EarlyStopping, Evaluation, Run

SECONDS_BETWEEN_LINES = 10
"""In a log, where a tenth of the epochs takes longer."""


@contextmanager
def record_of(run: Run, max_epochs: int, path: Path) -> Iterator[Callable[[Evaluation], None]]:
    """Yield a function that records an evaluation where people look, which only rank 0 does.

    Raises
    ------
    NotWrittenError
        If `path`, which is losses.csv, cannot be written.

    """
    if ranks.RANK > 0:
        yield lambda _evaluation: None
        return
    with (
        losses_file(path, run.history) as append,
        closing(Progress(max_epochs, run.epoch)) as progress,
    ):

        def record(evaluation: Evaluation) -> None:
            append(evaluation)
            progress.show(evaluation, run.early_stopping)

        yield record


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
    """Yield a function that adds a row to losses.csv; when training fails, the file is removed.

    Raises
    ------
    NotWrittenError
        If it cannot be written, as on a full disk.

    """
    with errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", newline="")
    writer = csv.writer(file, lineterminator="\n")

    def append(row: Iterable[object]) -> None:
        with errors_name(path):
            writer.writerow(row)
            file.flush()

    try:
        append(field.name for field in fields(Evaluation))
        for evaluation in history:
            append(astuple(evaluation))
        yield lambda evaluation: append(astuple(evaluation))
        with errors_name(path):
            os.fsync(file.fileno())
            file.close()
    except BaseException:
        for tidy in (file.close, path.unlink):
            with suppress(OSError):
                tidy()
        raise
