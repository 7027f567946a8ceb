"""Search from what `start` writes, on some of the tables, and see what the test rows say.

`python -m benchmarks.quality.search` in the environment of `make benchmark-quality` takes hours on
two cores.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality.tables import JUDGING, read
from benchmarks.quality.worker import quiet, start_and_prepare
from classifier.io.yaml_text import from_yaml, to_yaml
from classifier.search.search_report import SearchReport
from stages import baseline, evaluate, train

REPOSITORY = Path(__file__).parent.parent.parent
TABLES = ("heart", "bands", "wdbc", "australian", "vehicle")
"""The quickest, and not chosen by what came out."""
N_SPLITS = 2
"""Into training, validation and test rows, by `prepare.seed`; each has its own search."""
N_TRIES = 50
N_AT_A_TIME = 2
TEST_SEEDS = (11, 12, 13)
"""Of training, none of which is one of the search: a test loss is the mean over them."""


@dataclass(frozen=True)
class Losses:
    """Of one table, split in one way."""

    before: float
    """On the rows that the networks leave out."""
    after: float
    luck: float
    """What the search says of `after`."""
    test_before: float
    test_after: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=TABLES)
    tables = parser.parse_args().tables
    jobs = [(table, split) for table in tables for split in range(N_SPLITS)]
    print(
        "| table | loss before | after | likely luck of it | test log loss before | after "
        "| better on |\n|---|---|---|---|---|---|---|"
    )
    with ProcessPoolExecutor(N_AT_A_TIME, get_context("spawn")) as pool:
        found = np.array([astuple(losses) for losses in pool.map(losses_of, jobs)])
    for table, of_table in zip(tables, found.reshape(-1, N_SPLITS, 5), strict=True):
        print(line(table, of_table))
    print(line("mean", found))


def line(name: str, found: "np.ndarray[Any, np.dtype[np.float64]]") -> str:
    """Return a line of the table: means over splits, and on how many the test loss is lower."""
    n_better = int((found[:, 4] < found[:, 3]).sum())
    means = " | ".join(f"{loss:.4f}" for loss in found.mean(axis=0))
    return f"| {name} | {means} | {n_better} of {len(found)} |"


def losses_of(job: tuple[str, int]) -> Losses:
    name, split = job
    torch.set_num_threads(1)
    (table,) = [each for each in JUDGING if each.name == name]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), quiet():
        read(table).to_csv("table.csv", index=False)
        start_and_prepare(split)
        set_params(threads=1)
        before = test_loss()
        command = [sys.executable, "-m", "commands.search", "--apply", "--trials", str(N_TRIES)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
        after = test_loss()
        report = SearchReport.model_validate_json(Path("reports/search.json").read_bytes())
    if report.first_loss is None or report.luck is None:
        raise ValueError(f"{name}: what start writes diverges, or there are too few rows")
    return Losses(report.first_loss, report.best_loss, report.luck, before, after)


def test_loss() -> float:
    """Return the mean log loss on the test rows over training seeds, with params.yaml as it is."""
    losses: list[float] = []
    before = Path("params.yaml").read_bytes()
    for seed in TEST_SEEDS:
        set_params(seed=seed)
        train.main()
        baseline.main()
        evaluate.main()
        losses.append(json.loads(Path("metrics.json").read_text(encoding="utf-8"))["log_loss"])
    Path("params.yaml").write_bytes(before)
    return sum(losses) / len(losses)


def set_params(**of_train: object) -> None:
    """Set parameters of `train`; no baselines."""
    file = Path("params.yaml")
    params = from_yaml(file.read_text(encoding="utf-8"))
    params["train"] |= of_train
    params["baseline"]["models"] = []
    file.write_text(to_yaml(params), encoding="utf-8")


if __name__ == "__main__":
    main()
