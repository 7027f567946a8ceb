"""What the columns of the table mean, and how a new row is prepared: schema.json."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from stages.parts.atomic_write import atomic_write


class Column(BaseModel):
    """A numeric column; prepared, its value is `(value - center) / scale`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    center: float
    scale: float

    def prepare(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Scale raw values, shape (rows,), in double precision, and round once."""
        return ((values - self.center) / self.scale).astype(np.float32)


class Schema(BaseModel):
    """Everything needed to prepare a new row as the training rows were, and to name its class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    classes: list[str]
    """In the order of the model's outputs."""
    columns: list[Column]
    """In the order of the model's inputs."""


def write_schema(path: Path, schema: Schema) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(schema.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_schema(path: Path) -> Schema:
    return Schema.model_validate_json(path.read_bytes())
