"""A search's study: where Optuna keeps its tries, and what is tried next."""

import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from classifier.io.files import errors_name
from classifier.io.user_error import NotWrittenError, UserError
from classifier.resuming.saved_state import STATE_FOLDER
from classifier.search.search_params import Space

FOLDER = STATE_FOLDER / "search"

FAILED_WITH = "failed with"
"""The attribute of a try that failed."""

RANDOM_TRIES = 10
"""Before any is chosen by what was found, or stopped early."""

TRIES_IN_A_ROUND = 5
"""They are chosen by what the rounds before have found: so the number of processes that make them,
and the order in which they end, change nothing."""

HOST_AND_PORT = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*):([0-9]+)")


def open_study(storage: str | None, name: str) -> Study:
    """Return a study that goes on where it ended, or a new one.

    Parameters
    ----------
    storage
        The URL of a database, host:port of Optuna's gRPC server, or the path of a journal file
        that machines share; None: a file of this folder, which nobody else writes meanwhile.
    name
        Of the study.

    Raises
    ------
    UserError
        If the storage cannot be opened, or read.

    """
    # Optuna's server may change; its version is pinned.
    warnings.simplefilter("ignore", ExperimentalWarning)
    try:
        return optuna.create_study(
            study_name=name, storage=_open_storage(storage, name), load_if_exists=True
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
        path = study_file(name)
        with errors_name(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend(path)
            return JournalStorage(JournalFileBackend(str(path)))
    if "://" in storage:
        return RDBStorage(storage)
    if server := HOST_AND_PORT.fullmatch(storage):
        return GrpcStorageProxy(host=server[1], port=int(server[2]))
    return JournalStorage(JournalFileBackend(storage))


def _mend(path: Path) -> None:
    """Take away what a kill has left: half a try, which would make all after it unreadable; a lock.

    Nobody else writes it now, or else the lock would be theirs.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def study_file(name: str) -> Path:
    return FOLDER / f"{name}.journal"


def has_others(name: str) -> bool:
    """Say whether this folder has had other studies."""
    return any(path != study_file(name) for path in FOLDER.glob("*.journal"))


def tries_of(study: Study) -> list[FrozenTrial]:
    """Return the tries that have come to an end, in their order."""
    return study.get_trials(deepcopy=False)


def next_params(
    space: Space,
    known: Sequence[FrozenTrial],
    numbers: Sequence[int],
    given: Mapping[int, dict[str, Any]],
    seed: int | None,
) -> list[dict[str, Any]]:
    """Return what the tries of some numbers try, as Optuna has it, by what `known` ones came to.

    The first ten are random, the others chosen by TPE; chance depends on the number of a try, so
    that an interrupted search goes on as if it had not been. Without a seed, it is another each
    time. Those whose parameters are `given`, by their numbers, have these.
    """
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        create_trial(
            state=each.state,
            value=each.value,
            params=each.params,
            distributions=each.distributions,
            # Of a try that was stopped, TPE looks at the last.
            intermediate_values=dict(list(each.intermediate_values.items())[-1:]),
        )
        for each in known
    )
    found = []
    for number in numbers:
        of_number = None
        if seed is not None:
            of_number = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
        study.sampler = TPESampler(seed=of_number, n_startup_trials=RANDOM_TRIES)
        if number in given:
            study.enqueue_trial(given[number])
        found.append(study.ask(dict(space)).params)
    return found


def medians_by_epoch(known: Sequence[FrozenTrial], max_epochs: int) -> dict[int, float]:
    """Return by epoch the median of the losses that the finished tries had then.

    What is worse is stopped there, as Optuna's `MedianPruner` does: but not before ten tries have
    finished, and not in the first twentieth of the epochs, in which a small learning rate has no
    chance.
    """
    losses = defaultdict[int, list[float]](list)
    if len(finished(known)) >= RANDOM_TRIES:
        for each in finished(known):
            for epoch, loss in each.intermediate_values.items():
                losses[epoch].append(loss)
    return {epoch: median(of_it) for epoch, of_it in losses.items() if epoch >= max_epochs // 20}


def finished(tries: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the tries that have trained to their end."""
    return [each for each in tries if each.state == TrialState.COMPLETE]


def best_first(tries: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished tries, that with the least loss first; of equals, the earlier."""
    return sorted(finished(tries), key=loss_of)


def loss_of(finished_try: FrozenTrial) -> float:
    """Return the loss of the rows left out."""
    loss: float = finished_try.values[0]
    return loss
