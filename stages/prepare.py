"""Split a table three ways and turn it into numbers: what the network sees."""

from pathlib import Path

from classifier.io.atomic_write import write_json
from classifier.io.params import read_params
from classifier.io.prepared import write_split
from classifier.io.schema import Schema
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.tables.encoding import EncodedColumn, LeftOut
from classifier.tables.prepare_params import PrepareParams
from classifier.tables.rows import make_encoder, read_rows
from classifier.tables.table_report import report_on, summary

PREPARED = Path("data/prepared")


def main() -> None:
    params = read_params("prepare", PrepareParams)
    rows = read_rows(params)
    encoded = make_encoder(rows, params).encode_all(rows.cells)
    columns = [column for column in encoded if isinstance(column, EncodedColumn)]
    without = [column for column in encoded if isinstance(column, LeftOut)]
    if not columns:
        raise UserError(
            f"{params.data} has no column that says anything: '{without[0].name}' is left out, "
            f"since {without[0].reason}; so are all others"
        )
    schema = Schema(
        target=params.target,
        label_kind=rows.labels.kind,
        classes=rows.labels.classes,
        scaler=params.scaler,
        gaps=params.gaps,
        columns=[column.schema for column in columns],
    )
    report = report_on(rows, columns, without, schema)

    for name, positions in rows.parts.items():
        write_split(
            PREPARED / f"{name}.parquet",
            rows.numbers[positions],
            [feature[positions] for column in columns for feature in column.features],
            rows.labels.indices[positions],
            [*schema.feature_names, params.target],
        )
    write_json(PREPARED / "schema.json", schema)
    write_json(Path("reports/table.json"), report)
    print(summary(report, rows, columns, schema))


if __name__ == "__main__":
    with user_errors_in_one_line("prepare"):
        main()
