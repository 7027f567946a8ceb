"""Split a table three ways and turn it into numbers: what the network sees."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from classifier.io.atomic_write import write_json
from classifier.io.params import Number, Params, read_params
from classifier.io.prepared import write_split
from classifier.io.schema import Scaler, Schema
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.tables.encoding import BeyondMaxCategories, Encoder
from classifier.tables.labels import parse_labels
from classifier.tables.splits import split_rows
from classifier.tables.table_file import open_table
from classifier.tables.table_summary import summary

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
    max_categories: int = Field(ge=2, description="a whole number of at least 2")
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
    table = file.read(text_column=params.target)

    labels = parse_labels(table[params.target], file.decimal, file.name)
    splits = split_rows(labels, params.test_size, params.val_size, params.seed)
    encoder = Encoder(
        source=file.name,
        decimal=file.decimal,
        train=splits["train"],
        scaler=params.scaler,
        missing_indicator=params.missing_indicator,
        max_categories=params.max_categories,
        beyond_max_categories=params.beyond_max_categories,
    )
    rows = table.index.to_numpy()
    cells = {name: table[name] for name in names}
    # Column by column, it makes room for the features.
    del table
    columns = encoder.encode_all(cells)
    schema = Schema(
        target=params.target,
        label_kind=labels.kind,
        classes=labels.classes,
        scaler=params.scaler,
        columns=[column.schema for column in columns],
    )

    for name, positions in splits.items():
        write_split(
            PREPARED / f"{name}.parquet",
            rows[positions],
            [feature[positions] for column in columns for feature in column.features],
            labels.indices[positions],
            [*schema.feature_names, params.target],
        )
    write_json(PREPARED / "schema.json", schema)
    targets = {name: labels.indices[positions] for name, positions in splits.items()}
    print(summary(columns, schema, targets))


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
