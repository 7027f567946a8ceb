"""Kill `dvc repro` at random moments, many times, and look for a byte that differs.

The long form: python -m tests.soak --kills 100
and for the ranks of torchrun: python -m tests.soak --ranks 2 --kills 20
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal

from tests.conftest import Project, clone_working_tree

Outcome = Literal["killed", "done", "restored dvc.lock"]

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
    "mini-batch, AdamW, embedding, members": {
        "train.optimizer": "adamw",
        "train.embedding": "piecewise_linear",
        "train.members": 3,
        "train.dropout": 0.2,
        "train.max_grad_norm": 1.0,
        "train.batch_size": 16,
        "train.max_epochs": 60,
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


def launch(n_ranks: int) -> dict[str, object]:
    return {"train.torchrun.nproc_per_node": n_ranks, "train.torchrun.max_restarts": 99}


def undisturbed(
    clone: Project, path: Path, configuration: dict[str, object]
) -> tuple[Project, float]:
    """Return a copy of `clone` after an undisturbed run, and how many seconds that took."""
    project = clone.copy(path)
    project.set_params(**KILLED_TRAINING, **configuration)
    start = time.monotonic()
    project.repro()
    return project, time.monotonic() - start


def log_of(project: Project) -> Path:
    return project.path.parent / f"{project.path.name}.log"


@contextmanager
def dvc_repro(project: Project) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `dvc repro`, and at the end of the block kill what is left of it."""
    with log_of(project).open("wb") as log:
        process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=project.path,
            env=project.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill_dvc_repro(project: Project, after_seconds: float | None) -> Outcome:
    """Start `dvc repro`, and kill it and its stage if it is still running after a time.

    DVC writes dvc.lock in place, and cannot read what a kill at that moment leaves of it. Then do
    as docs/resuming.md says.
    """
    with dvc_repro(project) as process:
        try:
            process.wait(after_seconds)
        except subprocess.TimeoutExpired:
            return "killed"
    if process.returncode == 0:
        return "done"
    said = log_of(project).read_text()
    assert "dvc.lock" in said, said
    print(f"restoring dvc.lock, of which a kill has left a part: {' '.join(said.split())}")
    project.run("git", "checkout", "dvc.lock")
    return "restored dvc.lock"


def kill_until_done(
    project: Project,
    configuration: dict[str, object],
    kills: int,
    moments: Callable[[], float],
) -> int:
    """Run `project` to its end, killed up to `kills` times, each a moment after its start."""
    project.set_params(**KILLED_TRAINING, **configuration)
    killed = 0
    while killed < kills and (outcome := kill_dvc_repro(project, moments())) != "done":
        killed += outcome == "killed"
    while kill_dvc_repro(project, after_seconds=None) != "done":
        pass
    return killed


def ranks_in(project: Project) -> dict[int, int]:
    """Return the pid of each rank that trains in `project`."""
    ranks = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() != project.path:
                continue
            environment = (process / "environ").read_text().split("\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        rank = next((line[5:] for line in environment if line.startswith("RANK=")), None)
        if rank is not None:
            ranks[int(rank)] = int(process.name)
    return ranks


def kill_ranks_until_done(
    project: Project, configuration: dict[str, object], kills: int, moments: Callable[[], float]
) -> int:
    """Run `project` to its end; up to `kills` times, one of its ranks is killed.

    Nothing else is done about it: torchrun starts the ranks again. A moment is some seconds after
    their start.
    """
    project.set_params(**KILLED_TRAINING, **configuration)
    chance, killed, before = random.Random(project.path.name), 0, set[int]()
    with dvc_repro(project) as process:
        while process.poll() is None:
            time.sleep(0.05)
            ranks = ranks_in(project)
            if killed == kills or not ranks or before & set(ranks.values()):
                continue
            time.sleep(moments())
            with suppress(ProcessLookupError):
                os.kill(chance.choice(list(ranks.values())), signal.SIGKILL)
                killed += 1
            before = set(ranks.values())
    assert process.returncode == 0, log_of(project).read_text()
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=1, help="above 1: kill them, not dvc")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    configurations = CONFIGURATIONS
    run_to_the_end = kill_until_done
    if arguments.ranks > 1:
        configurations = {
            name: values | launch(arguments.ranks) for name, values in CONFIGURATIONS.items()
        }
        run_to_the_end = kill_ranks_until_done
    killed, runs, different = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_working_tree(Path(folder) / "clone")
        expected = {
            name: undisturbed(clone, Path(folder) / f"undisturbed {index}", configuration)
            for index, (name, configuration) in enumerate(configurations.items())
        }
        while killed < arguments.kills:
            name = list(configurations)[runs % len(configurations)]
            reference, seconds = expected[name]
            project = clone.copy(Path(folder) / f"run {runs}")
            kills = run_to_the_end(
                project,
                configurations[name],
                kills=6,
                # Ranks are there for a part of the time only that `dvc repro` takes.
                moments=partial(chance.uniform, 0.3, seconds / min(arguments.ranks, 2)),
            )
            expected_bytes, found = reference.outputs(), project.outputs()
            others = [file for file in expected_bytes if found.get(file) != expected_bytes[file]]
            verdict = f"DIFFERENT: {', '.join(others)}" if others else "the same bytes"
            print(f"{name}: {kills} kills, {verdict}", flush=True)
            killed, runs, different = killed + kills, runs + 1, different + bool(others)
    print(f"{killed} kills in {runs} runs; {different} runs with different bytes")
    raise SystemExit(different > 0)


if __name__ == "__main__":
    main()
