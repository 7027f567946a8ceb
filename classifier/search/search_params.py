"""What is searched: the `search` section of params.yaml, and its space."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from optuna.trial import Trial
from pydantic import Field, ValidationError

from classifier.io.params import PARAMS_FILE, Params
from classifier.io.user_error import UserError
from classifier.network.model import Architecture
from classifier.training.loop import TrainParams

DIGITS = 6
"""Of a number that is tried: those after them change nothing, and nobody wants to read them."""


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`; with `log`, each power of ten is as likely as the next."""

    low: float
    high: float
    log: bool
    whole: bool

    def holds(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def first(self) -> object:
        return int(self.low) if self.whole else self.low

    def in_optuna(self, value: object) -> Any:  # noqa: ANN401 (a parameter)
        return value

    def from_optuna(self, found: Any) -> object:  # noqa: ANN401 (a parameter)
        return found if self.whole else float(f"{found:.{DIGITS}g}")

    def suggest(self, trial: Trial, name: str) -> object:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return self.from_optuna(trial.suggest_float(name, self.low, self.high, log=self.log))


@dataclass(frozen=True)
class Choices:
    """Values by the text that stands for them in Optuna, which takes no lists."""

    values: Mapping[str, object]

    def holds(self, value: object) -> bool:
        return text_of(value) in self.values

    @property
    def first(self) -> object:
        return next(iter(self.values.values()))

    def in_optuna(self, value: object) -> Any:  # noqa: ANN401 (a parameter)
        return text_of(value)

    def from_optuna(self, found: object) -> object:
        return self.values[str(found)]

    def suggest(self, trial: Trial, name: str) -> object:
        return self.values[trial.suggest_categorical(name, list(self.values))]


Space = Mapping[str, Range | Choices]
"""By the parameters' names in `train`."""


def text_of(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def in_optuna(space: Space, train: TrainParams) -> dict[str, Any]:
    """Return the searched parameters as Optuna has them."""
    return {name: each.in_optuna(getattr(train, name)) for name, each in space.items()}


def from_optuna(space: Space, params: Mapping[str, Any]) -> dict[str, object]:
    """Return the searched parameters as params.yaml has them."""
    return {name: each.from_optuna(params[name]) for name, each in space.items()}


def suggest(space: Space, trial: Trial, train: TrainParams) -> TrainParams:
    """Return `train` with what Optuna suggests."""
    suggested = {name: each.suggest(trial, name) for name, each in space.items()}
    return TrainParams.model_validate({**train.model_dump(), **suggested})


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
