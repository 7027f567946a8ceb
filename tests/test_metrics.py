"""What metrics.json holds agrees with other libraries, and says how sure it is."""

import json
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, log_loss

from classifier.evaluation import metrics as metrics_module
from classifier.evaluation.calibration import (
    expected_calibration_error,
    reliability,
    wilson_interval,
)
from classifier.evaluation.metrics import (
    RESAMPLES,
    SEED,
    bootstrap_interval,
    in_words,
    log_losses,
    macro_f1,
    measure,
)
from tests.conftest import Project
from tests.in_process import run_stages

CONFIDENCE = st.floats(0.5, 0.999)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1), confidence=CONFIDENCE)
def test_the_interval_of_a_proportion_is_wilsons(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    low, high = wilson_interval(successes, n, confidence)
    # Its ends are the proportions from which the one found is just as far as the confidence allows.
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for end in (low, high):
        distance = (successes / n - end) ** 2
        # To the rounding of the quadratic equation that they solve.
        assert distance == pytest.approx(z**2 * end * (1 - end) / n, rel=1e-6, abs=1e-12)
    assert low <= successes / n <= high


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
    data: tuple[npt.NDArray[Any], ...], statistic: Callable[..., object], confidence: float
) -> tuple[float, float]:
    """Return scipy's interval from the very resamples that ours draws."""
    found = stats.bootstrap(
        data,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        paired=len(data) > 1,
        vectorized=False,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return found.low, found.high


@given(
    n=st.integers(2, 40),
    n_classes=st.integers(2, 5),
    seed=st.integers(0, 1000),
    confidence=CONFIDENCE,
)
@settings(max_examples=2, deadline=None)
def test_bootstrap_intervals_are_those_of_scipy(
    n: int, n_classes: int, seed: int, confidence: float
) -> None:
    target, probabilities = some_predictions(n, n_classes, seed)
    predicted = probabilities.argmax(axis=1)
    classes = [str(index) for index in range(n_classes)]
    metrics = measure(target, probabilities, classes, 0, confidence)

    losses = bootstrap_of_scipy((log_losses(target, probabilities),), np.mean, confidence)
    ours = metrics.log_loss_interval
    # Means and quantiles are rounded in another order.
    assert (ours.low, ours.high) == pytest.approx(losses, rel=1e-9)

    def macro_f1_of_scikit_learn(
        target: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]
    ) -> float:
        return float(f1_score(target, predicted, average="macro"))

    f1s = bootstrap_of_scipy((target, predicted), macro_f1_of_scikit_learn, confidence)
    ours = metrics.macro_f1_interval
    assert (ours.low, ours.high) == pytest.approx(f1s, rel=1e-9)


def test_the_interval_does_not_depend_on_how_many_rows_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(1).normal(size=50)
    sizes = []

    def mean(resamples: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        sizes.append(resamples.size)
        means: npt.NDArray[np.float64] = resamples.mean(axis=axis)
        return means

    whole = bootstrap_interval(mean, (values,), 0.95)
    monkeypatch.setattr(metrics_module, "ROWS_AT_ONCE", 333)
    assert bootstrap_interval(mean, (values,), 0.95) == whole
    assert max(sizes[1:]) <= 333
    monkeypatch.setattr(metrics_module, "ROWS_AT_ONCE", 1)
    assert bootstrap_interval(mean, (values,), 0.95) == whole


def test_the_bootstrap_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        values = generator.exponential(size=100)
        found = bootstrap_interval(np.mean, (values,), 0.9)
        held += found.low <= 1 <= found.high
    # Four standard deviations of a binomial count around 180.
    assert abs(held - 180) <= 4 * math.sqrt(200 * 0.9 * 0.1)


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30),
)
def test_macro_f1_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    target, predicted = np.array(rows).T
    assert macro_f1(target, predicted) == pytest.approx(
        f1_score(target, predicted, average="macro"), rel=1e-12
    )


@given(n=st.integers(2, 50), n_classes=st.integers(2, 6), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_numbers_lie_within_their_intervals(n: int, n_classes: int, seed: int) -> None:
    target, probabilities = some_predictions(n, n_classes, seed)
    classes = [str(index) for index in range(n_classes)]
    metrics = measure(target, probabilities, classes, 0, 0.95)
    assert metrics.accuracy_interval.low <= metrics.accuracy <= metrics.accuracy_interval.high
    assert metrics.log_loss == pytest.approx(log_losses(target, probabilities).mean())
    assert metrics.log_loss == pytest.approx(
        log_loss(target, probabilities, labels=range(n_classes))
    )
    # Rounding: where all rows are alike, an interval is one point.
    low, high = metrics.log_loss_interval.low, metrics.log_loss_interval.high
    assert low * (1 - 1e-12) <= metrics.log_loss <= high * (1 + 1e-12)
    assert 0 <= metrics.macro_f1_interval.low <= metrics.macro_f1_interval.high <= 1
    assert 0 <= metrics.expected_calibration_error <= 1


def test_calibration_of_a_few_rows_by_hand() -> None:
    # One row says 0.8 and is right, one says 0.75 and is not: a bin holds its upper end. Two say 1
    # and are right, and so is the one that says 0.51.
    probabilities = np.array([[0.8, 0.2], [0.75, 0.25], [1.0, 0.0], [0.0, 1.0], [0.49, 0.51]])
    target = np.array([0, 1, 0, 1, 1])
    bins = reliability(target, probabilities, 0.95)
    assert bins[["confidence", "accuracy", "n_test"]].to_numpy().tolist() == [
        [0.51, 1.0, 1],
        [0.775, 0.5, 2],
        [1.0, 1.0, 2],
    ]
    assert expected_calibration_error(bins) == pytest.approx((0.49 * 1 + 0.275 * 2 + 0 * 2) / 5)
    half = wilson_interval(1, 2, 0.95)
    assert (bins["low"][1], bins["high"][1]) == half


def test_right_as_often_as_said_is_calibrated_and_overconfidence_is_not() -> None:
    generator = np.random.default_rng(3)
    first = generator.uniform(size=200_000)
    probabilities = np.column_stack([first, 1 - first])
    target = (generator.uniform(size=len(first)) > first).astype(np.int64)
    calibrated = expected_calibration_error(reliability(target, probabilities, 0.95))
    # Chance alone: each of the 5 bins is off by about 0.4 standard errors of 40,000 rows.
    assert calibrated < 0.005
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(reliability(target, sharpened, 0.95)) > 0.1


@pytest.mark.parametrize(
    ("n_right", "majority_class", "expected"),
    [
        (
            28,
            1,
            "28 of 30 test rows are right; 95% interval 0.787 to 0.982; always answering 'b', ",
        ),
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
    metrics = measure(target, np.eye(2)[answers] * 0.8 + 0.1, ["a", "b"], majority_class, 0.95)
    assert expected in in_words(metrics, "ab"[majority_class], 0.95)


def test_the_interval_is_named_by_its_confidence() -> None:
    metrics = measure(np.array([0, 1]), np.eye(2), ["a", "b"], 0, 0.995)
    assert "; 99.5% interval" in in_words(metrics, "a", 0.995)


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
    bins = pd.read_csv(project.path / "reports/reliability.csv")
    assert bins["n_test"].sum() == metrics["n_test"]
    gaps = (bins["accuracy"] - bins["confidence"]).abs() * bins["n_test"]
    assert metrics["expected_calibration_error"] == pytest.approx(gaps.sum() / metrics["n_test"])
