"""What the cells of a column hold: numbers, or texts, and which texts are gaps."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from classifier.io.schema import CategoricalColumn, NumericColumn
from classifier.io.user_error import UserError

GAPS = (
    *("", "?", "...", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "<NA>"),
    *("#N/A", "#NA", "#N/A N/A", "-NaN", "-nan", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
)
"""Texts that stand for a missing value: those of skrub's `Cleaner`."""

DecimalMark = Literal[".", ","]


def texts(column: pd.Series) -> pd.Series:
    """Return the column as texts without blanks around them, NaN for gaps.

    Numbers, and true and false, are spelled out.
    """
    # Few of a million texts are different.
    codes, distinct = pd.factorize(column)
    text = pd.Series(distinct).astype("str").str.strip()
    return text.mask(text.isin(GAPS)).reindex(codes).set_axis(column.index).rename(column.name)


def numbers(column: pd.Series, decimal: DecimalMark, where: str) -> npt.NDArray[np.float64]:
    """Return the column as numbers, shape (n,), NaN for gaps.

    Parameters
    ----------
    column
        Numbers, or texts; its index has the row numbers that messages name.
    decimal
        The mark in texts.
    where
        What messages call the column.

    Raises
    ------
    UserError
        If a cell holds no number, or one that is infinite.

    """
    found: npt.NDArray[np.float64]
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column):
        # Integers beyond 2**53 are rounded.
        found = column.to_numpy(np.float64, na_value=np.nan)
    elif is_text(column) or column.isna().all():
        spelled = texts(column)
        found = parse_numbers(spelled, decimal)
        wrong = np.isnan(found) & spelled.notna().to_numpy()
        if wrong.any():
            row = column.index[wrong.argmax()]
            raise UserError(
                f"{where}, row {row} is '{column[row]}', but must be a number, as in the training "
                "rows; correct it, or leave it empty"
            )
    else:
        raise UserError(
            f"{where} holds values of the type {column.dtype}, but must hold numbers, as in the "
            "training rows"
        )
    infinite = np.isinf(found)
    if infinite.any():
        raise UserError(
            f"{where}, row {column.index[infinite.argmax()]} is infinite; correct it, or leave it "
            "empty"
        )
    return found


def parse_numbers(spelled: pd.Series, decimal: DecimalMark) -> npt.NDArray[np.float64]:
    """Return the numbers that texts spell, shape (n,), NaN for gaps and for other texts."""
    if decimal == ",":
        spelled = spelled.str.replace(",", ".", regex=False)
    parsed: npt.NDArray[np.float64] = pd.to_numeric(spelled, errors="coerce").to_numpy(np.float64)
    return parsed


def holds_categories(column: pd.Series) -> bool:
    """Say whether the cells are texts, or numbers or true and false that can be spelled out."""
    return bool(
        is_text(column)
        or types.is_numeric_dtype(column)
        or types.is_bool_dtype(column)
        or column.isna().all()
    )


def is_text(column: pd.Series) -> bool:
    """Say whether the cells hold texts, be it as categories."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        kind = kind.categories.dtype
    return bool(types.is_string_dtype(kind))


def raw_values(
    column: NumericColumn | CategoricalColumn, cells: pd.Series, decimal: DecimalMark, source: str
) -> npt.NDArray[np.float64]:
    """Return what the exported model takes for the cells of a column, shape (n,).

    Raises
    ------
    UserError
        If a cell is not of the column's kind; the message names `source` and the row.

    """
    where = f"{source}: column '{column.name}'"
    if isinstance(column, NumericColumn):
        return numbers(cells, decimal, where)
    if not holds_categories(cells):
        raise UserError(
            f"{where} holds values of the type {cells.dtype}, but must hold texts, as in the "
            "training rows"
        )
    spelled = texts(cells)
    if column.kind == "boolean":
        spelled = spelled.str.lower()
    codes: npt.NDArray[np.float64] = (
        pd.Index(column.categories).get_indexer(spelled).astype(np.float64)
    )
    codes[codes == -1] = column.unknown
    codes[spelled.isna()] = np.nan
    return codes
