"""What a training run's course depends on, as one short text."""

import hashlib
import inspect
import json
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
    replay,
    rows,
    split,
    training,
)
from stages.parts.compiled import finds_compiler
from stages.parts.split import Split
from stages.parts.training import TrainParams

COMPUTING_MODULES: tuple[ModuleType, ...] = (
    checkpoint,
    compiled,
    device,
    early_stopping,
    loss,
    model,
    optimizer,
    replay,
    rows,
    split,
    training,
)

WITHOUT_INFLUENCE = {"max_epochs", "patience", "save_every_seconds", "device", "threads", "compile"}
"""How far to train, how often to save, and what is said exactly."""


def fingerprint(
    params: TrainParams,
    train_split: Split,
    val_split: Split,
    n_classes: int,
    *,
    device_type: str,
    threads: int,
) -> str:
    """Return a text that differs whenever two runs could differ at some epoch."""
    influences = {
        "params": params.model_dump(exclude=WITHOUT_INFLUENCE),
        "train": _hash_split(train_split),
        "val": _hash_split(val_split),
        "n_classes": n_classes,
        "source": [_hash(inspect.getsource(module).encode()) for module in COMPUTING_MODULES],
        "torch": torch.__version__,
        "device_type": device_type,
        "threads": threads,
        "compiled": params.compile and finds_compiler(),
    }
    return _hash(json.dumps(influences, sort_keys=True).encode())[:16]


def _hash_split(split: Split) -> list[str]:
    shape = str(split.features.shape)
    return [shape, _hash(split.features.data), _hash(split.target.data)]


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
