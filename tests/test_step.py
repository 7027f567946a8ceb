"""The fast training step does what a plain PyTorch loop does, bit for bit."""

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from classifier.network.layers import PiecewiseLinearEmbedding
from classifier.network.model import MLP, make_network, save_bytes
from classifier.resuming.checkpoint import restore, training_to_bytes
from classifier.training.device import (
    choose_threads,
    compute_deterministically,
    multiply_adds,
    settle_arithmetic,
)
from classifier.training.folds import Fold
from classifier.training.loop import train
from classifier.training.replay import Replayed
from classifier.training.run import Run, Training, start_run
from classifier.training.step import Rows, batches, class_weights
from classifier.training.train_params import TrainParams
from tests.conftest import Project
from tests.test_resume import CHOICES, EDGES, FOLD, TASK, make_params, new_run

CHOICES_OF_A_STEP = st.fixed_dictionaries(
    {
        "hidden": st.sampled_from([[], [5], [9, 6]]),
        "activation": st.sampled_from(["relu", "tanh", "gelu"]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "max_grad_norm": st.sampled_from([None, 0.3]),
        "class_weights": st.sampled_from(["none", "balanced"]),
        # With batches of two sizes, with two of the same, and with one of a single row.
        "batch_size": st.sampled_from([None, 7, 15, 29]),
        "patience": st.just(99),
    }
)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def plain_loop(params: TrainParams) -> tuple[MLP, torch.optim.Optimizer]:
    """Train as a PyTorch tutorial does."""
    torch.manual_seed(params.seed)
    model = make_network(params, TASK)
    if isinstance(model.embedding, PiecewiseLinearEmbedding):
        model.embedding.set_edges(EDGES)
    kwargs: dict[str, Any] = {"momentum": params.momentum} if params.optimizer == "sgd" else {}
    kwargs |= {"lr": params.lr, "weight_decay": params.weight_decay, "fused": True}
    optimizer = OPTIMIZERS[params.optimizer](model.parameters(), **kwargs)
    weight = None
    if params.class_weights == "balanced":
        counts = [int((FOLD.train.target == index).sum()) for index in range(3)]
        weight = torch.tensor([len(FOLD.train.target) / (3 * count) for count in counts])
    loss_function = nn.CrossEntropyLoss(weight)
    model.train()
    for epoch in range(params.max_epochs):
        for batch in batches(FOLD.train, params.batch_size, seed=params.seed, epoch=epoch, first=0):
            optimizer.zero_grad()
            logits = model(batch.features).reshape(-1, 3)
            loss_function(logits, batch.target.repeat_interleave(params.members)).backward()
            if params.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), params.max_grad_norm)
            optimizer.step()
    return model, optimizer


def trained(params: TrainParams) -> Run:
    run = new_run(params)
    list(train([run], params))
    return run


@pytest.fixture(autouse=True)
def products_of_pytorch() -> Iterator[None]:
    yield
    compute_deterministically(threads=1)


@given(values=CHOICES, of_a_step=CHOICES_OF_A_STEP, by_openblas=st.booleans())
@settings(max_examples=25, deadline=None)
def test_training_is_the_plain_loop_bit_for_bit(
    *, values: dict[str, Any], of_a_step: dict[str, Any], by_openblas: bool
) -> None:
    compute_deterministically(threads=1, by_openblas=by_openblas)
    params = make_params(**values | of_a_step)
    run = trained(params)
    random_state = torch.get_rng_state()
    model, optimizer = plain_loop(params)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert run.epoch == params.max_epochs
    assert save_bytes(run.model.state_dict()) == save_bytes(model.state_dict())
    assert save_bytes(run.optimizer.state_dict()) == save_bytes(optimizer.state_dict())


@given(
    shape=st.tuples(*[st.integers(0, 40)] * 4),
    layouts=st.tuples(*[st.sampled_from(["rows", "columns", "every second", "repeated"])] * 2),
)
@settings(max_examples=50, deadline=None)
def test_products_by_openblas_are_those_of_pytorch(
    shape: tuple[int, int, int, int], layouts: tuple[str, str]
) -> None:
    several, n, inner, m = shape
    one, other = (
        laid_out((several, n, inner), layouts[0]),
        laid_out((several, inner, m), layouts[1]),
    )
    added = torch.randn(m)
    products: list[Callable[[], Tensor]] = [lambda: torch.bmm(one, other)]
    if several:
        products += [
            lambda: torch.mm(one[0], other[0]),
            lambda: torch.addmm(added, one[0], other[0], beta=2, alpha=-1),
            lambda: nn.functional.linear(one[0], other[0].T, added),
        ]
    expected = [product() for product in products]
    compute_deterministically(threads=1, by_openblas=True)
    for product, wanted in zip(products, expected, strict=True):
        # Of 40 numbers that are summed up in another order.
        torch.testing.assert_close(product(), wanted, rtol=1e-5, atol=1e-5)
    compute_deterministically(threads=1)
    assert all(map(torch.equal, [product() for product in products], expected))


