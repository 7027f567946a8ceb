"""Rows of a table as the network sees them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stages.parts.tables.labels import Labels
from stages.parts.tables.raw_values import raw_values
from stages.parts.tables.schema import Schema
from stages.parts.tables.split import Split
from stages.parts.tables.table import Table
from stages.parts.user_error import UserError

ROWS_AT_A_TIME = 65_536
"""Prepared, a whole table would take as much memory again as it does unprepared."""

LARGEST = 1e18
"""Of prepared values: the squares of larger ones have no place in single precision."""


def prepare(
    table: Table, labels: Labels, schema: Schema, positions: dict[str, npt.NDArray[np.int64]]
) -> Iterator[dict[str, Split]]:
    """Yield what each split has of the table's first rows, prepared, then of the next ones.

    Raises
    ------
    UserError
        If a value is not of its column's kind, or far too large.

    """
    for start in range(0, len(table), ROWS_AT_A_TIME):
        block = table.slice(start, ROWS_AT_A_TIME)
        features: list[npt.NDArray[np.float32]] = []
        for column in schema.columns:
            for prepared in column.features(raw_values(column, block)):
                if np.abs(prepared).max() > LARGEST:
                    row = block.rows[np.abs(prepared).argmax()]
                    raise UserError(
                        f"{table.source}: column '{column.name}', row {row} is far too large next "
                        "to the training rows; correct it, or leave it empty"
                    )
                features.append(prepared)
        parts = {}
        for name, rows in positions.items():
            first, last = np.searchsorted(rows, [start, start + len(block)])
            here = rows[first:last] - start
            parts[name] = Split(
                block.rows[here],
                np.stack([feature[here] for feature in features]).T,
                labels.indices[rows[first:last]],
            )
        yield parts
