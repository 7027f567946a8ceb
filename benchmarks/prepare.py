"""What `prepare` costs, next to reading the table and writing the splits alone.

`python -m benchmarks.prepare` makes a table of a million rows by 50 columns (numbers with gaps,
texts, a target), and runs in turn, each in a process of its own:

- pandas: read the CSV, cut its rows in three, write three Parquet files;
- `python -m stages.prepare`.

It prints the median of both times, their ratio (the bar is 1.5), and the peak memory of
`prepare` next to the size of the table as float64 (the bar is 2.5).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from classifier.io.yaml_text import from_yaml, to_yaml

REPOSITORY = Path(__file__).parent.parent

N_NUMBERS, N_TEXTS = 44, 5

BASELINE = """
import pandas as pd
table = pd.read_csv("table.csv")
n = len(table)
for name, start, end in [("train", 0, 0.6), ("val", 0.6, 0.8), ("test", 0.8, 1)]:
    table[round(start * n) : round(end * n)].to_parquet(f"{name}.parquet")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "table.csv", arguments.rows)
        write_params(folder / "params.yaml")
        commands = {
            "pandas": [sys.executable, "-c", BASELINE],
            "prepare": [sys.executable, "-m", "stages.prepare"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        megabytes: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.repeats):
            for program, command in commands.items():
                wall, peak = run(command, folder)
                seconds[program].append(wall)
                megabytes[program].append(peak)
    size = arguments.rows * (N_NUMBERS + N_TEXTS + 1) * 8 / 1e6
    for name in commands:
        print(
            f"{name}: median {statistics.median(seconds[name]):.2f} s of "
            f"{', '.join(f'{value:.2f}' for value in seconds[name])}; "
            f"peak {max(megabytes[name]):.0f} MB"
        )
    ratios = [
        ours / theirs for ours, theirs in zip(seconds["prepare"], seconds["pandas"], strict=True)
    ]
    print(f"time: {statistics.median(ratios):.2f} times (bar: 1.5)")
    print(
        f"memory: {max(megabytes['prepare']) / size:.2f} times the table's {size:.0f} MB (bar: 2.5)"
    )


def write_table(path: Path, n: int) -> None:
    random = np.random.default_rng(0)
    columns: dict[str, pa.Array] = {}
    for index in range(N_NUMBERS):
        values = random.normal(size=n)
        columns[f"number_{index}"] = pa.array(values, mask=random.random(n) < 0.01 * (index % 5))
    words = np.array(["red", "green", "blue", "yellow", "black"])
    for index in range(N_TEXTS):
        columns[f"text_{index}"] = pa.array(words[random.integers(0, len(words), n)])
    columns["target"] = pa.array(np.array(["no", "yes"])[(random.random(n) < 0.3).astype(int)])
    pyarrow.csv.write_csv(pa.table(columns), path)


def write_params(path: Path) -> None:
    params = from_yaml((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    params["prepare"].update(data="table.csv", target="target")
    path.write_text(to_yaml(params), encoding="utf-8")


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the seconds that a command takes, and its peak memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed")
    return time.monotonic() - start, usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
