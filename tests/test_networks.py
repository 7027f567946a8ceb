"""Embeddings of numbers and ensembles of networks, compared with their authors' packages."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rtdl_num_embeddings
import tabm
import torch
from torch import Tensor, nn

from classifier.io.prepared import read_quantiles, write_split
from classifier.io.user_error import UserError
from classifier.network.layers import (
    FREQUENCY_SCALE,
    N_BINS,
    N_FREQUENCIES,
    WIDTH,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    SeparateLinear,
    SharedDropout,
    SharedLinear,
)
from classifier.network.model import (
    MLP,
    Architecture,
    Embedding,
    Task,
    load_networks,
    make_network,
    networks_to_bytes,
)
from tests.in_process import prepared, prepared_schema, run_all, run_predict, run_prepare

FEATURES = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
EDGES = torch.quantile(FEATURES, torch.linspace(0, 1, N_BINS + 1), dim=0).T


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    # Single precision, whose sums the packages take in another order.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_members_are_those_of_tabm() -> None:
    torch.manual_seed(1)
    inputs = torch.randn(7, 3, 5)
    shared = SharedLinear(3, 5, 4, is_first=True)
    theirs = tabm.LinearBatchEnsemble(5, 4, k=3, scaling_init=("normal", "ones"))
    scales = {"r": shared.scale_in, "s": shared.scale_out}
    theirs.load_state_dict({"weight": shared.weight, "bias": shared.bias, **scales})
    assert_same(shared(inputs), theirs(inputs))
    ours, theirs = SeparateLinear(3, 5, 4), tabm.LinearEnsemble(5, 4, k=3)
    theirs.load_state_dict(ours.state_dict())
    assert_same(ours(inputs), theirs(inputs))


def test_periodic_embeddings_are_those_of_rtdl() -> None:
    torch.manual_seed(1)
    ours = PeriodicEmbedding(5)
    theirs = rtdl_num_embeddings.PeriodicEmbeddings(
        5, WIDTH, n_frequencies=N_FREQUENCIES, frequency_init_scale=FREQUENCY_SCALE, lite=True
    )
    theirs.load_state_dict(
        {
            "periodic.weight": ours.frequencies,
            "linear.weight": ours.layer.weight,
            "linear.bias": ours.layer.bias,
        }
    )
    assert_same(ours(FEATURES), theirs(FEATURES))


def piecewise() -> PiecewiseLinearEmbedding:
    """Return an embedding whose piecewise part is no longer 0, as after training."""
    torch.manual_seed(1)
    embedding = PiecewiseLinearEmbedding(5)
    embedding.set_edges(EDGES)
    nn.init.normal_(embedding.piecewise)
    return embedding


def test_piecewise_linear_embeddings_are_those_of_rtdl() -> None:
    ours = piecewise()
    theirs = rtdl_num_embeddings.PiecewiseLinearEmbeddings(
        list(EDGES), WIDTH, activation=False, version="B"
    )
    theirs.load_state_dict(
        theirs.state_dict()
        | {
            "linear0.weight": ours.linear,
            "linear0.bias": ours.bias,
            "linear.weight": ours.piecewise,
        }
    )
    assert_same(ours(FEATURES), theirs(FEATURES))


def test_beyond_the_training_rows_only_the_linear_part_goes_on() -> None:
    # rtdl's goes on with the slope of the outermost bin, which may be of any steepness.
    embedding = piecewise()
    for outermost, direction in ((EDGES[:, -1], 1), (EDGES[:, 0], -1)):
        beyond = outermost + 1e6 * direction
        difference = embedding(beyond[None]) - embedding(outermost[None])
        # Single precision has seven digits.
        torch.testing.assert_close(
            difference[0], 1e6 * direction * embedding.linear, rtol=1e-5, atol=1
        )


def test_equal_quantiles_are_no_bin() -> None:
    edges = torch.tensor([[0.0] * 10 + [1.0] * (N_BINS - 9)])
    embedding = PiecewiseLinearEmbedding(1)
    embedding.set_edges(edges)
    nn.init.ones_(embedding.piecewise)
    values = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0]])
    piecewise_part = embedding(values) - values.unsqueeze(2) * embedding.linear - embedding.bias
    # Of all bins the one between 0 and 1 has a width.
    torch.testing.assert_close(piecewise_part[:, 0, 0], torch.tensor([0.0, 0, 0.5, 1, 1]))


@pytest.mark.parametrize(
    ("hidden", "embedding"),
    [
        ([], "none"),
        ([6, 5], "none"),
        ([], "periodic"),
        ([6], "periodic"),
        ([6], "piecewise_linear"),
    ],
)
def test_a_prediction_is_the_mean_of_the_members_probabilities(
    hidden: list[int], embedding: Embedding
) -> None:
    torch.manual_seed(1)
    network = MLP(5, 3, hidden, embedding=embedding, numbers=(0, 2, 3), members=4)
    logits = network(FEATURES)
    assert logits.shape == (200, 4, 3)
    expected = torch.softmax(logits, dim=2).mean(dim=1)
    assert_same(torch.softmax(network.eval()(FEATURES), dim=1), expected)
    if hidden or embedding == "none":
        assert not torch.equal(logits[:, 0], logits[:, 1])


@pytest.mark.parametrize("embedding", ["none", "periodic", "piecewise_linear"])
def test_weights_say_their_architecture(tmp_path: Path, embedding: Embedding) -> None:
    architecture = Architecture(
        embedding=embedding, hidden=[6], activation="gelu", dropout=0.2, members=3
    )
    task, path = Task(5, 3, (0, 2, 3)), tmp_path / "weights.pt"
    network = make_network(architecture, task).eval()
    path.write_bytes(networks_to_bytes(architecture, task, [network], 1.5))
    [loaded], temperature = load_networks(path, task)
    assert temperature == 1.5
    assert torch.equal(loaded.eval()(FEATURES), network(FEATURES))
    saved = torch.load(path, weights_only=True)
    by_hand = MLP(**saved["architecture"]).eval()
    by_hand.load_state_dict(saved["weights"])
    assert torch.equal(by_hand(FEATURES), network(FEATURES))
    for other in (Task(6, 3, (0, 2, 3)), Task(5, 2, (0, 2, 3)), Task(5, 3, (0, 1, 3))):
        with pytest.raises(UserError, match="does not hold the weights of this network"):
            load_networks(path, other)


def test_dropout_zeroes_the_same_units_of_a_row_in_all_members() -> None:
    torch.manual_seed(1)
    dropout, inputs = SharedDropout(0.25), torch.ones(1000, 4, 20)
    outputs = dropout(inputs)
    assert torch.equal(outputs, outputs[:, :1].expand(-1, 4, -1))
    # What is kept makes up for what is not: of 20,000 units, a mean has an error of 0.004.
    assert outputs.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(outputs.mean()) == pytest.approx(1, abs=0.02)
    assert not torch.equal(dropout(inputs), outputs)
    assert torch.equal(dropout.eval()(inputs), inputs)


def test_quantiles_are_of_the_rows_of_all_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifier.io.prepared.ROWS_PER_GROUP", 4)
    features = np.random.default_rng(0).standard_normal((3, 30)).astype(np.float32)
    path = tmp_path / "train.parquet"
    rows, target, names = np.arange(30), np.zeros(30, np.int64), ["a", "b.c", "a", "y"]
    write_split(path, rows, rows, [*features], target, fold=target - 1, column_names=names)
    quantiles = read_quantiles(path, [2, 1], 4)
    expected = np.quantile(features[[2, 1]], [0, 0.25, 0.5, 0.75, 1], axis=1).T
    np.testing.assert_array_equal(quantiles, expected.astype(np.float32))
    assert read_quantiles(path, [], 4).shape == (0, 5)


def table_of_all_kinds() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "constant but for gaps": np.where(rng.random(120) < 0.2, np.nan, 7.0),
            "nearly constant": np.where(rng.random(120) < 0.9, 1.0, 1000.0),
            "number": rng.lognormal(3, 2, 120),
            "color": rng.choice(["red", "green", "blue"], 120),
            "date": pd.date_range("2024-01-31", periods=120, freq="53h").astype(str),
        }
    )
    table["y"] = np.where(np.log(table["number"]) + (table["color"] == "red") > 3, "yes", "no")
    return table


@pytest.fixture(autouse=True)
def _in_a_folder(folder: Path) -> None:
    table_of_all_kinds().to_csv(folder / "t.csv", index=False)


def test_which_features_come_of_numbers_is_in_the_schema(folder: Path) -> None:
    run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True, prepare__scaler="none")
    schema = prepared_schema()
    names = [schema.feature_names[index] for index in schema.numeric_features]
    flags = [name for name in schema.feature_names if name not in names]
    assert flags == ["constant but for gaps: missing", "color=blue", "color=green", "color=red"]
    features = prepared("train").features
    for index, name in enumerate(schema.feature_names):
        assert (set(features[:, index]) <= {0, 1}) == (name in flags), name


@pytest.mark.parametrize("value", ["-1.7976931348623157e308", "0.3"])
def test_numbers_of_any_size_are_squashed(folder: Path, value: str) -> None:
    # Where half of the values are equal, where all are, and where they are all tiny.
    table = pd.DataFrame(
        {
            "x": [0.1 * (i % 7) for i in range(100)],
            "half": [float(i % 3 == 0) for i in range(100)],
            "tiny": [1e-18 * (i % 7) for i in range(100)],
            "y": ["no", "yes"] * 50,
        },
        dtype=object,
    )
    table.to_csv("u.csv", index=False)
    run_prepare(folder, "u.csv", "y", prepare__scaler="squash")
    row = prepared("test").rows[0]
    table.loc[row - 2, "x"] = value
    table.to_csv("u.csv", index=False)
    short = {"train__max_epochs": 2, "train__eval_every": 1}
    run_all(folder, "u.csv", "y", prepare__scaler="squash", **short)
    for part in ("train", "val", "test"):
        features = prepared(part).features
        assert np.isfinite(features).all()
        assert np.abs(features).max() <= 3
    # As many as in x: nothing is lost.
    assert len(np.unique(prepared("train").features[:, 2])) == 7
    evaluated = pd.read_csv("reports/predictions.csv")
    run_predict("u.csv", "-o", "out.csv")
    predicted = pd.read_csv("out.csv").iloc[evaluated["row"] - 2]
    np.testing.assert_allclose(predicted["probability_no"], evaluated["probability_no"], atol=1e-6)


def test_an_embedding_of_a_table_without_numbers_is_none(folder: Path) -> None:
    params = {"train__max_epochs": 4, "train__eval_every": 1, "prepare__features": ["color"]}
    run_all(folder, "t.csv", "y", **params)
    losses = pd.read_csv("reports/losses.csv")
    run_all(folder, "t.csv", "y", **params, train__embedding="piecewise_linear")
    pd.testing.assert_frame_equal(pd.read_csv("reports/losses.csv"), losses)
