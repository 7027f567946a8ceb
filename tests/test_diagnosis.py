"""The verdict on a training run: on curves made by hand, and on runs known to be of a kind."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.metrics import log_loss

from classifier.network.model import Task
from classifier.training.folds import Fold
from classifier.training.loop import train
from classifier.training.run import start_run
from classifier.training.step import Rows
from classifier.training.training_report import training_report_of
from classifier.verdict import (
    TrainingReport,
    baseline_loss,
    diagnose,
    what_happened,
    what_to_do,
)
from stages.train import main as train_main
from tests.conftest import REPOSITORY
from tests.in_process import run_prepare
from tests.test_prepare import mixed_table
from tests.test_resume import make_params

BASELINE = math.log(3)


def verdict(train_losses: list[float], val_losses: list[float], n_val: int = 100) -> str:
    best = val_losses.index(min(val_losses))
    return diagnose(train_losses, val_losses, best, n_val, BASELINE).verdict


def fall(n: int, start: float, end: float) -> list[float]:
    """Return losses that come down from `start` and level off at `end`."""
    return [end + (start - end) * math.exp(-8 * i / n) for i in range(n)]


def noise(n: int, size: float, seed: int = 0) -> npt.NDArray[np.float64]:
    chance = random.Random(seed)
    return np.array([chance.gauss(0, size) for _ in range(n)])


@pytest.mark.parametrize(
    ("train_losses", "val_losses", "expected"),
    [
        # Val loss turns, train loss goes on falling.
        ([1.0, 0.5, 0.3, 0.2, 0.1], [1.0, 0.6, 0.7, 0.8, 0.9], "overfitting"),
        ([0.9, 0.5, 0.1], [0.9, 1.2, 1.9], "overfitting"),
        # The same, but the rise is too small to see, or a single bad evaluation at the end.
        ([1.0, 0.5, 0.3, 0.2, 0.1], [1.0, 0.6, 0.601, 0.602, 0.603], "converged"),
        ([1.0, *[0.5] * 9, 0.4], [1.0, 0.6, *[0.601] * 8, 0.9], "converged"),
        # Not even its best is better than the baseline, and it does fit the training rows.
        ([1.1, 0.5, 0.1], [1.1, 1.3, 2.0], "overfitting"),
        # Nothing moves.
        ([1.1] * 5, [1.1] * 5, "not_learning"),
        ([5.0, 4.0, 3.0], [5.0, 4.0, 3.0], "not_learning"),
        # Both get worse together.
        ([0.5, 0.3, 0.6, 0.9], [0.6, 0.4, 0.7, 1.0], "unstable"),
        ([2.0, 3.0, 4.0], [2.0, 3.0, 4.0], "not_learning"),
        # The best is the last, and by how much.
        ([0.9, 0.7, 0.5], [0.9, 0.7, 0.5], "still_improving"),
        ([0.5, 0.5, 0.5], [0.5, 0.4999, 0.4998], "converged"),
        (fall(50, 1.0, 0.1), fall(50, 1.0, 0.2), "converged"),
        (fall(50, 1.0, 0.1)[:20], fall(50, 1.0, 0.2)[:20], "still_improving"),
        # It halves, but there is nothing left to gain.
        ([1.0, 0.002, 0.001], [1.0, 0.002, 0.001], "converged"),
        # One evaluation.
        ([0.5], [0.5], "still_improving"),
        ([1.2], [1.2], "not_learning"),
        ([0.001], [0.001], "converged"),
        # Two.
        ([0.5, 0.5], [0.5, 0.5], "converged"),
        ([0.5, 0.4], [0.5, 0.6], "overfitting"),
    ],
)
def test_curves_made_by_hand(
    train_losses: list[float], val_losses: list[float], expected: str
) -> None:
    assert verdict(train_losses, val_losses) == expected


@pytest.mark.parametrize("size", [0.005, 0.02, 0.05])
def test_noise_alone_is_seldom_taken_for_overfitting(size: float) -> None:
    verdicts = [
        verdict(
            list(fall(100, 1.0, 0.3) + noise(100, size / 2, seed)),
            list(fall(100, 1.0, 0.5) + noise(100, size, 1000 + seed)),
        )
        for seed in range(200)
    ]
    # One in 20, as for a usual test of significance.
    assert verdicts.count("overfitting") <= 10


@pytest.mark.parametrize("size", [0.005, 0.02])
def test_overfitting_is_seen_through_noise(size: float) -> None:
    rise = np.maximum(0, np.linspace(-0.2, 0.3, 100))
    verdicts = [
        verdict(
            list(fall(100, 1.0, 0.1) - np.linspace(0, 0.05, 100)),
            list(fall(100, 1.0, 0.5) + rise + noise(100, size, seed)),
        )
        for seed in range(50)
    ]
    assert set(verdicts) == {"overfitting"}


def test_the_more_rows_the_smaller_a_difference_from_the_baseline_counts() -> None:
    losses = [BASELINE, BASELINE - 0.01]
    assert verdict(losses, losses, n_val=100) == "not_learning"
    assert verdict(losses, losses, n_val=1000) != "not_learning"


LOSSES = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=50)


@given(losses=LOSSES, data=st.data())
def test_any_losses_get_a_verdict_and_advice(
    losses: list[tuple[float, float]], data: st.DataObject
) -> None:
    train_losses, val_losses = map(list, zip(*losses, strict=True))
    best = data.draw(st.integers(0, len(losses) - 1))
    diagnosis = diagnose(train_losses, val_losses, best, 30, BASELINE)
    assert diagnosis.val_loss_rise == val_losses[-1] - val_losses[best]
    assert diagnosis.generalisation_gap_at_best == val_losses[best] - train_losses[best]
    assert diagnosis.generalisation_gap_at_end == val_losses[-1] - train_losses[-1]
    report = TrainingReport(
        **diagnosis.model_dump(),
        best_epoch=best + 1,
        best_val_loss=val_losses[best],
        train_loss_at_best_epoch=train_losses[best],
        epochs_run=len(losses),
        stop_reason=data.draw(st.sampled_from(["early_stopping", "max_epochs"])),
        threads=1,
        temperature=1.0,
    )
    assert what_happened(report).endswith(".")
    assert what_to_do(report).endswith(".")


@given(
    train_target=st.lists(st.integers(0, 3), min_size=1),
    val_target=st.lists(st.integers(0, 3), min_size=1),
    weights=st.none() | st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
)
def test_the_baseline_is_that_of_scikit_learn(
    train_target: list[int], val_target: list[int], weights: list[float] | None
) -> None:
    train, val = np.array([*train_target, 0, 1, 2, 3]), np.array(val_target)
    by_class = np.ones(4) if weights is None else np.array(weights)
    dummy = DummyClassifier(strategy="prior").fit(train, train, sample_weight=by_class[train])
    expected = log_loss(val, dummy.predict_proba(val), labels=range(4), sample_weight=by_class[val])
    train_counts, val_counts = (np.bincount(target, minlength=4) for target in (train, val))
    found = baseline_loss(train_counts.tolist(), val_counts.tolist(), weights)
    # Sums in another order.
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_baseline_of_a_class_without_training_rows_is_finite() -> None:
    assert 1 < baseline_loss([2, 1, 0], [1, 1, 1]) < 40


def blobs(n: int, noisy_labels: float, seed: int) -> Rows:
    """Return points around three centers, some of them labelled at random."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (n,), generator=generator)
    centers = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    features = centers[target] + torch.randn(n, 2, generator=generator)
    at_random = torch.rand(n, generator=generator) < noisy_labels
    target[at_random] = torch.randint(0, 3, (int(at_random.sum()),), generator=generator)
    return Rows(features, target)


