"""A stage's section of params.yaml, checked."""

from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from classifier.io.files import read_text
from classifier.io.user_error import UserError
from classifier.io.yaml_text import from_yaml

PARAMS_FILE = Path("params.yaml")


class Params(BaseModel):
    """A section of params.yaml.

    Every field has a description of what is allowed, written to follow "must be"; that of a Literal
    is made of its values.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        for field in cls.model_fields.values():
            if get_origin(field.annotation) is Literal:
                field.description = f"one of {', '.join(get_args(field.annotation))}"


SomeParams = TypeVar("SomeParams", bound=Params)


def read_params(
    section: str, model: type[SomeParams], *, only_its_keys: bool = False
) -> SomeParams:
    """Read and check one section of params.yaml.

    With `only_its_keys`, those that `model` lacks stay unchecked: another stage's business. Raises
    `UserError`, which names the key, the value found and what is allowed.
    """
    values = read_section(section)
    if only_its_keys:
        values = {key: value for key, value in values.items() if key in model.model_fields}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt key is both unknown and missing; the unknown one is the mistake.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise UserError(_explain(section, model, first)) from None


def read_section(section: str) -> dict[str, Any]:
    try:
        document = from_yaml(read_text(PARAMS_FILE))
    except ValueError as error:
        raise UserError(f"{PARAMS_FILE} is not valid YAML: {error}") from None
    if not isinstance(document, dict) or section not in document:
        raise UserError(f"{PARAMS_FILE}: the section '{section}:' is missing")
    values = document[section]
    if not isinstance(values, dict):
        raise UserError(f"{PARAMS_FILE}: {section} is {values!r}, but must be a section of keys")
    return {str(key): value for key, value in values.items()}


def _explain(section: str, model: type[Params], error: ErrorDetails) -> str:
    if not error["loc"]:
        return f"{PARAMS_FILE}: {section}: {error['msg'].removeprefix('Value error, ')}"
    key, *inner = error["loc"]
    field_type = model.model_fields[str(key)].annotation if key in model.model_fields else None
    if inner and isinstance(field_type, type) and issubclass(field_type, Params):
        return _explain(f"{section}.{key}", field_type, {**error, "loc": tuple(inner)})
    indices = "".join(f"[{part}]" for part in inner if isinstance(part, int))
    name = f"{PARAMS_FILE}: {section}.{key}{indices}"
    if error["type"] == "extra_forbidden":
        return f"{name} is not a parameter; those of {section} are: {', '.join(model.model_fields)}"
    allowed = model.model_fields[str(key)].description
    if error["type"] == "missing":
        return f"{name} is missing; it must be {allowed}"
    return f"{name} is {error['input']!r}, but must be {allowed}"
