"""Split a table three ways and turn it into numbers: what the network sees."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from stages.parts.params import Number, Params, read_params
from stages.parts.tables.column_fitting import (
    BeyondMaxCategories,
    ColumnFitter,
    Scaler,
    fit_columns,
)
from stages.parts.tables.labels import parse_labels
from stages.parts.tables.preparation import prepare
from stages.parts.tables.schema import Schema, write_schema
from stages.parts.tables.split import WriteSplit, split_writer
from stages.parts.tables.stratified_split import split_rows
from stages.parts.tables.table import open_table
from stages.parts.tables.table_summary import summary
from stages.parts.user_error import UserError, user_errors_in_one_line

PREPARED = Path("data/prepared")


class PrepareParams(Params):
    """The `prepare` section of params.yaml."""

    data: str = Field(min_length=1, description="the path of a table")
    target: str = Field(min_length=1, description="the name of a column")
    ignore: list[str] = Field(description="a list of column names, such as [id, name] or []")
    features: list[str] | None = Field(
        description="a list of column names, or null for all but the target and the ignored"
    )
    test_size: Number = Field(gt=0, lt=1, description="a number between 0 and 1")
    val_size: Number = Field(gt=0, lt=1, description="a number between 0 and 1")
    scaler: Scaler = Field(description="one of minmax, standard, none")
    missing_indicator: bool = Field(description="true or false")
    max_categories: int = Field(ge=1, description="a whole number of at least 1")
    beyond_max_categories: BeyondMaxCategories = Field(description="one of error, other")
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
    file = open_table(Path(params.data), params.data)
    names = choose_features(file.columns, params)
    table = file.read([*names, params.target], text_column=params.target)

    labels = parse_labels(table, params.target)
    positions = split_rows(labels, params.test_size, params.val_size, params.seed)
    fitter = ColumnFitter(
        table,
        positions["train"],
        params.scaler,
        params.missing_indicator,
        params.max_categories,
        params.beyond_max_categories,
    )
    schema = Schema(
        target=params.target,
        label_kind=labels.kind,
        classes=labels.classes,
        columns=fit_columns(names, fitter),
    )

    with ExitStack() as files:
        write: dict[str, WriteSplit] = {}
        for parts in prepare(table, labels, schema, positions):
            for name, part in parts.items():
                # Not before there is a part: a table that is refused leaves not even a folder.
                if name not in write:
                    path = PREPARED / f"{name}.parquet"
                    writer = split_writer(path, schema.feature_names, params.target)
                    write[name] = files.enter_context(writer)
                write[name](part)
    write_schema(PREPARED / "schema.json", schema)
    targets = {name: labels.indices[rows] for name, rows in positions.items()}
    print(summary(table, schema, targets))


def choose_features(columns: list[str], params: PrepareParams) -> list[str]:
    """Return the names of the feature columns, in the table's order.

    Raises
    ------
    UserError
        If a parameter names a column that there is not, or no feature is left.

    """
    there = ", ".join(f"'{column}'" for column in columns)
    if params.target not in columns:
        raise UserError(
            f"{params.data} has no column '{params.target}'; prepare.target must be one of: {there}"
        )
    for key, names in {"ignore": params.ignore, "features": params.features or []}.items():
        for name in names:
            if name not in columns:
                raise UserError(
                    f"params.yaml: prepare.{key} names '{name}', but the columns of {params.data} "
                    f"are: {there}"
                )
            if name == params.target:
                raise UserError(f"params.yaml: prepare.{key} names '{name}', which is the target")
    chosen = columns if params.features is None else params.features
    left_out = {params.target, *params.ignore}
    features = [name for name in columns if name in chosen and name not in left_out]
    if not features:
        raise UserError(
            f"{params.data} has no features left: prepare.target is '{params.target}', and "
            f"prepare.ignore and prepare.features leave out the rest of: {there}"
        )
    return features


if __name__ == "__main__":
    with user_errors_in_one_line("prepare"):
        main()
