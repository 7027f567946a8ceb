"""A training run as a file that PyTorch loads with `weights_only=True`."""

import io
import warnings
from dataclasses import asdict
from typing import Any

import torch

from classifier.io.user_error import UserError
from classifier.network.model import canonical, save_bytes
from classifier.training import ranks
from classifier.training.device import rng_states, set_rng_states
from classifier.training.run import EarlyStopping, Evaluation, Run, Training
from classifier.training.train_params import TrainParams


def training_to_bytes(training: Training) -> bytes:
    """Return the whole state of a training; tensors are on the CPU. All ranks have to call this.

    Of one network it is a dictionary, of several a dictionary of a list of such, and of what they
    were at their first stop.
    """
    states = [_state_of(run) for run in training.runs]
    if len(states) == 1:
        return save_bytes(states[0])
    return save_bytes({"networks": states, "at_first_stop": training.at_first_stop})


def remember_first_stop(training: Training, params: TrainParams) -> None:
    """Keep the states of all runs when the first has stopped, and others would go on."""
    have_stopped = [run.stop_reason(params) == "early_stopping" for run in training.runs]
    if training.at_first_stop is None and any(have_stopped) and not all(have_stopped):
        training.at_first_stop = [canonical(_state_of(run)) for run in training.runs]


def _state_of(run: Run) -> dict[str, Any]:
    return {
        "epoch": run.epoch,
        "batch": run.batch,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best_model": run.best_weights,
        "early_stopping": asdict(run.early_stopping),
        "history": [asdict(evaluation) for evaluation in run.history],
        "rng_state": {kind: ranks.gathered(one) for kind, one in rng_states(run.device).items()},
    }


def restore(training: Training, checkpoint: bytes, *, before_first_stop: bool = False) -> None:
    """Put a new training, and the random generators, into the state that was saved.

    With `before_first_stop`, go back to where all networks trained, as with more patience they go
    on to do. Raises `UserError` if the checkpoint is none that `training_to_bytes` has returned of
    as many runs.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
        at_first_stop = None
        if len(training.runs) > 1:
            at_first_stop, state = state["at_first_stop"], state["networks"]
            if before_first_stop and at_first_stop is not None:
                at_first_stop, state = None, at_first_stop
        states = [state] if len(training.runs) == 1 else state
        for run, of_run in zip(training.runs, states, strict=True):
            _restore(run, of_run)
        training.at_first_stop = at_first_stop
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # noqa: BLE001 (what a file may hold has no end)
        raise UserError(
            "a state in .training/ is none that training has saved; to train from the start, "
            "remove that folder"
        ) from None


def _restore(run: Run, state: dict[str, Any]) -> None:
    run.epoch = state["epoch"]
    run.batch = state["batch"]
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.best_weights = {name: weight.to(run.device) for name, weight in state["best_model"].items()}
    run.early_stopping = EarlyStopping(**state["early_stopping"])
    run.history = [Evaluation(**evaluation) for evaluation in state["history"]]
    own = {kind: ranks.own_part(states) for kind, states in state["rng_state"].items()}
    set_rng_states(run.device, own)
