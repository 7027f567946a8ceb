"""What model files have in common: what goes in and out, and their operators' versions."""

from onnx import TensorProto

from classifier.io.schema import CategoricalColumn, ColumnOfTable

OPSETS = {"": 20, "ai.onnx.ml": 4}
"""Versions of ONNX' operators by domain: those of 2023, which runtimes since 2024 have."""


def type_of_input(column: ColumnOfTable) -> TensorProto.DataType:
    return TensorProto.STRING if isinstance(column, CategoricalColumn) else TensorProto.DOUBLE


TYPES_OF_OUTPUTS = [TensorProto.DOUBLE, TensorProto.STRING]
"""Of the probabilities and of the class."""
