"""Networks that each leave out another part of the rows train side by side."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.io.user_error import UserError
from classifier.network.layers import N_BINS
from classifier.network.model import Task
from classifier.resuming.checkpoint import remember_first_stop, restore, training_to_bytes
from classifier.resuming.resume import is_of_a_longer_run
from classifier.resuming.saved_state import SavedState
from classifier.training import loop
from classifier.training.folds import Fold
from classifier.training.loop import Run, TrainParams, start_run
from classifier.training.side_by_side import Training, seed_of_network, start_runs, train
from tests.test_resume import CHOICES, make_params, some_rows

TASK = Task(n_features=4, n_classes=3, numbers=(0, 1, 3))
EDGES = torch.linspace(-2, 2, N_BINS + 1).repeat(3, 1)
CPU = torch.device("cpu")

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


def start(params: TrainParams) -> Training:
    return Training(start_runs(params, len(FOLDS), TASK, CPU, EDGES))


def go_on(
    training: Training,
    params: TrainParams,
    n: int | None = None,
    folds: Sequence[Fold] = FOLDS,
) -> None:
    """Train for so many batches and evaluations, None for all, as the stage does."""
    for _ in islice(train(training.runs, folds, params), n):
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
    before=st.tuples(st.integers(1, 15), st.integers(1, 4)),
    more=st.tuples(st.integers(0, 8), st.integers(0, 4)),
    cut=st.none() | st.integers(0, 40),
)
@settings(max_examples=12, deadline=None)
def test_longer_training_is_the_same_from_scratch_and_from_a_shorter_one(
    values: dict[str, Any], before: tuple[int, int], more: tuple[int, int], cut: int | None
) -> None:
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


def alone(params: TrainParams, number: int, fold: Fold) -> Run:
    """Train one of the networks by the loop for one."""
    params = params.model_copy(update={"seed": seed_of_network(params.seed, number)})
    run = start_run(params, TASK, CPU, EDGES)
    list(loop.train(run, fold.train.gathered(), fold.val.gathered(), params))
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
    training = start(params)
    # Of equal size: with fewer rows than another, a network alone may have fewer batches.
    folds = make_folds(torch.arange(39) % 3)
    go_on(training, params, folds=folds)
    for number, (run, fold) in enumerate(zip(training.runs, folds, strict=True)):
        expected = alone(params, number, fold)
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
    runs = start_runs(params, 3, TASK, CPU, EDGES)
    weights = [run.model.state_dict()["layers.0.weight"] for run in runs]
    assert len({weight.sum().item() for weight in weights}) == 3
    alone = start_run(params, TASK, CPU, EDGES)
    assert torch.equal(weights[0], alone.model.state_dict()["layers.0.weight"])


def test_a_loss_that_is_none_names_the_epoch() -> None:
    params = make_params(lr=1e30, max_epochs=9)
    with pytest.raises(UserError, match="training diverged: at epoch 2"):
        go_on(start(params), params)
