"""What a person sees while training runs: how far it is, and losses.csv."""

import csv
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from operator import attrgetter
from pathlib import Path

import numpy as np

from classifier.io.files import errors_name
from classifier.io.progress import Progress
from classifier.training import ranks
from classifier.training.run import Evaluation, Run, best_val_loss_of


@dataclass(frozen=True)
class Spread(Evaluation):
    """The means over several networks, and how far apart these are."""

    train_loss_lowest: float
    train_loss_highest: float
    val_loss_lowest: float
    val_loss_highest: float


def mean_evaluations(runs: Sequence[Run]) -> list[Evaluation]:
    """Return the evaluations of one network, or of several what they are together.

    The training losses and accuracies are means over the networks; those of validation are means
    over the left-out rows. A network that has stopped counts with its last evaluation.
    """
    epochs = sorted({evaluation.epoch for run in runs for evaluation in run.history})
    return [_mean_at(epoch, runs) for epoch in epochs]


def _mean_at(epoch: int, runs: Sequence[Run]) -> Evaluation:
    latest = [
        run.history[bisect_right(run.history, epoch, key=attrgetter("epoch")) - 1] for run in runs
    ]
    if len(runs) == 1:
        return latest[0]
    train_loss, train_accuracy, val_loss, val_accuracy = (
        [getattr(evaluation, name) for evaluation in latest]
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    )
    n_val = [run.n_val for run in runs]
    return Spread(
        epoch,
        train_loss=float(np.mean(train_loss)),
        val_loss=float(np.average(val_loss, weights=n_val)),
        train_accuracy=float(np.mean(train_accuracy)),
        val_accuracy=float(np.average(val_accuracy, weights=n_val)),
        train_loss_lowest=min(train_loss),
        train_loss_highest=max(train_loss),
        val_loss_lowest=min(val_loss),
        val_loss_highest=max(val_loss),
    )


@contextmanager
def record_of(runs: Sequence[Run], max_epochs: int, path: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that records the last evaluations where people look; only rank 0 does so.

    Raises
    ------
    NotWrittenError
        If `path`, which is losses.csv, cannot be written.

    """
    if ranks.RANK > 0:
        yield lambda: None
        return
    kind = Evaluation if len(runs) == 1 else Spread
    epoch = max(run.epoch for run in runs)
    with (
        losses_file(path, kind, mean_evaluations(runs)) as append,
        closing(Progress("epoch", max_epochs, epoch, "to the last")) as progress,
    ):

        def record() -> None:
            now = _mean_at(max(run.history[-1].epoch for run in runs), runs)
            append(now)
            progress.show(
                now.epoch,
                f"train_loss={now.train_loss:.4f} val_loss={now.val_loss:.4f} "
                f"best={best_val_loss_of(runs):.4f}",
            )

        yield record


@contextmanager
def losses_file(
    path: Path, kind: type[Evaluation], history: Iterable[Evaluation]
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
        append(field.name for field in fields(kind))
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
