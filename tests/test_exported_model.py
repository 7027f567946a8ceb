"""One file out: what it computes, and that it runs anywhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch

from classifier.exported_model.load import ExportedModel
from classifier.exported_model.write import write_exported_model
from classifier.io.pieces import codes_of
from classifier.network.model import MLP, Activation, Embedding, Task, load_networks
from tests.conftest import REPOSITORY
from tests.in_process import (
    prepared,
    prepared_profile,
    prepared_schema,
    raw_of,
    run_all,
    run_prepare,
)
from tests.test_networks import table_of_all_kinds

QUICK = {"train__max_epochs": 4, "train__eval_every": 2, "train__lr": 0.1}


@pytest.fixture(autouse=True)
def _in_a_folder(folder: Path) -> None:
    table = table_of_all_kinds()
    table["flag"] = np.where(table["number"] > 20, "True", "false")
    table.to_csv(folder / "t.csv", index=False)


@pytest.mark.parametrize(
    ("embedding", "activation", "members", "scaler"),
    [
        ("none", "relu", 1, "minmax"),
        ("none", "tanh", 3, "none"),
        ("periodic", "gelu", 1, "squash"),
        ("piecewise_linear", "relu", 3, "standard"),
    ],
)
def test_each_row_gets_what_the_network_says_with_any_number_of_others(
    folder: Path, embedding: Embedding, members: int, activation: Activation, scaler: str
) -> None:
    run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True, prepare__scaler=scaler)
    schema = prepared_schema()
    torch.manual_seed(0)
    network = MLP(
        schema.n_features,
        2,
        [37, 8],
        activation,
        embedding=embedding,
        numbers=schema.numeric_features,
        members=members,
    )
    write_exported_model(folder / "model.onnx", schema, prepared_profile(), [network])
    model = ExportedModel(folder / "model.onnx")
    raw = raw_of("t.csv", model.schema)
    whole = model.probabilities(raw)
    assert len(np.unique(whole[:, 0])) > 100
    network.eval()
    for part in ("train", "val", "test"):
        split = prepared(part)
        with torch.no_grad():
            logits = network(torch.from_numpy(split.features))
            expected = torch.softmax(logits.double(), dim=1)
        # Single precision, added up in another order.
        np.testing.assert_allclose(whole[split.rows - 2], expected, rtol=0, atol=1e-6)
    for n in (1, 7, 119):
        parts = [
            model.probabilities({name: values[start : start + n] for name, values in raw.items()})
            for start in range(0, 120, n)
        ]
        assert np.array_equal(np.concatenate(parts), whole), n
    assert model.probabilities({name: values[:0] for name, values in raw.items()}).shape == (0, 2)


def test_it_runs_without_this_repository_and_holds_no_trace_of_this_computer(folder: Path) -> None:
    run_all(folder, "t.csv", "y", **QUICK)
    content = (folder / "models/model.onnx").read_bytes()
    onnx.checker.check_model(content, full_check=True)
    here = (folder, REPOSITORY, Path(torch.__file__).parent, "pytorch", torch.__version__)
    for trace in (str(one).encode() for one in here):
        assert trace not in content
    schema = prepared_schema()
    [network], _ = load_networks(folder / "models/weights.pt", Task.of(schema))
    write_exported_model(folder / "again.onnx", schema, prepared_profile(), [network])
    assert (folder / "again.onnx").read_bytes() == content
    program = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
metadata = session.get_modelmeta().custom_metadata_map
kinds = {one.name: (one.type, one.shape) for one in session.get_inputs()}
assert kinds["number"] == ("tensor(double)", ["rows", 1]), kinds
assert kinds["color"] == ("tensor(string)", ["rows", 1]), kinds
row = {"number": 5.5, "color": "red", "nearly constant": 1, "date": 1.7e9, "flag": "TRUE"}
row["constant but for gaps"] = float("nan")
inputs = {
    name: np.array([[row[name]]], float if kind == "tensor(double)" else object)
    for name, (kind, _) in kinds.items()
}
probabilities, predicted = session.run(["probabilities", "predicted"], inputs)
assert abs(probabilities.sum() - 1) < 1e-12
assert predicted[0] == json.loads(metadata["classes"])[probabilities[0].argmax()]
assert json.loads(metadata["schema"])["target"] == "y"
for text in ("NA", ""):
    inputs["color"][0, 0] = text
    gap = session.run(["probabilities"], inputs)[0]
inputs["color"][0, 0] = "mauve"
assert (session.run(["probabilities"], inputs)[0] == gap).all()
assert not [name for name in sys.modules if name.startswith(("classifier", "stages", "torch"))]
"""
    subprocess.run(
        [sys.executable, "-I", "-c", program, str(folder / "models/model.onnx")],
        cwd="/",
        check=True,
    )


def test_the_characters_of_texts_stand_in_no_order_of_a_set() -> None:
    # Python chooses that by chance in each process.
    letters = {*"zyxwvutsrq"}
    assert list(codes_of(letters))[: len(letters)] == sorted(map(ord, letters))


def test_columns_may_be_called_as_anything_in_the_graph(folder: Path) -> None:
    table = table_of_all_kinds()
    table.to_csv("t.csv", index=False)
    names = ["probabilities", "predicted", "_table", "__code 4", "_where"]
    table.set_axis([*names, "y"], axis=1).to_csv("renamed.csv", index=False)
    found = []
    for name in ("t.csv", "renamed.csv"):
        run_all(folder, name, "y", **QUICK, prepare__missing_indicator=True)
        model = ExportedModel(folder / "models/model.onnx")
        found.append(model.probabilities(raw_of(name, model.schema)))
    assert np.array_equal(found[0], found[1])
    outputs = [one.name for one in onnx.load(folder / "models/model.onnx").graph.output]
    assert outputs == ["probabilities_", "predicted_"]


def test_a_table_may_have_many_columns(folder: Path) -> None:
    names = [f"pixel {index}" for index in range(600)]
    table = pd.DataFrame(np.random.default_rng(0).standard_normal((60, 600)), columns=names)
    table.assign(y=table["pixel 0"] > 0).to_csv("w.csv")
    run_all(folder, "w.csv", "y", **QUICK, evaluate__importance_repeats=0)
    model = ExportedModel(folder / "models/model.onnx")
    assert model.probabilities(raw_of("w.csv", model.schema)).shape == (60, 2)
