"""The checksum at the end of a model file, by which a damaged one is told."""

import hashlib

from onnx import ModelProto, StringStringEntryProto


class BrokenSealError(Exception):
    """The content is not what was sealed."""


def sealed(content: bytes) -> bytes:
    """Return a serialized model with its checksum.

    Two serialized messages in a row are one with the fields of both, so that this is still a
    model, with one more entry in its metadata.
    """
    return content + _seal(content)


def check_seal(content: bytes) -> None:
    """Say whether content is what `sealed` has returned.

    Raises
    ------
    BrokenSealError
        If it is not.

    """
    model, seal = content[:-SEAL_LENGTH], content[-SEAL_LENGTH:]
    if seal != _seal(model):
        raise BrokenSealError


def _seal(content: bytes) -> bytes:
    checksum = hashlib.sha256(content).hexdigest()
    entry = StringStringEntryProto(key="sha256", value=checksum)
    seal: bytes = ModelProto(metadata_props=[entry]).SerializeToString()
    return seal


SEAL_LENGTH = len(_seal(b""))
