"""The search itself: tries, one after another; see workers for several at a time."""

import gc
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna import Study, Trial, TrialPruned

from classifier.io.params import read_params
from classifier.io.prepared import count_rows
from classifier.io.schema import read_schema
from classifier.io.user_error import UserError
from classifier.network.model import Task, widths
from classifier.resuming.fingerprint import fingerprint_of, hash_file, source_files
from classifier.search.held_out import ResampledLosses
from classifier.search.search_params import SearchParams, Space, space_of, suggest
from classifier.search.study import FAILED_WITH, counted, open_study
from classifier.search.trying import SeededRun, mean_loss, try_out
from classifier.search.validation_splits import ValidationSplit, count_splits, read_splits
from classifier.training.device import choose_threads, compute_deterministically, select_device
from classifier.training.loop import TrainParams

PREPARED = Path("data/prepared")

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""Of garbage; Python has 700."""


@dataclass(frozen=True)
class Search:
    """What a worker has to know."""

    params: SearchParams
    train: TrainParams
    space: Space
    task: Task
    n_splits: int
    storage: str | None
    n_workers: int

    @classmethod
    def in_params_yaml(cls, n_tries: int | None, storage: str | None, n_workers: int) -> "Search":
        """Return what params.yaml says, with `n_tries` in all if that is not None."""
        params, train = read_params("search", SearchParams), read_params("train", TrainParams)
        if n_tries is not None:
            params = params.model_copy(update={"trials": n_tries})
        task = Task.of(read_schema(PREPARED / "schema.json"))
        n_train, n_val = (count_rows(PREPARED / f"{part}.parquet") for part in ("train", "val"))
        n_splits = count_splits(params.splits, n_train, n_val)
        return cls(params, train, space_of(params, train), task, n_splits, storage, n_workers)

    @cached_property
    def study_name(self) -> str:
        """A name that differs whenever a try could give something else, or another be next.

        How many tries there are to be is not in it, nor what `train` has for what is searched.
        """
        searched = {name: each.first for name, each in self.space.items()}
        fingerprint = fingerprint_of(
            self.train.model_copy(update={**searched, "seed": 0}),
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
            self.n_splits,
            [hash_file(module) for module in source_files("search/searching.py")],
            optuna.__version__,
            np.__version__,
        ]
        text = json.dumps(belongs_to, sort_keys=True)
        return f"search-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def open_study(self) -> Study:
        """Return the study; each process has to open it for itself."""
        return open_study(self.storage, self.study_name, self.params.seed, self.train.max_epochs)


def work(
    search: Search, number: int, takes_one: Callable[[], bool], after_each: Callable[[Study], None]
) -> None:
    """Try parameters as long as `takes_one` says so, and the study lacks tries.

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
    splits = read_splits(PREPARED, search.task, device, search.n_splits, search.params.seed)
    study = search.open_study()
    n_cores = max(1, torch.get_num_threads() // search.n_workers)

    def objective(trial: Trial) -> float:
        torch.set_num_threads(n_cores)
        return try_parameters(search, splits, trial)

    while takes_one() and len(counted(study)) < search.params.trials:
        study.optimize(objective, n_trials=1, catch=(UserError, torch.OutOfMemoryError))
        after_each(study)


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
    resampled = ResampledLosses.of([each.held_out for each in runs])
    trial.set_user_attr("resampled", resampled.model_dump())
    return mean_loss(runs)
