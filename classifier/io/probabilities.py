"""Class probabilities of several models for the same rows: val.parquet and test.parquet."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifier.io.prepared import open_parquet, write_parquet


def write_probabilities(path: Path, probabilities: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Write what `read_probabilities` reads.

    Parameters
    ----------
    path
        Of the file.
    probabilities
        By the model's name, each of shape (n, n_classes).

    """
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
