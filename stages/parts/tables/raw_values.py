"""A column of a table as the raw values that its schema defines."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.parts.tables.csv_file import GAPS
from stages.parts.tables.schema import CategoricalColumn, NumericColumn
from stages.parts.tables.table import Table
from stages.parts.user_error import UserError


@dataclass(frozen=True)
class Texts:
    """A column of texts."""

    distinct: list[str | None]
    """Without the blanks around them; None for a gap. An entry may occur more than once."""
    codes: npt.NDArray[np.int64]
    """For each row the position of its text in `distinct`, shape (n,)."""


def is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def raw_values(column: NumericColumn | CategoricalColumn, table: Table) -> npt.NDArray[np.float64]:
    """Return the raw values of `column`, shape (n,).

    Raises
    ------
    UserError
        If a value is not of the column's kind.

    """
    if isinstance(column, NumericColumn):
        return numbers(table, column.name)
    texts = read_texts(table, column.name)
    position = {category: float(index) for index, category in enumerate(column.categories)}
    raw_of_text = [
        np.nan
        if text is None
        else position.get(text.lower() if column.kind == "boolean" else text, column.unknown)
        for text in texts.distinct
    ]
    return np.array(raw_of_text)[texts.codes]


def numbers(table: Table, name: str) -> npt.NDArray[np.float64]:
    """Return the numbers of a column, shape (n,), with NaN for gaps."""
    values = table.data.column(name)
    if is_text(values.type):
        texts = read_texts(table, name)
        parsed = parse_numbers(texts.distinct, table.decimal_point)
        if parsed is None:
            _refuse_text(table, name, texts)
        raw: npt.NDArray[np.float64] = parsed[texts.codes]
    elif is_number(values.type) or pa.types.is_null(values.type):
        # Integers beyond 2**53 are rounded.
        is_float64 = values.type == pa.float64()
        raw = (values if is_float64 else values.cast(pa.float64(), safe=False)).to_numpy()
    else:
        raise UserError(
            f"{table.source}: column '{name}' holds values of the type {values.type}, but must "
            "hold numbers, as in the training rows"
        )
    infinite = np.isinf(raw)
    if infinite.any():
        raise UserError(
            f"{table.source}: column '{name}', row {table.rows[infinite.argmax()]} is infinite; "
            "correct it, or leave it empty"
        )
    return raw


def parse_numbers(
    texts: list[str | None], decimal_point: str = "."
) -> npt.NDArray[np.float64] | None:
    """Return the numbers that a CSV reader would read, or None if not all texts are numbers.

    A gap is NaN.
    """
    values = pa.array(texts, pa.string())
    if decimal_point == ",":
        values = pc.replace_substring(values, ",", ".")
    try:
        parsed: npt.NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    return parsed


def _refuse_text(table: Table, name: str, texts: Texts) -> NoReturn:
    position = next(
        position
        for position, code in enumerate(texts.codes)
        if parse_numbers([texts.distinct[code]], table.decimal_point) is None
    )
    raise UserError(
        f"{table.source}: column '{name}', row {table.rows[position]} is "
        f"'{texts.distinct[texts.codes[position]]}', but must be a number, as in the training "
        "rows; correct it, or leave it empty"
    )


def read_texts(table: Table, name: str) -> Texts:
    """Return the texts of a column; numbers, and true and false, are spelled out."""
    values = table.data.column(name)
    kind = values.type
    if not is_text(kind) and not is_number(kind) and kind not in {pa.bool_(), pa.null()}:
        raise UserError(
            f"{table.source}: column '{name}' holds values of the type {kind}, but must hold text, "
            "as in the training rows"
        )
    if not pa.types.is_dictionary(kind):
        values = values.cast(pa.string()).dictionary_encode()
    encoded = values.unify_dictionaries().combine_chunks()
    spellings: list[str | None] = encoded.dictionary.to_pylist()
    stripped = [None if text is None else text.strip() for text in spellings]
    distinct = [None if text in GAPS else text for text in stripped]
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(distinct)).to_numpy()
    return Texts([*distinct, None], codes)
