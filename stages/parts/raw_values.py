"""A column of a table as the raw values that its schema defines."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.parts.csv_file import GAPS
from stages.parts.schema import CategoricalColumn, NumericColumn
from stages.parts.table import Table
from stages.parts.user_error import UserError


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
    text = texts(table, column.name, boolean=column.kind == "boolean")
    indices = pc.index_in(text, value_set=pa.array(column.categories, pa.string()))
    known = pc.fill_null(indices, column.unknown).to_numpy().astype(float)
    return np.where(text.is_null().to_numpy(), np.nan, known)


def numbers(table: Table, name: str) -> npt.NDArray[np.float64]:
    """Return the numbers of a column, shape (n,), with NaN for gaps."""
    values = table.data.column(name)
    if is_text(values.type):
        values = pc.utf8_trim_whitespace(texts(table, name))
        if table.decimal_point == ",":
            values = pc.replace_substring(values, ",", ".")
        if not holds_numbers(values):
            _refuse_text(table, name, values)
    elif not is_number(values.type) and not pa.types.is_null(values.type):
        raise UserError(
            f"{table.source}: column '{name}' holds values of the type {values.type}, but must "
            "hold numbers, as in training"
        )
    # Integers beyond 2**53 are rounded.
    raw: npt.NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy()
    if np.isinf(raw).any():
        row = table.rows[np.isinf(raw).argmax()]
        raise UserError(
            f"{table.source}: column '{name}', row {row} is infinite; correct it, or leave it empty"
        )
    return raw


def holds_numbers(text: pa.ChunkedArray) -> bool:
    try:
        text.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _refuse_text(table: Table, name: str, values: pa.ChunkedArray) -> None:
    for row, value in zip(table.rows, values, strict=True):
        if not holds_numbers(pa.chunked_array([[value.as_py()]], pa.string())):
            raise UserError(
                f"{table.source}: column '{name}', row {row} is '{value}', but must be a number, "
                "as in the training rows; correct it, or leave it empty"
            )


def texts(table: Table, name: str, *, boolean: bool = False) -> pa.ChunkedArray:
    """Return the texts of a column without the blanks around them, with null for gaps."""
    values = table.data.column(name)
    kind = values.type
    if not (
        is_text(kind) or is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    ):
        raise UserError(
            f"{table.source}: column '{name}' holds values of the type {kind}, but must hold "
            "text, as in training"
        )
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    if boolean:
        text = pc.utf8_lower(text)
    return pc.if_else(pc.is_in(text, value_set=pa.array(GAPS)), pa.scalar(None, pa.string()), text)
