"""Say how sure the differences between experiments are.

Experiments that differ in nothing but seeds form a group. Groups are compared on the splits that
they share.

`python -m commands.repeats` reads the experiments of the current commit; what follows on the
command line goes to `dvc exp show`, for example `--all-commits`. With `--seeds 10`, it trains the
network of params.yaml on the prepared rows from ten seeds, side by side, and says how much that
changes.
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from classifier.evaluation.answers import Answers, decide, find_positive
from classifier.evaluation.metrics import score as score_answers
from classifier.io.files import read_json
from classifier.io.later_params import EvaluateParams
from classifier.io.params import read_params
from classifier.io.prepared import PREPARED, TEST_FILE, VAL_FILE, PreparedRows, read_split
from classifier.io.schema import read_schema
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.network.model import Task, predict_left_out, predict_probabilities
from classifier.network.temperature import fit_temperature, with_temperature
from classifier.training.device import select_device, settle_arithmetic
from classifier.training.folds import read_edges, read_folds
from classifier.training.loop import train_from_seeds
from classifier.training.train_params import TrainParams

CONFIDENCE = 0.95
SPLIT_SEED, TRAINING_SEED = SEEDS = ["prepare.seed", "train.seed"]
WHAT_IS_SPLIT = ["prepare.data", "prepare.target", "prepare.test_size", "prepare.val_size"]
SCORES = ["accuracy", "log_loss"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.repeats", description=__doc__)
    parser.add_argument("--seeds", type=whole_number, metavar="N", help="train from N seeds")
    arguments, of_dvc = parser.parse_known_args()
    if arguments.seeds is not None:
        if of_dvc:
            parser.error(f"unrecognized arguments: {' '.join(of_dvc)}")
        must_be_prepared()
        print("\n".join(report_of_seeds(scores_of_seeds(arguments.seeds))))
        return
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *of_dvc]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
    if shown.returncode != 0:
        raise UserError(f"dvc exp show failed: {shown.stderr}")
    runs = finished_runs(json.loads(shown.stdout))
    if runs.empty:
        raise UserError("there are no finished experiments; start some with dvc exp run")
    print("\n".join(report(runs)))


def whole_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least 2")
    return int(text)


def must_be_prepared() -> None:
    """Raise a `UserError` if `prepare` has not run with the parameters and the table that are."""
    command = [sys.executable, "-m", "dvc", "status", "--json", "prepare"]
    status = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
    if status.returncode != 0 or json.loads(status.stdout):
        raise UserError("the prepared rows are not those of params.yaml; first: dvc repro prepare")


def scores_of_seeds(n: int) -> pd.DataFrame:
    """Train from `train.seed` and the n - 1 seeds after it; return what is scored on the test rows.

    The index are the seeds, the columns those of `SCORES`. Nothing is written.
    """
    params, evaluating = read_params("train", TrainParams), read_params("evaluate", EvaluateParams)
    schema = read_schema(PREPARED / "schema.json")
    evaluating.must_suit(schema.classes)
    task, device = Task.of(schema), select_device(params)
    folds = read_folds(device)
    left_out, test = read_split(VAL_FILE), read_split(TEST_FILE)
    n_train = read_json(PREPARED / "rows.json", PreparedRows).class_counts.train
    positive = find_positive(evaluating.positive_class, schema.classes, np.array(n_train))
    settle_arithmetic(params, folds * n, task)
    seeds = range(params.seed, params.seed + n)
    of_seeds = train_from_seeds(params, seeds, task, folds, read_edges(folds, task))
    scores = []
    for runs in of_seeds:
        networks = [run.best_network() for run in runs]
        if params.calibration == "temperature":
            temperature = fit_temperature(networks, left_out)
            networks = [with_temperature(network, temperature) for network in networks]
        chosen_by = predict_left_out(networks, left_out.features, left_out.fold)
        decision = decide(evaluating.threshold, positive, left_out.target, chosen_by)
        answers = Answers(test.target, predict_probabilities(networks, test.features), decision)
        scores.append(score_answers(answers).model_dump(include=set(SCORES)))
    return pd.DataFrame(scores, pd.Index(seeds, name=TRAINING_SEED), SCORES)


def report_of_seeds(scores: pd.DataFrame) -> Iterator[str]:
    for seed, of_seed in scores.iterrows():
        found = ", ".join(f"{name} {of_seed[name]:.4f}" for name in SCORES)
        yield f"{TRAINING_SEED} {seed}: {found}"
    said = ", ".join(f"{name} {in_short(scores[name])}" for name in SCORES)
    yield f"mean ± standard deviation over {len(scores)} starts, on these test rows: {said}"


def finished_runs(shown: Any) -> pd.DataFrame:  # noqa: ANN401 (JSON)
    """Return a row for each experiment that `dvc exp show --json` shows as finished.

    The columns: every parameter, such as `train.lr`, as JSON; a hash of code and data; the scores.
    """
    runs = []
    for commit in shown:
        for experiment in commit["experiments"] or []:
            executor, data = experiment["executor"], experiment["revs"][0]["data"]
            # Until it has ended well, DVC shows for it the metrics of the commit it started from.
            if data is None or (executor is not None and executor["state"] != "success"):
                continue
            metrics = data["metrics"].get("metrics.json", {})
            if "data" not in metrics:
                continue
            params = data["params"]["params.yaml"]["data"]
            run: dict[str, object] = {
                f"{section}.{key}": json.dumps(value)
                for section, values in params.items()
                if section != "search"  # no stage reads it
                for key, value in values.items()
            }
            run["code and data"] = hash_of_sources(data["deps"], params["prepare"]["data"])
            runs.append(run | {score: metrics["data"][score] for score in SCORES})
    # A run that was repeated with its own seeds has the same result.
    return pd.DataFrame(runs).drop_duplicates()


def hash_of_sources(deps: dict[str, dict[str, Any]], table: str) -> str:
    """Hash the stages' dependencies that no stage makes."""
    sources = sorted(
        path for path in deps if path.startswith(("stages/", "classifier/")) or path == table
    )
    hashes = json.dumps([(path, deps[path]["hash"]) for path in sources])
    return hashlib.sha256(hashes.encode()).hexdigest()[:7]


