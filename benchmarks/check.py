"""Does `check` find what has changed, and nothing where nothing has? And what does it cost?

`python -m benchmarks.check` simulates tables and answers, of which the truth is known;
`python -m benchmarks.check --rows 1000000` times `check` beside `predict` on a table of 50 columns;
`python -m benchmarks.check --evidently PYTHON` shows what it says beside Evidently, which that
Python has to have.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.prepare import REPOSITORY, run, write_params, write_table
from classifier.checking import (
    Checked,
    CountedColumn,
    Labelled,
    Limits,
    check_columns,
    compare,
    decide,
)
from classifier.evaluation.answers import Answers, Decision
from classifier.evaluation.evaluated import Evaluated, Metrics
from classifier.evaluation.metrics import measure
from classifier.io.profile import profile_of
from classifier.io.schema import CategoricalColumn, ColumnOfTable, NumericColumn
from classifier.io.yaml_text import from_yaml, to_yaml

Table = dict[str, npt.NDArray[Any]]

N_TABLES, N_TRAINING, FEWEST, MOST = 200, 3000, 200, 20_000
N_TEST, N_LABELLED = 500, 500
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
LIMITS = Limits()
COLORS, CITIES = ["red", "green", "blue"], [f"city {number}" for number in range(20)]
CLASSES = ["a", "b", "c"]
OF_CITIES = 1 / np.arange(1, 21) / np.sum(1 / np.arange(1, 21))


def draw(
    n: int,
    chance: np.random.Generator,
    colors: tuple[float, ...] = (0.5, 0.3, 0.2),
    classes: tuple[float, ...] = (0.3, 0.5, 0.2),
) -> Table:
    table: Table = {
        "normal": chance.normal(size=n),
        "other normal": chance.normal(5, 3, n),
        "price": np.round(chance.lognormal(3, 1, n), 2),
        "count": chance.poisson(2, n).astype(float),
        "share": np.round(chance.uniform(size=n), 1),
        "mostly 0": np.where(chance.random(n) < 0.7, 0, chance.exponential(10, n)),
        "color": chance.choice(COLORS, n, p=colors).astype(object),
        "city": chance.choice(CITIES, n, p=OF_CITIES).astype(object),
        "flag": chance.choice(["true", "false"], n, p=[0.1, 0.9]).astype(object),
        "target": chance.choice(CLASSES, n, p=classes).astype(object),
    }
    for name, share in {"normal": 0.02, "count": 0.3, "color": 0.01}.items():
        put(table, name, np.nan if name != "color" else "", share, chance)
    return table


def put(table: Table, name: str, value: object, share: float, chance: np.random.Generator) -> None:
    table[name][chance.random(len(table[name])) < share] = value


def swap(table: Table) -> None:
    table["other normal"], table["price"] = table["price"], table["other normal"]


Change = Callable[[Table, np.random.Generator], None]
CHANGES: dict[str, tuple[set[str], dict[str, tuple[float, ...]], Change]] = {
    "shift by half of the standard deviation": (
        {"normal"},
        {},
        lambda table, _: table.update(normal=table["normal"] + 0.5),
    ),
    "scale 1.7 times as large": (
        {"normal"},
        {},
        lambda table, _: table.update(normal=table["normal"] * 1.7),
    ),
    "cents for euros": ({"price"}, {}, lambda table, _: table.update(price=table["price"] * 100)),
    "gaps in 10% instead of 2%": (
        {"normal"},
        {},
        lambda table, chance: put(table, "normal", np.nan, 0.082, chance),
    ),
    "a new category in 8%": (
        {"color"},
        {},
        lambda table, chance: put(table, "color", "mauve", 0.08, chance),
    ),
    "shares 35, 30, 35% instead of 50, 30, 20": (
        {"color"},
        {"colors": (0.35, 0.3, 0.35)},
        lambda _, __: None,
    ),
    "swapped columns": ({"other normal", "price"}, {}, lambda table, _: swap(table)),
    "a class in 15% instead of 30": (
        {"target"},
        {"classes": (0.15, 0.65, 0.2)},
        lambda _, __: None,
    ),
}

CATEGORIES = {
    "color": COLORS,
    "city": CITIES,
    "flag": ["false", "true"],
    "target": CLASSES,
}


def column(name: str) -> ColumnOfTable:
    if name in CATEGORIES:
        return CategoricalColumn(
            name=name,
            kind="text",
            categories=CATEGORIES[name],
            other=False,
            missing_indicator=False,
        )
    return NumericColumn(name=name, median=0, offset=0, scale=1, unit="", missing_indicator=False)


def found(training: Table, new: Table, limits: Limits = LIMITS) -> set[str]:
    counted = []
    for name, values in training.items():
        profile = profile_of(column(name), values)
        counted.append(CountedColumn(column(name), profile))
        counted[-1].add(new[name])
    return {name for name, one in check_columns(counted, limits).items() if one.differs}


def simulate_columns() -> None:
    counts: Counter[str] = Counter()
    for number in range(N_TABLES):
        chance = np.random.default_rng(number)
        n = round(math.exp(chance.uniform(math.log(FEWEST), math.log(MOST))))
        training = draw(N_TRAINING, chance)
        new = draw(n, chance)
        counts["nothing"] += bool(found(training, new))
        any_size = LIMITS.model_copy(update={"least_difference": 0})
        counts["nothing, with --least-difference=0"] += bool(found(training, new, any_size))
        for what, (columns, shares, change) in CHANGES.items():
            new = draw(n, chance, **shares)
            change(new, chance)
            counts[what] += columns == found(training, new)
    for what, count in counts.items():
        print(f"| {what} | {count / N_TABLES:.1%} |")


def answers(n: int, chance: np.random.Generator, fallen: float = 0.0) -> Answers:
    """Return calibrated answers of accuracy 0.9; or less often right than their probabilities."""
    of_predicted = 0.55 + 0.45 * chance.beta(3.5, 1, n)
    predicted = chance.choice(3, n, p=[0.5, 0.3, 0.2])
    probabilities = np.repeat((1 - of_predicted)[:, np.newaxis] / 2, 3, axis=1)
    probabilities[np.arange(n), predicted] = of_predicted
    is_right = chance.random(n) < of_predicted - fallen
    target = np.where(is_right, predicted, (predicted + chance.integers(1, 3, n)) % 3)
    return Answers(target, probabilities, Decision())


def measured(of: Answers) -> Metrics:
    return measure(of, CLASSES, 0, LIMITS.confidence)


def verdict(new: Metrics, test: Evaluated) -> str:
    labelled = Labelled(
        n_labels=N_LABELLED,
        n_unknown=0,
        metrics=new,
        changes=compare(test, new, LIMITS.confidence),
        promised_accuracy=new.accuracy,
        groups={},
    )
    checked = Checked(
        table="",
        target="",
        n_training=N_TRAINING,
        limits=LIMITS,
        rows=N_LABELLED,
        columns={},
        classes=[],
        promised_accuracy=1,
        n_unsure=0,
        labelled=labelled,
    )
    return decide(checked, test)[0]


def simulate_answers() -> None:
    counts: Counter[str] = Counter()
    for number in range(N_TABLES):
        chance = np.random.default_rng(number)
        test = Evaluated(
            **measured(answers(N_TEST, chance)).model_dump(),
            positive_class=None,
            threshold=None,
            temperature=1,
            uncalibrated=None,
            baselines={},
            slices={},
        )
        for what, fallen in {"unchanged": 0.0, "0.90 to 0.80": 0.1}.items():
            counts[f"{what}: {verdict(measured(answers(N_LABELLED, chance, fallen)), test)}"] += 1
    for what, count in sorted(counts.items()):
        print(f"| accuracy {what} | {count / N_TABLES:.1%} |")


def train(folder: Path, table: str) -> None:
    """Make a model of a table in a folder, whose target is `target`, in no time."""
    write_params(folder / "params.yaml")
    params = from_yaml((folder / "params.yaml").read_text(encoding="utf-8"))
    params["prepare"]["data"] = table
    params["train"].update(max_epochs=2, eval_every=1)
    params["baseline"]["models"] = []
    (folder / "params.yaml").write_text(to_yaml(params), encoding="utf-8")
    for stage in ("prepare", "train", "baseline", "evaluate"):
        run([sys.executable, "-m", f"stages.{stage}"], folder)


def time_it(n: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "table.csv", 20_000)
        train(folder, "table.csv")
        write_table(folder / "new.csv", n)
        for what, output in {"predict": "out.csv", "check": "check.html"}.items():
            # Whatever `check` says of it.
            program = f"from commands.{what} import main; main()"
            seconds, peak = run([sys.executable, "-c", program, "new.csv", "-o", output], folder)
            print(f"{what}: {n:,} rows x 50: {seconds:.1f} s, peak {peak:.0f} MB")


EVIDENTLY = """
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
snapshot = Report([DataDriftPreset()]).run(pd.read_csv("new.csv"), pd.read_csv("table.csv"))
snapshot.save_html("evidently.html")
for metric in snapshot.dict()["metrics"]:
    print(metric["metric_name"], metric["value"])
