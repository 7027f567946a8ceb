"""Tables of texts: ours beside skrub's `tabular_pipeline`, on the same rows.

`python -m benchmarks.quality.texts FOLDER` runs those of `TARGETS` that are in the folder as CSV,
and names those that are not: SMS messages, comments, a survey and employees, from the repositories
mohitgupta-omg/Kaggle-SMS-Spam-Collection-Dataset- and skrub-data/skrub-data-files.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from skrub import tabular_pipeline

from benchmarks.quality.contenders import N_THREADS, probabilities
from benchmarks.quality.tables import TARGET, JudgingTable
from benchmarks.quality.worker import SPLITS, divide, quiet, run_ours, start_and_prepare

TARGETS = {
    "sms": "v1",
    "toxicity": "is_toxic",
    "midwest": "Census_Region",
    "employee_salaries": "gender",
}
"""The target of each table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, target in TARGETS.items():
        path = folder / f"{name}.csv"
        if not path.exists():
            print(f"{path} is not there")
            continue
        encoding = "cp1252" if name == "sms" else "utf-8"
        table = pd.read_csv(path, encoding=encoding).rename(columns={target: TARGET})
        for split in range(SPLITS):
            run(name, table, split)


def run(name: str, table: pd.DataFrame, split: int) -> None:
    with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):
        table.to_csv("table.csv", index=False)
        with quiet():
            start_and_prepare(split)
        division = divide(pd.read_csv("table.csv", dtype={TARGET: str}))
        classes = sorted(division.fitted[TARGET].unique())
        ours = run_ours(JudgingTable(name), split, division, classes)
    scores = {"ours": (ours.accuracy, ours.log_loss)}
    features, actual = division.test.drop(columns=TARGET), division.test[TARGET]
    for model in (LogisticRegression(max_iter=1000), HistGradientBoostingClassifier()):
        with quiet():
            pipeline = tabular_pipeline(model)
            pipeline.fit(division.fitted.drop(columns=TARGET), division.fitted[TARGET])
            found = probabilities(pipeline, features, classes)
        predicted = np.array(classes)[found.argmax(axis=1)]
        losses = log_loss(actual, found, labels=classes)
        scores[type(model).__name__] = accuracy_score(actual, predicted), losses
    for contender, (accuracy, loss) in scores.items():
        print(f"{name:9} {split}  {contender:31} accuracy {accuracy:.4f}  log loss {loss:.4f}")


if __name__ == "__main__":
    torch.set_num_threads(N_THREADS)
    main()
