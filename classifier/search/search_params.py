"""What is searched: the `search` section of params.yaml, and its space."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, ValidationError

from classifier.io.params import PARAMS_FILE, Params
from classifier.io.user_error import UserError
from classifier.io.yaml_text import from_yaml
from classifier.network.model import Architecture
from classifier.training.train_params import TrainParams

DIGITS = 6
"""Of a number that is tried: those after them change nothing, and nobody wants to read them."""


Space = Mapping[str, FloatDistribution | IntDistribution | CategoricalDistribution]
"""What is allowed, by the parameters' names in `train`.

Optuna takes no lists: each choice is a text, which is its own YAML.
"""


def text_of(value: object) -> str:
    """Return the text that stands for a choice."""
    return value if isinstance(value, str) else json.dumps(value)


def in_optuna(space: Space, train: TrainParams) -> dict[str, Any]:
    """Return the searched parameters as Optuna has them."""
    values = {name: getattr(train, name) for name in space}
    return {
        name: text_of(value) if isinstance(space[name], CategoricalDistribution) else value
        for name, value in values.items()
    }


def from_optuna(space: Space, params: Mapping[str, Any]) -> dict[str, object]:
    """Return the searched parameters as params.yaml has them."""
    values: dict[str, object] = {}
    for name, allowed in space.items():
        match allowed:
            case IntDistribution():
                values[name] = params[name]
            case FloatDistribution():
                values[name] = float(f"{params[name]:.{DIGITS}g}")
            case CategoricalDistribution():
                values[name] = from_yaml(params[name])
    return values


def first_of(space: Space) -> dict[str, object]:
    """Return one value for each searched parameter: the lowest, or the first choice."""
    first = {
        name: allowed.choices[0] if isinstance(allowed, CategoricalDistribution) else allowed.low
        for name, allowed in space.items()
    }
    return from_optuna(space, first)


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
    for name, value in in_optuna(space, train).items():
        allowed = space[name]
        if isinstance(allowed, CategoricalDistribution):
            is_held = value in allowed.choices
        else:
            is_held = value is not None and allowed.low <= value <= allowed.high
        if not is_held:
            raise UserError(
                f"{PARAMS_FILE}: search.space.{name} does not hold train.{name}, which is "
                f"{getattr(train, name)!r}: the search begins there; change one of the two"
            )
    return space


def _allowed(
    name: str, wanted: object, train: TrainParams
) -> FloatDistribution | IntDistribution | CategoricalDistribution:
    where = f"search.space.{name}"
    if name not in SEARCHABLE:
        raise UserError(
            f"{PARAMS_FILE}: {where} is not a parameter that can be searched; those are: "
            f"{', '.join(SEARCHABLE)}"
        )
    if isinstance(wanted, list) and wanted:
        values = [_checked(f"{where}[{i}]", name, value, train) for i, value in enumerate(wanted)]
        texts = dict.fromkeys(map(text_of, values))
        if len(texts) < len(wanted):
            raise UserError(f"{PARAMS_FILE}: {where} is {wanted!r}, but must have each choice once")
        return CategoricalDistribution(list(texts))
    types = _types(name)
    is_number = bool({int, float} & types)
    if not is_number or not isinstance(wanted, dict) or {*wanted, "log"} != {"low", "high", "log"}:
        range_too = ", or a range such as {low: 0.001, high: 0.1, log: true}" if is_number else ""
        raise UserError(
            f"{PARAMS_FILE}: {where} is {wanted!r}, but must be a list of choices{range_too}"
        )
    low, high = (_checked(f"{where}.{end}", name, wanted[end], train) for end in ("low", "high"))
    log = wanted.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"{PARAMS_FILE}: {where}.log is {log!r}, but must be true or false")
    if low is None or high is None or not low < high:
        raise UserError(
            f"{PARAMS_FILE}: {where} is empty: low is {low!r}, but must be below high, {high!r}"
        )
    if log and low <= 0:
        raise UserError(f"{PARAMS_FILE}: {where}.low is {low!r}, but with log must be above 0")
    return FloatDistribution(low, high, log) if float in types else IntDistribution(low, high, log)


def _checked(where: str, name: str, value: object, train: TrainParams) -> Any:  # noqa: ANN401 (a parameter)
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
