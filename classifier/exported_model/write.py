"""The whole model in one file, model.onnx: the table's columns in, class probabilities out."""

import copy
import json
import logging
import math
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from classifier.exported_model.checksum import with_checksum
from classifier.exported_model.preparing_classifier import PreparingClassifier
from classifier.exported_model.signature import OPSETS, type_of_input
from classifier.io.atomic_write import write_bytes
from classifier.io.schema import CategoricalColumn, Schema, gap_texts, spellings

IR_VERSION = 10


def write_exported_model(
    path: Path, schema: Schema, network: nn.Module, weights: dict[str, Tensor]
) -> None:
    """Write a file that runs wherever ONNX does, without this project's code.

    Its inputs are the table's columns, each of shape (n, 1): float64 for numbers (NaN for a gap)
    and dates (seconds since 1970), texts for all others (empty for a gap). Its outputs are the
    probabilities, float64 of shape (n, n_classes), and the most probable class, a text, shape (n,).
    The metadata has the schema and the classes, as JSON.

    Parameters
    ----------
    path
        Of the file.
    schema
        Of the prepared table.
    network
        Turns features, shape (n, n_features), into logits, shape (n, n_classes).
    weights
        The network's `state_dict`, on any device; the model in the file is on the CPU.

    """
    network = copy.deepcopy(network).cpu().requires_grad_(requires_grad=False)
    network.load_state_dict(weights)
    taken = {column.name for column in schema.columns}
    probabilities, predicted = (_free_name(name, taken) for name in ("probabilities", "predicted"))
    computation = _export(
        PreparingClassifier(schema, network).eval(), len(schema.columns), probabilities
    )
    model = helper.make_model(
        _with_columns(computation, schema, predicted),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
    )
    helper.set_model_props(
        model, {"schema": schema.model_dump_json(indent=2), "classes": json.dumps(schema.classes)}
    )
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, with_checksum(model.SerializeToString(deterministic=True)))


def _free_name(name: str, taken: set[str]) -> str:
    return _free_name(f"{name}_", taken) if name in taken else name


def _export(model: PreparingClassifier, n_columns: int, output: str) -> ModelProto:
    """Return the computation alone: no paths, traces of calls or versions of this computer."""
    example = torch.zeros((2, n_columns), dtype=torch.float64)
    # It warns of what torch itself does, and of packages that are not used here.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["table"],
            output_names=[output],
            opset_version=OPSETS[""],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            dynamo=True,
            verbose=False,
        )
    exported: ModelProto = cast("torch.onnx.ONNXProgram", program).model_proto
    for part in (*exported.graph.node, *exported.graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return exported


def _with_columns(computation: ModelProto, schema: Schema, predicted: str) -> GraphProto:
    """Return the graph with an input for each column in place of a matrix, and with the class."""
    prefix = "_"
    while any(column.name.startswith(prefix) for column in schema.columns):
        prefix += "_"
    graph = onnx.compose.add_prefix(computation, prefix, rename_outputs=False).graph
    (table,), (probabilities,) = graph.input, graph.output
    codes = {
        column.name: f"{prefix}code {index}"
        for index, column in enumerate(schema.columns)
        if isinstance(column, CategoricalColumn)
    }
    values = [codes.get(column.name, column.name) for column in schema.columns]
    most_probable = f"{prefix}most probable"
    gaps = [one for text in gap_texts(schema.gaps, schema.not_gaps) for one in spellings(text)]
    nodes = [
        *(
            _encoder(column, codes[column.name], gaps)
            for column in schema.columns
            if isinstance(column, CategoricalColumn)
        ),
        helper.make_node("Concat", values, [table.name], axis=1),
        *graph.node,
        helper.make_node("ArgMax", [probabilities.name], [most_probable], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder",
            [most_probable],
            [predicted],
            domain="ai.onnx.ml",
            keys_int64s=list(range(len(schema.classes))),
            values_strings=schema.classes,
        ),
    ]
    return helper.make_graph(
        nodes,
        "classifier",
        [
            helper.make_tensor_value_info(column.name, type_of_input(column), ["rows", 1])
            for column in schema.columns
        ],
        [probabilities, helper.make_tensor_value_info(predicted, TensorProto.STRING, ["rows"])],
        graph.initializer,
    )


def _encoder(column: CategoricalColumn, output: str, gaps: list[str]) -> NodeProto:
    """Return the node that turns a text into the index of its category, NaN for a gap."""
    codes = dict.fromkeys(gaps, math.nan)
    for index, category in enumerate(column.categories):
        codes |= dict.fromkeys(spellings(category), index)
        if column.kind == "boolean":
            codes |= dict.fromkeys([category.capitalize(), category.upper()], index)
    return helper.make_node(
        "LabelEncoder",
        [column.name],
        [output],
        domain="ai.onnx.ml",
        keys_tensor=numpy_helper.from_array(np.array(list(codes), object)),
        values_tensor=numpy_helper.from_array(np.array(list(codes.values()), np.float64)),
        default_tensor=numpy_helper.from_array(np.array([column.unknown], np.float64)),
    )
