"""The whole model in one file, model.pt2: raw values in, class probabilities out."""

import copy
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from classifier.io.atomic_write import atomic_write
from classifier.io.schema import CategoricalColumn, NumericColumn, Scaler, Schema
from classifier.io.user_error import UserError

SCHEMA_IN_MODEL = "schema.json"


class PreparingClassifier(nn.Module):
    """A network with the preparation of its inputs before it and softmax after it.

    It prepares as the columns of the schema say, but all features at once: each of them takes a
    raw value as a number, or is 1 where it equals a category, or where it is missing.
    """

    source: Tensor
    is_number: Tensor
    median: Tensor
    offset: Tensor
    scale: Tensor
    category: Tensor
    takes_gaps: Tensor

    def __init__(self, schema: Schema, network: nn.Module) -> None:
        super().__init__()
        features = [
            (index, *feature)
            for index, column in enumerate(schema.columns)
            for feature in _features_of(column)
        ]
        source, median, offset, scale, category, takes_gaps = zip(*features, strict=True)
        numbers = {"median": median, "offset": offset, "scale": scale, "category": category}
        for name, values in numbers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        self.register_buffer("source", torch.tensor(source))
        self.register_buffer("is_number", torch.isnan(self.category))
        self.register_buffer("takes_gaps", torch.tensor(takes_gaps))
        self.scaler = schema.scaler
        self.network = network

    def forward(self, raw: Tensor) -> Tensor:
        """Return probabilities, shape (n, n_classes), of raw values, shape (n, n_columns).

        Both are float64.
        """
        values = raw.index_select(1, self.source)
        missing = torch.isnan(values)
        numbers = torch.where(missing, self.median, values)
        scaled = _scaled(numbers, self.offset, self.scale, self.scaler)
        flags = (values == self.category) | (missing & self.takes_gaps)
        features = torch.where(self.is_number, scaled, flags.double()).float()
        logits: Tensor = self.network(features)
        return torch.softmax(logits.double(), dim=1)


def _scaled(numbers: Tensor, offset: Tensor, scale: Tensor, scaler: Scaler) -> Tensor:
    """Compute in the order in which scikit-learn does, so that the last bit is the same."""
    match scaler:
        case "minmax":
            return numbers * scale + offset
        case "standard":
            return (numbers - offset) / scale
        case "none":
            return numbers


Feature = tuple[float, float, float, float, bool]
"""Median, offset and scale of a number; the category that sets a flag, NaN for a number; and
whether a gap sets the flag."""

NO_CATEGORY = math.inf
"""No raw value is infinite."""


def _features_of(column: NumericColumn | CategoricalColumn) -> Iterator[Feature]:
    if isinstance(column, NumericColumn):
        yield column.median, column.offset, column.scale, math.nan, False
    else:
        for category in range(len(column.categories)):
            yield 0, 0, 1, category, False
        if column.other:
            yield 0, 0, 1, column.unknown, True
    if column.missing_indicator:
        yield 0, 0, 1, NO_CATEGORY, True


def write_exported_model(
    path: Path, schema: Schema, network: nn.Module, weights: dict[str, Tensor]
) -> None:
    """Write what `torch.export.load` reads without this project's code.

    Parameters
    ----------
    path
        Of the file.
    schema
        Travels in the file, as an extra file called schema.json.
    network
        Turns features, shape (n, n_features), into logits, shape (n, n_classes).
    weights
        The network's `state_dict`, on any device; the model in the file is on the CPU.

    """
    network = copy.deepcopy(network).cpu().requires_grad_(requires_grad=False)
    network.load_state_dict(weights)
    model = PreparingClassifier(schema, network).eval()
    example = torch.zeros((2, len(schema.columns)), dtype=torch.float64)
    rows = torch.export.Dim("rows", min=0)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: rows},))
    for node in program.graph.nodes:
        # They name this computer's files.
        for key in ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack"):
            node.meta.pop(key, None)
    # Not straight to the file: where the disk is full, torch would abort the process.
    buffer = io.BytesIO()
    torch.export.save(
        program, buffer, extra_files={SCHEMA_IN_MODEL: schema.model_dump_json(indent=2)}
    )
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_exported_model(path: Path) -> tuple[nn.Module, Schema]:
    """Return the model and its schema.

    Raises
    ------
    UserError
        If there is no such model in the file.

    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.namelist()
    except FileNotFoundError:
        raise UserError(
            f"the model {path} is missing; `dvc repro` makes models/model.pt2"
        ) from None
    except (OSError, zipfile.BadZipFile):
        members = []
    if not any(member.endswith(f"/extra/{SCHEMA_IN_MODEL}") for member in members):
        raise UserError(
            f"{path} is not a model that this pipeline exports; `dvc repro` makes models/model.pt2"
        )
    extra_files = {SCHEMA_IN_MODEL: ""}
    program = torch.export.load(path, extra_files=extra_files)
    return program.module(), Schema.model_validate_json(extra_files[SCHEMA_IN_MODEL])
