"""The network beside simple models: on known cases, with intervals that hold what they say."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from classifier import baselines
from classifier.baselines import REGULARISATIONS, Baseline, fit
from classifier.evaluation import bootstrap
from classifier.evaluation.answers import Answers, Decision
from classifier.evaluation.evaluated import Comparison, LeftOut
from classifier.evaluation.metrics import compare
from classifier.evaluation.words import comparison_in_words
from classifier.io.later_params import BaselineName
from classifier.io.prepared import Split, read_probabilities
from stages import baseline
from tests.conftest import Project
from tests.in_process import prepared, run_all, run_prepare, run_stages
from tests.test_metrics import bootstrap_of_scipy, evaluated
from tests.test_report import copy_what_is_no_output, plot_without_pictures

BOTH: list[BaselineName] = ["logistic_regression", "gradient_boosting"]
TRAINING = {
    "train__hidden": [32],
    "train__optimizer": "adamw",
    "train__lr": 0.01,
    "train__batch_size": 64,
    "train__max_epochs": 60,
    "train__eval_every": 2,
    "train__patience": 10,
}


def write_table(kind: str, n: int = 1500) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, 4)).round(3)
    signal = {
        "linear": 2 * x[:, 0] - x[:, 1],
        "a circle": 3 * (x[:, 0] ** 2 + x[:, 1] ** 2 - 1.4),
        "noise": np.zeros(n),
    }[kind]
    is_yes = generator.random(n) < 1 / (1 + np.exp(-signal))
    table = pd.DataFrame(x, columns=list("abcd"))
    table["y"] = np.where(is_yes, "yes", "no")
    table.to_csv("t.csv", index=False)


def run_baseline(folder: Path, **values: object) -> dict[str, Any]:
    """Run `baseline` on the table of `write_table`; return its report."""
    run_prepare(folder, "t.csv", "y", **values)
    baseline.main()
    reports: dict[str, Any] = json.loads(Path("reports/baseline.json").read_text())
    return reports


def split_of(
    features: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64] | int,
) -> Split:
    rows = np.arange(len(target))
    return Split(rows, rows, features, target, np.broadcast_to(fold, len(target)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", "not to be told apart from it"),
        ("a circle", "better"),
        ("noise", "not to be told apart from it"),
    ],
)
def test_what_is_known_of_a_table_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str, expected: str
) -> None:
    write_table(kind)
    run_all(folder, "t.csv", "y", **TRAINING, baseline__models=["logistic_regression"])
    *_, about_constant, about_baseline = capsys.readouterr().out.splitlines()
    assert about_baseline.startswith("logistic regression has accuracy ")
    assert about_baseline.rpartition("the network is ")[2] == expected
    told_from_constant = "the model is better than that" in about_constant
    assert told_from_constant == (kind != "noise")


def test_another_network_is_compared_with_the_same_baselines(project: Project) -> None:
    metrics = json.loads((project.path / "metrics.json").read_text())
    assert list(metrics["baselines"]) == BOTH
    project.set_params(evaluate__confidence=0.5, train__lr=0.2)
    run_stages(project.path, "train", "evaluate")
    again = json.loads((project.path / "metrics.json").read_text())
    for name in BOTH:
        ours, before = again["baselines"][name], metrics["baselines"][name]
        assert ours["log_loss"] == before["log_loss"]
        assert ours["log_loss_difference"] != before["log_loss_difference"]
        assert ours["log_loss_difference"] == pytest.approx(again["log_loss"] - ours["log_loss"])
        assert ours["accuracy_difference"] == pytest.approx(again["accuracy"] - ours["accuracy"])


@pytest.mark.parametrize("folds", [1, 3])
def test_left_out_rows_choose_and_the_choice_is_fitted_to_all_rows(
    folder: Path, folds: int
) -> None:
    """With one fold, the choice stays as it was fitted to the training rows."""
    write_table("linear", 482)
    table = pd.read_csv("t.csv")
    # One row trains in all folds.
    table.loc[0, "y"] = "once"
    table[(table["y"] != "yes") | (table.index % 4 == 0)].to_csv("t.csv", index=False)
    rare = {"prepare__rare_classes": "train_only", "train__class_weights": "balanced"}
    reports = run_baseline(folder, prepare__folds=folds, **rare)
    train, val, test = map(prepared, ("train", "val", "test"))
    rows = train if folds == 1 else train.followed_by(val)
    found = {
        part: read_probabilities(Path(f"data/baseline/{part}.parquet")) for part in ("val", "test")
    }
    linear = {f"C={c:g}": logistic_regression(c) for c in REGULARISATIONS}
    boosting = {f"{n} iterations": gradient_boosting(n) for n in range(1, 31)}
    n_val = len(val.target)
    with threadpool_limits(1):
        for name, models in zip(BOTH, (linear, boosting), strict=True):
            left_out, losses = {}, {}
            for chosen, model in models.items():
                left_out[chosen], weights = np.empty((n_val, 3)), np.empty(n_val)
                for number in range(folds):
                    trains, judges = rows.fold != number, val.fold == number
                    model.fit(rows.features[trains], rows.target[trains])
                    left_out[chosen][judges] = model.predict_proba(val.features[judges])
                    sizes = np.bincount(rows.target[trains])
                    weights[judges] = (trains.sum() / 3 / sizes)[val.target[judges]]
                of_rows = Answers(val.target, left_out[chosen], Decision()).log_losses()
                losses[chosen] = np.average(of_rows, weights=weights)
            best = min(losses, key=lambda chosen: losses[chosen])
            loss = pytest.approx(losses[best])
            n_train = len(rows.target)
            assert reports[name] == {"chosen": best, "val_log_loss": loss, "n_train": n_train}
            np.testing.assert_allclose(found["val"][name], left_out[best])
            models[best].fit(rows.features, rows.target)
            of_test = models[best].predict_proba(test.features)
            np.testing.assert_allclose(found["test"][name], of_test)


def logistic_regression(c: float) -> Pipeline:
    model = LogisticRegression(C=c, max_iter=1000, class_weight="balanced")
    return make_pipeline(FunctionTransformer(np.float64), StandardScaler(), model)


def gradient_boosting(n: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        early_stopping=False, max_iter=n, class_weight="balanced", random_state=0
    )


@pytest.mark.parametrize("name", BOTH)
def test_classes_that_a_fold_trains_without_do_no_harm(
    name: BaselineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "MAX_ITERATIONS", 20)
    x = np.random.default_rng(0).uniform(-1, 1, 120).astype(np.float32)
    fold = np.arange(120) % 2
    # Without the rows of fold 0, there is one class.
    target = np.where(fold == 0, np.digitize(x, [-0.3, 0.3]), 0)
    x[fold == 1] = -0.9
    rows = split_of(x[:, np.newaxis], target, fold)
    with threadpool_limits(1):
        found = fit(name, rows, rows, 4, balanced=False)
    assert isinstance(found, Baseline)
    assert found.of_val[fold == 0].tolist() == [[1, 0, 0, 0]] * 60
    assert (found.of_val[fold == 1].argmax(axis=1) == 0).all()
    assert (found.predict(rows.features).argmax(axis=1) == target).mean() > 0.9


@pytest.mark.parametrize("name", BOTH)
def test_left_out_rows_get_the_class_frequencies_where_no_row_is_left_to_fit_to(
    name: BaselineName,
) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, 120).astype(np.float32)
    val = split_of(x[:, np.newaxis], (x > 0).astype(np.int64), (np.arange(120) >= 90) * 1)
    # As where one group holds nearly all rows, and few of all are drawn.
    train = val.take(val.fold == 0)
    with threadpool_limits(1):
        found = fit(name, train, val, 2, balanced=False)
    assert isinstance(found, Baseline)
    assert (found.of_val[:90] == np.bincount(train.target) / 90).all()
    assert (found.of_val[90:].argmax(axis=1) == val.target[90:]).mean() > 0.9


def test_what_is_worse_than_guessing_is_no_baseline(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What the first rows say, which train, the later ones deny.
    table = pd.DataFrame({"time": range(300), "y": np.arange(300) % 2})
    table["a"] = np.where(table["time"] < 180, table["y"], 1 - table["y"])
    table.to_csv("t.csv", index=False)
    copy_what_is_no_output(folder)
    by_time = {"prepare__split": "time", "prepare__order_by": "time", "train__max_epochs": 1}
    run_all(folder, "t.csv", "y", **by_time, baseline__models=BOTH)
    plot_without_pictures()
    assert read_probabilities(Path("data/baseline/test.parquet")) == {}
    assert json.loads(Path("metrics.json").read_text())["baselines"] == {}
    printed = capsys.readouterr().out.splitlines()
    for name, report in json.loads(Path("reports/baseline.json").read_text()).items():
        losses = re.fullmatch(
            rf"{name.replace('_', ' ')} is left out: its log loss on the validation rows, "
            r"([0-9.]+), is worse than the ([0-9.]+) of predicting the class frequencies for every "
            r"row",
            report["left_out"],
        )
        assert losses is not None
        assert float(losses[1]) > float(losses[2]) == pytest.approx(math.log(2), abs=1e-4)
        said = report["left_out"]
        assert said in printed
        assert f"<p>{said.capitalize()}.</p>" in Path("reports/report.html").read_text()
        assert f"- {said}" in Path("reports/model-card.md").read_text()


def test_guessing_is_weighted_as_the_models_are() -> None:
    rows = np.arange(300)
    target = (rows % 10 == 0).astype(np.int64)
    features = target[:, np.newaxis].astype(np.float32)
    train, val = split_of(features, target, -1), split_of(1 - features, target, 0)
    for balanced, guess in ((True, math.log(2)), (False, stats.entropy([0.1, 0.9]))):
        for name in get_args(BaselineName):
            found = fit(name, train, val, 2, balanced=balanced)
            assert isinstance(found, LeftOut)
            assert f"worse than the {guess:.4f} of" in found.left_out


def test_a_baseline_that_says_what_guessing_says_is_one() -> None:
    train, val = (
        split_of(np.zeros((40, 1), np.float32), np.arange(40) % 2, fold) for fold in (-1, 0)
    )
    found = fit("logistic_regression", train, val, 2, balanced=False)
    assert isinstance(found, Baseline)
    assert found.report.val_log_loss == pytest.approx(math.log(2))


@pytest.mark.parametrize(("folds", "n"), [(1, 300), (2, 400)])
def test_how_much_is_fitted_is_bounded_by_rows_times_classes(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folds: int,
    n: int,
) -> None:
    write_table("linear", 500)
    monkeypatch.setattr(baselines, "MOST_CELLS", n * 2 * folds)
    all_ = run_baseline(folder, prepare__folds=folds)
    monkeypatch.setattr(baselines, "MOST_CELLS", n * 2 * folds - 1)
    few = run_baseline(folder, prepare__folds=folds)
    assert all_["gradient_boosting"]["n_train"] == n
    assert few["logistic_regression"]["chosen"] in {"C=1", "C=100"}
    said = f"gradient boosting is left out: {n} rows of 2 classes would take long"
    said += {1: "", 2: " in 2 folds"}[folds]
    assert few["gradient_boosting"] == {"left_out": said}
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert list(read_probabilities(Path("data/baseline/test.parquet"))) == ["logistic_regression"]


def test_a_class_that_no_training_row_has_is_never_said() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((60, 2)).astype(np.float32)
    train = split_of(features, np.where(features[:, 0] > 0, 2, 0), -1)
    val = split_of(features, np.where(np.arange(60) % 9, train.target, 1), 0)
    for name in get_args(BaselineName):
        fitted = fit(name, train, val, 3, balanced=True)
        assert isinstance(fitted, Baseline)
        found = fitted.predict(features)
        assert found.shape == (60, 3)
        assert (found[:, 1] == 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert (found.argmax(axis=1) == train.target).mean() > 0.9
    alone = split_of(features, np.full(60, 2), -1)
    fitted = fit("gradient_boosting", alone, val, 3, balanced=False)
    assert isinstance(fitted, Baseline)
    assert fitted.predict(features).tolist() == [[0, 0, 1]] * 60


def test_more_rows_than_allowed_are_drawn_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table("linear", 500)
    reports = run_baseline(folder, baseline__max_rows=100, prepare__folds=3)
    said = "fitted to 100 of the 400 training rows: baseline.max_rows"
    assert said in capsys.readouterr().out
    for found in read_probabilities(Path("data/baseline/val.parquet")).values():
        assert found.shape == (400, 2)
    assert [report["n_train"] for report in reports.values()] == [100, 100]


def test_another_number_of_threads_changes_no_byte(project: Project) -> None:
    before = project.contents("data/baseline/*.parquet", "reports/baseline.json")
    assert len(before) == 3
    subprocess.run(
        [sys.executable, "-m", "stages.baseline"],
        cwd=project.path,
        env={**project.env, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"},
        check=True,
    )
    assert project.contents("data/baseline/*.parquet", "reports/baseline.json") == before
    assert os.environ.get("OMP_NUM_THREADS") != "3"


def two_models(
    n: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return classes, and two models' probabilities, whose errors go together."""
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 2, n)
    shared = generator.normal(size=n)
    found = []
    for skill in (1.0, 0.7):
        logits = skill * (2 * target - 1) + shared + 0.7 * generator.normal(size=n)
        yes = 1 / (1 + np.exp(-logits))
        found.append(np.column_stack([1 - yes, yes]))
    return target, found[0], found[1]