def report_of_a_run(train_rows: Rows, val_rows: Rows, **params: object) -> TrainingReport:
    quick: dict[str, Any] = {"optimizer": "adam", "lr": 0.01, "eval_every": 10, "patience": 1000}
    checked = make_params(**(quick | params))
    torch.set_num_threads(1)
    run = start_run(checked, Task(2, 3), Fold(train_rows, val_rows))
    list(train([run], checked))
    return training_report_of([run], checked, threads=1)


@pytest.mark.parametrize(
    ("rows", "noisy_labels", "params", "expected"),
    [
        # A large network and a few rows, with noisy labels and with nothing but noise.
        (40, 0.4, {"hidden": [128], "max_epochs": 300}, "overfitting"),
        (40, 1.0, {"hidden": [128], "max_epochs": 300}, "overfitting"),
        # A learning rate that is far too low.
        (200, 0.1, {"hidden": [16], "lr": 1e-6, "max_epochs": 200}, "not_learning"),
        # A linear model on many rows of pure noise has nothing to learn, by heart or otherwise.
        (2000, 1.0, {"hidden": [], "max_epochs": 300}, "not_learning"),
        # Cut off early; with time.
        (2000, 0.1, {"hidden": [8], "max_epochs": 50}, "still_improving"),
        (2000, 0.1, {"hidden": [8], "max_epochs": 600}, "converged"),
    ],
)
def test_runs_known_to_be_of_a_kind(
    rows: int, noisy_labels: float, params: dict[str, Any], expected: str
) -> None:
    for seed in (1, 2, 3):
        train_rows, val_rows = blobs(rows, noisy_labels, seed), blobs(200, noisy_labels, 100 + seed)
        report = report_of_a_run(train_rows, val_rows, seed=seed, **params)
        assert report.verdict == expected, seed