"""


def beside_evidently(python: str) -> None:
    """Say what Evidently, in the environment of this Python, and `check` say of two tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chance = np.random.default_rng(0)
        pd.DataFrame(draw(N_TRAINING, chance)).to_csv(folder / "table.csv", index=False)
        train(folder, "table.csv")
        program = "from commands.check import main; main()"
        commands = {
            "check": [sys.executable, "-c", program, "new.csv"],
            "evidently": [python, "-c", EVIDENTLY],
        }
        for what in ("nothing", *CHANGES):
            _, shares, change = CHANGES.get(what, (set(), {}, lambda _, __: None))
            new = draw(2000, chance, **shares)
            change(new, chance)
            pd.DataFrame(new).to_csv(folder / "new.csv", index=False)
            for program, command in commands.items():
                start = time.monotonic()
                result = subprocess.run(
                    command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True
                )
                seconds = time.monotonic() - start
                size = (folder / f"{program}.html").stat().st_size
                print(f"{what}: {program}, {seconds:.1f} s, page of {size / 1e3:.0f} kB")
                print(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="time it on a table of so many rows")
    parser.add_argument("--evidently", help="compare with it; a Python that has it")
    arguments = parser.parse_args()
    if arguments.rows:
        time_it(arguments.rows)
    elif arguments.evidently:
        beside_evidently(arguments.evidently)
    else:
        simulate_columns()
        simulate_answers()


if __name__ == "__main__":
    main()
