"""Keep a training run's state, and go on from it: rank 0 reads and writes for all ranks."""

import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from classifier.io.params import PARAMS_FILE, Params
from classifier.io.user_error import UserError
from classifier.io.yaml_text import from_yaml
from classifier.network.model import Task
from classifier.resuming.checkpoint import restore_run, run_to_bytes
from classifier.resuming.saved_state import Horizon, SavedState, SavedStates
from classifier.training import ranks
from classifier.training.loop import Run, TrainParams, start_run

LOCK_FILE = Path("dvc.lock")


def start_or_go_on(
    params: TrainParams,
    course: str,
    task: Task,
    device: torch.device,
    edges: Tensor | None = None,
) -> tuple[Run, SavedStates]:
    """Return the run that was saved, or a new one where there is none, and where to save it.

    Parameters
    ----------
    course
        What `fingerprint` returned.
    task, device, edges
        As `start_run` takes them.

    """
    run = start_run(params, task, device, edges)
    states, checkpoint = SavedStates(course), b""
    if ranks.RANK == 0:
        states, checkpoint = find_state(run, params, course)
        run = start_run(params, task, device, edges)
    checkpoint = ranks.from_first(checkpoint)
    if checkpoint:
        restore_run(run, checkpoint)
        if ranks.RANK == 0:
            print(f"going on from epoch {run.epoch}, saved by an earlier run", flush=True)
    return run, states


def find_state(run: Run, params: TrainParams, course: str) -> tuple[SavedStates, bytes]:
    """Return where the run's states belong, and the one to go on from, or nothing.

    A run that ends before the saved one got there has a place of its own, so that a long run
    survives a short one of the same course. Leaves `run` in any state.
    """
    states = SavedStates(course)
    saved = states.load()
    if saved is None:
        return states, b""
    restore_run(run, saved.checkpoint)
    if is_to_go_on(run, saved.horizon, params):
        return states, saved.checkpoint
    if (params.max_epochs, params.patience) == (saved.horizon.max_epochs, saved.horizon.patience):
        return states, b""
    print(f"the state at epoch {run.epoch}, saved by a longer run, is left alone", flush=True)
    states = SavedStates(f"{course}-{params.max_epochs}-{params.patience}")
    saved = states.load()
    if saved is None:
        return states, b""
    restore_run(run, saved.checkpoint)
    return states, saved.checkpoint if is_to_go_on(run, saved.horizon, params) else b""


def is_to_go_on(run: Run, horizon: Horizon, params: TrainParams) -> bool:
    """Say whether a run that was to go as far as `horizon` says goes on with `params`."""
    if (params.max_epochs, params.patience) == (horizon.max_epochs, horizon.patience):
        # A finished run is here again either because DVC was killed before it could record the
        # result, or because dvc.lock has the result and `dvc repro --force` asks for it anew.
        return not (horizon.finished and records_the_stage_as_it_is("train", params))
    if horizon.finished:
        return params.max_epochs >= horizon.max_epochs and params.patience >= horizon.patience
    return not run.is_past_the_end(params)


def records_the_stage_as_it_is(stage: str, params: Params) -> bool:
    """Say whether dvc.lock has a result of `stage` for these parameters and the files of now.

    When DVC nevertheless runs the stage, somebody asked for that: `dvc repro --force`.
    """
    try:
        document = from_yaml(LOCK_FILE.read_text(encoding="utf-8"))
        recorded = document["stages"][stage]
        recorded_params = type(params).model_validate(recorded["params"][str(PARAMS_FILE)][stage])
        return recorded_params == params and all(map(_is_still, recorded["deps"]))
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _is_still(dep: dict[str, str]) -> bool:
    path = Path(dep["path"])
    if path.is_dir():
        return _hash_of_modules(path) == dep["md5"]
    if not path.is_file():
        # There are devices that can be read for ever.
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, dep["hash"]).hexdigest() == dep[dep["hash"]]


def _hash_of_modules(folder: Path) -> str:
    """Return what DVC writes into dvc.lock for a folder that holds modules alone."""
    files = sorted(folder.rglob("[!.#]*.py"), key=lambda file: file.relative_to(folder).as_posix())
    entries = [
        {
            "md5": hashlib.md5(file.read_bytes()).hexdigest(),  # noqa: S324 (as DVC)
            "relpath": file.relative_to(folder).as_posix(),
        }
        for file in files
    ]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"  # noqa: S324


def save(states: SavedStates, run: Run, params: TrainParams, *, finished: bool = False) -> bool:
    """Save the state; where that fails, warn, because training itself need not stop."""
    horizon = Horizon(params.max_epochs, params.patience, finished)
    checkpoint = run_to_bytes(run)
    if ranks.RANK > 0:
        return True
    try:
        states.save(SavedState(horizon, checkpoint))
    except OSError as error:
        # As `dvc queue stop --kill` does, which kills DVC and not the stage that it started.
        if not PARAMS_FILE.exists():
            raise UserError(
                "the folder in which it was training has been deleted; nothing is saved"
            ) from None
        print(f"warning: the state at epoch {run.epoch} cannot be saved: {error}", flush=True)
        return False
    return True


def stop_before_the_end(
    states: SavedStates, run: Run, params: TrainParams, signal_number: int
) -> NoReturn:
    """Save the state, say so, and exit with the status that a shell gives such an end."""
    name = signal.Signals(signal_number).name
    is_saved = save(states, run, params)
    if ranks.RANK == 0 and is_saved:
        print(f"{name}: epoch {run.epoch} is saved; to go on from there: dvc repro")
    elif ranks.RANK == 0:
        print(f"{name}: to go on from the state saved before, if there is one: dvc repro")
    sys.exit(128 + signal_number)
