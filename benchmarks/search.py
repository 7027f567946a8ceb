"""Measure what a search costs beside pure training and queued runs of DVC; write SEARCH.md.

`python -m benchmarks.search` takes some minutes on two cores that do nothing else.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.pipeline import DVC, REPOSITORY, seconds_of, users_environment
from classifier.io.yaml_text import from_yaml, to_yaml

HERE = Path(__file__).parent
REPETITIONS = 3
N_TRIES = 200
N_WORKERS = 2
N_QUEUED = 4
TIME_LIMIT = 300
"""Seconds for all of these."""

# The lesson's network, with what does not change what an epoch costs.
PARAMS = {"max_epochs": 300, "eval_every": 10}
SPACE = {
    "lr": {"low": 0.001, "high": 1.0, "log": True},
    "momentum": {"low": 0.0, "high": 0.95},
    "weight_decay": [0.0, 0.001, 0.01],
}

SEARCH = [sys.executable, "-m", "commands.search", "--workers", str(N_WORKERS)]

INTRODUCTION = f"""# Benchmark of the search

Written by `python -m benchmarks.search`, but for the last section. Iris, the lesson's network,
{PARAMS["max_epochs"]} epochs at most, an evaluation every {PARAMS["eval_every"]}; {N_TRIES} tries
by {N_WORKERS} processes on two cores, each try two networks, from two training seeds, side by side.
"Pure training" is what was trained, with the same parameters and for as many epochs, by two
processes as the stage `train` does it, a network after the other: the seconds of their loops,
without their imports. The search is the whole command: imports, the study on the disk, the report
and its pictures (but no losses of training rows, which `train` has). They take turns; the numbers
are medians of {REPETITIONS}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=int, help="train a part of what was tried; for itself")
    part = parser.parse_args().part
    if part is not None:
        train_what_was_tried(part)
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # workers of the queue
        clone = Path(folder) / "clone"
        seconds_of(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], Path(folder))
        set_params(clone)
        seconds_of([*DVC, "repro", "prepare"], clone)
        repetitions = [measure(clone) for _ in range(REPETITIONS)]
        queued = seconds_of_queued_runs(clone)
    print(text := report(repetitions, queued))
    file = HERE / "SEARCH.md"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    by_hand = before.partition("\n## Is what it finds better?")
    file.write_text(text + "".join(by_hand[1:]), encoding="utf-8")


def set_params(clone: Path) -> None:
    file = clone / "params.yaml"
    params = from_yaml(file.read_text(encoding="utf-8"))
    params["train"] |= PARAMS
    params["search"] |= {"trials": N_TRIES, "space": SPACE}
    file.write_text(to_yaml(params), encoding="utf-8")
    seconds_of(["git", "commit", "--quiet", "--all", "--message", "quick"], clone)


def measure(clone: Path) -> dict[str, float]:
    """Return the seconds of a new search, of one that has nothing to do, and of pure training."""
    for file in (clone / ".training/search").glob("*.journal"):
        file.unlink()
    search = seconds_of(SEARCH, clone)
    nothing = seconds_of(SEARCH, clone)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.search", "--part", str(part)],
            cwd=clone,
            env=users_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(N_WORKERS)
    ]
    pure = max(float(process.communicate()[0]) for process in processes)
    return {"search": search, "nothing": nothing, "pure": pure}


def train_what_was_tried(part: int) -> None:
    """Train every second try anew, in the current folder; print the seconds."""
    from classifier.io.arithmetic import choose_arithmetic

    choose_arithmetic()  # as the search does; its study is for this arithmetic

    import optuna
    import torch

    from classifier.search.search_params import from_optuna
    from classifier.search.searching import Search
    from classifier.search.study import open_study, tries_of
    from classifier.search.trying import rows_of_tries
    from classifier.training.device import compute_deterministically
    from classifier.training.loop import train
    from classifier.training.run import start_runs

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = Search.in_params_yaml(None, None, 1)
    rows = rows_of_tries(search.task, torch.device("cpu"))
    compute_deterministically(1)
    tries = tries_of(open_study(search.storage, search.study_name))[part::N_WORKERS]
    start = time.perf_counter()
    for one in tries:
        for seed in search.params.seeds:
            values = from_optuna(search.space, one.params)
            values["max_epochs"] = one.user_attrs["epochs"]
            params = search.train.model_copy(update=values)
            runs = start_runs(params, [seed], search.task, rows.folds, rows.edges)
            for _ in train(runs, params):
                pass
    print(time.perf_counter() - start)


def seconds_of_queued_runs(clone: Path) -> float:
    """Return the seconds per run of DVC's queue, two at a time."""
    rates = ",".join(str(0.01 * (1 + n)) for n in range(N_QUEUED))
    seconds_of([*DVC, "exp", "run", "--queue", "-S", f"train.lr={rates}"], clone)
    start = time.perf_counter()
    # Not through a pipe, which the workers would keep open.
    command = [*DVC, "queue", "start", "-j", str(N_WORKERS)]
    subprocess.run(command, cwd=clone, check=True, stdout=subprocess.DEVNULL)
    while n_finished(clone) < N_QUEUED:
        time.sleep(0.2)
        if time.perf_counter() - start > TIME_LIMIT:
            raise TimeoutError
    seconds = time.perf_counter() - start
    seconds_of([*DVC, "queue", "stop"], clone)
    return seconds / N_QUEUED


def n_finished(clone: Path) -> int:
    """Count the experiments that git has: to ask DVC would take time from its workers."""
    command = ["git", "for-each-ref", "--format=%(refname)", "refs/exps"]
    listed = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout
    # refs/exps/ab/cdef.../its-name; others are of DVC's own.
    return sum(len(ref.split("/")[2]) == 2 for ref in listed.splitlines())


def report(repetitions: list[dict[str, float]], queued: float) -> str:
    search, nothing, pure = (
        median(one[name] for one in repetitions) for name in ("search", "nothing", "pure")
    )
    whole = median(one["search"] / one["pure"] for one in repetitions)
    tries = median((one["search"] - one["nothing"]) / one["pure"] for one in repetitions)
    each = search / N_TRIES
    return f"""{INTRODUCTION}
| what | seconds | beside pure training |
|---|---|---|
| pure training | {pure:.1f} | 1.00 |
| the search | {search:.1f} | {whole:.2f} |
| a search that has nothing left to try: imports, report, pictures | {nothing:.1f} | |
| the search without that | {search - nothing:.1f} | {tries:.2f} |

A try of two networks takes {each:.2f} s. A run of DVC's queue (`dvc queue start -j {N_WORKERS}`,
{N_QUEUED} runs of as many epochs, one network each) takes {queued:.1f} s: {queued / each:.0f} times
as long.
"""


if __name__ == "__main__":
    main()
