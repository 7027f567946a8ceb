"""What a training run's course depends on, as one short text."""

import hashlib
import inspect
import json
from pathlib import Path
from types import ModuleType

import torch

from stages.parts import (
    checkpoint,
    compiled,
    device,
    early_stopping,
    loss,
    model,
    optimizer,
    ranks,
    replay,
    rows,
    split,
    step,
    training,
)
from stages.parts.compiled import finds_compiler
from stages.parts.training import TrainParams

COMPUTING_MODULES: tuple[ModuleType, ...] = (
    checkpoint,
    compiled,
    device,
    early_stopping,
    loss,
    model,
    optimizer,
    ranks,
    replay,
    rows,
    split,
    step,
    training,
)

WITHOUT_INFLUENCE = {
    "max_epochs",
    "patience",
    "save_every_seconds",
    "device",
    "threads",
    "compile",
    "launcher",
}
"""How far to train, how often to save, and what is said exactly."""


def fingerprint(
    params: TrainParams,
    train_file: Path,
    val_file: Path,
    n_classes: int,
    *,
    device_type: str,
    threads: int,
) -> str:
    """Return a text that differs whenever two runs could differ at some epoch."""
    influences = {
        "params": params.model_dump(exclude=WITHOUT_INFLUENCE),
        "train": _hash_file(train_file),
        "val": _hash_file(val_file),
        "n_classes": n_classes,
        "source": [_hash(inspect.getsource(module).encode()) for module in COMPUTING_MODULES],
        "torch": torch.__version__,
        "device_type": device_type,
        "n_ranks": ranks.SIZE,
        "threads": threads,
        "compiled": params.compile and finds_compiler(),
    }
    return _hash(json.dumps(influences, sort_keys=True).encode())[:16]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
