"""What a person sees while training runs: how far it is, and losses.csv."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, fields
from pathlib import Path

from classifier.io.files import errors_name
from classifier.io.progress import Progress
from classifier.training import ranks
from classifier.training.loop import Evaluation, Run


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
        closing(Progress("epoch", max_epochs, run.epoch, "to the last")) as progress,
    ):

        def record(evaluation: Evaluation) -> None:
            append(evaluation)
            progress.show(
                evaluation.epoch,
                f"train_loss={evaluation.train_loss:.4f} val_loss={evaluation.val_loss:.4f} "
                f"best={run.early_stopping.best_val_loss:.4f}",
            )

        yield record


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
