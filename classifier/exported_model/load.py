"""A model file, run by onnxruntime: nothing in it is code, and what is no such file is refused."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import GraphProto, ModelProto, TensorProto
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors
from pydantic import ValidationError

from classifier.exported_model.format import OPSETS, TYPES_OF_OUTPUTS, is_damaged, type_of_input
from classifier.io.profile import Profile
from classifier.io.schema import Schema, TextColumn
from classifier.io.user_error import UserError, quoted

FATAL_ONLY = 4
"""What onnxruntime itself prints; the exceptions say the rest."""

CHARACTERS_AT_ONCE = 2**22
ROWS_AT_ONCE = 256
"""Of tables with free texts: each text is as long as the longest, and has a number per piece."""

CANNOT_RUN = (
    # Of its own message, with a name that is no text.
    UnicodeDecodeError,
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NoSuchFile,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)


class ExportedModel:
    """A model that `write_exported_model` has written."""

    def __init__(self, path: Path) -> None:
        """Load it; raise `UserError` if it is no such model, or asks for more than computing."""
        content = _read(path)
        try:
            model = onnx.load_model_from_string(content)
            metadata = {entry.key: entry.value for entry in model.metadata_props}
            self.schema = Schema.model_validate_json(metadata["schema"])
        except (DecodeError, KeyError, ValidationError):
            raise UserError(f"{path} is not a model that this pipeline exports") from None
        _check(model, self.schema, path)
        self._path, self._profile = path, metadata.get("profile", "")
        options = SessionOptions()
        # The number of threads decides how sums are rounded.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_ONLY
        # It would look itself, and may find another model than the one that was checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self._session = InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except CANNOT_RUN as error:
            raise UserError(f"{path} cannot be run: {error}") from None

    def profile(self) -> Profile:
        """Return what its training rows were like; raise `UserError` where it does not say so."""
        with suppress(ValidationError):
            profile = Profile.model_validate_json(self._profile)
            if profile.suits(self.schema):
                return profile
        raise UserError(
            f"{self._path} does not say what its training rows were like; to make it anew: "
            "dvc repro"
        )

    def probabilities(self, raw: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (n, n_classes), of raw values, each of shape (n,)."""
        n = at_once = len(next(iter(raw.values())))
        if n == 0:
            return np.empty((0, len(self.schema.classes)))
        of_texts = [raw[one.name] for one in self.schema.columns if isinstance(one, TextColumn)]
        if of_texts:
            longest = max(max(map(len, texts)) for texts in of_texts)
            at_once = min(ROWS_AT_ONCE, CHARACTERS_AT_ONCE // max(longest, 1) + 1)
        parts = [
            self._run({name: values[start : start + at_once] for name, values in raw.items()})
            for start in range(0, n, at_once)
        ]
        return np.concatenate(parts)

    def _run(self, raw: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        n = len(next(iter(raw.values())))
        inputs = {}
        for column in self.schema.columns:
            # A row alone is multiplied by other code, and the last bits are others.
            values = np.repeat(raw[column.name], 2) if n == 1 else raw[column.name]
            is_text = isinstance(column, TextColumn)
            inputs[column.name] = code_points(values) if is_text else values[:, np.newaxis]
        try:
            (found,) = self._session.run([self._session.get_outputs()[0].name], inputs)
        except CANNOT_RUN as error:
            raise UserError(f"{self._path} cannot be run: {error}") from None
        probabilities: npt.NDArray[np.float64] = np.atleast_1d(found)[:n]
        if probabilities.shape != (n, len(self.schema.classes)):
            raise UserError(f"{self._path} does not return the probabilities of its classes")
        return probabilities


def code_points(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.int32]:
    """Return texts, shape (n,), as their code points, shape (n, longest), zeros behind the end."""
    return texts.astype("U")[:, np.newaxis].view(np.int32)


def _read(path: Path) -> bytes:
    if not path.exists():
        raise UserError(f"the model {path} is missing; `dvc repro` makes models/model.onnx")
    if not path.is_file():
        # There are devices that can be read for ever.
        raise UserError(f"the model {path} is not a file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"the model {path} cannot be read: {error.strerror}") from None
    if is_damaged(content):
        raise UserError(
            f"{path} is not a model that this pipeline exports, or it is damaged; `dvc repro` "
            "makes models/model.onnx"
        )
    return content


def _check(model: ModelProto, schema: Schema, path: Path) -> None:
    """Refuse what is not a plain computation from the schema's columns to probabilities.

    Who crafts a file can put its checksum right. No operator of ONNX itself opens files or runs
    code, but one of a runtime's own may, loops may go on for ever, and weights may be said to be in
    other files.
    """
    inputs = [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    if inputs != [(column.name, type_of_input(column)) for column in schema.columns]:
        raise UserError(f"{path} does not take the columns of its schema")
    outputs = [value.type.tensor_type.elem_type for value in model.graph.output]
    if outputs != TYPES_OF_OUTPUTS:
        raise UserError(f"{path} does not return probabilities and a class")
    tensors = (one for one in _messages(model) if isinstance(one, TensorProto))
    if any(tensor.HasField("data_location") for tensor in tensors):
        raise UserError(f"{path} asks for other files, as no model that this pipeline exports does")
    others = {
        node.op_type
        for node in model.graph.node
        if node.domain not in OPSETS or any(isinstance(one, GraphProto) for one in _messages(node))
    } | {function.name for function in model.functions}
    if others:
        raise UserError(
            f"{path} asks for more than operators of ONNX, one after the other: "
            f"{quoted(sorted(others))}"
        )


def _messages(message: Message) -> Iterator[Message]:
    """Yield a part of a model, and all that it holds."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if isinstance(value, Message) else value:
                yield from _messages(one)
