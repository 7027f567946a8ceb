"""A network with the preparation of its inputs before it, as a computation to export."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from classifier.io.schema import (
    DATE_PARTS,
    LARGEST_Z,
    SQUASHED_TO,
    CategoricalColumn,
    ColumnOfTable,
    DatePart,
    DatetimeColumn,
    NumericColumn,
    Scaler,
    Schema,
)


class PreparingClassifier(nn.Module):
    """A network with the preparation of its inputs before it and softmax after it.

    It prepares as the columns of the schema say, but all features at once: each of them takes a
    value as a number, or a part of it as a date, or is 1 where it equals a category, or where it is
    missing. The value of a text is the index of its category.
    """

    source: Tensor
    part: Tensor
    first: Tensor
    is_number: Tensor
    median: Tensor
    offset: Tensor
    scale: Tensor
    category: Tensor
    takes_gaps: Tensor

    def __init__(self, schema: Schema, network: nn.Module) -> None:
        super().__init__()
        features = [
            (index, feature)
            for index, column in enumerate(schema.columns)
            for feature in _features_of(column)
        ]
        for name in ("median", "offset", "scale", "category", "first"):
            values = [getattr(feature, name) for _, feature in features]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        self.register_buffer("source", torch.tensor([index for index, _ in features]))
        self.register_buffer("part", torch.tensor([feature.part for _, feature in features]))
        self.register_buffer("is_number", torch.isnan(self.category))
        takes_gaps = [feature.takes_gaps for _, feature in features]
        self.register_buffer("takes_gaps", torch.tensor(takes_gaps))
        self.has_dates = any(isinstance(column, DatetimeColumn) for column in schema.columns)
        self.scaler = schema.scaler
        self.network = network

    def forward(self, table: Tensor) -> Tensor:
        """Return probabilities, shape (n, n_classes), of values, shape (n, n_columns).

        Both are float64.
        """
        values = table.index_select(1, self.source)
        if self.has_dates:
            values = _parts_of_dates(values, self.part, self.first)
        missing = torch.isnan(values)
        numbers = torch.where(missing, self.median, values)
        scaled = _scaled(numbers, self.offset, self.scale, self.scaler)
        flags = (values == self.category) | (missing & self.takes_gaps)
        features = torch.where(self.is_number, scaled, flags.double()).float()
        logits: Tensor = self.network(features)
        return torch.softmax(logits.double(), dim=1)


def _scaled(numbers: Tensor, offset: Tensor, scale: Tensor, scaler: Scaler) -> Tensor:
    """Compute in the order in which `prepare` does, so that the last bit is the same."""
    match scaler:
        case "minmax":
            return numbers * scale + offset
        case "standard":
            return (numbers - offset) / scale
        case "squash":
            z = ((numbers - offset) / scale).clamp(-LARGEST_Z, LARGEST_Z)
            return z / torch.sqrt(1 + (z / SQUASHED_TO) ** 2)
        case "none":
            return numbers


PARTS = {part: number for number, part in enumerate(DATE_PARTS, start=1)}
"""The numbers of `PreparingClassifier.part`; 0 is the value itself."""


def _parts_of_dates(values: Tensor, part: Tensor, first: Tensor) -> Tensor:
    """Return the parts of seconds since 1970, shape (n, n_features); NaN for gaps.

    Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`. All numbers
    are whole, and exact in double precision.
    """
    days = torch.floor(values / 86_400)
    hour = torch.floor((values - days * 86_400) / 3_600)
    from_march_of_0 = days + 719_468
    era = torch.floor(from_march_of_0 / 146_097)
    day_of_era = from_march_of_0 - era * 146_097
    leap_days = (
        torch.floor(day_of_era / 1_460)
        - torch.floor(day_of_era / 36_524)
        + torch.floor(day_of_era / 146_096)
    )
    year_of_era = torch.floor((day_of_era - leap_days) / 365)
    before = 365 * year_of_era + torch.floor(year_of_era / 4) - torch.floor(year_of_era / 100)
    day_of_year = day_of_era - before
    month_from_march = torch.floor((5 * day_of_year + 2) / 153)
    day = day_of_year - torch.floor((153 * month_from_march + 2) / 5) + 1
    month = month_from_march + 3 - 12 * (month_from_march >= 10)
    year = year_of_era + era * 400 + (month <= 2)
    parts: dict[DatePart, Tensor] = {
        "year": year,
        "month": month,
        "day": day,
        # 1970 began with a Thursday.
        "weekday": torch.remainder(days + 3, 7),
        "hour": hour,
        "days since the first": (values - first) / 86_400,
    }
    for name, number in PARTS.items():
        values = torch.where(part == number, parts[name], values)
    return values


@dataclass(frozen=True)
class _Feature:
    """How one input of the network is made of the value of its column."""

    median: float = 0
    offset: float = 0
    scale: float = 1
    category: float = math.nan
    """What sets the flag; NaN for a number."""
    takes_gaps: bool = False
    """Whether a gap sets the flag."""
    part: int = 0
    first: float = 0


NO_CATEGORY = math.inf
"""No value is infinite."""


def _features_of(column: ColumnOfTable) -> Iterator[_Feature]:
    match column:
        case NumericColumn():
            yield _Feature(column.median, column.offset, column.scale)
        case DatetimeColumn():
            for part in column.parts:
                yield _Feature(
                    part.median,
                    part.offset,
                    part.scale,
                    part=PARTS[part.part],
                    first=column.first,
                )
        case CategoricalColumn():
            for category in range(len(column.categories)):
                yield _Feature(category=category)
            if column.other:
                yield _Feature(category=column.unknown, takes_gaps=True)
    if column.missing_indicator:
        yield _Feature(category=NO_CATEGORY, takes_gaps=True)
