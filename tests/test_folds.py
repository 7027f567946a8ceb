"""Networks that each leave out another part of the rows train side by side."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.io.user_error import UserError
from classifier.network.layers import N_BINS
from classifier.network.model import Task, load_networks
from classifier.resuming.checkpoint import remember_first_stop, restore, training_to_bytes
from classifier.resuming.resume import is_of_a_longer_run
from classifier.resuming.saved_state import SavedState
from classifier.training.folds import Fold
from classifier.training.loop import train
from classifier.training.run import Run, Training, seeds_of_networks, start_run, start_runs
from classifier.training.side_by_side import Stack
from classifier.training.train_params import TrainParams
from tests.conftest import REPOSITORY
from tests.in_process import prepared, prepared_schema, run_predict, run_stages, write_params
from tests.test_resume import CHOICES, make_params, some_rows

TASK = Task(n_features=4, n_classes=3, numbers=(0, 1, 3))
EDGES = torch.linspace(-2, 2, N_BINS + 1).repeat(3, 1)

FOLD = torch.tensor([number * number % 11 % 3 for number in range(40)])
"""Of unequal size."""


def make_folds(fold: torch.Tensor) -> list[Fold]:
    rows = some_rows(len(fold), 1)
    return [
        Fold(rows.choose(fold != number), rows.choose(fold == number))
        for number in range(int(fold.max()) + 1)
    ]


FOLDS = make_folds(FOLD)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    # As `train` chooses for networks of this size.
    torch.set_num_threads(1)


def start(params: TrainParams, folds: Sequence[Fold] = FOLDS) -> Training:
    seeds = seeds_of_networks(params.seed, len(folds))
    return Training(start_runs(params, seeds, TASK, folds, EDGES))


def go_on(training: Training, params: TrainParams, n: int | None = None) -> None:
    """Train for so many batches and evaluations, None for all, as the stage does."""
    for is_evaluated in islice(train(training.runs, params), n):
        if is_evaluated:
            remember_first_stop(training, params)


@given(values=CHOICES, cuts=st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=12, deadline=None)
def test_training_cut_off_anywhere_ends_in_the_same_bytes(
    values: dict[str, Any], cuts: list[int]
) -> None:
    params = make_params(**values)
    undisturbed = start(params)
    go_on(undisturbed, params)

    training = start(params)
    for cut in cuts:
        go_on(training, params, cut)
        saved = training_to_bytes(training)
        torch.manual_seed(99)
        training = start(params)
        restore(training, saved)
    go_on(training, params)
    assert training_to_bytes(training) == training_to_bytes(undisturbed)


@given(
    values=CHOICES,
    before=st.tuples(st.integers(1, 15), st.integers(1, 2)),
    more=st.tuples(st.integers(0, 8), st.integers(0, 2)),
    cut=st.none() | st.integers(0, 40),
)
@settings(max_examples=12, deadline=None)
def test_longer_training_is_the_same_from_scratch_and_from_a_shorter_one(
    values: dict[str, Any], before: tuple[int, int], more: tuple[int, int], cut: int | None
) -> None:
    # So that networks stop, each at another epoch.
    values = values | {"lr": 0.1, "eval_every": 1 + values["eval_every"] // 4}
    shorter, longer = (
        make_params(**values | {"max_epochs": max_epochs, "patience": patience})
        for max_epochs, patience in (before, (before[0] + more[0], before[1] + more[1]))
    )
    training = start(shorter)
    go_on(training, shorter, cut)
    state = SavedState(
        shorter.max_epochs,
        shorter.patience,
        finished=training.is_over(shorter),
        checkpoint=training_to_bytes(training),
    )
    assert not is_of_a_longer_run(state, start(longer), longer)
    training = start(longer)
    restore(training, state.checkpoint, before_first_stop=longer.patience > shorter.patience)
    go_on(training, longer)

    from_scratch = start(longer)
    go_on(from_scratch, longer)
    assert training_to_bytes(training) == training_to_bytes(from_scratch)


def test_a_first_stop_at_the_last_epoch_is_one_for_longer_training() -> None:
    longer = make_params(lr=2.0, eval_every=1, patience=1, max_epochs=60, batch_size=7)
    from_scratch = start(longer)
    go_on(from_scratch, longer)
    first, *_, last = sorted(epochs_of(from_scratch))
    assert first < last
    shorter = longer.model_copy(update={"max_epochs": first})
    training = start(shorter)
    go_on(training, shorter)
    go_on(training, longer)
    assert training_to_bytes(training) == training_to_bytes(from_scratch)
    with pytest.raises(ValueError, match="at different places"):
        Stack(training.runs, longer, n_batches=6)


def alone(params: TrainParams, number: int, fold: Fold) -> Run:
    """Train one of the networks by the loop for one."""
    params = params.model_copy(update={"seed": seeds_of_networks(params.seed, number + 1)[-1]})
    run = start_run(params, TASK, Fold(fold.train.gathered(), fold.val.gathered()), EDGES)
    list(train([run], params))
    return run


@given(values=CHOICES, max_grad_norm=st.sampled_from([None, 0.1]), balanced=st.booleans())
@settings(max_examples=12, deadline=None)
def test_each_network_is_what_it_would_be_alone(
    values: dict[str, Any],
    max_grad_norm: float | None,
    balanced: bool,  # noqa: FBT001
) -> None:
    # Alone it would draw other hidden units to drop.
    params = make_params(
        **values | {"dropout": 0.0},
        max_grad_norm=max_grad_norm,
        class_weights="balanced" if balanced else "none",
    )
    # Of equal size: with fewer rows than another, a network alone may have fewer batches.
    training = start(params, make_folds(torch.arange(39) % 3))
    go_on(training, params)
    for number, run in enumerate(training.runs):
        expected = alone(params, number, run.fold)
        losses = [(each.train_loss, each.val_loss) for each in run.history]
        # Sums of float32 in another order, over up to 15 epochs of several steps.
        assert (
            losses
            == [
                pytest.approx((each.train_loss, each.val_loss), rel=1e-3, abs=1e-4)
                for each in expected.history
            ][: len(losses)]
        )
        for name, weight in run.best_network().state_dict().items():
            if run.early_stopping.best_epoch == expected.early_stopping.best_epoch:
                torch.testing.assert_close(
                    weight, expected.best_weights[name], rtol=1e-2, atol=1e-3
                )


def epochs_of(training: Training) -> Sequence[int]:
    return [run.epoch for run in training.runs]


def test_a_network_that_has_stopped_trains_no_more() -> None:
    params = make_params(lr=2.0, eval_every=1, patience=1, max_epochs=60, batch_size=7)
    training = start(params)
    go_on(training, params)
    assert len(set(epochs_of(training))) > 1
    for run in training.runs:
        assert [each.epoch for each in run.history] == [*range(1, run.epoch + 1)]
        assert run.stop_reason(params) == "early_stopping"


def test_networks_start_and_see_their_rows_each_in_its_own_way() -> None:
    params = make_params(lr=1e-6, batch_size=7, max_epochs=1)
    weights = [run.model.state_dict()["layers.0.weight"] for run in start(params).runs]
    assert len({weight.sum().item() for weight in weights}) == 3
    alone = start_run(params, TASK, FOLDS[0], EDGES)
    assert torch.equal(weights[0], alone.model.state_dict()["layers.0.weight"])


def test_a_loss_that_is_none_names_the_epoch() -> None:
    params = make_params(lr=1e30, max_epochs=9)
    with pytest.raises(UserError, match="training diverged: at epoch 2"):
        go_on(start(params), params)


# The stages, with folds


TRAINED = {
    "prepare__folds": 3,
    "prepare__data": str(REPOSITORY / "data/iris.csv"),
    "train__optimizer": "adam",
    "train__lr": 0.05,
    "train__hidden": [8],
    "train__batch_size": 40,
    "train__max_epochs": 60,
    "train__eval_every": 5,
    "train__patience": 2,
    "train__calibration": "temperature",
    "baseline__models": [],
    "evaluate__importance_repeats": 0,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, **TRAINED)
    run_stages(tmp_path, "prepare", "train")
    return tmp_path


def test_the_model_is_the_mean_and_left_out_rows_know_one_network(folder: Path) -> None:
    run_stages(folder, "baseline", "evaluate")
    networks, temperature = load_networks(Path("models/weights.pt"), Task.of(prepared_schema()))
    assert len(networks) == 3

    def probabilities(number: int, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            logits = networks[number].eval()(torch.from_numpy(features))
        return torch.softmax(logits / temperature, dim=1).numpy()

    test = prepared("test")
    predictions = pd.read_csv("reports/predictions.csv").filter(like="probability_")
    mean = np.mean([probabilities(number, test.features) for number in range(3)], axis=0)
    # The one is computed in float64 from the logits on, and so is the exported model.
    np.testing.assert_allclose(predictions, mean, rtol=1e-4, atol=1e-6)
    pd.read_csv(TRAINED["prepare__data"]).iloc[test.rows - 2].to_csv("new.csv", index=False)
    run_predict("new.csv", "--output", "predicted.csv")
    predicted = pd.read_csv("predicted.csv").filter(like="probability_")
    np.testing.assert_allclose(predicted, predictions, rtol=1e-4, atol=1e-6)

    left_out = prepared("val")
    out_of_fold = pd.read_csv("reports/out_of_fold.csv")
    for number in range(3):
        rows = left_out.fold == number
        found = out_of_fold[rows].filter(like="probability_")
        expected = probabilities(number, left_out.features[rows])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_losses_are_means_and_a_network_that_has_stopped_stays(folder: Path) -> None:
    losses = pd.read_csv("reports/losses.csv")
    networks = torch.load(folder / "models/checkpoint.pt", weights_only=True)["networks"]
    ends = [network["history"][-1]["epoch"] for network in networks]
    assert len(set(ends)) > 1
    assert losses["epoch"].tolist() == list(range(5, max(ends) + 1, 5))
    n_val = np.bincount(prepared("val").fold)
    for row in losses.to_dict("records"):
        latest = [
            [each for each in network["history"] if each["epoch"] <= row["epoch"]][-1]
            for network in networks
        ]
        train_loss = [each["train_loss"] for each in latest]
        val_loss = [each["val_loss"] for each in latest]
        assert row["train_loss"] == pytest.approx(np.mean(train_loss))
        assert row["val_loss"] == pytest.approx(np.average(val_loss, weights=n_val))
        assert (row["val_loss_lowest"], row["val_loss_highest"]) == (min(val_loss), max(val_loss))
    report = json.loads(Path("reports/training.json").read_text())
    assert report["epochs_run"] == max(ends)
    assert report["networks"]["epochs_of_networks"] == ends
    assert report["best_val_loss"] == losses["val_loss"].min()


def test_several_processes_train_one_network_only(folder: Path) -> None:
    torchrun = yaml.safe_load(Path("params.yaml").read_text())["train"]["torchrun"]
    write_params(folder, **TRAINED, train__torchrun=torchrun | {"nproc_per_node": 2})
    command = [sys.executable, "-m", "stages.train"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("train: error: prepare.folds is 3, and several processes train one")
