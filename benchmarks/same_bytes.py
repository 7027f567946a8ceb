"""What it costs that bytes are the same on every processor: the stage `train`, both ways."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from classifier.io.yaml_text import from_yaml, to_yaml
from classifier.starting.choice import training_params

REPOSITORY = Path(__file__).parent.parent

LOAD_B: dict[str, object] = {
    "hidden": [128, 64],
    "optimizer": "adam",
    "lr": 0.001,
    "batch_size": 1024,
    "max_epochs": 5,
    "eval_every": 5,
}

PARAMS: dict[str, tuple[int, int, dict[str, object]]] = {
    "the lesson": (0, 0, {}),
    "5,000 training rows x 20, as `make start` has it, 40 epochs": (
        *(8_333, 20),
        training_params(5_000) | {"max_epochs": 40, "patience": 40},
    ),
    "load B: 200,000 training rows x 54": (333_333, 54, LOAD_B),
}
"""By load, the rows and columns of the table and parameters of `train`."""


def ratios(folder: Path, repetitions: int) -> list[list[str]]:
    """Return for each load the seconds here and everywhere, and the ratio: medians."""
    table = []
    for name, (n, n_columns, of_train) in PARAMS.items():
        write_project(folder, n, n_columns)
        seconds: dict[str, list[float]] = {"here": [], "everywhere": []}
        for _ in range(repetitions):
            for same_bytes, measured in seconds.items():
                measured.append(seconds_of_train(folder, of_train | {"same_bytes": same_bytes}))
        ratio = median(np.divide(seconds["everywhere"], seconds["here"]))
        table.append([name, *(f"{median(each):.1f}" for each in seconds.values()), f"{ratio:.2f}"])
    return table


def write_project(folder: Path, n: int, n_columns: int) -> None:
    """Prepare a table of noisy numbers; that of the lesson, if there are to be no rows."""
    params = from_yaml((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    params["prepare"]["data"] = str(REPOSITORY / "data/iris.csv")
    if n:
        rng = np.random.default_rng(0)
        table = pd.DataFrame(rng.standard_normal((n, n_columns), np.float32)).add_prefix("x")
        score = table["x0"] + np.sin(2 * table["x1"]) + rng.normal(0, 0.7, n)
        table.assign(y=np.where(score > 0, "yes", "no")).to_parquet(folder / "table.parquet")
        params["prepare"] |= {"data": "table.parquet", "target": "y", "scaler": "squash"}
    (folder / "params.yaml").write_text(to_yaml(params), encoding="utf-8")
    run("prepare", folder)


def seconds_of_train(folder: Path, of_train: dict[str, object]) -> float:
    params = from_yaml((folder / "params.yaml").read_text(encoding="utf-8"))
    params["train"] |= of_train
    # A finished run would be taken from there.
    shutil.rmtree(folder / ".training", ignore_errors=True)
    (folder / "params.yaml").write_text(to_yaml(params), encoding="utf-8")
    start = time.perf_counter()
    run("train", folder)
    return time.perf_counter() - start


def run(stage: str, folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        check=True,
        capture_output=True,
    )
