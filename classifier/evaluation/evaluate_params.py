"""The `evaluate` section of params.yaml, and what else `evaluate` needs of that file."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from classifier.evaluation.threshold import ThresholdRule
from classifier.io.params import Params


def _none_or_several(repeats: int) -> int:
    if repeats == 1:
        raise ValueError
    return repeats


def _all_different(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError
    return names


def _as_a_class(value: object) -> object:
    # YAML reads 1 as a number, and true as a truth, which classes may be.
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


class EvaluateParams(Params):
    """The `evaluate` section of params.yaml."""

    confidence: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    positive_class: Annotated[str | None, BeforeValidator(_as_a_class)] = Field(
        description="the name of one of two classes, or null"
    )
    threshold: ThresholdRule | Annotated[float, Field(gt=0, lt=1)] = Field(
        description="a number between 0 and 1, best_f1 or best_balanced_accuracy"
    )
    importance_repeats: Annotated[int, AfterValidator(_none_or_several)] = Field(
        ge=0, description="0 for none, or a whole number of at least 2"
    )
    slices: Annotated[list[str], AfterValidator(_all_different)] = Field(
        description="a list of different column names, such as [sex, region] or []"
    )
