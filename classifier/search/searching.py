"""The search itself: tries, one after another, by this process or by several."""

import gc
import hashlib
import json
import math
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import numpy as np
import numpy.typing as npt
import optuna
import torch
from optuna import Study, Trial, TrialPruned

from classifier.io.params import read_params
from classifier.io.prepared import Split, read_split
from classifier.io.schema import read_schema
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.network.model import Task, widths
from classifier.resuming.fingerprint import fingerprint_of, hash_file, source_files
from classifier.search.search_params import SearchParams, Space, first_of, space_of, suggest
from classifier.search.study import FAILED_WITH, counted, open_study
from classifier.search.trying import SeededRun, mean_loss, try_out
from classifier.search.validation_splits import ValidationSplit, split_as_wanted
from classifier.training.device import choose_threads, compute_deterministically, select_device
from classifier.training.loop import TrainParams

PREPARED = Path("data/prepared")

SECONDS_BETWEEN_LOOKS = 0.5
"""At what the workers have done."""

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""Of garbage; Python has 700."""


@dataclass(frozen=True)
class Search:
    """What a worker has to know."""

    params: SearchParams
    train: TrainParams
    space: Space
    task: Task
    splits: Sequence[tuple[Split, Split]]
    """Training and validation rows, which all workers share where they can."""
    storage: str | None
    n_workers: int

    @classmethod
    def in_params_yaml(cls, n_tries: int | None, storage: str | None, n_workers: int) -> "Search":
        """Return what params.yaml says, with `n_tries` in all if that is not None."""
        params, train = read_params("search", SearchParams), read_params("train", TrainParams)
        if n_tries is not None:
            params = params.model_copy(update={"trials": n_tries})
        task = Task.of(read_schema(PREPARED / "schema.json"))
        rows, val_rows = (read_split(PREPARED / f"{part}.parquet") for part in ("train", "val"))
        splits = split_as_wanted(params.splits, rows, val_rows, params.seed)
        return cls(params, train, space_of(params, train), task, splits, storage, n_workers)

    @cached_property
    def study_name(self) -> str:
        """A name that differs whenever a try could give something else, or another be next.

        How many tries there are to be is not in it, nor what `train` has for what is searched.
        """
        fingerprint = fingerprint_of(
            self.train.model_copy(update={**first_of(self.space), "seed": 0}),
            PREPARED / "train.parquet",
            PREPARED / "val.parquet",
            self.task,
            device_type=select_device(self.train.device).type,
            threads=0,  # as many as suit the network of each try
        )
        belongs_to = [
            fingerprint,
            self.train.model_dump(include={"max_epochs", "patience", "threads"}),
            self.params.model_dump(include={"seeds", "seed"}),
            list(self.params.space.items()),
            len(self.splits),
            [hash_file(module) for module in source_files("search/searching.py")],
            optuna.__version__,
            np.__version__,
        ]
        text = json.dumps(belongs_to, sort_keys=True)
        return f"search-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def open_study(self) -> Study:
        """Return the study; each process has to open it for itself."""
        return open_study(self.storage, self.study_name, self.params.seed, self.train.max_epochs)


def make_tries(search: Search, study: Study, n_tries: int, show: Callable[[], None]) -> None:
    """Make so many tries, in this process or in several; call `show` now and then.

    If this process is killed, the others end with the tries that are under way.

    Raises
    ------
    UserError
        If one of several processes was killed.

    """
    if search.n_workers == 1:
        work(search, study, 0, range(n_tries), show)
        return
    # A forked process has its imports; one that is to use CUDA must not be forked.
    forks = sys.platform == "linux" and select_device(search.train.device).type == "cpu"
    context = get_context("fork") if forks else get_context("spawn")
    tries_left = context.Semaphore(n_tries)
    workers = [
        context.Process(target=_worker, args=(search, number, tries_left))
        for number in range(search.n_workers)
    ]
    for worker in workers:
        worker.start()
    try:
        while at_work := [worker.sentinel for worker in workers if worker.is_alive()]:
            wait(at_work, SECONDS_BETWEEN_LOOKS)
            show()
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise UserError(
            "a worker was killed, or has ended as it says above; the tries that have ended are "
            "kept, and the same command goes on from there"
        )


def _worker(search: Search, number: int, tries_left: Semaphore) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with user_errors_in_one_line("search"):
        tries = (n for n in range(search.params.trials) if tries_left.acquire(block=False))
        work(search, search.open_study(), number, tries, lambda: None)


def work(
    search: Search,
    study: Study,
    number: int,
    tries_left: Iterable[object],
    after_each: Callable[[], None],
) -> None:
    """Try parameters as long as there are tries left, and the study lacks some.

    `number` is that of this worker, from 0 on: of several CUDA devices, each has its own.
    """
    # To look for garbage among all that torch consists of, each time that a network is recorded,
    # takes a tenth of the time of a small one.
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    device = select_device(search.train.device)
    if device.type == "cuda":
        device = torch.device("cuda", number % torch.cuda.device_count())
        torch.cuda.set_device(device)
    splits = [ValidationSplit.of(*rows, search.task, device) for rows in search.splits]
    n_cores = max(1, torch.get_num_threads() // search.n_workers)

    def objective(trial: Trial) -> float:
        torch.set_num_threads(n_cores)
        return try_parameters(search, splits, trial)

    parent = parent_process()
    for _ in tries_left:
        is_orphan = parent is not None and not parent.is_alive()
        if is_orphan or len(counted(study)) >= search.params.trials:
            return
        study.optimize(objective, n_trials=1, catch=(UserError, torch.OutOfMemoryError))
        after_each()


def try_parameters(search: Search, splits: Sequence[ValidationSplit], trial: Trial) -> float:
    """Return the mean loss of held-out rows over splits and seeds; record it in the trial."""
    params = suggest(search.space, trial, search.train)
    n_rows = len(splits[0].train.target)
    batch_size = min(params.batch_size or n_rows, n_rows)
    compute_deterministically(
        choose_threads(params.threads, batch_size, widths(params, search.task), params.members)
    )

    def report(runs: Sequence[SeededRun]) -> None:
        epochs = [each.run.epoch for each in runs]
        trial.report(mean_loss(runs), max(epochs))
        if trial.should_prune():
            trial.set_user_attr("epochs", epochs)
            raise TrialPruned

    try:
        runs = try_out(params, search.params.seeds, splits, report)
    except (UserError, torch.OutOfMemoryError) as error:
        trial.set_user_attr(FAILED_WITH, str(error))
        raise
    val_losses = [each.run.early_stopping.best_val_loss for each in runs]
    trial.set_user_attr("epochs", [each.run.epoch for each in runs])
    trial.set_user_attr("val_loss", math.fsum(val_losses) / len(val_losses))
    trial.set_user_attr("drawn", _rounded_means([each.held_out.drawn for each in runs]))
    trial.set_user_attr("left_out", _rounded_means([each.held_out.left_out for each in runs]))
    return mean_loss(runs)


def _rounded_means(of_runs: list[npt.NDArray[np.float64]]) -> list[float]:
    return [float(f"{mean:.7g}") for mean in np.mean(of_runs, axis=0)]
