"""Search from what `start` writes, on some of the tables, and see what the test rows say.

`python -m benchmarks.quality.search` in the environment of `make benchmark-quality`; what it prints
is in ../SEARCH.md.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.quality.tables import JUDGING, read
from benchmarks.quality.worker import quiet, start_and_prepare
from classifier.search.result import SearchReport
from stages import baseline, evaluate, train

REPOSITORY = Path(__file__).parent.parent.parent
TABLES = ("heart", "bands", "wdbc", "australian", "vehicle")
"""The quickest, and not chosen by what came out."""
N_TRIES = 50
TEST_SEEDS = (1, 2, 3)
"""Of training: a test loss is the mean over them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=TABLES)
    print(
        "| table | val_loss before | after | likely luck of it | test log loss before | after |\n"
        "|---|---|---|---|---|---|"
    )
    for name in parser.parse_args().tables:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            print(line_of(name), flush=True)


def line_of(name: str) -> str:
    (table,) = [each for each in JUDGING if each.name == name]
    read(table).to_csv("table.csv", index=False)
    with quiet():
        start_and_prepare(0)
        before = test_loss()
        command = [sys.executable, "-m", "commands.search", "--workers", "2", "--apply"]
        path = {"PYTHONPATH": str(REPOSITORY)}
        subprocess.run([*command, "--trials", str(N_TRIES)], check=True, env={**os.environ, **path})
        after = test_loss()
    report = SearchReport.model_validate_json(Path("reports/search.json").read_bytes())
    losses = (report.first_val_loss, report.best_val_loss, report.luck, before, after)
    return f"| {name} | " + " | ".join(f"{loss:.4f}" for loss in losses) + " |"


def test_loss() -> float:
    """Return the mean log loss on the test rows over training seeds, with params.yaml as it is."""
    losses: list[float] = []
    for seed in TEST_SEEDS:
        file = Path("params.yaml")
        before = file.read_text(encoding="utf-8")
        params = yaml.safe_load(before)
        params["train"]["seed"] = seed
        params["baseline"]["models"] = []
        file.write_text(yaml.safe_dump(params), encoding="utf-8")
        train.main()
        baseline.main()
        evaluate.main()
        file.write_text(before, encoding="utf-8")
        losses.append(json.loads(Path("metrics.json").read_text(encoding="utf-8"))["log_loss"])
    return sum(losses) / len(losses)


if __name__ == "__main__":
    main()
