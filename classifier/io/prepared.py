"""Prepared rows (train.parquet, val.parquet, test.parquet), and what models say of them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from classifier.io.files import atomic_write
from classifier.io.user_error import UserError

PREPARED = Path("data/prepared")
TRAIN_FILE, VAL_FILE, TEST_FILE = (
    PREPARED / f"{part}.parquet" for part in ("train", "val", "test")
)
CELLS = Path("data/cells/test.parquet")
BASELINE = Path("data/baseline")

ROWS_PER_GROUP = 65_536
"""Rows that a file holds at most as a group; a group is read at a time."""


@dataclass(frozen=True)
class Split:
    """Prepared rows.

    In the file, these are columns `row`, `unit` and `fold`, one for each feature, and the target.
    """

    rows: npt.NDArray[np.int64]
    """Row numbers in the source table as a spreadsheet shows them, shape (n,)."""
    units: npt.NDArray[np.int64]
    """Numbers, shape (n,), the same for rows that belong together: equal ones, those of a group.

    They count, from 0 on, what belongs together, in the order of the table, over all parts.
    """
    features: npt.NDArray[np.float32]
    """Shape (n, n_features)."""
    target: npt.NDArray[np.int64]
    """Class indices, shape (n,)."""
    fold: npt.NDArray[np.int64]
    """Numbers of the networks that leave the rows out, shape (n,); -1: none does."""

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Split":
        """Return the rows at these positions, or where a mask of shape (n,) is true."""
        return Split(*(values[chosen] for values in vars(self).values()))

    def followed_by(self, other: "Split") -> "Split":
        """Return these rows, and those of another part behind them."""
        return Split(
            *map(np.concatenate, zip(vars(self).values(), vars(other).values(), strict=True))
        )


class ClassCounts(BaseModel):
    """How many rows there are of each class, in the order of the schema's classes."""

    train: list[int]
    """Of those that train some network."""
    val: list[int]
    """Of those that some network leaves out."""
    test: list[int]


class PreparedRows(BaseModel):
    """What data/prepared/rows.json holds: what is to be known of the rows without reading them."""

    class_counts: ClassCounts
    hash_of_train_and_val: str
    """A text that differs whenever the training or the validation rows differ."""


def hash_of_columns(columns: Iterable[npt.NDArray[Any]]) -> str:
    """Return a text that differs whenever the values of columns do, whatever file holds them."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"{column.dtype.str} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()[:16]


def write_split(
    path: Path,
    rows: npt.NDArray[np.int64],
    units: npt.NDArray[np.int64],
    features: Sequence[npt.NDArray[np.float32]],
    target: npt.NDArray[np.int64],
    *,
    fold: npt.NDArray[np.int64],
    column_names: list[str],
) -> None:
    """Write what `read_split` reads.

    The features are an array of shape (n,) for each: together they need not be in memory twice.
    `column_names` are those of the features, then that of the target.
    """
    names: list[str] = []
    for name in ["row", "unit", "fold", *column_names]:
        # Parquet readers refuse equal ones.
        unique = name
        while unique in names:
            unique += "_"
        names.append(unique)
    table = pa.Table.from_arrays([rows, units, fold, *features, target], names)
    # Scaled numbers seldom repeat: a dictionary of them takes longer and is larger.
    write_parquet(path, table, row_group_size=ROWS_PER_GROUP, use_dictionary=False)


def write_parquet(path: Path, table: pa.Table, **options: Any) -> None:  # noqa: ANN401 (Arrow's)
    """Write a file that another stage reads; the options are those of Arrow's `write_table`."""
    # Not by the name: where the disk is full, Arrow does not always say so.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, **options)


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file that a stage has written; raises `UserError` where the block cannot read it."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read; to make it anew: dvc repro ({error})") from None


def count_rows(path: Path) -> int:
    with open_parquet(path) as file:
        n: int = file.metadata.num_rows
    return n


def count_folds(path: Path) -> int:
    """Return how many networks leave out rows of a file."""
    with open_parquet(path) as file:
        return 1 + int(_read_column(file, 2).max(initial=0))


def read_split(path: Path, wanted: range | None = None) -> Split:
    """Read the rows whose numbers in the file are `wanted`; None: all.

    Only their groups of rows are read, one at a time: in memory the split is there once.
    """
    with open_parquet(path) as file:
        wanted = range(file.metadata.num_rows) if wanted is None else wanted
        n, n_features = len(wanted), file.metadata.num_columns - 4
        split = Split(
            rows=np.empty(n, np.int64),
            units=np.empty(n, np.int64),
            features=np.empty((n, n_features), np.float32),
            target=np.empty(n, np.int64),
            fold=np.empty(n, np.int64),
        )
        start = 0
        for part in _read_batches(file, wanted):
            here = slice(start, start + part.num_rows)
            # By position: the names are the user's, and one of them may be "row". Not through
            # `to_numpy`, which imports pandas.
            rows, units, fold, *features, target = map(np.from_dlpack, part.columns)
            split.rows[here], split.units[here], split.fold[here] = rows, units, fold
            split.target[here] = target
            for index, feature in enumerate(features):
                split.features[here, index] = feature
            start = here.stop
    return split


def read_quantiles(path: Path, features: Sequence[int], n_bins: int) -> npt.NDArray[np.float32]:
    """Return what divides the rows' values into `n_bins` of equal size, from the least on.

    Shape (number of features, n_bins + 1). One feature is read at a time.
    """
    with open_parquet(path) as file:
        return quantiles((_read_column(file, 3 + index) for index in features), n_bins)


def quantiles(columns: Iterable[npt.NDArray[np.float32]], n_bins: int) -> npt.NDArray[np.float32]:
    """Return what divides the values of each column into `n_bins` of equal size.

    Shape (number of columns, n_bins + 1).
    """
    levels = np.linspace(0, 1, n_bins + 1)
    found = [np.quantile(column, levels) for column in columns]
    return np.array(found, np.float32).reshape(-1, n_bins + 1)


def _read_column(file: pq.ParquetFile, index: int) -> npt.NDArray[Any]:
    name = file.schema_arrow.names[index]
    # With what else is selected: pyarrow takes a name before a dot for one with parts.
    parts = file.read(columns=[name]).column(name).chunks
    # Not through `to_numpy`, which imports pandas.
    return np.concatenate([np.from_dlpack(part) for part in parts]) if parts else np.empty(0)


def _read_batches(file: pq.ParquetFile, wanted: range) -> Iterator[pa.RecordBatch]:
    start = 0
    for index in range(file.num_row_groups):
        stop = start + file.metadata.row_group(index).num_rows
        first, last = max(start, wanted.start), min(stop, wanted.stop)
        if first < last:
            yield from file.read_row_group(index).slice(first - start, last - first).to_batches()
        start = stop


def write_probabilities(path: Path, probabilities: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Write what `read_probabilities` reads: by the model's name, each of shape (n, n_classes)."""
    columns = {
        f"{name} {index}": column
        for name, of_model in probabilities.items()
        for index, column in enumerate(of_model.T)
    }
    write_parquet(path, pa.table(columns))


def read_probabilities(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Return class probabilities by the model's name, each of shape (n, n_classes)."""
    columns: dict[str, list[npt.NDArray[np.float64]]] = {}
    with open_parquet(path) as file:
        table = file.read()
    for name, column in zip(table.column_names, table.columns, strict=True):
        columns.setdefault(name.rpartition(" ")[0], []).append(column.to_numpy())
    return {name: np.column_stack(of_model) for name, of_model in columns.items()}
