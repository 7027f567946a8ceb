"""The format of model files: ONNX operators in a row, their versions, and a checksum at the end."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, StringStringEntryProto, TensorProto, helper, numpy_helper

from classifier.io.schema import CategoricalColumn, ColumnOfTable, TextColumn

IR_VERSION = 10
OPSETS = {"": 20, "ai.onnx.ml": 4}
"""Versions of ONNX' operators by domain: those of 2023, which runtimes since 2024 have."""

TYPES_OF_OUTPUTS = [TensorProto.DOUBLE, TensorProto.STRING]
"""The types of the probabilities and of the class."""


def type_of_input(column: ColumnOfTable) -> TensorProto.DataType:
    match column:
        case CategoricalColumn():
            return TensorProto.STRING
        case TextColumn():
            return TensorProto.INT32
        case _:
            return TensorProto.DOUBLE


class Graph:
    """Operators, and the constants that they take; what they return is known by its name."""

    def __init__(self, prefix: str) -> None:
        """Let the names of all results begin with `prefix`."""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._prefix = prefix

    def constant(self, values: npt.ArrayLike, kind: npt.DTypeLike = np.float64) -> str:
        name = f"{self._prefix}constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401 (ONNX' own)
        """Append an operator; return the name of its result, which is `output` if that is said."""
        name = output or f"{self._prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name


def with_checksum(content: bytes) -> bytes:
    """Return a serialized model with its checksum.

    Two serialized messages in a row are one with the fields of both, so that this is still a
    model, with one more entry in its metadata.
    """
    return content + _checksum(content)


def is_damaged(content: bytes) -> bool:
    """Say whether content is not what `with_checksum` has returned.

    Who changes a file on purpose can put the checksum right.
    """
    model, checksum = content[:-CHECKSUM_LENGTH], content[-CHECKSUM_LENGTH:]
    return checksum != _checksum(model)


def _checksum(content: bytes) -> bytes:
    entry = StringStringEntryProto(key="sha256", value=hashlib.sha256(content).hexdigest())
    serialized: bytes = ModelProto(metadata_props=[entry]).SerializeToString()
    return serialized


CHECKSUM_LENGTH = len(_checksum(b""))
