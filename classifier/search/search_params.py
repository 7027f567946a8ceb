"""The `search` section of params.yaml."""

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError

from classifier.io.params import PARAMS_FILE, Params
from classifier.io.user_error import UserError
from classifier.model import Architecture
from classifier.search.space import Choices, Range, Space, text_of
from classifier.training.loop import TrainParams

SEARCHABLE = (
    *Architecture.model_fields,
    *("optimizer", "lr", "momentum", "weight_decay", "max_grad_norm", "batch_size"),
)
"""Parameters of `train` that leave what `val_loss` measures, and for how long a try may train."""


class SearchParams(Params):
    """The `search` section of params.yaml; `space_of` checks its `space`."""

    trials: int = Field(ge=1, description="a whole number of at least 1")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        min_length=1, description="a list of whole numbers from 0 to 4294967295, such as [1, 2]"
    )
    splits: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        description="auto or a whole number of at least 1"
    )
    seed: int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
    space: dict[str, Any] = Field(
        min_length=1, description="a section with at least one parameter of train"
    )


def space_of(search: SearchParams, train: TrainParams) -> Space:
    """Return the space that is searched, which has to hold what `train` is now.

    Raises
    ------
    UserError
        Names what is wrong in `search.space`.

    """
    space = {name: _allowed(name, wanted, train) for name, wanted in search.space.items()}
    for name, allowed in space.items():
        if not allowed.holds(getattr(train, name)):
            raise UserError(
                f"{PARAMS_FILE}: search.space.{name} does not hold train.{name}, which is "
                f"{getattr(train, name)!r}: the search begins there; change one of the two"
            )
    return space


def _allowed(name: str, wanted: object, train: TrainParams) -> Range | Choices:
    where = f"search.space.{name}"
    if name not in SEARCHABLE:
        raise UserError(
            f"{PARAMS_FILE}: {where} is not a parameter that can be searched; those are: "
            f"{', '.join(SEARCHABLE)}"
        )
    if isinstance(wanted, list) and wanted:
        return _choices(where, name, wanted, train)
    is_number = bool({int, float} & _types(name))
    if is_number and isinstance(wanted, dict) and {*wanted, "log"} == {"low", "high", "log"}:
        return _range(where, name, wanted, train)
    range_too = ", or a range such as {low: 0.001, high: 0.1, log: true}" if is_number else ""
    raise UserError(
        f"{PARAMS_FILE}: {where} is {wanted!r}, but must be a list of choices{range_too}"
    )


def _choices(where: str, name: str, wanted: list[object], train: TrainParams) -> Choices:
    values = [_checked(f"{where}[{i}]", name, value, train) for i, value in enumerate(wanted)]
    choices = Choices({text_of(value): value for value in values})
    if len(choices.values) < len(wanted):
        raise UserError(f"{PARAMS_FILE}: {where} is {wanted!r}, but must have each choice once")
    return choices


def _range(where: str, name: str, wanted: dict[str, object], train: TrainParams) -> Range:
    low, high = (_checked(f"{where}.{end}", name, wanted[end], train) for end in ("low", "high"))
    log = wanted.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"{PARAMS_FILE}: {where}.log is {log!r}, but must be true or false")
    if not (isinstance(low, int | float) and isinstance(high, int | float) and low < high):
        raise UserError(
            f"{PARAMS_FILE}: {where} is empty: low is {low!r}, but must be below high, {high!r}"
        )
    if log and low <= 0:
        raise UserError(f"{PARAMS_FILE}: {where}.low is {low!r}, but with log must be above 0")
    return Range(low, high, log, whole=float not in _types(name))


def _checked(where: str, name: str, value: object, train: TrainParams) -> object:
    try:
        checked = TrainParams.model_validate({**train.model_dump(), name: value})
    except ValidationError:
        allowed = TrainParams.model_fields[name].description
        raise UserError(f"{PARAMS_FILE}: {where} is {value!r}, but must be {allowed}") from None
    return getattr(checked, name)


def _types(name: str) -> set[object]:
    """Return the types that a parameter may have, such as float and None."""
    annotation = TrainParams.model_fields[name].annotation
    parts = [annotation] if get_origin(annotation) is list else [annotation, *get_args(annotation)]
    return {get_args(part)[0] if get_origin(part) is Annotated else part for part in parts}
