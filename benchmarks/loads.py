"""What is trained: the same data, network, optimizer and epochs for every contender."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier.io.prepared import read_split, write_split


@dataclass(frozen=True)
class Load:
    """A training task."""

    title: str
    hidden: list[int]
    optimizer: str
    lr: float
    batch_size: int | None
    epochs: int
    eval_every: int
    threads: int | None
    """None: as many as there are cores."""
    slow_epochs: int
    """Epochs of skorch and Lightning, whose time for all of them would be minutes."""
    repetitions: int
    contenders: tuple[str, ...]


EVERYONE = ("ours", "plain", "sklearn", "skorch", "lightning")

LOADS = {
    "A": Load(
        title="Iris, 4-10-3, SGD 0.01, 20,000 full-batch epochs, a look every 200",
        hidden=[10],
        optimizer="sgd",
        lr=0.01,
        batch_size=None,
        epochs=20_000,
        eval_every=200,
        threads=1,
        slow_epochs=1000,
        repetitions=7,
        contenders=EVERYONE,
    ),
    "B": Load(
        title="200,000 rows x 54, 7 classes, 54-128-64-7, Adam, batches of 1,024, 5 epochs",
        hidden=[128, 64],
        optimizer="adam",
        lr=0.001,
        batch_size=1024,
        epochs=5,
        eval_every=5,
        threads=None,
        slow_epochs=5,
        repetitions=3,
        contenders=EVERYONE,
    ),
    "C": Load(
        title="as B with 2,000,000 rows, 1 epoch",
        hidden=[128, 64],
        optimizer="adam",
        lr=0.001,
        batch_size=1024,
        epochs=1,
        eval_every=1,
        threads=None,
        slow_epochs=1,
        repetitions=2,
        contenders=("ours", "plain", "sklearn"),
    ),
}


def write_data(name: str, folder: Path) -> None:
    """Write train.parquet and val.parquet of a load."""
    rng = np.random.default_rng(0)
    if name == "A":
        table = np.loadtxt("data/iris.csv", delimiter=",", skiprows=1, usecols=range(4))
        features = (table - table.min(0)) / (table.max(0) - table.min(0))
        target = np.repeat(np.arange(3), 50)
    else:
        n = {"B": 220_000, "C": 2_020_000}[name]
        features = rng.standard_normal((n, 54), dtype=np.float32)
        target = (features @ rng.standard_normal((54, 7), dtype=np.float32)).argmax(axis=1)
    order = rng.permutation(len(target))
    val = order[: {"A": 30, "B": 20_000, "C": 20_000}[name]]
    train = order[len(val) :] if name != "A" else order[-90:]
    for file, rows, fold in (("train", train, -1), ("val", val, 0)):
        names = [f"x{index}" for index in range(features.shape[1])]
        write_split(
            folder / f"{file}.parquet",
            rows,
            np.arange(len(rows)),
            features[rows].astype(np.float32).T,
            target[rows].astype(np.int64),
            fold=np.full(len(rows), fold),
            column_names=[*names, "y"],
        )


Table = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def read_data(folder: Path) -> tuple[Table, Table]:
    train, val = (read_split(folder / f"{name}.parquet") for name in ("train", "val"))
    return (train.features, train.target), (val.features, val.target)
