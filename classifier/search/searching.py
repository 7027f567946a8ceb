"""The search itself: tries, round after round, each round by several processes."""

import gc
import hashlib
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import torch
from optuna import Study, TrialPruned
from optuna.trial import FrozenTrial, TrialState, create_trial

from classifier.io.files import errors_name
from classifier.io.params import read_params
from classifier.io.prepared import PREPARED, TRAIN_FILE, VAL_FILE, count_folds, count_rows
from classifier.io.schema import read_schema
from classifier.io.user_error import UserError
from classifier.network.model import Task
from classifier.resuming.fingerprint import fingerprint_of, hash_file, source_files
from classifier.search.search_params import (
    SearchParams,
    Space,
    first_of,
    from_optuna,
    in_optuna,
    space_of,
)
from classifier.search.study import (
    FAILED_WITH,
    TRIES_IN_A_ROUND,
    medians_by_epoch,
    next_params,
    study_file,
    tries_of,
)
from classifier.search.trying import rows_of_tries, try_out
from classifier.training.device import select_device, settle_arithmetic
from classifier.training.run import Run, best_val_loss_of
from classifier.training.train_params import TrainParams

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""Of garbage; Python has 700."""


@dataclass(frozen=True)
class Search:
    """What is searched, by whom, and where it is kept."""

    params: SearchParams
    train: TrainParams
    space: Space
    task: Task
    n_folds: int
    threads: int
    """Of each try."""
    storage: str | None
    n_workers: int

    @classmethod
    def in_params_yaml(
        cls, n_tries: int | None, storage: str | None, n_workers: int | None
    ) -> "Search":
        """Return what params.yaml says, with `n_tries` in all if that is not None.

        Without `n_workers`, there are as many as this machine has cores or CUDA devices for.
        """
        params, train = read_params("search", SearchParams), read_params("train", TrainParams)
        if n_tries is not None:
            params = params.model_copy(update={"trials": n_tries})
        device = select_device(train)
        # The other cores are for other tries.
        threads = 1 if train.threads == "auto" else train.threads
        at_once = torch.get_num_threads() // threads
        if device.type != "cpu":
            at_once = torch.get_device_module(device).device_count()
        n_workers = n_workers or max(1, min(at_once, TRIES_IN_A_ROUND))
        task = Task.of(read_schema(PREPARED / "schema.json"))
        count_rows(TRAIN_FILE)  # names what is missing
        n_folds = count_folds(VAL_FILE)
        space = space_of(params, train)
        return cls(params, train, space, task, n_folds, threads, storage, n_workers)

    @cached_property
    def study_name(self) -> str:
        """A name that differs whenever a try could give something else, or another be next.

        How many tries there are to be is not in it, nor what `train` has for what is searched.
        """
        fingerprint = fingerprint_of(
            self.train.model_copy(update={**first_of(self.space), "seed": 0}),
            self.task,
            device_type=select_device(self.train).type,
            threads=self.threads,
        )
        belongs_to = [
            fingerprint,
            self.train.model_dump(include={"max_epochs", "patience"}),
            self.params.model_dump(include={"seeds", "seed"}),
            list(self.params.space.items()),
            [hash_file(module) for module in source_files("search/searching.py")],
            optuna.__version__,
            np.__version__,
        ]
        text = json.dumps(belongs_to, sort_keys=True)
        return f"search-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Try:
    """What is tried."""

    number: int
    params: dict[str, Any]
    """What of it is searched, as Optuna has it."""
    medians: dict[int, float]
    """By epoch, the loss with which the try is stopped if it has had none as low."""


def make_tries(search: Search, study: Study, show: Callable[[], None]) -> None:
    """Make the tries that the study lacks; call `show` after each.

    Of a storage that other machines use, a round is what this one makes at once: so all that any
    of them has found counts, and chance is another for each.

    Raises
    ------
    UserError
        If a process that makes tries was killed.

    """
    is_alone, first = search.storage is None, in_optuna(search.space, search.train)
    with workers(search) as make:
        while (n := len(known := tries_of(study))) < search.params.trials:
            start = n - n % TRIES_IN_A_ROUND if is_alone else n
            end = start + (TRIES_IN_A_ROUND if is_alone else search.n_workers)
            # Asked for anew, too, those of this round that are known: the next depend on them.
            given = {each.number: each.params for each in known[start:]}
            if all(each.params != first for each in known):
                given[n] = first
            numbers = range(start, min(end, search.params.trials))
            seed = search.params.seed if is_alone else None
            params = next_params(search.space, known[:start], numbers, given, seed)
            medians = medians_by_epoch(known[:start], search.train.max_epochs)
            tries = [
                Try(number, params[number - start], medians) for number in numbers[n - start :]
            ]
            for tried in make(tries):
                with errors_name(Path(search.storage or study_file(search.study_name))):
                    study.add_trial(tried)
                show()


@contextmanager
def workers(search: Search) -> Iterator[Callable[[Sequence[Try]], Iterable[FrozenTrial]]]:
    """Provide what makes tries, in this process or in several."""
    make = partial(make_try, search)
    rows_of_tries.cache_clear()  # a search before, in this process, may have read others
    if search.n_workers == 1:
        collect_garbage_seldom()
        yield lambda tries: map(make, tries)
        return
    # A forked process has its imports; one that is to use CUDA must not be forked.
    forks = sys.platform == "linux" and select_device(search.train).type == "cpu"
    context = get_context("fork" if forks else "spawn")
    with ProcessPoolExecutor(search.n_workers, context, initializer=_become_worker) as pool:
        try:
            yield lambda tries: pool.map(make, tries)
        except BrokenProcessPool:
            raise UserError(
                "a process that made tries was killed; the tries that have ended are kept, and the "
                "same command goes on from there"
            ) from None
        finally:
            for process in active_children():
                process.terminate()


def make_try(search: Search, one: Try) -> FrozenTrial:
    """Make a try, and return what has come of it."""
    searched = from_optuna(search.space, one.params)
    params = TrainParams.model_validate(
        {**search.train.model_dump(), **searched, "threads": search.threads}
    )
    losses: dict[int, float] = {}

    def report(runs: Sequence[Run]) -> None:
        epoch, val_loss = max(run.epoch for run in runs), best_val_loss_of(runs)
        losses[epoch] = val_loss
        if val_loss > one.medians.get(epoch, math.inf):
            raise TrialPruned

    state, value = TrialState.COMPLETE, None
    attributes: dict[str, Any]
    try:
        device = select_device(params)
        if device.type == "cuda":  # of several, they take turns
            device = torch.device("cuda", one.number % torch.cuda.device_count())
        rows = rows_of_tries(search.task, device)
        settle_arithmetic(params, rows.folds, search.task)
        tried = try_out(params, search.params.seeds, rows, report)
    except TrialPruned:
        last = max(losses)
        state, value, attributes = TrialState.PRUNED, losses[last], {"epochs": last}
    except (UserError, MemoryError, RuntimeError) as error:
        # On a CPU, it is no error of its own that there is not enough memory.
        if not isinstance(error, UserError | MemoryError) and "memory" not in str(error):
            raise
        state, attributes = TrialState.FAIL, {FAILED_WITH: str(error)}
    else:
        value = tried.val_loss
        attributes = {
            "epochs": tried.epochs,
            "drawn": _rounded(tried.drawn),
            "left_out": _rounded(tried.left_out),
        }
    return create_trial(
        state=state,
        value=value,
        params=one.params,
        distributions=dict(search.space),
        user_attrs=attributes,
        intermediate_values=losses,
    )


def collect_garbage_seldom() -> None:
    """Look for no garbage in what there is.

    To look for it among all that torch consists of, each time that a network is recorded, takes a
    tenth of the time of a small one.
    """
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)


def _become_worker() -> None:
    # Ctrl-C reaches all processes of a terminal; the first ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    collect_garbage_seldom()


def _end_with_the_first() -> None:
    first = parent_process()
    if first is not None:
        wait([first.sentinel])
        os._exit(1)


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
