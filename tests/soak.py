"""Kill `make repro` many times, and look for a byte that differs.

Half of the kills come at random moments, half while DVC writes files of its own in place. Nothing
is done about them but another `make repro`.

The long form: python -m tests.soak --kills 100
and for the ranks of torchrun: python -m tests.soak --ranks 2 --kills 20
"""

import argparse
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.conftest import MAKE_REPRO, Project, clone_working_tree


class Moment(NamedTuple):
    what: str
    wait: Callable[[Project, "subprocess.Popen[bytes]"], None]
    """Ends when it has come, or when the process has ended."""


WRITTEN_IN_PLACE = {"dvc.lock": 3, ".dvc/tmp/rwlock": 20, ".dvc/cache/runs": 3}
"""Files and folders of DVC's, and at which of their changes a kill comes at most."""

FOREVER = 1e6

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
        # They make dvc.lock and an entry of the run cache longer than what is written at once.
        "prepare.gaps": [f"none of the values, {number}" for number in range(700)],
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
    "folds, mini-batch, AdamW, members": {
        "prepare.folds": 3,
        "train.optimizer": "adamw",
        "train.members": 2,
        "train.dropout": 0.2,
        "train.batch_size": 32,
        "train.max_epochs": 400,
        # Of networks that stop one after the other.
        "train.patience": 2,
        "train.lr": 0.05,
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
def make_repro(project: Project) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `make repro`, and at the end of the block kill what is left of it."""
    with log_of(project).open("wb") as log:
        process = subprocess.Popen(
            MAKE_REPRO,
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


def after(seconds: float) -> Moment:
    def wait(_: Project, process: "subprocess.Popen[bytes]") -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    return Moment("at a random moment", wait)


def at_change(name: str, number: int) -> Moment:
    """Return the moment at which a file or a folder changes for the n-th time."""

    def wait(project: Project, process: "subprocess.Popen[bytes]") -> None:
        path = project.path / name
        for _ in range(number):
            before = version(path)
            while version(path) == before and process.poll() is None:
                time.sleep(0.0001)

    return Moment(f"at a change of {name}", wait)


def version(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def any_moment(chance: random.Random, seconds: float) -> Moment:
    """Return some moment of a run that takes so many seconds."""
    if chance.random() < 0.5:
        return after(chance.uniform(0.3, seconds))
    name, changes = chance.choice(list(WRITTEN_IN_PLACE.items()))
    return at_change(name, chance.randint(1, changes))


def kill_until_done(
    project: Project,
    configuration: dict[str, object],
    kills: int,
    moments: Callable[[], Moment],
) -> Counter[str]:
    """Run `project` to its end, killed up to `kills` times, each at a moment of its own.

    Return how often it was killed, and when, and how often what was mended.
    """
    project.set_params(**KILLED_TRAINING, **configuration)
    counts, done = Counter[str](), False
    while not done:
        moment = moments() if counts["killed"] < kills else after(FOREVER)
        with make_repro(project) as process:
            moment.wait(project, process)
            done = process.poll() is not None
        if not done:
            counts.update(["killed", f"killed {moment.what}"])
        said = log_of(project).read_text()
        counts.update(
            re.sub(r"/\w\w/\w{64}", "", line) for line in said.splitlines() if "mend: " in line
        )
        # Otherwise somebody would have to repair something by hand.
        assert not done or process.returncode == 0, said
    return counts


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
) -> Counter[str]:
    """Run `project` to its end; up to `kills` times, one of its ranks is killed.

    Nothing else is done about it: torchrun starts the ranks again. A moment is some seconds after
    their start.
    """
    project.set_params(**KILLED_TRAINING, **configuration)
    chance, counts, before = random.Random(project.path.name), Counter[str](), set[int]()
    with make_repro(project) as process:
        while process.poll() is None:
            time.sleep(0.05)
            ranks = ranks_in(project)
            if counts["killed"] == kills or not ranks or before & set(ranks.values()):
                continue
            time.sleep(moments())
            with suppress(ProcessLookupError):
                os.kill(chance.choice(list(ranks.values())), signal.SIGKILL)
                counts["killed"] += 1
            before = set(ranks.values())
    assert process.returncode == 0, log_of(project).read_text()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=1, help="above 1: kill them, not dvc")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    configurations = CONFIGURATIONS
    if arguments.ranks > 1:
        # Several processes train one network.
        configurations = {
            name: values | launch(arguments.ranks)
            for name, values in CONFIGURATIONS.items()
            if "prepare.folds" not in values
        }
    totals, runs, different = Counter[str](), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_working_tree(Path(folder) / "clone")
        expected = {
            name: undisturbed(clone, Path(folder) / f"undisturbed {index}", configuration)
            for index, (name, configuration) in enumerate(configurations.items())
        }
        while totals["killed"] < arguments.kills:
            name = list(configurations)[runs % len(configurations)]
            reference, seconds = expected[name]
            project = clone.copy(Path(folder) / f"run {runs}")
            if arguments.ranks > 1:
                # They are there for a part of the time only that `make repro` takes.
                counts = kill_ranks_until_done(
                    project, configurations[name], 6, partial(chance.uniform, 0.3, seconds / 2)
                )
            else:
                counts = kill_until_done(
                    project, configurations[name], 6, partial(any_moment, chance, seconds)
                )
            expected_bytes, found = reference.outputs(), project.outputs()
            others = [file for file in expected_bytes if found.get(file) != expected_bytes[file]]
            verdict = f"DIFFERENT: {', '.join(others)}" if others else "the same bytes"
            print(f"{name}: {counts['killed']} kills, {verdict}", flush=True)
            totals, runs, different = totals + counts, runs + 1, different + bool(others)
    for what, times in sorted(totals.items()):
        print(f"{times:4} times {what}")
    print(f"{runs} runs to the end, nothing repaired by hand; {different} with different bytes")
    raise SystemExit(different > 0)


if __name__ == "__main__":
    main()
