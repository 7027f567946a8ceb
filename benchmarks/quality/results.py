"""What was measured: a line of results.csv for each contender, table and split."""

import csv
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "results.csv"


@dataclass(frozen=True)
class Result:
    """How one contender did on the test rows of one split of a table."""

    table: str
    split: int
    contender: str
    log_loss: float
    """Nats."""
    accuracy: float
    seconds: float
    """Of training alone."""
    log_loss_of_frequencies: float
    """Of predicting each class as often as it is among the rows that were fitted."""


def append(result: Result) -> None:
    """Add a line: what was measured before an interruption stays."""
    is_new = not RESULTS.exists()
    with RESULTS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(result))
        file.flush()
        os.fsync(file.fileno())


def read_results() -> list[Result]:
    if not RESULTS.exists():
        return []
    return [Result(**row) for row in pd.read_csv(RESULTS).to_dict("records")]


def forget(contenders: list[str]) -> None:
    """Remove what was measured of these."""
    results = read_results()
    kept = [one for one in results if one.contender not in contenders]
    if len(kept) < len(results):
        RESULTS.unlink()
        for one in kept:
            append(one)
