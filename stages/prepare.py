"""Split a table three ways and turn it into numbers: what the network sees."""

from pathlib import Path

from classifier.io.files import write_json
from classifier.io.later_params import read_later_params
from classifier.io.params import read_params
from classifier.io.prepared import (
    CELLS,
    PREPARED,
    ClassCounts,
    PreparedRows,
    hash_of_columns,
    write_split,
)
from classifier.io.profile import Profile
from classifier.io.user_error import user_errors_in_one_line
from classifier.tables.encoding import Encoder
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.rows import read_rows, write_cells
from classifier.tables.table_report import summary, table_report_of


def main() -> None:
    params = read_params("prepare", PrepareParams)
    later = read_later_params()
    rows = read_rows(params)
    later.must_suit(rows.labels.classes)
    later.must_slice(rows.hold_values(), params.data)
    table = Encoder(rows).encode_all()
    report = table_report_of(table)

    features = [feature for column in table.columns for feature in column.features]
    target = rows.labels.indices
    # Of one fold, the parts say it.
    folds = [rows.fold] if params.folds > 1 else []
    for name, positions in rows.parts.items():
        write_split(
            PREPARED / f"{name}.parquet",
            rows.numbers[positions],
            rows.units[positions],
            [feature[positions] for feature in features],
            target[positions],
            fold=rows.fold[positions],
            column_names=[*table.schema.feature_names, params.target],
        )
    prepared = PreparedRows(
        class_counts=ClassCounts(
            **{
                name: rows.labels.count(positions).tolist()
                for name, positions in (rows.parts | {"train": rows.training}).items()
            }
        ),
        hash_of_train_and_val=hash_of_columns(
            column[rows.parts[name]]
            for name in ("train", "val")
            for column in (rows.numbers, rows.units, *folds, *features, target)
        ),
    )
    profile = Profile(
        class_counts=prepared.class_counts.train,
        columns=[column.profile for column in table.columns],
    )
    write_json(PREPARED / "rows.json", prepared)
    write_json(PREPARED / "profile.json", profile)
    write_cells(CELLS, rows.test_cells, rows.file.spelling)
    write_json(PREPARED / "schema.json", table.schema)
    write_json(Path("reports/table.json"), report)
    print(summary(report, table))


if __name__ == "__main__":
    with user_errors_in_one_line("prepare"):
        main()
