"""A prepared part of the table: train.parquet, val.parquet or test.parquet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.parts.atomic_write import atomic_write

ROWS_PER_GROUP = 65_536
"""Rows that a file holds as a group, and that are read at a time."""


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


def write_split(path: Path, split: Split, feature_names: list[str], target_name: str) -> None:
    columns = [split.rows, *split.features.T, split.target]
    names: list[str] = []
    for name in ["row", *feature_names, target_name]:
        # They are for people alone, but pyarrow does not read equal ones.
        unique = name
        while unique in names:
            unique += "_"
        names.append(unique)
    table = pa.Table.from_arrays([pa.array(column) for column in columns], names=names)
    with atomic_write(path) as temporary:
        # Scaled numbers seldom repeat: a dictionary of them takes longer and is larger.
        pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, use_dictionary=False)


def read_split(path: Path) -> Split:
    """Read a split, a group of rows at a time: in memory it is there once."""
    with pq.ParquetFile(path) as file:
        n, n_features = file.metadata.num_rows, file.metadata.num_columns - 2
        split = Split(
            np.empty(n, np.int64), np.empty((n, n_features), np.float32), np.empty(n, np.int64)
        )
        groups = (file.read_row_group(index) for index in range(file.num_row_groups))
        start = 0
        for part in (batch for group in groups for batch in group.to_batches()):
            here = slice(start, start + part.num_rows)
            # By position: the names are the user's, and one of them may be "row". Not through
            # `to_numpy`, which imports pandas.
            columns = [np.from_dlpack(column) for column in part.columns]
            split.rows[here], split.target[here] = columns[0], columns[-1]
            for index, column in enumerate(columns[1:-1]):
                split.features[here, index] = column
            start = here.stop
    return split
