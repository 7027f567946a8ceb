"""What `prepare` has found: how a new row is prepared, schema.json, and reports/table.json."""

import operator
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from classifier.io.files import read_json

LabelKind = Literal["text", "integer", "boolean"]
Scaler = Literal["minmax", "standard", "squash", "none"]
SQUASHED_TO = 3.0
"""What the absolute values of squashed features do not exceed."""
LARGEST_Z = 1e9
"""Before they are squashed; of what is larger, nothing is left afterwards."""
DatePart = Literal["year", "month", "day", "weekday", "hour", "days since the first"]
DATE_PARTS: tuple[DatePart, ...] = get_args(DatePart)
ISO = "ISO8601"
"""pandas' name for 2024-05-31, with or without a time and a time zone behind it."""
DIRECTIVES = "aAbBdfHIjmMpSyYz"
"""Of `strftime`: those of the formats that dates are looked for in."""

GAPS = (
    *("", "?", "...", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "<NA>"),
    *("#N/A", "#NA", "#N/A N/A", "-NaN", "-nan", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
)
"""Texts that stand for a missing value: those of skrub's `Cleaner`."""


NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-][0-9]{2,3})?")
"""How files and pandas spell a number; 010 is a code, and so may 1e5 be."""

POINT_AND_COMMA = str.maketrans(".,", ",.")


LARGEST_EXACT = 2.0**53
"""Beyond it, not every whole number is a float."""


def plain_number(text: str, decimal: Literal[".", ","] = ".") -> str:
    """Return the one spelling for all of a number, such as 10 for 10.0; other texts as they are.

    So is a float of which nobody knows which whole number it was.
    """
    with_point = text if decimal == "." else text.translate(POINT_AND_COMMA)
    if not NUMBER.fullmatch(with_point):
        return text
    number = Decimal(with_point)
    if abs(number) > LARGEST_EXACT and not with_point.lstrip("+-").isdecimal():
        return text
    plain = f"{number:f}"
    if "." in plain:
        plain = plain.rstrip("0").removesuffix(".")
    return "0" if plain == "-0" else plain


def spellings(category: str) -> list[str]:
    """Return the category, and how else pandas spells it if it is a number: 10, and 10.0."""
    plain = plain_number(category)
    exact = NUMBER.fullmatch(plain) and abs(float(plain)) <= LARGEST_EXACT
    floats = [str(float(plain))] if exact else []
    return list(dict.fromkeys([category, plain, *floats]))


