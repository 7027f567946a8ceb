"""Kill `dvc repro` at random moments, many times, and look for a byte that differs.

The long form: python -m tests.soak --kills 100
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.conftest import Project, clone_working_tree

# Long enough to be killed several times, and saving all the time: most kills hit a write.
KILLED_TRAINING = {"train.save_every_seconds": 0, "train.eval_every": 20, "train.hidden": [16, 8]}

CONFIGURATIONS: dict[str, dict[str, object]] = {
    "full batch, SGD with momentum": {
        "train.optimizer": "sgd",
        "train.momentum": 0.9,
        "train.max_epochs": 600,
    },
    "mini-batch, Adam, dropout": {
        "train.optimizer": "adam",
        "train.dropout": 0.2,
        "train.batch_size": 16,
        "train.max_epochs": 100,
    },
    "full batch, AdamW, dropout": {
        "train.optimizer": "adamw",
        "train.dropout": 0.2,
        "train.max_epochs": 600,
    },
    "mini-batch, SGD with momentum, dropout": {
        "train.optimizer": "sgd",
        "train.momentum": 0.9,
        "train.dropout": 0.2,
        "train.batch_size": 16,
        "train.max_epochs": 100,
    },
}


def undisturbed(
    clone: Project, path: Path, configuration: dict[str, object]
) -> tuple[Project, float]:
    """Return a copy of `clone` after an undisturbed run, and how many seconds that took."""
    project = clone.copy(path)
    project.set_params(**KILLED_TRAINING, **configuration)
    start = time.monotonic()
    project.repro()
    return project, time.monotonic() - start


def kill_dvc_repro(project: Project, after_seconds: float) -> bool:
    """Start `dvc repro` and kill it and its stage; say whether it was still running by then."""
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=project.path,
        env=project.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert process.returncode == 0
    return False


def kill_until_done(
    project: Project,
    configuration: dict[str, object],
    kills: int,
    moments: Callable[[], float],
) -> int:
    """Run `project` to its end, killed up to `kills` times, each a moment after its start."""
    project.set_params(**KILLED_TRAINING, **configuration)
    killed = 0
    while killed < kills and kill_dvc_repro(project, moments()):
        killed += 1
    project.repro()
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    killed, runs, different = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_working_tree(Path(folder) / "clone")
        expected = {
            name: undisturbed(clone, Path(folder) / f"undisturbed {index}", configuration)
            for index, (name, configuration) in enumerate(CONFIGURATIONS.items())
        }
        while killed < arguments.kills:
            name = list(CONFIGURATIONS)[runs % len(CONFIGURATIONS)]
            reference, seconds = expected[name]
            project = clone.copy(Path(folder) / f"run {runs}")
            kills = kill_until_done(
                project,
                CONFIGURATIONS[name],
                kills=6,
                moments=partial(chance.uniform, 0.3, seconds),
            )
            same = project.outputs() == reference.outputs()
            print(f"{name}: {kills} kills, {'the same bytes' if same else 'DIFFERENT'}", flush=True)
            killed, runs, different = killed + kills, runs + 1, different + (not same)
    print(f"{killed} kills in {runs} runs; {different} runs with different bytes")
    raise SystemExit(different > 0)


if __name__ == "__main__":
    main()
