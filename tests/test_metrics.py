"""What metrics.json holds agrees with other libraries, and says how sure it is."""

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from classifier.evaluation import bootstrap as bootstrap_module
from classifier.evaluation.answers import Answers, Decision
from classifier.evaluation.bootstrap import SEED, Counts, resampled_scores
from classifier.evaluation.evaluated import Evaluated
from classifier.evaluation.metrics import (
    expected_calibration_error,
    measure,
    of_each_class,
    reliability,
    score,
    wilson_interval,
)
from classifier.evaluation.words import in_words
from tests.conftest import Project
from tests.in_process import run_stages


def some_predictions(
    n: int, n_classes: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return classes and predicted probabilities that go with them more often than not."""
    generator = np.random.default_rng(seed)
    target = generator.integers(0, n_classes, n)
    logits = generator.normal(size=(n, n_classes)) + 2 * np.eye(n_classes)[target]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return target, probabilities


def bootstrap_of_scipy(
    values: npt.NDArray[Any], statistic: Callable[..., object], confidence: float
) -> tuple[float, float]:
    """Return scipy's interval from the very resamples that ours draws."""
    found = stats.bootstrap(
        (values,),
        statistic,
        n_resamples=bootstrap_module.RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return found.low, found.high


def answers_of(n: int, n_classes: int, seed: int) -> Answers:
    target, probabilities = some_predictions(n, n_classes, seed)
    # Coarse, so that some scores are equal.
    probabilities = probabilities.round(1) + 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Answers(target, probabilities, Decision(1 if n_classes == 2 else None))


SCORES: dict[str, Callable[[Answers], float]] = {
    "balanced_accuracy": lambda one: balanced_accuracy_score(one.target, one.predicted),
    "macro_f1": lambda one: f1_score(one.target, one.predicted, average="macro"),
    "matthews_correlation": lambda one: matthews_corrcoef(one.target, one.predicted),
    "log_loss": lambda one: log_loss(one.target, one.probabilities, labels=range(one.n_classes)),
    "brier_score": lambda one: brier_score_loss(
        one.target, one.probabilities, labels=range(one.n_classes)
    ),
    "roc_auc": lambda one: mean_over_classes(one, roc_auc_score),
    "average_precision": lambda one: mean_over_classes(one, average_precision_score),
}


def mean_over_classes(answers: Answers, metric: Callable[..., float]) -> float:
    """Return the mean over the classes that some rows are of and others are not."""
    found = [
        metric(answers.target == index, answers.probabilities[:, index])
        for index in answers.ranked
        if 0 < (answers.target == index).sum() < len(answers.target)
    ]
    return float(np.mean(found)) if found else math.nan


@given(n=st.integers(10, 40), n_classes=st.integers(2, 5), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_scores_of_resamples_are_those_of_scikit_learn(n: int, n_classes: int, seed: int) -> None:
    answers = answers_of(n, n_classes, seed)
    rows = np.random.default_rng(seed).integers(0, n, (3, n))
    counts = np.array([np.bincount(of_one, minlength=n) for of_one in rows], np.float64)
    found = resampled_scores(answers)(counts)
    assert list(found) == list(SCORES)
    for index, of_one in enumerate(rows):
        resample = Answers(answers.target[of_one], answers.probabilities[of_one], answers.decision)
        # Of a class that is absent, average precision is none, but scikit-learn's of a class that
        # all rows are of is 1.
        if len(np.unique(resample.target)) < 2:
            continue
        with warnings.catch_warnings(action="ignore"):
            for name, metric in SCORES.items():
                assert found[name][index] == pytest.approx(metric(resample), rel=1e-9), name


@pytest.mark.parametrize("confidence", [0.95, 0.6])
def test_bootstrap_intervals_are_those_of_scipy(confidence: float) -> None:
    answers = answers_of(60, 3, 5)
    metrics = measure(answers, ["a", "b", "c"], 0, confidence)
    assert metrics.undefined == {}
    # That all scores of resamples are scikit-learn's, the test above shows.
    expected = bootstrap_of_scipy(answers.log_losses(), np.mean, confidence)
    found = metrics.log_loss_interval
    assert found is not None
    # Means and quantiles are rounded in another order.
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_what_the_test_rows_say_nothing_of_is_null_with_the_reason() -> None:
    target = np.array([0, 0, 1, 1, 0])
    probabilities = np.array([[0.6, 0.3, 0.1]] * 3 + [[0.2, 0.7, 0.1]] * 2)
    metrics = measure(Answers(target, probabilities, Decision()), ["a", "b", "c"], 0, 0.95)
    nothing = {"balanced_accuracy", "roc_auc", "average_precision"}
    assert metrics.undefined == dict.fromkeys(
        sorted(nothing, key=list(metrics.model_dump()).index), "no test row is of class 'c'"
    )
    for name, value in metrics.model_dump().items():
        assert (value is None) == (name.removesuffix("_interval") in nothing), name
    assert metrics.classes["c"].roc_auc is None
    assert metrics.classes["a"].roc_auc is not None
    written = json.loads(metrics.model_dump_json(), parse_constant=pytest.fail)
    assert written["roc_auc"] is None

    one_class = Answers(np.zeros(5, np.int64), np.array([[0.6, 0.4]] * 5), Decision(1))
    metrics = measure(one_class, ["a", "b"], 0, 0.95)
    assert set(metrics.undefined) == nothing
    assert metrics.accuracy == 1
    json.loads(metrics.model_dump_json(), parse_constant=pytest.fail)


def test_the_interval_does_not_depend_on_how_many_rows_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(1).normal(size=50)
    sizes = []

    def mean(counts: Counts) -> dict[str, npt.NDArray[np.float64]]:
        sizes.append(counts.size)
        return {"mean": (counts * values).sum(axis=1) / 50}

    def interval() -> object:
        return bootstrap_module.bootstrap_intervals(mean, 50, 0.95)

    whole = interval()
    sizes.clear()
    monkeypatch.setattr(bootstrap_module, "ROWS_AT_ONCE", 333)
    assert interval() == whole
    # The first is of the rows themselves.
    assert max(sizes[1:]) <= 333
    monkeypatch.setattr(bootstrap_module, "ROWS_AT_ONCE", 1)
    assert interval() == whole


def of_predicted(answers: Answers) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    probabilities = answers.probabilities
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == answers.target


def test_calibration_of_a_few_rows_by_hand() -> None:
    # One row says 0.8 and is right, one says 0.75 and is not: a bin holds its upper end. Two say 1
    # and are right, and so is the one that says 0.51.
    probabilities = np.array([[0.8, 0.2], [0.75, 0.25], [1.0, 0.0], [0.0, 1.0], [0.49, 0.51]])
    answers = Answers(np.array([0, 1, 0, 1, 1]), probabilities, Decision(1))
    bins = reliability(answers, ["no", "yes"], 0.95)
    assert bins[["of", "confidence", "accuracy", "n_test"]].to_numpy().tolist() == [
        ["predicted class", 0.51, 1.0, 1],
        ["predicted class", 0.775, 0.5, 2],
        ["predicted class", 1.0, 1.0, 2],
        # And the first holds 0, which is said of a yes.
        ["class yes", 0.0, 0.0, 1],
        ["class yes", 0.2, 0.0, 1],
        ["class yes", 0.25, 1.0, 1],
        ["class yes", 0.51, 1.0, 1],
        ["class yes", 1.0, 1.0, 1],
    ]
    of_five = (0.49 * 1 + 0.275 * 2 + 0 * 2) / 5
    assert expected_calibration_error(*of_predicted(answers)) == pytest.approx(of_five)
    # Wilson's interval of one of two.
    assert (bins["low"][1], bins["high"][1]) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    without_positive = reliability(replace(answers, decision=Decision()), ["no", "yes"], 0.95)
    assert set(without_positive["of"]) == {"predicted class"}


@given(n=st.integers(1, 60), n_classes=st.integers(2, 5), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_classwise_calibration_error_is_that_of_kull(n: int, n_classes: int, seed: int) -> None:
    answers = answers_of(n, n_classes, seed)
    errors = []
    for index in answers.ranked:
        gaps: dict[int, float] = defaultdict(float)
        for said, actual in zip(answers.probabilities[:, index], answers.target, strict=True):
            bin_ = next(number for number in range(1, 11) if said <= 0.1 * number)
            gaps[bin_] += said - (actual == index)
        errors.append(sum(map(abs, gaps.values())) / n)
    found = score(answers)
    assert found.classwise_calibration_error == pytest.approx(sum(errors) / len(errors))
    of_classes = of_each_class(answers)
    assert [of_classes[index].calibration_error for index in answers.ranked] == pytest.approx(
        errors
    )


@pytest.mark.parametrize(
    ("n_right", "majority_class", "expected"),
    [
        (28, 1, "has 0.333: the model is better than that"),
        (12, 1, "has 0.333: on these rows the model cannot be told from that"),
        (0, 0, "has 0.667: the model is worse than that"),
    ],
)
def test_the_accuracy_is_compared_with_a_constant_answer_in_words(
    n_right: int, majority_class: int, expected: str
) -> None:
    target = np.array([0] * 20 + [1] * 10)
    answers = np.where(np.arange(30) < n_right, target, 1 - target)
    found = Answers(target, np.eye(2)[answers] * 0.8 + 0.1, Decision(1))
    metrics = evaluated(found, majority_class, 0.995)
    said = in_words(metrics, "ab"[majority_class], 0.995)
    assert said.endswith(expected)
    interval = wilson_interval(n_right, 30, 0.995)
    assert f": {n_right} of 30 test rows are right; 99.5% interval {interval}; always" in said
    assert f"always answering '{'ab'[majority_class]}', the commonest class" in said


def test_a_threshold_is_judged_by_balanced_accuracy() -> None:
    target = np.array([0] * 90 + [1] * 10)
    yes = np.where(target == 1, 0.4, np.where(np.arange(100) < 20, 0.35, 0.1))
    probabilities = np.column_stack([1 - yes, yes])
    metrics = evaluated(Answers(target, probabilities, Decision(1, 0.3)), 0, 0.95)
    assert metrics.accuracy == 0.8 < metrics.majority_class_accuracy
    said = in_words(metrics, "a", 0.95)
    assert "balanced accuracy 0.889" in said
    assert said.endswith("where a constant answer has 0.5: the model is better than that")


def test_one_test_row_has_no_bootstrap_intervals() -> None:
    metrics = evaluated(Answers(np.array([0]), np.array([[0.9, 0.1]]), Decision(1)), 0, 0.95)
    assert metrics.log_loss_interval is None
    assert metrics.accuracy_interval.low < 1 == metrics.accuracy_interval.high
    assert "on these rows the model cannot be told from that" in in_words(metrics, "a", 0.95)


def evaluated(answers: Answers, majority_class: int, confidence: float) -> Evaluated:
    return Evaluated(
        **measure(answers, ["a", "b"], majority_class, confidence).model_dump(),
        positive_class="b",
        threshold=answers.decision.threshold,
        temperature=1,
        uncalibrated=None,
        baselines={},
        slices={},
    )


def test_evaluate_measures_against_the_commonest_class_of_the_training_rows(
    project: Project,
) -> None:
    # Without most of setosa and virginica, versicolor is the commonest class.
    table = pd.read_csv(project.path / "data/iris.csv")
    table[25:125].to_csv(project.path / "data/uneven.csv", index=False)
    project.set_params(prepare__data="data/uneven.csv")
    output = run_stages(project.path, "prepare", "train", "baseline", "evaluate")
    metrics = json.loads((project.path / "metrics.json").read_text())
    predictions = pd.read_csv(project.path / "reports/predictions.csv")
    assert metrics["majority_class_accuracy"] == (predictions["actual"] == "versicolor").mean()
    assert "always answering 'versicolor', the commonest class of the training rows" in output
