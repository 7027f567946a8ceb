"""JSON files that a stage writes for another to read, and for people."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from classifier.io.atomic_write import write_bytes
from classifier.io.user_error import UserError

Model = TypeVar("Model", bound=BaseModel)


def write_json(path: Path, model: BaseModel) -> None:
    write_bytes(path, f"{model.model_dump_json(indent=2)}\n".encode())


def read_json(path: Path, model: type[Model], made_by: str = "dvc repro") -> Model:
    """Read what `write_json` has written, and the command `made_by` makes.

    Raises
    ------
    UserError
        If there is no file, or it holds something else.

    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; to make it: {made_by}") from None
    except ValidationError:
        raise UserError(
            f"{path} is not what a stage has written; to make it anew: {made_by}"
        ) from None
