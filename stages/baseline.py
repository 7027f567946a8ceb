"""Fit simple models to the same rows, for the network to be compared with."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from classifier.baselines import Baseline, fit
from classifier.evaluation.evaluated import BaselineReports
from classifier.io.files import write_json
from classifier.io.later_params import BaselineParams
from classifier.io.params import Params, read_params
from classifier.io.prepared import (
    BASELINE,
    PREPARED,
    TEST_FILE,
    TRAIN_FILE,
    VAL_FILE,
    Split,
    read_split,
    write_probabilities,
)
from classifier.io.schema import read_schema
from classifier.io.user_error import user_errors_in_one_line

SEED = 0
"""The seed of the choice of rows where there are too many."""


class LossParams(Params):
    """What of the `train` section says what a row counts for."""

    class_weights: Literal["none", "balanced"] = Field(description="one of none, balanced")


def main() -> None:
    params = read_params("baseline", BaselineParams)
    balanced = read_params("train", LossParams, only_its_keys=True).class_weights == "balanced"
    n_classes = len(read_schema(PREPARED / "schema.json").classes)
    train, val, test = map(read_split, (TRAIN_FILE, VAL_FILE, TEST_FILE))
    if val.fold.any():
        # What one fold leaves out trains the others.
        train = train.followed_by(val)
    train = some_rows(train, params.max_rows)

    # The number of threads decides how sums are rounded.
    with threadpool_limits(1):
        found = {
            name: fit(name, train, val, n_classes, balanced=balanced) for name in params.models
        }
        baselines: dict[str, Baseline] = {
            name: one for name, one in found.items() if isinstance(one, Baseline)
        }
        of_test = {name: one.predict(test.features) for name, one in baselines.items()}

    of_val = {name: one.of_val for name, one in baselines.items()}
    for part, probabilities in (("val", of_val), ("test", of_test)):
        write_probabilities(BASELINE / f"{part}.parquet", probabilities)
    reports = {
        name: one.report if isinstance(one, Baseline) else one for name, one in found.items()
    }
    write_json(Path("reports/baseline.json"), BaselineReports(reports))
    for name, one in found.items():
        if isinstance(one, Baseline):
            print(
                f"{name.replace('_', ' ')}: {one.report.chosen}, chosen by the validation rows, on "
                f"which its log loss is {one.report.val_log_loss:.4f}"
            )
        else:
            print(one.left_out)


def some_rows(train: Split, max_rows: int) -> Split:
    """Return as many rows as are allowed, drawn by chance, and say so if these are not all."""
    n = len(train.target)
    if n <= max_rows:
        return train
    print(f"fitted to {max_rows} of the {n} training rows: baseline.max_rows")
    chosen = np.sort(np.random.default_rng(SEED).choice(n, max_rows, replace=False))
    return train.take(chosen)


if __name__ == "__main__":
    with user_errors_in_one_line("baseline"):
        main()
