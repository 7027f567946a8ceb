"""Kill a search many times at random moments, and look for a try that is lost or counted twice.

The long form: python -m tests.search_soak --kills 30 --workers 2
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import optuna
import pandas as pd

from classifier.search.study import tries_of
from tests.conftest import Project, clone_working_tree
from tests.soak import log_of

QUICK_SEARCH = {
    "train.max_epochs": 40,
    "train.eval_every": 5,
    "train.batch_size": 16,
    "train.dropout": 0.1,
    "search.seeds": [1],
    "search.space": {
        "lr": {"low": 0.001, "high": 0.3, "log": True},
        "hidden": [[10], [32], [16, 16]],
        "dropout": {"low": 0.0, "high": 0.5},
    },
}

TRIES = 20

Try = tuple[int, str, tuple[tuple[str, object], ...], float | None]
"""What may not change any more once a try has come to its end."""


def start_search(project: Project, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a search in a process group of its own, as a terminal does."""
    with log_of(project).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "commands.search", *arguments],
            cwd=project.path,
            env=project.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)


def kill_the_first(process: "subprocess.Popen[bytes]") -> None:
    """Leave its workers alone, which end by themselves; the next search waits for that."""
    process.kill()


def press_ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGINT)


def kill_a_worker(process: "subprocess.Popen[bytes]") -> None:
    """Leave the others alone; or kill the first where it has no workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]) if children else process.pid, signal.SIGKILL)


KILLS = (kill_all, kill_the_first, press_ctrl_c, kill_a_worker)


def ends_in_file(project: Project) -> int:
    files = (project.path / ".training/search").glob("*.journal")
    return sum(file.read_bytes().count(b"datetime_complete") for file in files)


def ended_tries(project: Project) -> list[Try]:
    """Return the tries in the study that have come to their end, as Optuna reads them."""
    (file,) = (project.path / ".training/search").glob("*.journal")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name=file.stem, storage=storage)
    return [
        (each.number, each.state.name, tuple(each.params.items()), each.value)
        for each in tries_of(study)
    ]


def kill_until_done(
    project: Project, n_workers: int, kills: int, chance: random.Random
) -> Counter[str]:
    """Search to the end, killed up to so many times; return how often in which way.

    After each kill, the study has to be readable, with all tries that it had before.
    """
    counts, before = Counter[str](), list[Try]()
    while True:
        process = start_search(project, "--workers", str(n_workers))
        if counts.total() < kills:
            wanted = ends_in_file(project) + chance.randint(0, 6)
            while process.poll() is None and ends_in_file(project) <= wanted:
                time.sleep(0.001)
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.2))
            kill = chance.choice(KILLS)
        else:
            process.wait()
        killed = process.poll() is None
        if killed:
            kill(process)
            counts[kill.__name__] += 1
            process.wait()
        now = ended_tries(project)
        assert now[: len(before)] == before or set(before) <= set(now), "a try was lost"
        before = now
        if not killed:
            assert process.returncode == 0, log_of(project).read_text()
            return counts


def same_study(project: Project, reference: Project) -> list[str]:
    """Return the names of what the two searches have written and is not the same."""
    files, others = (each.contents("reports/search*") for each in (project, reference))
    assert len(others) == 5, sorted(others)
    return [name for name in sorted({*files, *others}) if files.get(name) != others.get(name)]


def check_study(project: Project, n_tries: int) -> None:
    """Assert that each try of the study is in search.csv, once."""
    table = pd.read_csv(project.path / "reports/search.csv")
    ended = ended_tries(project)
    assert len(ended) == len({number for number, *_ in ended}) == len(table) == n_tries
    in_study = [value for _, state, _, value in ended if state == "COMPLETE"]
    assert list(table.loc[table["state"] == "finished", "val_loss"]) == in_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, totals = random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_working_tree(Path(folder) / "clone")
        clone.set_params(**QUICK_SEARCH, **{"search.trials": TRIES})
        clone.dvc("repro", "prepare")
        reference = clone.copy(Path(folder) / "undisturbed")
        start_search(reference).wait()
        while totals.total() < arguments.kills:
            project = clone.copy(Path(folder) / f"run {totals.total()}")
            kills = min(8, arguments.kills - totals.total())
            totals += kill_until_done(project, arguments.workers, kills, chance)
            check_study(project, TRIES)
            others = same_study(project, reference)
            verdict = (
                f"DIFFERENT: {', '.join(others)}" if others else "no try lost or counted twice"
            )
            print(f"killed {totals.total()} times so far: {verdict}", flush=True)
            assert not others
    for how, times in sorted(totals.items()):
        print(f"{times:4} times {how}")


if __name__ == "__main__":
    main()
