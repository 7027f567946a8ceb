"""The whole model in one file, model.onnx: the table's columns in, class probabilities out."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from classifier.exported_model.format import IR_VERSION, OPSETS, Graph, type_of_input, with_checksum
from classifier.exported_model.network import add_network
from classifier.exported_model.preparation import add_preparation
from classifier.io.files import write_bytes
from classifier.io.profile import Profile
from classifier.io.schema import Schema, TextColumn
from classifier.network.model import MLP


def write_exported_model(
    path: Path, schema: Schema, profile: Profile, networks: Sequence[MLP]
) -> None:
    """Write a file that runs wherever ONNX does, without this project's code.

    Its inputs are the table's columns, each of shape (n, 1): float64 for numbers (NaN for a gap)
    and dates (seconds since 1970), texts for all others (empty for a gap); but for free texts their
    code points, int32 of shape (n, characters), zeros behind a shorter one. Its outputs are the
    probabilities, float64 of shape (n, n_classes), and the most probable class, a text, shape (n,).
    The metadata has the schema, the classes and the profile, as JSON. The probabilities of the
    networks, which are on the CPU and have the temperature in their weights, are averaged.
    """
    names = {column.name for column in schema.columns}
    graph = Graph(_free("_", lambda prefix: any(name.startswith(prefix) for name in names)))
    features = add_preparation(graph, schema)
    logits = [add_network(graph, network, features) for network in networks]
    doubles = [graph.add("Cast", one, to=TensorProto.DOUBLE) for one in logits]
    output = _free("probabilities", names.__contains__)
    if len(doubles) == 1:
        probabilities = graph.add("Softmax", *doubles, axis=1, output=output)
    else:
        total = graph.add("Sum", *(graph.add("Softmax", one, axis=1) for one in doubles))
        number = graph.constant(len(networks), np.float64)
        probabilities = graph.add("Div", total, number, output=output)
    predicted = graph.add(
        "LabelEncoder",
        graph.add("ArgMax", probabilities, axis=1, keepdims=0),
        domain="ai.onnx.ml",
        keys_int64s=list(range(len(schema.classes))),
        values_strings=schema.classes,
        output=_free("predicted", names.__contains__),
    )
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "classifier",
            [
                helper.make_tensor_value_info(
                    column.name,
                    type_of_input(column),
                    ["rows", f"characters of {column.name}" if is_text else 1],
                )
                for column in schema.columns
                for is_text in [isinstance(column, TextColumn)]
            ],
            [
                helper.make_tensor_value_info(
                    probabilities, TensorProto.DOUBLE, ["rows", len(schema.classes)]
                ),
                helper.make_tensor_value_info(predicted, TensorProto.STRING, ["rows"]),
            ],
            graph.constants,
        ),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
    )
    without_weights = {"columns": {"__all__": {"weights"}}}
    metadata = {
        "schema": schema.model_dump_json(indent=2, exclude=without_weights),
        "classes": json.dumps(schema.classes),
        "profile": profile.model_dump_json(),
    }
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, with_checksum(model.SerializeToString(deterministic=True)))


def _free(name: str, is_taken: Callable[[str], bool]) -> str:
    while is_taken(name):
        name += "_"
    return name
