"""A table in a file: CSV, or with types of its own, as in Parquet files and workbooks."""

import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import dataset

from classifier.io.user_error import UserError
from classifier.tables.cells_file import (
    ARFF,
    JSON,
    open_arff,
    open_database,
    open_json,
    open_workbook,
)
from classifier.tables.csv_file import open_csv
from classifier.tables.names import names_of
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import FIRST_ROW, TableFile, errors_explained
from classifier.tables.text_file import open_text_file
from classifier.tables.values import spelling_of

WORKBOOK_MEMBERS = {"[Content_Types].xml", "content.xml"}
"""What is in workbooks of Excel and of LibreOffice."""

ARROW = {b"PAR1": "parquet", b"ARROW1": "feather"}
"""How files begin whose columns have types of Arrow, and what pyarrow calls them."""

OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
"""How files of Excel before 2007 begin."""


def open_table(path: Path, name: str, reading: Reading, wanted: Collection[str] = ()) -> TableFile:
    """Look at the beginning of a file; raises `UserError` if there is no table in it.

    Of several tables in it, it is the first that has the `wanted` columns, if none is named.
    """
    with errors_explained(name):
        with path.open("rb") as binary:
            magic = binary.read(6)
        kind = next((kind for start, kind in ARROW.items() if magic.startswith(start)), None)
        if kind is not None:
            return open_arrow(path, name, reading, kind)
        if magic == b"SQLite":
            return open_database(path, name, reading, wanted)
        is_workbook = magic.startswith(OLD_WORKBOOK)
        if magic.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                is_workbook = not WORKBOOK_MEMBERS.isdisjoint(archive.namelist())
        if is_workbook:
            return open_workbook(path, name, reading, wanted)
        file = open_text_file(path, name, reading.encoding)
        start = file.beginning()
        if JSON.match(start):
            return open_json(file, reading)
        if ARFF.match(start):
            return open_arff(file, reading)
        return open_csv(file, reading)


@dataclass(frozen=True, kw_only=True)
class ArrowFile(TableFile):
    """A file of Parquet or Feather; its columns keep the types of Arrow."""

    rows: dataset.Dataset

    def left_out(self, table: pd.DataFrame) -> dict[str, str]:  # noqa: ARG002 (as others)
        return dict.fromkeys(self.unnamed, "it is an index that pandas has added")

    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:  # noqa: ARG002 (as CSV)
        return self._as_frame(self.rows.to_table(), FIRST_ROW)

    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        first_row = FIRST_ROW
        waiting = self.rows.schema.empty_table()
        # Where a chunk ends depends on nothing but the number of rows: its size may decide how a
        # network's sums are rounded. A batch may end with its group of rows.
        for batch in self.rows.to_batches(batch_size=n_rows):
            waiting = pa.concat_tables([waiting, pa.table(batch)])
            if len(waiting) >= n_rows:
                yield self._as_frame(waiting.slice(0, n_rows), first_row)
                waiting = waiting.slice(n_rows)
                first_row += n_rows
        if len(waiting):
            yield self._as_frame(waiting, first_row)

    def _as_frame(self, table: pa.Table, first_row: int) -> pd.DataFrame:
        plain = [
            pa.field(name, _plain(kind))
            for name, kind in zip(self.columns, table.schema.types, strict=True)
        ]
        # Else, whoever reads a broken file's texts may read anywhere in memory.
        table.validate(full=True)
        renamed = table.rename_columns(self.columns).cast(pa.schema(plain))
        frame = renamed.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
        frame.index += first_row
        return frame


def open_arrow(path: Path, name: str, reading: Reading, kind: str) -> ArrowFile:
    """Read the names of the columns; raises `UserError` if there are no rows."""
    rows = dataset.dataset(path, format=kind)
    if rows.count_rows() == 0:
        raise UserError(f"{name} has no rows")
    columns, unnamed = names_of(rows.schema.names)
    return ArrowFile(
        rows=rows,
        name=name,
        description=kind.title(),
        resolved={},
        columns=columns,
        unnamed=unnamed,
        spelling=spelling_of(reading),
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type without ways to store it that pandas does not know."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return views.get(kind, kind)