def compared(
    target: npt.NDArray[np.int64],
    ours: npt.NDArray[np.float64],
    theirs: npt.NDArray[np.float64],
    confidence: float,
) -> Comparison:
    network, model = (Answers(target, one, Decision(1)) for one in (ours, theirs))
    return compare(network, model, confidence)


def test_paired_intervals_are_those_of_scipy() -> None:
    target, ours, theirs = two_models(80, 0)
    found = compared(target, ours, theirs, 0.9)
    network, model = (Answers(target, one, Decision()) for one in (ours, theirs))
    differences = {
        "accuracy_difference": network.is_right * 1.0 - model.is_right,
        "log_loss_difference": network.log_losses() - model.log_losses(),
    }
    for name, values in differences.items():
        expected = bootstrap_of_scipy(values, np.mean, 0.9)
        assert getattr(found, name) == pytest.approx(values.mean())
        interval = getattr(found, f"{name}_interval")
        assert (interval.low, interval.high) == pytest.approx(expected)


def in_words(
    target: npt.NDArray[np.int64], ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]
) -> str:
    network = evaluated(Answers(target, ours, Decision(1)), 0, 0.95)
    comparison = compared(target, ours, theirs, 0.95)
    return comparison_in_words("a_model", comparison, network, 0.95)


def test_better_and_worse_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    target, ours, theirs = two_models(1000, 2)
    better = in_words(target, ours, theirs)
    assert better.startswith("a model has accuracy 0.")
    assert better.endswith("on these 1000 rows the network is better")
    assert in_words(target, theirs, ours).endswith("the network is worse")
    assert in_words(target, ours, ours).endswith("the network is not to be told apart from it")
    # As sure of its errors as of the rest.
    sharp = ours**8 / (ours**8).sum(axis=1, keepdims=True)
    split = in_words(target, ours, sharp)
    assert split.endswith("is not to be told apart from it by accuracy, and better by log loss")


@pytest.mark.parametrize(("wins", "is_better"), [(4, False), (5, False), (6, True)])
def test_few_rows_that_differ_do_not_tell_accuracies_apart(wins: int, *, is_better: bool) -> None:
    target = np.zeros(100, np.int64)
    ours = np.column_stack([np.full(100, 0.51), np.full(100, 0.49)])
    theirs = ours.copy()
    theirs[:wins] = theirs[:wins, ::-1]
    found = compared(target, ours, theirs, 0.95)
    # McNemar's exact test by hand: as many of as many coins fall on one side.
    assert found.accuracy_p_value == pytest.approx(2 / 2**wins)
    assert found.accuracy_difference_interval is not None
    assert found.accuracy_difference_interval.low > 0
    said = in_words(target, ours, theirs)
    assert ("not to be told apart" in said) == (not is_better)
