"""The preparation of a row, as `prepare` does it, to the last bit: from raw values to features.

But for free texts, whose sums are taken in another order, in double precision.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper

from classifier.exported_model.format import Graph
from classifier.io.pieces import LENGTHS, codes_of
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
    Scaling,
    Schema,
    TextColumn,
    gap_texts,
    spellings,
)

TINY = 1e-300
"""Below it are the lengths of texts without weights alone, which are 0."""

NO_CATEGORY = math.inf
"""No value is infinite."""


@dataclass(frozen=True)
class _Feature:
    """How one input of the network is made of the value of its column."""

    source: int
    """Where it is: the table's columns, the parts of all dates, one part after the other, then the
    components of texts."""
    median: float = 0
    offset: float = 0
    scale: float = 1
    category: float = math.nan
    """What sets the flag; NaN for a number."""
    takes_gaps: bool = False
    """Whether a gap sets the flag."""


def add_preparation(graph: Graph, schema: Schema) -> str:
    """Add what turns the table's columns into features; return their name.

    Columns are inputs by their names, shape (n, 1), those of free texts (n, characters); features
    are float32, shape (n, n_features).
    All features are made at once: each takes a value as a number, or is 1 where it equals a
    category, or where it is missing. The value of a text is the index of its category.
    """
    gaps = [one for text in gap_texts(schema.gaps, schema.not_gaps) for one in spellings(text)]
    values, components = [], []
    for column in schema.columns:
        match column:
            case CategoricalColumn():
                values.append(_add_codes(graph, column, gaps))
            case TextColumn():
                gap, of_text = add_components(graph, column)
                values.append(gap)
                components.append(of_text)
            case _:
                values.append(column.name)
    dates = [column for column in schema.columns if isinstance(column, DatetimeColumn)]
    if dates:
        date = graph.add("Concat", *(column.name for column in dates), axis=1)
        parts = add_parts_of_dates(graph, date, [column.first for column in dates])
        values += parts.values()
    values += components
    features = list(_features_of(schema.columns, dates))

    def learnt(name: str) -> str:
        return graph.constant([getattr(feature, name) for feature in features])

    table = graph.add("Concat", *values, axis=1)
    sources = graph.constant([feature.source for feature in features], np.int64)
    value = graph.add("Gather", table, sources, axis=1)
    is_missing = graph.add("IsNaN", value)
    number = graph.add("Where", is_missing, learnt("median"), value)
    scaled = _add_scaling(graph, number, learnt("offset"), learnt("scale"), schema.scaler)
    takes_gaps = graph.constant([feature.takes_gaps for feature in features], np.bool_)
    flag = graph.add(
        "Or",
        graph.add("Equal", value, learnt("category")),
        graph.add("And", is_missing, takes_gaps),
    )
    is_number = graph.constant([math.isnan(feature.category) for feature in features], np.bool_)
    either = graph.add("Where", is_number, scaled, _as_double(graph, flag))
    return graph.add("Cast", either, to=TensorProto.FLOAT)


def _scaled(scaling: Scaling, source: int) -> _Feature:
    return _Feature(source, scaling.median, scaling.offset, scaling.scale)


def _features_of(
    columns: Sequence[ColumnOfTable], dates: list[DatetimeColumn]
) -> Iterator[_Feature]:
    behind_dates = count(len(columns) + len(DATE_PARTS) * len(dates))
    for source, column in enumerate(columns):
        match column:
            case NumericColumn():
                yield _scaled(column, source)
            case DatetimeColumn():
                for part in column.parts:
                    number = DATE_PARTS.index(part.part) * len(dates) + dates.index(column)
                    yield _scaled(part, len(columns) + number)
            case TextColumn():
                yield from map(_scaled, column.components, behind_dates)
            case CategoricalColumn():
                for category in range(len(column.categories)):
                    yield _Feature(source, category=category)
                if column.other:
                    yield _Feature(source, category=column.unknown, takes_gaps=True)
        if column.missing_indicator:
            yield _Feature(source, category=NO_CATEGORY, takes_gaps=True)


def _add_codes(graph: Graph, column: CategoricalColumn, gaps: list[str]) -> str:
    """Add what turns a text into the index of its category, NaN for a gap."""
    codes = dict.fromkeys(gaps, math.nan)
    for index, category in enumerate(column.categories):
        codes |= dict.fromkeys(spellings(category), index)
        if column.kind == "boolean":
            codes |= dict.fromkeys([category.capitalize(), category.upper()], index)
    return graph.add(
        "LabelEncoder",
        column.name,
        domain="ai.onnx.ml",
        keys_tensor=numpy_helper.from_array(np.array(list(codes), object)),
        values_tensor=numpy_helper.from_array(np.array(list(codes.values()), np.float64)),
        default_tensor=numpy_helper.from_array(np.array([column.unknown], np.float64)),
    )


def add_components(graph: Graph, column: TextColumn) -> tuple[str, str]:
    """Add what makes the components of texts, given as code points, shape (n, characters).

    Return the names of a number that is NaN for a gap and else 0, shape (n, 1), and of the
    components, shape (n, n_components), both float64. A text is a gap if it is blank.
    """
    characters = sorted(set("".join(column.pieces)) - {" "})
    # In no piece there is a character of the number -1.
    numbers = {" ": 0} | {character: number for number, character in enumerate(characters, 1)}
    codes = codes_of(set(numbers))
    # With a blank at both ends. Inside of a piece there is none: so of all sequences of a text,
    # those alone are pieces that scikit-learn makes of its words.
    ends = graph.constant([0, 1, 0, 1], np.int64)
    padded = graph.add("Pad", graph.add("Cast", column.name, to=TensorProto.INT64), ends)
    numbered = graph.add(
        "LabelEncoder",
        padded,
        domain="ai.onnx.ml",
        keys_tensor=numpy_helper.from_array(np.array(list(codes), np.int64)),
        values_tensor=numpy_helper.from_array(
            np.array([numbers[character] for character in codes.values()], np.int64)
        ),
        default_tensor=numpy_helper.from_array(np.array([-1], np.int64)),
    )
    by_length = [[one for one in column.pieces if len(one) == length] for length in LENGTHS]
    position = {piece: index for index, piece in enumerate(column.pieces)}
    shortest, longest = LENGTHS
    counts = graph.add(
        "TfIdfVectorizer",
        numbered,
        mode="TF",
        min_gram_length=shortest,
        max_gram_length=longest,
        max_skip_count=0,
        ngram_counts=[*[0] * shortest, shortest * len(by_length[0])],
        ngram_indexes=[position[piece] for pieces in by_length for piece in pieces],
        pool_int64s=[numbers[c] for pieces in by_length for piece in pieces for c in piece],
    )
    frequencies, *components = np.frombuffer(column.weights, "<f2").reshape(-1, len(position))

    def weights(values: npt.ArrayLike) -> str:
        return _as_double(graph, graph.constant(values, np.float16))

    weighted = graph.add("Mul", _as_double(graph, counts), weights(frequencies))
    axes = graph.constant([1], np.int64)
    length = graph.add("Max", graph.add("ReduceL2", weighted, axes), graph.constant(TINY))
    sums = graph.add("MatMul", weighted, weights(np.transpose(components)))
    furthest = graph.add("ReduceMax", graph.add("Abs", numbered), axes)
    is_gap = graph.add("Equal", furthest, graph.constant(0, np.int64))
    gap = graph.add("Where", is_gap, graph.constant(math.nan), graph.constant(0))
    return gap, graph.add("Div", sums, length)


def _add_scaling(graph: Graph, number: str, offset: str, scale: str, scaler: Scaler) -> str:
    """Add the arithmetic in the order in which `prepare` does it, so that no bit is another."""
    match scaler:
        case "minmax":
            return graph.add("Add", graph.add("Mul", number, scale), offset)
        case "standard":
            return graph.add("Div", graph.add("Sub", number, offset), scale)
        case "squash":
            z = graph.add("Div", graph.add("Sub", number, offset), scale)
            z = graph.add("Clip", z, graph.constant(-LARGEST_Z), graph.constant(LARGEST_Z))
            bent = graph.add("Div", z, graph.constant(SQUASHED_TO))
            square = graph.add("Add", graph.add("Mul", bent, bent), graph.constant(1))
            return graph.add("Div", z, graph.add("Sqrt", square))
        case "none":
            return number


def add_parts_of_dates(graph: Graph, date: str, first: list[float]) -> dict[DatePart, str]:
    """Add what takes seconds since 1970, shape (n, n_dates), apart; return the parts' names.

    Each is of the same shape, NaN for gaps; `first` are the seconds from which days are counted.

    Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`. All numbers
    are whole, and exact in double precision.
    """

    def add(operator: str, one: str, other: float) -> str:
        return graph.add(operator, one, graph.constant(other))

    def whole(one: str, divisor: float) -> str:
        return graph.add("Floor", add("Div", one, divisor))

    def minus(one: str, *others: str) -> str:
        for other in others:
            one = graph.add("Sub", one, other)
        return one

    days = whole(date, 86_400)
    hour = whole(minus(date, add("Mul", days, 86_400)), 3_600)
    from_march_of_0 = add("Add", days, 719_468)
    era = whole(from_march_of_0, 146_097)
    day_of_era = minus(from_march_of_0, add("Mul", era, 146_097))
    no_leap_days = graph.add("Add", day_of_era, whole(day_of_era, 36_524))
    no_leap_days = minus(no_leap_days, whole(day_of_era, 1_460), whole(day_of_era, 146_096))
    year_of_era = whole(no_leap_days, 365)
    leap_days = minus(whole(year_of_era, 4), whole(year_of_era, 100))
    before = graph.add("Add", add("Mul", year_of_era, 365), leap_days)
    day_of_year = minus(day_of_era, before)
    month_from_march = whole(add("Add", add("Mul", day_of_year, 5), 2), 153)
    days_before = whole(add("Add", add("Mul", month_from_march, 153), 2), 5)
    is_next_year = _as_double(graph, add("GreaterOrEqual", month_from_march, 10))
    year = graph.add("Add", year_of_era, add("Mul", era, 400))
    # 1970 began with a Thursday.
    from_monday = add("Add", days, 3)
    return {
        "year": graph.add("Add", year, is_next_year),
        "month": minus(add("Add", month_from_march, 3), add("Mul", is_next_year, 12)),
        "day": add("Add", minus(day_of_year, days_before), 1),
        "weekday": minus(from_monday, add("Mul", whole(from_monday, 7), 7)),
        "hour": hour,
        "days since the first": add("Div", minus(date, graph.constant(first)), 86_400),
    }


def _as_double(graph: Graph, flag: str) -> str:
    return graph.add("Cast", flag, to=TensorProto.DOUBLE)
