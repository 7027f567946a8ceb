"""What a training run's course depends on, as one short text."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from classifier.network.model import Task
from classifier.training import ranks
from classifier.training.loop import TrainParams

CLASSIFIER = Path(__file__).parent.parent

COMPUTING_MODULES = (
    *sorted((CLASSIFIER / "training").glob("[a-z]*.py")),
    CLASSIFIER / "io/prepared.py",
    CLASSIFIER / "io/schema.py",
    CLASSIFIER / "network/layers.py",
    CLASSIFIER / "network/model.py",
    CLASSIFIER / "resuming/checkpoint.py",
)
"""The source files that decide what training computes."""

WITHOUT_INFLUENCE = {
    "max_epochs",
    "patience",
    "save_every_seconds",
    "device",
    "threads",
    "calibration",
    "torchrun",
}
"""Parameters that change no epoch, or of which the fingerprint has what came of them instead."""


def fingerprint(
    params: TrainParams,
    train_file: Path,
    val_file: Path,
    task: Task,
    *,
    device_type: str,
    threads: int,
) -> str:
    """Return a text that differs whenever two runs could differ at some epoch."""
    influences = {
        "params": params.model_dump(exclude=WITHOUT_INFLUENCE),
        "train": hash_file(train_file),
        "val": hash_file(val_file),
        "task": asdict(task),
        "source": [hash_file(module) for module in COMPUTING_MODULES],
        "torch": torch.__version__,
        "device_type": device_type,
        "n_ranks": ranks.SIZE,
        "threads": threads,
    }
    return _hash(json.dumps(influences, sort_keys=True).encode())[:16]


def hash_file(path: Path) -> str:
    """Return what differs whenever the contents of two files do."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