def gap_texts(gaps: Sequence[str], not_gaps: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that stand for a missing value: `GAPS`, but for some, and further ones."""
    return (*(text for text in GAPS if text not in not_gaps), *gaps)


class Frozen(BaseModel):
    """What never changes, and holds nothing but its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scaling(Frozen):
    """How a number becomes a feature: scaled, with the median in place of a gap."""

    median: float
    offset: float
    scale: float
    """`minmax`: `value * scale + offset`; `standard`: `z = (value - offset) / scale`.

    `squash`: `z / sqrt(1 + (z / SQUASHED_TO)**2)`, where z is at most `LARGEST_Z`.
    """


class NumericColumn(Scaling):
    """Its raw value is the number, NaN for a gap."""

    name: str
    kind: Literal["numeric"] = "numeric"
    unit: str
    """What stands before or behind each number that is a text, such as % or $."""
    missing_indicator: bool


class PartOfDate(Scaling):
    part: DatePart


def _is_format(text: str) -> str:
    directives = re.findall("%(.?)", text)
    if text != ISO and (
        not directives
        or not set(directives) <= set(DIRECTIVES)
        or len(set(directives)) < len(directives)
    ):
        raise ValueError("it is no format of dates")
    return text


class DatetimeColumn(Frozen):
    """Its raw value is the seconds since 1970, in UTC if it has a time zone, NaN for a gap.

    Prepared, it is one feature for each of its parts.
    """

    name: str
    kind: Literal["datetime"] = "datetime"
    format: Annotated[str, AfterValidator(_is_format)]
    """Of texts: that of `strftime`, or `ISO`."""
    first: float
    """The raw value of the earliest training row."""
    parts: list[PartOfDate]
    """Those that vary in the training rows."""
    missing_indicator: bool


class CategoricalColumn(Frozen):
    """Its raw value is the text, empty for a gap.

    Prepared, it is one feature per category: 1 in that of the value, else 0.
    """

    name: str
    kind: Literal["text", "boolean"]
    categories: list[str]
    other: bool
    """Whether there is one more category, for gaps and all texts that are not in `categories`."""
    missing_indicator: bool

    @property
    def unknown(self) -> int:
        """The index of a text that is not in `categories`."""
        return len(self.categories) if self.other else -1


class TextColumn(Frozen):
    """Its raw value is the text, empty for a gap.

    Prepared, it is one feature for each of its components: sums of its pieces, each weighted by
    tf-idf, of a text whose weights have a Euclidean length of 1.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    name: str
    kind: Literal["free text"] = "free text"
    pieces: list[str] = Field(min_length=1)
    """Those that count, folded."""
    weights: bytes = b""
    """Of the pieces, float16, little-endian, shape (1 + number of components, number of pieces).

    The first row are the inverse document frequencies, the others the components. A model file has
    them elsewhere.
    """
    components: list[Scaling]
    missing_indicator: bool

    @model_validator(mode="after")
    def _has_its_weights(self) -> "TextColumn":
        n_bytes = 2 * (1 + len(self.components)) * len(self.pieces)
        if len(self.weights) not in {0, n_bytes}:
            raise ValueError("the weights are not those of the pieces and components")
        return self


ColumnOfTable = NumericColumn | DatetimeColumn | CategoricalColumn | TextColumn
"""Its `missing_indicator` says whether the last feature is 1 where there is a gap, else 0."""


def _features(column: ColumnOfTable) -> list[tuple[str, bool]]:
    """Return the name of each feature, and whether it comes of numbers; the others are 0 or 1."""
    name, numbers, flags = column.name, [], []
    match column:
        case NumericColumn():
            numbers = [name]
        case DatetimeColumn():
            numbers = [f"{name}: {part.part}" for part in column.parts]
        case TextColumn():
            numbers = [f"{name}: component {n}" for n, _ in enumerate(column.components, start=1)]
        case CategoricalColumn():
            flags = [f"{name}={category}" for category in column.categories]
            if column.other:
                flags.append(f"{name}: other")
    if column.missing_indicator:
        flags.append(f"{name}: missing")
    return [*((one, True) for one in numbers), *((one, False) for one in flags)]


class Schema(Frozen):
    """Everything needed to prepare a new row as the training rows were, and to name its class."""

    target: str
    label_kind: LabelKind
    classes: list[str] = Field(min_length=1)
    """In the order of the model's outputs."""
    scaler: Scaler
    gaps: list[str]
    """Further texts that stand for a missing value, beside `GAPS`."""
    not_gaps: list[str] = Field(default=[], exclude_if=operator.not_)
    """Texts among `GAPS` that are values."""
    columns: list[Annotated[ColumnOfTable, Field(discriminator="kind")]] = Field(min_length=1)
    """In the order of the raw values."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Schema":
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names) or len(set(self.classes)) < len(self.classes):
            raise ValueError("columns and classes must differ from one another")
        if self.label_kind == "boolean" and not set(self.classes) <= {"true", "false"}:
            raise ValueError("a class is not true or false")
        if self.label_kind == "integer" and any(
            not re.fullmatch("-?[0-9]{1,19}", name) or not -(2**63) <= int(name) < 2**63
            for name in self.classes
        ):
            raise ValueError("a class is no whole number of 64 bits")
        return self

    @property
    def feature_slices(self) -> dict[str, slice]:
        """By column, which of the network's inputs are made of it."""
        ends = accumulate((len(_features(column)) for column in self.columns), initial=0)
        slices = (slice(start, end) for start, end in pairwise(ends))
        return dict(zip((column.name for column in self.columns), slices, strict=True))

    @property
    def feature_names(self) -> list[str]:
        """In the order of the network's inputs."""
        return [name for column in self.columns for name, _ in _features(column)]

    @property
    def numeric_features(self) -> tuple[int, ...]:
        """Positions of the network's inputs that come of numbers; the others are 0 or 1."""
        are_numbers = (is_number for column in self.columns for _, is_number in _features(column))
        return tuple(index for index, is_number in enumerate(are_numbers) if is_number)

    @property
    def n_features(self) -> int:
        return len(self.feature_names)


def read_schema(path: Path) -> Schema:
    """Read what `prepare` has written; raises `UserError` if it is none."""
    return read_json(path, Schema)


class TableReport(BaseModel):
    """What reports/table.json holds."""

    file: str
    """How it is read."""
    rows: int
    """In the three parts."""
    rows_without_target: int
    """Left out."""
    rows_of_rare_classes: int
    """Left out."""
    copies: int
    """Rows that are equal to one further up; they are in the same part."""
    gaps: int
    """Cells, of the columns that are features."""
    columns: int
    """That are features."""
    features: int
    """Inputs of the network."""
    columns_left_out: int
    left_out: dict[str, str]
    """Columns that say nothing, with the reason; not those that parameters leave out."""
    suspicions: int
    warnings: list[str]
    """What is suspicious; `dvc metrics show` shows no lists, but how many."""
