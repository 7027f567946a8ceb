"""Split a table three ways and scale it: what the model sees."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from stages.parts.params import Number, Params, read_params
from stages.parts.schema import Column, Schema, write_schema
from stages.parts.split import Split, write_split
from stages.parts.user_error import UserError, user_errors_in_one_line

PREPARED = Path("data/prepared")

FIRST_ROW = 2
"""The row of a spreadsheet that holds the table's first record; row 1 is the header."""

Scaler = Literal["minmax", "standard", "none"]


class PrepareParams(Params):
    """The `prepare` section of params.yaml."""

    data: str = Field(min_length=1, description="the path of a table")
    target: str = Field(min_length=1, description="the name of a column")
    test_size: Number = Field(gt=0, lt=1, description="a number between 0 and 1")
    val_size: Number = Field(gt=0, lt=1, description="a number between 0 and 1")
    scaler: Scaler = Field(description="one of minmax, standard, none")
    seed: int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> Self:
        if self.test_size + self.val_size >= 1:
            raise ValueError(
                f"test_size is {self.test_size} and val_size is {self.val_size}; "
                "together they must be below 1, to leave rows to train on"
            )
        return self


def main() -> None:
    params = read_params("prepare", PrepareParams)
    table = read_table(Path(params.data), params.target)

    target = table.pop(params.target).astype(str)
    classes = sorted(target.unique())
    class_indices = target.map({name: index for index, name in enumerate(classes)}).to_numpy()

    train, val, test = split_rows(class_indices, params)
    schema = Schema(
        target=params.target,
        classes=classes,
        columns=fit_columns(table.iloc[train], params.scaler),
    )

    names = [column.name for column in schema.columns]
    prepared = [column.prepare(table[column.name].to_numpy(float)) for column in schema.columns]
    features = np.column_stack(prepared)
    for name, rows in {"train": train, "val": val, "test": test}.items():
        split = Split(rows + FIRST_ROW, features[rows], class_indices[rows])
        write_split(PREPARED / f"{name}.parquet", split, names, params.target)
    write_schema(PREPARED / "schema.json", schema)

    print(f"{len(train)} rows to train on, {len(val)} to validate, {len(test)} to test")
    print(f"{len(names)} features; {len(classes)} classes: {', '.join(classes)}")


def read_table(path: Path, target: str) -> pd.DataFrame:
    """Read a CSV file: numeric features and a target, no gaps."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; prepare.data in params.yaml names the table") from None
    if target not in table:
        raise UserError(
            f"{path} has no column '{target}'; prepare.target must be one of: {', '.join(table)}"
        )
    for name, column in table.items():
        if column.isna().any():
            row = int(column.isna().to_numpy().argmax()) + FIRST_ROW
            raise UserError(
                f"{path}: column '{name}', row {row} is empty; fill it or remove the row"
            )
        if name != target and not pd.api.types.is_numeric_dtype(column):
            raise UserError(
                f"{path}: column '{name}' is not numeric; remove it or encode it as numbers"
            )
    return table


def split_rows(
    class_indices: npt.NDArray[np.int64], params: PrepareParams
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the positions of the train, val and test rows, each in order, stratified by class.

    Raises
    ------
    UserError
        If a part would be empty or a class has too few rows.

    """
    rows = np.arange(len(class_indices))
    n_test = round(params.test_size * len(rows))
    n_val = round(params.val_size * len(rows))
    for key, n in {"test_size": n_test, "val_size": n_val}.items():
        if n == 0 or n_test + n_val >= len(rows):
            raise UserError(
                f"params.yaml: prepare.{key} is {getattr(params, key)}, which of {len(rows)} rows "
                f"takes {n}, leaving {len(rows) - n_test - n_val} to train on; each part needs some"
            )
    try:
        rest, test = train_test_split(
            rows, test_size=n_test, stratify=class_indices, random_state=params.seed
        )
        train, val = train_test_split(
            rest, test_size=n_val, stratify=class_indices[rest], random_state=params.seed
        )
    except ValueError as error:
        raise UserError(
            f"{params.data} cannot be split three ways by '{params.target}': {error}"
        ) from None
    return np.sort(train), np.sort(val), np.sort(test)


def fit_columns(train_table: pd.DataFrame, scaler: Scaler) -> list[Column]:
    """Fit the scaler to the training rows."""
    if scaler == "minmax":
        minmax = MinMaxScaler().fit(train_table)
        centers, scales = minmax.data_min_, minmax.data_range_
    elif scaler == "standard":
        standard = StandardScaler().fit(train_table)
        centers, scales = standard.mean_, standard.scale_
    else:
        centers, scales = np.zeros(train_table.shape[1]), np.ones(train_table.shape[1])
    # A column that is constant in the training rows has a range of 0.
    scales = np.where(scales == 0, 1, scales)
    return [
        Column(name=name, center=float(center), scale=float(scale))
        for name, center, scale in zip(train_table, centers, scales, strict=True)
    ]


if __name__ == "__main__":
    with user_errors_in_one_line("prepare"):
        main()
