"""The whole model in one file, model.pt2: raw values in, class probabilities out."""

import copy
import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.parts.atomic_write import atomic_write
from stages.parts.tables.schema import NumericColumn, Schema
from stages.parts.user_error import UserError

SCHEMA_IN_MODEL = "schema.json"


class PreparingClassifier(nn.Module):
    """A network with the preparation of its inputs before it and softmax after it.

    It prepares as the columns of the schema do, but all features at once: each of them takes a
    raw value as a number, compares it with a category, or asks whether it is missing.
    """

    source: Tensor
    is_number: Tensor
    is_indicator: Tensor
    median: Tensor
    center: Tensor
    scale: Tensor
    category: Tensor

    def __init__(self, schema: Schema, network: nn.Module) -> None:
        super().__init__()
        source: list[int] = []
        is_number: list[bool] = []
        is_indicator: list[bool] = []
        numbers: list[tuple[float, float, float]] = []
        category: list[float] = []

        def add_feature(
            index: int,
            *,
            number: NumericColumn | None = None,
            equals: float = -1.0,
            indicator: bool = False,
        ) -> None:
            source.append(index)
            is_number.append(number is not None)
            is_indicator.append(indicator)
            numbers.append((number.median, number.center, number.scale) if number else (0, 0, 1))
            category.append(equals)

        for index, column in enumerate(schema.columns):
            if isinstance(column, NumericColumn):
                add_feature(index, number=column)
            else:
                for equals in range(column.n_categories):
                    add_feature(index, equals=equals)
            if column.missing_indicator:
                add_feature(index, indicator=True)
        median, center, scale = torch.tensor(numbers, dtype=torch.float64).T.contiguous()
        self.register_buffer("source", torch.tensor(source))
        self.register_buffer("is_number", torch.tensor(is_number))
        self.register_buffer("is_indicator", torch.tensor(is_indicator))
        self.register_buffer("median", median.clone())
        self.register_buffer("center", center.clone())
        self.register_buffer("scale", scale.clone())
        self.register_buffer("category", torch.tensor(category, dtype=torch.float64))
        self.network = network

    def forward(self, raw: Tensor) -> Tensor:
        """Return probabilities, shape (n, n_classes), of raw values, shape (n, n_columns).

        Both are float64.
        """
        values = raw.index_select(1, self.source)
        missing = torch.isnan(values)
        numbers = (torch.where(missing, self.median, values) - self.center) / self.scale
        flags = torch.where(self.is_indicator, missing, values == self.category)
        features = torch.where(self.is_number, numbers, flags.double()).float()
        logits: Tensor = self.network(features)
        return torch.softmax(logits.double(), dim=1)


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
