"""What a person sees while training runs."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from stages.parts.training.early_stopping import EarlyStopping
from stages.parts.training.loop import Evaluation

SECONDS_BETWEEN_LINES = 10
"""In a log, where a tenth of the epochs takes longer."""


class Progress:
    """A bar on a terminal; in a log, a line for every tenth of the epochs, and now and then."""

    def __init__(self, max_epochs: int, epoch: int) -> None:
        self._max_epochs = max_epochs
        self._epoch = epoch
        self._printed_at = time.monotonic()
        self._bar = tqdm(
            total=max_epochs,
            initial=epoch,
            # tqdm cuts what is too long at its end; the losses have to fit into 80 columns.
            bar_format="{percentage:3.0f}%|{bar}| epoch {n_fmt}/{total_fmt}{postfix} <{remaining}",
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            print(f"epoch {evaluation.epoch}/{self._max_epochs} {losses}", flush=True)
        self._epoch = evaluation.epoch
