"""A training run as a file that PyTorch loads with `weights_only=True`."""

import io
import warnings
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from classifier.io.user_error import UserError
from classifier.network.model import save_bytes
from classifier.training import ranks
from classifier.training.loop import EarlyStopping, Evaluation, Run


def run_to_bytes(run: Run) -> bytes:
    """Return the whole state of `run`; tensors are on the CPU. All ranks have to call this."""
    device = next(run.model.parameters()).device
    return save_bytes(
        {
            "epoch": run.epoch,
            "batch": run.batch,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "best_model": run.best_weights,
            "early_stopping": asdict(run.early_stopping),
            "history": [asdict(evaluation) for evaluation in run.history],
            "rng_state": _rng_state(device),
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
    device = next(run.model.parameters()).device
    run.epoch = state["epoch"]
    run.batch = state["batch"]
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.best_weights = {name: weight.to(device) for name, weight in state["best_model"].items()}
    run.early_stopping = EarlyStopping(**state["early_stopping"])
    run.history = [Evaluation(**evaluation) for evaluation in state["history"]]
    _set_rng_state(device, state["rng_state"])


def _rng_state(device: torch.device) -> dict[str, Tensor]:
    """Return the random generators' states, those of several ranks stacked."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return {name: ranks.gathered(state) for name, state in states.items()}


def _set_rng_state(device: torch.device, states: dict[str, Tensor]) -> None:
    torch.set_rng_state(ranks.own_part(states["cpu"]))
    if device.type == "cuda":
        torch.cuda.set_rng_state(ranks.own_part(states["cuda"]), device)
    if device.type == "mps":
        torch.mps.set_rng_state(ranks.own_part(states["mps"]))
