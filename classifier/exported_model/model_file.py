"""What model files have in common: inputs and outputs, operators' versions, and a checksum."""

import hashlib

from onnx import ModelProto, StringStringEntryProto, TensorProto

from classifier.io.schema import CategoricalColumn, ColumnOfTable

OPSETS = {"": 20, "ai.onnx.ml": 4}
"""Versions of ONNX' operators by domain: those of 2023, which runtimes since 2024 have."""


def type_of_input(column: ColumnOfTable) -> TensorProto.DataType:
    return TensorProto.STRING if isinstance(column, CategoricalColumn) else TensorProto.DOUBLE


TYPES_OF_OUTPUTS = [TensorProto.DOUBLE, TensorProto.STRING]
"""Of the probabilities and of the class."""


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
