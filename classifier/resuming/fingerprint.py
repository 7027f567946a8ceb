"""What a training run depends on, as one short text; and whether DVC has recorded its result."""

import ast
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from classifier.io.arithmetic import ALWAYS, OF_NETWORKS
from classifier.io.params import PARAMS_FILE
from classifier.io.prepared import TRAIN_FILE, VAL_FILE
from classifier.io.yaml_text import from_yaml
from classifier.network.model import Task
from classifier.training import ranks
from classifier.training.train_params import TrainParams

REPOSITORY = Path(__file__).parent.parent.parent

COMPUTING = ("training/loop.py", "resuming/checkpoint.py", "io/prepared.py")
"""Modules in `classifier/` that, with all that they import, decide what training computes."""

NOT_COMPUTING = {
    *("io/arithmetic.py", "io/files.py", "io/params.py", "io/user_error.py", "io/yaml_text.py"),
    *("resuming/fingerprint.py", "resuming/saved_state.py"),
}
"""Modules that have no part in the arithmetic, whoever imports them."""

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

LOCK_FILE = Path("dvc.lock")


def fingerprint_of(params: TrainParams, task: Task, *, device_type: str, threads: int) -> str:
    """Return a text that differs whenever two runs could differ at some epoch."""
    influences = {
        "params": params.model_dump(exclude=WITHOUT_INFLUENCE),
        "train": hash_file(TRAIN_FILE),
        "val": hash_file(VAL_FILE),
        "task": asdict(task),
        "source": [hash_file(module) for module in source_files(*COMPUTING)],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device_type": device_type,
        "n_ranks": ranks.SIZE,
        "threads": threads,
        "arithmetic": {name: os.environ.get(name) for name in ALWAYS | OF_NETWORKS},
    }
    return hashlib.sha256(json.dumps(influences, sort_keys=True).encode()).hexdigest()[:16]


def source_files(*modules: str) -> list[Path]:
    """Return the files of modules in `classifier/` and of all that they import of this project.

    Those in `NOT_COMPUTING`, and what these alone import, are left out.
    """
    found: set[Path] = set()
    left_out = {REPOSITORY / "classifier" / module for module in NOT_COMPUTING}
    to_read = {REPOSITORY / "classifier" / module for module in modules}
    while to_read:
        file = to_read.pop()
        found.add(file)
        to_read |= _imported_files(file) - found - left_out
    return sorted(found)


def _imported_files(file: Path) -> set[Path]:
    """Return the files of this project's modules that a file has `from ... import` of."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            # A name may be that of a module.
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {REPOSITORY / f"{name.replace('.', '/')}.py" for name in names}
    return set(filter(Path.is_file, files))


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return what differs whenever the contents of two files do."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def dvc_has_recorded(params: TrainParams) -> bool:
    """Say whether dvc.lock has a result of `train` for these parameters and the files of now.

    When DVC nevertheless runs the stage, somebody asked for that: `dvc repro --force`.
    """
    try:
        stage = from_yaml(LOCK_FILE.read_text(encoding="utf-8"))["stages"]["train"]
        recorded = TrainParams.model_validate(stage["params"][str(PARAMS_FILE)]["train"])
        return recorded == params and all(map(_is_still, stage["deps"]))
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _is_still(dep: dict[str, str]) -> bool:
    path = Path(dep["path"])
    if path.is_dir():
        return _hash_of_modules(path) == dep["md5"]
    # There are devices that can be read for ever.
    return path.is_file() and hash_file(path, dep["hash"]) == dep[dep["hash"]]


def _hash_of_modules(folder: Path) -> str:
    """Return what DVC writes into dvc.lock for a folder that holds modules alone."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("[!.#]*.py")}
    entries = [{"md5": hash_file(files[name], "md5"), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"  # noqa: S324 (as DVC)
