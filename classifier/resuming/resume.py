"""A run that may be interrupted: where it goes on from, when it is saved, and when it stops.

Rank 0 reads and writes the states for all ranks.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple, NoReturn

from classifier.io.params import PARAMS_FILE
from classifier.io.user_error import UserError
from classifier.resuming.checkpoint import restore, training_to_bytes
from classifier.resuming.fingerprint import dvc_has_recorded
from classifier.resuming.saved_state import SavedState, SavedStates
from classifier.training import ranks
from classifier.training.run import Training
from classifier.training.train_params import TrainParams

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SECONDS_BETWEEN = 0.2
"""How long a signal may wait; asking the other ranks after each batch would slow training."""


def start_or_go_on(
    params: TrainParams, fingerprint: str, start: Callable[[], Training]
) -> tuple[Training, SavedStates]:
    """Return the training that was saved, or a new one if none is, and where to save it.

    The fingerprint is that of `fingerprint_of`; `start` returns a new training, on all ranks.
    """
    states, saved, scratch = SavedStates(fingerprint), None, start()
    if ranks.RANK == 0:
        states, saved = find_state(scratch, params, fingerprint)
    training = start()
    checkpoint = ranks.from_first(b"" if saved is None else saved.checkpoint)
    if checkpoint:
        has_more_patience = saved is not None and params.patience > saved.patience
        restore(training, checkpoint, before_first_stop=has_more_patience)
        if ranks.RANK == 0:
            print(f"going on from epoch {training.epoch}, saved by an earlier run", flush=True)
    return training, states


def find_state(
    scratch: Training, params: TrainParams, fingerprint: str
) -> tuple[SavedStates, SavedState | None]:
    """Return where the training's states belong, and that to go on from, if there is one.

    A run that ends before the saved one got there has a place of its own, so that a long run
    survives a short one with the same fingerprint. `scratch` is overwritten.
    """
    states = SavedStates(fingerprint)
    saved = states.load()
    if saved is not None and is_of_a_longer_run(saved, scratch, params):
        print(
            f"the state at epoch {scratch.epoch}, saved by a longer run, is left alone", flush=True
        )
        states = SavedStates(f"{fingerprint}-{params.max_epochs}-{params.patience}")
        saved = states.load()
    # A finished run is here again either because DVC was killed before it could record the result,
    # or because dvc.lock has the result and `dvc repro --force` asks for it anew.
    is_wanted_anew = (
        saved is not None
        and saved.finished
        and (saved.max_epochs, saved.patience) == (params.max_epochs, params.patience)
        and dvc_has_recorded(params)
    )
    return states, None if is_wanted_anew else saved


def is_of_a_longer_run(saved: SavedState, scratch: Training, params: TrainParams) -> bool:
    """Say whether a run with these parameters would not come as far; restore it in `scratch`."""
    restore(scratch, saved.checkpoint)
    if saved.finished:
        return params.max_epochs < saved.max_epochs or params.patience < saved.patience
    return scratch.is_past_the_end(params)


def save(
    states: SavedStates, training: Training, params: TrainParams, *, finished: bool = False
) -> bool:
    """Save the state; where that fails, warn, because training itself need not stop."""
    checkpoint = training_to_bytes(training)
    if ranks.RANK > 0:
        return True
    try:
        states.save(SavedState(params.max_epochs, params.patience, finished, checkpoint))
    except OSError as error:
        # As `dvc queue stop --kill` does, which kills DVC and not the stage that it started.
        if not PARAMS_FILE.exists():
            raise UserError(
                "the folder in which it was training has been deleted; nothing is saved"
            ) from None
        print(f"warning: the state at epoch {training.epoch} cannot be saved: {error}", flush=True)
        return False
    return True


class Agreed(NamedTuple):
    """What all ranks do after a batch, besides going on."""

    signal_number: int | None = None
    """They stop, because one of them has received this signal."""
    save: bool = False


class Agreement:
    """What lets all ranks do the same after a batch: go on, save, or stop because of a signal.

    They ask each other every few batches, and agree on how many as well.
    """

    def __init__(self, save_every_seconds: float) -> None:
        self.received: int | None = None
        """The signal that came to this rank."""
        self._save_every_seconds = save_every_seconds
        self._seconds_between = min(SECONDS_BETWEEN, save_every_seconds)
        self._asked_at = self._saved_at = time.monotonic()
        self._batches_between = self._batches_left = 1

    def after_batch(self) -> Agreed:
        """Return what to do now; all ranks have to call this after the same batches.

        The clock of rank 0 says when to save, and after how many batches to ask again.
        """
        self._batches_left -= 1
        if self._batches_left > 0:
            return Agreed()
        now, is_first = time.monotonic(), ranks.RANK == 0
        per_batch = (now - self._asked_at) / self._batches_between
        fitting = int(self._seconds_between / max(per_batch, 1e-9))
        # Not many more than before, in case the ones so far were quick by chance.
        until_next = max(1, min(fitting, 2 * self._batches_between))
        signal_number, save, batches = ranks.largest(
            [
                self.received or 0,
                is_first and now - self._saved_at >= self._save_every_seconds,
                until_next if is_first else 0,
            ]
        )
        self._batches_between = self._batches_left = int(batches)
        self._asked_at = time.monotonic()
        if save:
            self._saved_at = self._asked_at
        return Agreed(int(signal_number) or None, bool(save))


@contextmanager
def signals_held_back(agreement: Agreement, *, second_one_ends: bool) -> Iterator[None]:
    """Remember the first signal instead of ending; if `second_one_ends`, that does at once."""

    def remember(number: int, _frame: FrameType | None) -> None:
        agreement.received = number
        if second_one_ends:
            let_go()

    def let_go() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, remember)
    try:
        yield
    finally:
        let_go()


def stop_before_the_end(
    states: SavedStates, training: Training, params: TrainParams, signal_number: int
) -> NoReturn:
    """Save the state, say so, and exit with the status that a shell gives such an end."""
    name = signal.Signals(signal_number).name
    is_saved = save(states, training, params)
    if ranks.RANK == 0 and is_saved:
        print(f"{name}: epoch {training.epoch} is saved; to go on from there: dvc repro")
    elif ranks.RANK == 0:
        print(f"{name}: to go on from the state saved before, if there is one: dvc repro")
    sys.exit(128 + signal_number)