def test_a_run_that_early_stopping_cut_short_is_told_so() -> None:
    report = report_of_a_run(
        blobs(2000, 0.1, 1), blobs(200, 0.1, 2), max_epochs=600, patience=3, min_delta=0.1
    )
    assert (report.verdict, report.stop_reason) == ("still_improving", "early_stopping")
    assert "raise train.patience or lower train.min_delta" in what_to_do(report)


def test_the_default_run_overfits_a_little_after_its_best_epoch() -> None:
    losses = pd.read_csv(REPOSITORY / "reports/losses.csv")
    assert verdict(list(losses["train_loss"]), list(losses["val_loss"]), 30) == "overfitting"
    # Had it stopped soon after the best epoch, nobody would have said so.
    soon = losses[losses["epoch"] <= 12000]
    assert verdict(list(soon["train_loss"]), list(soon["val_loss"]), 30) == "converged"


def test_train_says_it_and_the_report_holds_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = blobs(100, 0.5, 7)
    table = pd.DataFrame(rows.features.numpy(), columns=["x", "y"])
    table["label"] = [f"class {index}" for index in rows.target]
    table.to_csv("noisy.csv", index=False)
    quick = {"train__optimizer": "adam", "train__lr": 0.02, "train__max_epochs": 500}
    run_prepare(folder, "noisy.csv", "label", train__hidden=[128], train__eval_every=10, **quick)
    train_main()
    output = capsys.readouterr().out
    report = json.loads(Path("reports/training.json").read_text())
    losses = pd.read_csv("reports/losses.csv")
    assert list(losses) == ["epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    assert list(losses["epoch"]) == list(range(10, 501, 10))
    best, last = losses.loc[losses["val_loss"].idxmin()], losses.iloc[-1]
    assert report["best_epoch"] == best["epoch"]
    assert report["best_val_loss"] == best["val_loss"]
    assert report["train_loss_at_best_epoch"] == best["train_loss"]
    assert (report["epochs_run"], report["stop_reason"]) == (500, "max_epochs")
    assert report["verdict"] == "overfitting"
    assert report["val_loss_rise"] == last["val_loss"] - best["val_loss"]
    assert report["generalisation_gap_at_best"] == best["val_loss"] - best["train_loss"]
    assert report["generalisation_gap_at_end"] == last["val_loss"] - last["train_loss"]
    assert report["n_evaluations"] == len(losses)
    assert f"Overfitting: after epoch {best['epoch']:.0f} the validation loss rose from " in output
    assert f"from {best['val_loss']:#.4g} to {last['val_loss']:#.4g}" in output
    assert f"from {best['train_loss']:#.4g} to {last['train_loss']:#.4g}" in output
    assert "train.dropout" in output


def test_the_last_evaluation_weighs_the_classes_as_all_do(folder: Path) -> None:
    mixed_table().to_csv("t.csv", index=False)

    def last_losses(eval_every: int) -> list[float]:
        values = {"train__class_weights": "balanced", "train__max_epochs": 7}
        run_prepare(folder, "t.csv", "y", **values, train__eval_every=eval_every)
        train_main()
        return [float(loss) for loss in pd.read_csv("reports/losses.csv").iloc[-1]]

    # The last epoch is evaluated out of turn, or in turn.
    assert last_losses(eval_every=5) == last_losses(eval_every=7)
