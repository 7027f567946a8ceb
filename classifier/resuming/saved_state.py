"""The states of unfinished and finished training runs, kept where neither git nor DVC looks.

DVC deletes a stage's outputs before it runs the stage, so a state that is to survive a killed
run cannot be one of them.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from classifier.io.files import errors_name, write_bytes

STATE_FOLDER = Path(".training")

RUNS_KEPT = 5
"""How many runs' states the folder holds: those written last."""


@dataclass(frozen=True)
class SavedState:
    """How far a run was to go, whether it got there, and where it is."""

    max_epochs: int
    patience: int
    finished: bool
    checkpoint: bytes
    """What `training_to_bytes` returned."""


class SavedStates:
    """The states of the run with one fingerprint, each saved in place of the one before it."""

    def __init__(self, fingerprint: str, folder: Path = STATE_FOLDER) -> None:
        self._path = folder / f"{fingerprint}.state"

    def load(self) -> SavedState | None:
        """Return the state, or None; remove what is not usable, and say so."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(
                f"the saved state {self._path} is not usable ({reason}) and is removed", flush=True
            )
            with suppress(OSError):
                self._path.unlink()
            return None

    def save(self, state: SavedState) -> None:
        """Write a state, and forget the oldest runs.

        Raises `OSError` if it cannot be written, as on a full disk; the state before it is there.
        """
        write_bytes(self._path, _encode(state))
        # lstat, since a link that leads nowhere has no other.
        files = sorted(self._path.parent.glob("*.state*"), key=lambda path: -path.lstat().st_mtime)
        for path in files[RUNS_KEPT:]:
            path.unlink(missing_ok=True)


def _encode(state: SavedState) -> bytes:
    about = {name: value for name, value in vars(state).items() if name != "checkpoint"}
    content = json.dumps(about).encode() + b"\n" + state.checkpoint
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def _decode(data: bytes) -> SavedState:
    checksum, _, content = data.partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        raise ValueError("its checksum is wrong")
    about_line, _, checkpoint = content.partition(b"\n")
    try:
        return SavedState(**json.loads(about_line), checkpoint=checkpoint)
    except (ValueError, TypeError, RecursionError):
        raise ValueError("it is none that training has saved") from None


@contextmanager
def only_one_training_process(folder: Path = STATE_FOLDER) -> Iterator[None]:
    """Hold a lock that the kernel releases when this process ends, however it ends.

    While another process holds it, as the stage does that outlived a killed `dvc`, say so in
    one line and wait: when that process has finished, its state can be taken over. Raises
    `NotWrittenError` if the lock cannot be written, as on a full disk.
    """
    path = folder / "lock"
    with errors_name(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    try:
        _take(file)
        with errors_name(path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield
    finally:
        with suppress(OSError):
            file.close()


def _take(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read()
        print(
            f"waiting for process {holder}, which is still training in this folder; "
            f"to stop it and keep its state: kill {holder}",
            flush=True,
        )
        fcntl.flock(lock, fcntl.LOCK_EX)