def laid_out(shape: tuple[int, int, int], layout: str) -> Tensor:
    """Return random matrices of this shape that lie in memory in one way or another."""
    several, n, m = shape
    match layout:
        case "columns":
            return torch.randn(several, m, n).transpose(1, 2)
        case "every second":
            return torch.randn(several, n, 2 * m)[:, :, ::2]
        case "repeated":
            return torch.randn(1, n, 1).expand(shape)
        case _:
            return torch.randn(shape)


@pytest.mark.parametrize(
    ("same_bytes", "width", "by_openblas"),
    [("everywhere", 3_000, True), ("everywhere", 9, False), ("here", 3_000, False)],
)
def test_large_products_are_those_of_openblas_where_bytes_are_to_be_the_same(
    same_bytes: str, width: int, *, by_openblas: bool
) -> None:
    """MKL's differ between processors, or take several times as long."""
    params = make_params(hidden=[width], same_bytes=same_bytes)
    settle_arithmetic(params, [FOLD], TASK)
    one, other = torch.randn(300, 2000), torch.randn(2000, 300)
    with threadpool_limits(1):
        ours = torch.from_numpy(one.numpy() @ other.numpy())
    assert torch.equal(torch.mm(one, other), ours) == by_openblas


class Sums:
    """Ways to add to a total, each with something that a recording must not fix."""

    def __init__(self) -> None:
        self.total = torch.zeros(4)
        self.count = 0
        self.buffer: Tensor | None = None

    def plain(self, features: Tensor, _target: Tensor) -> None:
        self.total.add_(features.sum(0))

    def with_a_number_that_changes(self, features: Tensor, _target: Tensor) -> None:
        self.count += 1
        self.total.add_(features.sum(0), alpha=1 / self.count)

    def with_a_tensor_of_a_number(self, features: Tensor, _target: Tensor) -> None:
        self.count += 1
        self.total.add_(features.sum(0) * torch.tensor(1.0 / self.count))

    def with_a_value_read_from_a_tensor(self, features: Tensor, _target: Tensor) -> None:
        self.total.add_(features.sum(0), alpha=2 if self.total[0].item() > 0 else 1)

    def with_a_branch_on_a_tensor(self, features: Tensor, _target: Tensor) -> None:
        if (self.total[0] < 5).all():
            self.total.add_(features.sum(0).abs())

    def with_a_buffer_made_at_first(self, features: Tensor, _target: Tensor) -> None:
        if self.buffer is None:
            self.buffer = torch.ones_like(self.total)
        self.total.add_(self.buffer.mul_(0.5)).add_(features.sum(0))

    def with_a_buffer_replaced(self, features: Tensor, _target: Tensor) -> None:
        self.buffer = features.sum(0) + (0 if self.buffer is None else self.buffer)
        self.total.add_(self.buffer)

    def with_random_numbers(self, features: Tensor, _target: Tensor) -> None:
        self.total.add_(nn.functional.dropout(features).sum(0))


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("plain", 2),
        ("with_a_number_that_changes", 9),
        ("with_a_tensor_of_a_number", 9),
        ("with_a_value_read_from_a_tensor", 9),
        ("with_a_branch_on_a_tensor", 9),
        ("with_a_buffer_made_at_first", 3),
        ("with_a_buffer_replaced", 9),
        ("with_random_numbers", 2),
    ],
)
def test_only_what_a_recording_holds_is_repeated(name: str, calls: int) -> None:
    called = 0
    sums, expected = Sums(), Sums()

    def function(features: Tensor, target: Tensor) -> None:
        nonlocal called
        called += 1
        getattr(sums, name)(features, target)

    replayed = Replayed(function)
    torch.manual_seed(1)
    for _ in range(9):
        replayed(FOLD.train.features, FOLD.train.target)
    torch.manual_seed(1)
    for _ in range(9):
        getattr(expected, name)(FOLD.train.features, FOLD.train.target)
    assert torch.equal(sums.total, expected.total)
    assert called == calls


