"""Run one contender on every table and split that has no result of it yet."""

import argparse
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, log_loss

from benchmarks.quality import contenders
from benchmarks.quality.results import Result, append, read_results
from benchmarks.quality.tables import JUDGING, TARGET, JudgingTable, read
from classifier.io.prepared import read_split
from classifier.io.yaml_text import from_yaml, to_yaml
from commands import start
from stages import baseline, evaluate, prepare, train

REPOSITORY = Path(__file__).parent.parent.parent
SPLITS = 3


@dataclass(frozen=True)
class Division:
    """A table's rows as our `prepare` splits them, for everybody."""

    fitted: pd.DataFrame
    """The training and validation rows."""
    test: pd.DataFrame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=contenders.ALL)
    name = parser.parse_args().contender
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    done = {(one.table, one.split) for one in read_results() if one.contender == name}
    tables: Sequence[JudgingTable] = JUDGING
    if name in contenders.BAGGED:
        tables = sorted(JUDGING, key=lambda one: len(read(one)))[: contenders.N_BAGGED_TABLES]
    for table in tables:
        is_slow = name in contenders.SLOW and len(read(table)) > contenders.SLOW_ROWS
        for split in range(1 if is_slow or name in contenders.BAGGED else SPLITS):
            if (table.name, split) not in done:
                result = run(name, table, split)
                append(result)
                print(
                    f"{name:36} {table.name:16} {split}  log loss {result.log_loss:.4f}  "
                    f"accuracy {result.accuracy:.4f}  {result.seconds:.1f} s",
                    flush=True,
                )


def run(name: str, table: JudgingTable, split: int) -> Result:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        read(table).to_csv("table.csv", index=False)
        with quiet():
            start_and_prepare(split)
        division = divide(pd.read_csv("table.csv", dtype={TARGET: str}))
        classes = sorted(division.fitted[TARGET].unique())
        if name == contenders.OURS:
            return run_ours(table, split, division, classes)
        features, test_features = (
            as_categories(rows.drop(columns=TARGET), division)
            for rows in (division.fitted, division.test)
        )
        begun = time.perf_counter()
        with quiet():
            model = contenders.fit(name, features, division.fitted[TARGET], split)
        seconds = time.perf_counter() - begun
        with quiet():
            found = contenders.probabilities(model, test_features, classes)
        predicted = np.array(classes)[found.argmax(axis=1)]
        return Result(
            table=table.name,
            split=split,
            contender=name,
            log_loss=log_loss(division.test[TARGET], found, labels=classes),
            accuracy=float(accuracy_score(division.test[TARGET], predicted)),
            seconds=round(seconds, 2),
            log_loss_of_frequencies=loss_of_frequencies(division),
        )


def run_ours(table: JudgingTable, split: int, division: Division, classes: list[str]) -> Result:
    with quiet():
        begun = time.perf_counter()
        train.main()
        seconds = time.perf_counter() - begun
        baseline.main()
        evaluate.main()
    metrics = json.loads(Path("metrics.json").read_text(encoding="utf-8"))
    predictions = pd.read_csv("reports/predictions.csv")
    found = predictions[[f"probability_{name}" for name in classes]].to_numpy()
    return Result(
        table=table.name,
        split=split,
        contender=contenders.OURS,
        log_loss=log_loss(predictions["actual"], found, labels=classes),
        accuracy=metrics["accuracy"],
        seconds=round(seconds, 2),
        log_loss_of_frequencies=loss_of_frequencies(division),
    )


def start_and_prepare(split: int) -> None:
    """Do in this folder what a user does with a table, but for the seed of the split."""
    params_file = Path("params.yaml")
    params_file.write_bytes((REPOSITORY / "params.yaml").read_bytes())
    with patch.object(sys, "argv", ["start", "table.csv", TARGET, "--force"]):
        start.main()
    params = from_yaml(params_file.read_text(encoding="utf-8"))
    params["prepare"]["seed"] = split
    params["baseline"]["models"] = []
    params_file.write_text(to_yaml(params), encoding="utf-8")
    prepare.main()


def divide(table: pd.DataFrame) -> Division:
    # A spreadsheet's row 2 is the first.
    rows = {
        part: read_split(Path(f"data/prepared/{part}.parquet")).rows - 2
        for part in ("train", "val", "test")
    }
    fitted = np.sort(np.concatenate([rows["train"], rows["val"]]))
    return Division(table.iloc[fitted], table.iloc[rows["test"]])


def as_categories(features: pd.DataFrame, division: Division) -> pd.DataFrame:
    """Return texts as pandas' categories: those among the rows that are fitted."""
    features = features.copy()
    for name in features:
        if not pd.api.types.is_numeric_dtype(features[name]):
            known = sorted(division.fitted[name].unique())
            features[name] = pd.Categorical(features[name], categories=known)
    return features


def loss_of_frequencies(division: Division) -> float:
    """Return the log loss of predicting each class as often as it is among the fitted rows."""
    frequencies = division.fitted[TARGET].value_counts(normalize=True)
    return float(-np.log(frequencies[division.test[TARGET]]).mean())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what is printed, by C++ too, off the screen."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(io.StringIO()):
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            for one in kept:
                os.close(one)


if __name__ == "__main__":
    torch.set_num_threads(contenders.N_THREADS)
    main()
