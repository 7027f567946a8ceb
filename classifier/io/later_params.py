"""The sections of params.yaml for after training: what is wrong in them is refused before it.

`prepare` and `train` read them for that alone. What these write does not depend on them, so DVC is
not told of it, and a change in them does not run these stages again.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from classifier.io.params import Params, read_params
from classifier.io.user_error import UserError, quoted

BaselineName = Literal["logistic_regression", "gradient_boosting"]
ThresholdRule = Literal["best_f1", "best_balanced_accuracy"]
MOST_PROBABLE = 0.5
"""The threshold by which a row is of its most probable class."""


class BaselineParams(Params):
    """The `baseline` section of params.yaml."""

    models: list[BaselineName] = Field(
        description="a list of logistic_regression, gradient_boosting, or []"
    )
    max_rows: int = Field(ge=100, description="a whole number of at least 100")


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

    def must_suit(self, classes: list[str]) -> None:
        """Refuse a positive class that is none of two, and a threshold where there are not two.

        Raises `UserError`, which names the parameter and the classes.
        """
        name, n_classes = self.positive_class, len(classes)
        if name is not None and (n_classes != 2 or name not in classes):
            raise UserError(
                f"params.yaml: evaluate.positive_class is '{name}', but must be null, or one of "
                "the two classes, between quotes, where there are two; there are: "
                f"{quoted(classes)}"
            )
        if n_classes != 2 and self.threshold != MOST_PROBABLE:
            raise UserError(
                f"params.yaml: evaluate.threshold is {self.threshold}, but the table has "
                f"{n_classes} classes, and only of two can one have a threshold; set it to "
                f"{MOST_PROBABLE}"
            )

    def must_slice(self, columns: Mapping[str, bool], source: str) -> None:
        """Refuse slices of columns that the table lacks, or that hold neither numbers nor texts.

        `columns` says of each of the table's columns whether it holds such. Raises `UserError`,
        which names the columns and calls the table `source`.
        """
        missing = [name for name in self.slices if name not in columns]
        if missing:
            raise UserError(
                f"params.yaml: evaluate.slices names {quoted(missing)}, which {source} lacks; "
                f"its columns are {quoted(list(columns))}"
            )
        for name in self.slices:
            if not columns[name]:
                raise UserError(
                    f"{source}: column '{name}', which is in evaluate.slices, holds neither "
                    "numbers nor texts"
                )


class PlotParams(Params):
    """The `plot` section of params.yaml."""

    log_scale: bool = Field(description="true or false")
    dpi: int = Field(ge=50, le=600, description="a whole number from 50 to 600")


def read_later_params() -> EvaluateParams:
    """Check all these sections as `read_params` does; return that which has to suit the table."""
    read_params("baseline", BaselineParams)
    read_params("plot", PlotParams)
    return read_params("evaluate", EvaluateParams)
