"""The network as ONNX operators: from features to logits."""

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from classifier.exported_model.format import Graph
from classifier.network.layers import (
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    SeparateLinear,
    SharedDropout,
    SharedLinear,
)
from classifier.network.model import MLP

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.GELU: "Gelu"}


def add_network(graph: Graph, network: MLP, features: str) -> str:
    """Add the network, on the CPU; return the name of its logits, shape (n, n_classes)."""
    values = features
    if network.embedding is not None:
        numbers = graph.constant(network.numbers.numpy(), np.int64)
        others = graph.constant(network.others.numpy(), np.int64)
        embedded = _add_embedding(
            graph, network.embedding, graph.add("Gather", features, numbers, axis=1)
        )
        rest = graph.add("Gather", features, others, axis=1)
        values = graph.add("Concat", graph.add("Flatten", embedded, axis=1), rest, axis=1)
    if network.members > 1:
        values = graph.add("Unsqueeze", values, graph.constant([1], np.int64))
    for layer in network.layers:
        values = _add_layer(graph, layer, values)
    if network.members == 1:
        return values
    # The logarithm of the mean of the members' probabilities.
    values = graph.add("LogSoftmax", values, axis=2)
    total = graph.add("ReduceLogSumExp", values, graph.constant([1], np.int64), keepdims=0)
    return graph.add("Sub", total, _constant(graph, math.log(network.members)))


def _constant(graph: Graph, values: Any) -> str:  # noqa: ANN401 (a tensor, or numbers)
    array = values.detach().numpy() if isinstance(values, Tensor) else values
    return graph.constant(array, np.float32)


def _add_layer(graph: Graph, layer: nn.Module, values: str) -> str:
    match layer:
        case nn.Linear():
            weight, bias = _constant(graph, layer.weight), _constant(graph, layer.bias)
            return graph.add("Gemm", values, weight, bias, transB=1)
        case SharedLinear():
            scaled = graph.add("Mul", values, _constant(graph, layer.scale_in))
            product = graph.add("MatMul", scaled, _constant(graph, layer.weight.T))
            scaled = graph.add("Mul", product, _constant(graph, layer.scale_out))
            return graph.add("Add", scaled, _constant(graph, layer.bias))
        case SeparateLinear():
            product = _add_batched_product(graph, values, layer.weight)
            return graph.add("Add", product, _constant(graph, layer.bias))
        case nn.Dropout() | SharedDropout():
            return values
        case _:
            return graph.add(ACTIVATIONS[type(layer)], values)


def _add_batched_product(graph: Graph, values: str, weight: Tensor) -> str:
    """Add shape (n, k, n_in) times a weight of shape (k, n_in, n_out) for each of k."""
    of_each = graph.add("Transpose", values, perm=[1, 0, 2])
    product = graph.add("MatMul", of_each, _constant(graph, weight))
    return graph.add("Transpose", product, perm=[1, 0, 2])


def _add_embedding(
    graph: Graph, embedding: PeriodicEmbedding | PiecewiseLinearEmbedding, numbers: str
) -> str:
    """Add what turns numbers, shape (n, k), into vectors, shape (n, k, WIDTH)."""
    column = graph.add("Unsqueeze", numbers, graph.constant([2], np.int64))
    if isinstance(embedding, PeriodicEmbedding):
        frequencies = 2 * math.pi * embedding.frequencies
        angles = graph.add("Mul", _constant(graph, frequencies), column)
        waves = graph.add("Concat", graph.add("Cos", angles), graph.add("Sin", angles), axis=2)
        product = graph.add("MatMul", waves, _constant(graph, embedding.layer.weight.T))
        return graph.add("Relu", graph.add("Add", product, _constant(graph, embedding.layer.bias)))
    from_left = graph.add("Sub", column, _constant(graph, embedding.left))
    bins = graph.add("Div", from_left, _constant(graph, embedding.width))
    bins = graph.add("Clip", bins, _constant(graph, 0), _constant(graph, 1))
    piecewise = _add_batched_product(graph, bins, embedding.piecewise)
    linear = graph.add("Mul", column, _constant(graph, embedding.linear))
    linear = graph.add("Add", linear, _constant(graph, embedding.bias))
    return graph.add("Add", linear, piecewise)
