"""The `prepare` section of params.yaml: how the file is read, and what becomes of its columns."""

import codecs
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from classifier.io.params import Params
from classifier.io.schema import Scaler

DayFirst = Literal["auto"] | bool
RareClasses = Literal["error", "train_only", "drop"]

MARKS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
    "blanks": " ",
    "point": ".",
    "blank": " ",
    "apostrophe": "'",
}
"""What the names of delimiters and marks stand for."""

TEXTS = "a list of texts between quotes"
NAMES = "a list of column names, such as [id, name] or []"
NAME_OR_NULL = "the name of a column, or null"


def _encoding(name: str) -> str:
    if name == "auto":
        return name
    try:
        # Not every codec of Python is one of texts.
        "".encode(codecs.lookup(name).name)
    except LookupError:
        raise ValueError from None
    return name


class Reading(Params):
    """How the file is to be read; what is `auto` is found out by looking at it."""

    sheet: str | None = Field(
        description="the name of a sheet or table, or null for the first that has the target"
    )
    delimiter: Literal["auto", "comma", "semicolon", "tab", "pipe", "blanks"]
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        description="auto, or the name of an encoding, such as utf-8, utf-16 or cp1252"
    )
    decimal: Literal["auto", "point", "comma"]
    thousands: Literal["auto", "none", "comma", "point", "blank", "apostrophe"]
    header: Literal["auto"] | bool = Field(description="one of auto, true, false")
    skip_rows: Literal["auto"] | list[int] = Field(
        description="auto, or a list of rows that are none of the table, such as [1, 2] or []"
    )
    gaps: list[str] = Field(description=f"{TEXTS}, such as ['unknown'] or []")
    not_gaps: list[str] = Field(description=f"{TEXTS}, such as ['NA'] or []")


AS_THE_FILE_SAYS = Reading.model_validate(
    dict.fromkeys(Reading.model_fields, "auto") | {"sheet": None, "gaps": [], "not_gaps": []}
)


class PrepareParams(Reading):
    """The `prepare` section of params.yaml: how the file is read is inherited."""

    data: str = Field(min_length=1, description="the path of a table")
    target: str = Field(min_length=1, description="the name of a column")
    ignore: list[str] = Field(description=NAMES)
    features: list[str] | None = Field(
        description="a list of column names, or null for all but the target and the ignored"
    )
    categorical: list[str] = Field(description=NAMES)
    text: list[str] = Field(description=NAMES)
    text_components: int = Field(ge=1, description="a whole number of at least 1")
    target_gaps: list[str] = Field(description=f"{TEXTS}, such as ['unknown'] or []")
    day_first: DayFirst = Field(description="one of auto, true, false")
    split: Literal["random", "group", "time"]
    group: str | None = Field(description=NAME_OR_NULL)
    order_by: str | None = Field(description=NAME_OR_NULL)
    test_size: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    val_size: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    folds: int = Field(ge=1, description="a whole number of at least 1")
    rare_classes: RareClasses
    scaler: Scaler
    missing_indicator: bool = Field(description="true or false")
    max_categories: int = Field(ge=2, description="a whole number of at least 2")
    beyond_max_categories: Literal["error", "other"]
    seed: int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")

    @model_validator(mode="after")
    def _suit_one_another(self) -> Self:
        if self.test_size + self.val_size >= 1:
            raise ValueError(
                f"test_size is {self.test_size} and val_size is {self.val_size}; "
                "together they must be below 1, to leave rows to train on"
            )
        if self.split == "time" and self.folds > 1:
            raise ValueError(
                f"folds is {self.folds}, but must be 1 with split: time: a network that leaves out "
                "early rows would be trained on later ones, which is to know the future"
            )
        for split, key, value in [
            ("group", "group", self.group),
            ("time", "order_by", self.order_by),
        ]:
            if self.split == split and value is None:
                raise ValueError(f"split is {split}, so {key} must be the name of a column")
            if self.split != split and value is not None:
                raise ValueError(f"{key} is '{value}', so split must be {split}, or {key} null")
        return self
