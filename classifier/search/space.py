"""What the parameters of `train` that are searched may be."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import Trial

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
