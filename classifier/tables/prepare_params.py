"""The `prepare` section of params.yaml."""

from typing import Self

from pydantic import Field, model_validator

from classifier.io.schema import Scaler
from classifier.tables.encoding import BeyondMaxCategories
from classifier.tables.kinds import DayFirst
from classifier.tables.reading import Reading
from classifier.tables.splits import RareClasses, SplitKind

NAMES = "a list of column names, such as [id, name] or []"
NAME_OR_NULL = "the name of a column, or null"


class PrepareParams(Reading):
    """The `prepare` section of params.yaml: how the file is read is inherited."""

    data: str = Field(min_length=1, description="the path of a table")
    target: str = Field(min_length=1, description="the name of a column")
    ignore: list[str] = Field(description=NAMES)
    features: list[str] | None = Field(
        description="a list of column names, or null for all but the target and the ignored"
    )
    categorical: list[str] = Field(description=NAMES)
    day_first: DayFirst = Field(description="one of auto, true, false")
    split: SplitKind = Field(description="one of random, group, time")
    group: str | None = Field(description=NAME_OR_NULL)
    order_by: str | None = Field(description=NAME_OR_NULL)
    test_size: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    val_size: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    rare_classes: RareClasses = Field(description="one of error, train_only, drop")
    scaler: Scaler = Field(description="one of minmax, standard, squash, none")
    missing_indicator: bool = Field(description="true or false")
    max_categories: int = Field(ge=2, description="a whole number of at least 2")
    beyond_max_categories: BeyondMaxCategories = Field(description="one of error, other")
    seed: int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> Self:
        if self.test_size + self.val_size >= 1:
            raise ValueError(
                f"test_size is {self.test_size} and val_size is {self.val_size}; "
                "together they must be below 1, to leave rows to train on"
            )
        return self

    @model_validator(mode="after")
    def _name_the_column_that_the_split_goes_by(self) -> Self:
        for split, key, value in [
            ("group", "group", self.group),
            ("time", "order_by", self.order_by),
        ]:
            if self.split == split and value is None:
                raise ValueError(f"split is {split}, so {key} must be the name of a column")
            if self.split != split and value is not None:
                raise ValueError(f"{key} is '{value}', so split must be {split}, or {key} null")
        return self
