"""Single columns of a table, as numbers or texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype

from classifier.io.user_error import UserError, quoted
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import Reading
from classifier.tables.values import category_names, is_number, is_text, numbers


def read_columns(
    names: Sequence[str],
    rows: npt.NDArray[np.int64],
    data: str,
    reading: Reading,
    categorical: list[str],
) -> dict[str, pd.Series]:
    """Return columns by name: numbers, or texts without blanks around them, NaN for gaps.

    Parameters
    ----------
    names
        Of the columns; without any, the table is not read.
    rows
        Numbers of the rows, as a spreadsheet shows them, shape (n,).
    data
        The path of the table.
    reading
        How it is to be read.
    categorical
        Columns whose numbers are codes, and so texts.

    Raises
    ------
    UserError
        If the table lacks a column, or one holds neither numbers nor texts.

    """
    if not names:
        return {}
    file = open_table(Path(data), data, reading)
    missing = [name for name in names if name not in file.columns]
    if missing:
        raise UserError(
            f"params.yaml: evaluate.slices names {quoted(missing)}, which {file.name} lacks; "
            f"its columns are {quoted(file.columns)}"
        )
    table = file.read(text_columns={*categorical, *file.codes}).loc[rows]
    found = {}
    for name in names:
        column = table[name]
        where = f"{file.name}: column '{name}', which is in evaluate.slices,"
        if is_number(column):
            found[name] = pd.Series(numbers(column, file.spelling, where), rows)
        elif is_text(column) or is_bool_dtype(column) or is_datetime64_any_dtype(column):
            found[name] = category_names(column, file.spelling)
        else:
            raise UserError(f"{where} holds neither numbers nor texts, but {column.dtype}")
    return found
