"""Keep a training run's state, and go on from it: rank 0 reads and writes for all ranks."""

import signal
import sys
from typing import NoReturn

import torch

from stages.parts import ranks
from stages.parts.checkpoint import restore_run, run_to_bytes
from stages.parts.dvc_lock import records_the_stage_as_it_is
from stages.parts.params import PARAMS_FILE
from stages.parts.saved_state import Horizon, SavedState, SavedStates
from stages.parts.training import Run, TrainParams, start_run
from stages.parts.user_error import UserError


def start_or_go_on(
    params: TrainParams, states: SavedStates, n_features: int, n_classes: int, device: torch.device
) -> Run:
    """Return the run that was saved, or a new one where there is none to go on from."""
    run = start_run(params, n_features, n_classes, device)
    saved = states.load() if ranks.RANK == 0 else None
    checkpoint = ranks.from_first(b"" if saved is None else saved.checkpoint)
    if not checkpoint:
        return run
    restore_run(run, checkpoint)
    goes_on = saved is not None and is_to_go_on(run, saved.horizon, params)
    (goes_on_for_all,) = ranks.largest([goes_on])
    if not goes_on_for_all:
        return start_run(params, n_features, n_classes, device)
    if ranks.RANK == 0:
        print(f"going on from epoch {run.epoch}, saved by an earlier run", flush=True)
    return run


def is_to_go_on(run: Run, horizon: Horizon, params: TrainParams) -> bool:
    """Say whether a run that was to go as far as `horizon` says goes on with `params`."""
    if (params.max_epochs, params.patience) == (horizon.max_epochs, horizon.patience):
        # A finished run is here again either because DVC was killed before it could record the
        # result, or because dvc.lock has the result and `dvc repro --force` asks for it anew.
        return not (horizon.finished and records_the_stage_as_it_is("train", params))
    if horizon.finished:
        return params.max_epochs >= horizon.max_epochs and params.patience >= horizon.patience
    return not run.is_past_the_end(params)


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