def report(runs: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each group, then the comparisons of the first with the others."""
    settings = [name for name in runs if name not in {*SEEDS, *SCORES}]
    groups = [group for _, group in runs.groupby(settings, dropna=False)]
    groups.sort(key=lambda group: -group["accuracy"].mean())
    names = [name for name in settings if len(runs[name].unique()) > 1]
    yield "mean ± standard deviation over the runs of each group:"
    for number, group in enumerate(groups, start=1):
        what = ", ".join(f"{name}={group[name].iloc[0]}" for name in names)
        scores = ", ".join(f"{score} {in_short(group[score])}" for score in SCORES)
        count = f"runs {len(group)}, splits {n_splits(group)}"
        yield f"{number}. {what or 'all'} ({count}): {scores}"
    yield from compare_with_the_best(groups)


def in_short(scores: pd.Series) -> str:
    return f"{scores.mean():.4f} ± " + (f"{scores.std():.4f}" if len(scores) > 1 else "?")


def compare_with_the_best(groups: list[pd.DataFrame]) -> Iterator[str]:
    """Compare the first group that was repeated with each other one, on the splits they share."""
    numbered = enumerate(groups, start=1)
    repeated = [(number, group) for number, group in numbered if n_splits(group) > 1]
    if len(repeated) < 2:
        yield "nothing to compare: that takes two groups with several splits (prepare.seed) each"
        return
    # Bonferroni's correction, for all pairs: which of them is looked at is chosen by the results.
    confidence = 1 - (1 - CONFIDENCE) / math.comb(len(repeated), 2)
    (best_number, best), *others = repeated
    for number, other in others:
        # The mean over the training seeds of each split; NaN where a group lacks the split.
        differences = (
            best.groupby(SPLIT_SEED)[SCORES].mean() - other.groupby(SPLIT_SEED)[SCORES].mean()
        ).dropna()
        same_rows = (best[WHAT_IS_SPLIT].iloc[0] == other[WHAT_IS_SPLIT].iloc[0]).all()
        if not same_rows or len(differences) < 2:
            yield f"{best_number} against {number}: not compared, they share no two splits"
            continue
        yield f"{best_number} against {number}, on the {len(differences)} splits they share:"
        test, val = (float(best[f"prepare.{name}_size"].iloc[0]) for name in ("test", "val"))
        for score in SCORES:
            yield f"  {score} {judge(differences[score], test / (1 - test - val), confidence)}"
    yield (
        f"for each score, all intervals together hold with {CONFIDENCE:.0%} confidence; they allow "
        "for the rows that splits of one table have in common (Nadeau and Bengio 2003)"
    )


def n_splits(group: pd.DataFrame) -> int:
    n: int = group[SPLIT_SEED].nunique()
    return n


def judge(differences: pd.Series, test_to_train: float, confidence: float) -> str:
    """Say in words how large the mean of differences, one for each split, is beside chance."""
    mean = f"differs by {differences.mean():+.4f}"
    if differences.min() == differences.max():
        return f"{mean} in every split: too few or too coarse to tell from chance"
    low, high = difference_interval(differences, test_to_train, confidence)
    larger = low > 0 or high < 0
    words = "larger than chance would make it" if larger else "no larger than chance makes it"
    return f"{mean}, interval {low:+.4f} to {high:+.4f}: {words}"


def difference_interval(
    differences: pd.Series, test_to_train: float, confidence: float
) -> tuple[float, float]:
    """Return the corrected resampled t interval for the mean of differences, one for each split.

    Repeated splits of one table have rows in common, so Student's interval for independent
    numbers is far too narrow. This one adds the ratio of test to training rows to 1 / n in the
    variance of the mean: Nadeau, C. and Bengio, Y. (2003), "Inference for the generalization
    error", Machine Learning 52, 239-281.
    """
    n = len(differences)
    standard_error = differences.std() * math.sqrt(1 / n + test_to_train)
    low, high = stats.t.interval(confidence, n - 1, differences.mean(), standard_error)
    return float(low), float(high)


if __name__ == "__main__":
    with user_errors_in_one_line("repeats"):
        main()
