"""A study in one file: Optuna's journal, readable whenever a writer was killed."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from classifier.io.files import errors_name


class StudyFile(BaseJournalBackend):
    """Optuna's journal file, on a disk of this machine.

    Optuna's own way of writing it is for disks that machines share. Its lock is a file, which a
    killed process leaves, so that all others wait for half a minute. What a kill has cut off in
    the middle of a line makes it lose all that comes after. And it waits for the disk at each
    line, of which a try has dozens; here only a finished try has to outlive a power cut.
    """

    def __init__(self, path: Path) -> None:
        with errors_name(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab+")
        self._path = path
        self._journal = JournalFileBackend(str(path))

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self._journal.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with errors_name(self._path), _locked(self._file):
            _cut_off_half_a_line(self._file)
            self._file.write(lines.encode())
            self._file.flush()
            if any("datetime_complete" in log for log in logs):
                os.fsync(self._file.fileno())


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    """Hold a lock, which the kernel releases when this process ends, however it ends."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _cut_off_half_a_line(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
