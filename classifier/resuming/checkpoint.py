"""A training run as a file that PyTorch loads with `weights_only=True`."""

import io
import warnings
from dataclasses import asdict
from typing import Any

import torch

from classifier.io.user_error import UserError
from classifier.network.model import save_bytes
from classifier.training import ranks
from classifier.training.device import rng_states, set_rng_states
from classifier.training.loop import EarlyStopping, Evaluation, Run


def run_to_bytes(run: Run) -> bytes:
    """Return the whole state of `run`; tensors are on the CPU. All ranks have to call this."""
    rng_states_of_all = {
        kind: ranks.gathered(state) for kind, state in rng_states(run.device).items()
    }
    return save_bytes(
        {
            "epoch": run.epoch,
            "batch": run.batch,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "best_model": run.best_weights,
            "early_stopping": asdict(run.early_stopping),
            "history": [asdict(evaluation) for evaluation in run.history],
            "rng_state": rng_states_of_all,
        }
    )


def restore_run(run: Run, checkpoint: bytes) -> None:
    """Put a new `run`, and the random generators, into the state that `run_to_bytes` saved.

    Raises
    ------
    UserError
        If that is no such state.

    """
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
        _restore(run, state)
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
