"""A search's study: where Optuna keeps it, and which of its tries count."""

import fcntl
import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from classifier.io.files import errors_name
from classifier.io.user_error import NotWrittenError, UserError
from classifier.resuming.saved_state import STATE_FOLDER

FOLDER = STATE_FOLDER / "search"

FAILED_WITH = "failed with"
"""The attribute of a try that failed by itself: one that was interrupted has none."""

RANDOM_TRIES = 10
"""Before any is chosen by what was found, or stopped early."""

SECONDS_BETWEEN_SIGNS_OF_LIFE = 30
"""Of a try in a database; one that gives none for twice as long is an interrupted one."""

HOST_AND_PORT = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*):([0-9]+)")


def open_study(storage: str | None, name: str, seed: int, max_epochs: int) -> Study:
    """Return a study that goes on where it ended, or a new one.

    A try that is worse than half of the others were at that epoch is stopped, but not in the first
    twentieth of the epochs, in which a small learning rate has no chance.

    Parameters
    ----------
    storage
        The URL of a database, host:port of Optuna's gRPC server, or the path of a journal file
        that machines share; None: a file of this folder.
    name
        Of the study.
    seed
        Of what is tried.
    max_epochs
        Of a try.

    Raises
    ------
    UserError
        If the storage cannot be opened, or read.

    """
    # Signs of life in a database, and the server, may change; this version of Optuna is pinned.
    warnings.simplefilter("ignore", ExperimentalWarning)
    try:
        return optuna.create_study(
            study_name=name,
            storage=_open_storage(storage, name),
            direction="minimize",
            load_if_exists=True,
            sampler=SamplerByNumber(seed),
            pruner=optuna.pruners.MedianPruner(RANDOM_TRIES, n_warmup_steps=max_epochs // 20),
        )
    except (MemoryError, NotWrittenError):
        raise
    except Exception as error:  # noqa: BLE001 (what databases and servers raise has no end)
        raise UserError(
            f"the study in {storage or study_file(name)} cannot be opened: "
            f"{type(error).__name__}: {str(error).strip()[:200]}"
        ) from None


def _open_storage(storage: str | None, name: str) -> BaseStorage:
    if storage is None:
        return JournalStorage(StudyFile(study_file(name)))
    if "://" in storage:
        seconds = SECONDS_BETWEEN_SIGNS_OF_LIFE
        return RDBStorage(storage, heartbeat_interval=seconds, grace_period=2 * seconds)
    if server := HOST_AND_PORT.fullmatch(storage):
        return GrpcStorageProxy(host=server[1], port=int(server[2]))
    return JournalStorage(JournalFileBackend(storage))


def study_file(name: str) -> Path:
    return FOLDER / f"{name}.journal"


def has_others(name: str) -> bool:
    """Say whether this folder has had other studies."""
    return any(path != study_file(name) for path in FOLDER.glob("*.journal"))


class StudyFile(JournalFileBackend):
    """Optuna's journal in a file on a disk of this machine, readable whenever a writer was killed.

    Optuna's own way of writing it is for disks that machines share. Its lock is a file, which a
    killed process leaves, so that all others wait for half a minute. What a kill has cut off in
    the middle of a line makes it lose all that comes after. And it waits for the disk at each
    line, of which a try has dozens; here only a finished try has to outlive a power cut.
    """

    def __init__(self, path: Path) -> None:
        with errors_name(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with errors_name(self._path), self._path.open("ab+") as file:
            # The kernel releases it when this process ends, however it ends.
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut_off_half_a_line(file)
            file.write(lines.encode())
            file.flush()
            if any("datetime_complete" in log for log in logs):
                os.fsync(file.fileno())


def _cut_off_half_a_line(file: BinaryIO) -> None:
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


class SamplerByNumber(TPESampler):
    """TPE, with random numbers that depend on the number of the try alone.

    Optuna keeps tries, but no random state: an interrupted search would go on with other random
    numbers than one that was not. Numbers are counted without the tries that were interrupted.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed_of_study = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        others = study.get_trials(deepcopy=False)
        lost = sum(each.number < trial.number and was_interrupted(each) for each in others)
        entropy = np.random.SeedSequence((self._seed_of_study, trial.number - lost))
        # Anew: what it remembers of other tries is nothing but random states.
        super().__init__(seed=int(entropy.generate_state(1)[0]), n_startup_trials=RANDOM_TRIES)


def was_interrupted(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and FAILED_WITH not in trial.user_attrs


def counted(study: Study) -> list[FrozenTrial]:
    """Return the tries that have come to an end by themselves, in the order of their start."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and not was_interrupted(trial)
    ]


def finished(tries: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the tries that have trained to their end."""
    return [each for each in tries if each.state == TrialState.COMPLETE]


def best_first(tries: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished tries, that with the least loss first; of equals, the earlier."""
    return sorted(finished(tries), key=loss_of)


def loss_of(finished_try: FrozenTrial) -> float:
    """Return the mean loss of held-out rows."""
    loss: float = finished_try.values[0]
    return loss


def give_up_interrupted(study: Study) -> None:
    """Mark tries that seem to be running as interrupted; there must be nobody who runs them."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)


def enqueue(study: Study, params: dict[str, Any]) -> None:
    """Let these parameters be tried next, unless they were, or are about to be."""
    for trial in study.get_trials(deepcopy=False):
        tried = params in (trial.params, trial.user_attrs.get("enqueued"))
        if tried and not was_interrupted(trial):
            return
    study.enqueue_trial(params, user_attrs={"enqueued": params})