@pytest.mark.parametrize(
    ("optimizer", "momentum", "calls"), [("sgd", 0.0, 2), ("sgd", 0.9, 3), ("adam", 0.0, 3)]
)
def test_most_training_steps_are_repeated(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, momentum: float, calls: int
) -> None:
    called = 0
    forward = MLP.forward

    def counted(model: MLP, features: Tensor) -> Tensor:
        nonlocal called
        called += model.training
        return forward(model, features)

    monkeypatch.setattr(MLP, "forward", counted)
    trained(make_params(optimizer=optimizer, momentum=momentum, patience=99))
    assert called == calls


def test_training_waits_for_no_import_that_it_does_not_need(project: Project) -> None:
    program = """
import sys
from pathlib import Path
from stages import train
params = Path("params.yaml")
text = params.read_text()
for optimizer in ("sgd", "adam", "adamw"):
    params.write_text(text.replace("optimizer: sgd", f"optimizer: {optimizer}"))
    train.main()
print(*sys.modules)
"""
    output = project.run(sys.executable, "-c", program).stdout
    assert output.count("stopped at epoch 60") == 3
    imported = set(output.splitlines()[-1].split())
    assert "torch" in imported
    slow = {"pandas", "sklearn", "scipy", "skrub", "matplotlib", "torch._dynamo", "sympy"}
    assert imported & slow == set()


@pytest.mark.parametrize(
    ("threads", "rows", "widths", "cores", "expected"),
    [
        ("auto", 90, [4, 10, 3], 64, 1),
        ("auto", 1024, [54, 128, 64, 7], 64, 3),
        ("auto", 1024, [54, 128, 64, 7], 2, 2),
        ("auto", 1_000_000, [54, 128, 64, 7], 64, 64),
        (3, 90, [4, 10, 3], 2, 3),
    ],
)
def test_the_number_of_threads_follows_from_the_size_of_the_problem(
    monkeypatch: pytest.MonkeyPatch,
    *,
    threads: int | Literal["auto"],
    rows: int,
    widths: list[int],
    cores: int,
    expected: int,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    params = make_params(threads=threads, same_bytes="here")
    assert choose_threads(params, multiply_adds(rows, widths)) == expected


def test_balanced_class_weights_are_those_of_scikit_learn() -> None:
    target = torch.tensor([0, 0, 0, 0, 2, 2, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=target.numpy())
    weights = class_weights("balanced", target, 3)
    assert weights is not None
    assert np.array_equal(weights.numpy(), expected.astype(np.float32))
    assert class_weights("none", target, 3) is None


def test_evaluations_weigh_the_classes_of_the_training_rows() -> None:
    params = make_params(class_weights="balanced", max_epochs=2)
    run = trained(params)
    weight = class_weights("balanced", FOLD.train.target, 3)
    run.model.eval()
    (evaluation,) = run.history
    for rows, loss in (
        (FOLD.train, evaluation.train_loss),
        (FOLD.val, evaluation.val_loss),
    ):
        logits = run.model(rows.features)
        expected = nn.CrossEntropyLoss(weight)(logits, rows.target).item()
        # Another order of summation, rounded to float32.
        assert loss == pytest.approx(expected, rel=1e-6)
        assert loss != pytest.approx(nn.CrossEntropyLoss()(logits, rows.target).item(), rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "network", [{}, {"embedding": "piecewise_linear", "members": 3, "max_grad_norm": 0.5}]
)
def test_on_cuda_training_is_the_plain_loop_to_rounding_and_resumes_exactly(
    network: dict[str, object],
) -> None:
    compute_deterministically(threads=1)
    params = make_params(
        optimizer="adam", lr=0.01, batch_size=20, max_epochs=8, patience=99, **network
    )
    fold = Fold(
        *(Rows(rows.features.cuda(), rows.target.cuda()) for rows in (FOLD.train, FOLD.val))
    )

    def start() -> Run:
        return start_run(params, TASK, fold, EDGES)

    whole = start()
    list(train([whole], params))
    model, _ = plain_loop(params)
    for name, weight in model.state_dict().items():
        ours = whole.model.state_dict()[name].cpu()
        torch.testing.assert_close(ours, weight, rtol=1e-4, atol=1e-5)
    cut = start()
    list(islice(train([cut], params), 3))
    resumed = start()
    restore(Training([resumed]), training_to_bytes(Training([cut])))
    list(train([resumed], params))
    assert training_to_bytes(Training([resumed])) == training_to_bytes(Training([whole]))
