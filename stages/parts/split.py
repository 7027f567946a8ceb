"""A prepared part of the table: train.parquet, val.parquet or test.parquet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.parts.atomic_write import atomic_write


@dataclass(frozen=True)
class Split:
    """Prepared rows.

    In the file, these are a column `row`, one column for each feature, and the target.
    """

    rows: npt.NDArray[np.int64]
    """Row numbers in the source table as a spreadsheet shows them, shape (n,)."""
    features: npt.NDArray[np.float32]
    """Shape (n, n_features)."""
    target: npt.NDArray[np.int64]
    """Class indices, shape (n,)."""


ROW_GROUP_ROWS = 65_536
"""Rows that are read from the file at a time: bounds the memory that it takes."""


def write_split(path: Path, split: Split, feature_names: list[str], target_name: str) -> None:
    columns = [split.rows, *split.features.T, split.target]
    names = ["row", *feature_names, target_name]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], names=names)
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, row_group_size=ROW_GROUP_ROWS)


def count_rows(path: Path) -> int:
    n: int = pq.read_metadata(path).num_rows
    return n


def read_split(path: Path, part: range | None = None) -> Split:
    """Read the rows whose numbers in the file are in `part`; None: all."""
    with pq.ParquetFile(path) as file:
        n, n_columns = file.metadata.num_rows, len(file.schema_arrow)
        part = range(n) if part is None else part
        split = Split(
            np.empty(len(part), dtype=np.int64),
            np.empty((len(part), n_columns - 2), dtype=np.float32),
            np.empty(len(part), dtype=np.int64),
        )
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            first, last = max(start, part.start), min(stop, part.stop)
            if first < last:
                table = file.read_row_group(group).slice(first - start, last - first)
                _copy(table, split, slice(first - part.start, last - part.start))
            start = stop
    return split


def _copy(table: pa.Table, split: Split, to: slice) -> None:
    # By position: the names are the user's, and one of them may be "row".
    columns = table.columns
    split.rows[to] = columns[0].to_numpy()
    for index, column in enumerate(columns[1:-1]):
        split.features[to, index] = column.to_numpy()
    split.target[to] = columns[-1].to_numpy()
