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
        pq.write_table(table, temporary, use_dictionary=False)


def read_split(path: Path) -> Split:
    # By position: the names are the user's, and one of them may be "row".
    columns = pq.read_table(path).columns
    features = np.empty((len(columns[0]), len(columns) - 2), dtype=np.float32)
    for index, column in enumerate(columns[1:-1]):
        features[:, index] = column.to_numpy()
    return Split(np.array(columns[0].to_numpy()), features, np.array(columns[-1].to_numpy()))
