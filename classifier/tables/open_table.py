"""A table in a file: CSV, or with types of its own, as in Parquet files and Excel workbooks."""

import datetime as dt
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from classifier.io.schema import LARGEST_EXACT
from classifier.io.user_error import UserError, quoted
from classifier.tables.csv_file import open_csv
from classifier.tables.names import has_names, names_of
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import TableFile, errors_explained
from classifier.tables.values import spelling_of

WORKBOOK_MEMBER = "[Content_Types].xml"

OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
"""How files of Excel before 2007 begin."""

FIRST_ROW = 2
"""Where a spreadsheet would show the first row of a Parquet file: below the names."""


def open_table(path: Path, name: str, reading: Reading) -> TableFile:
    """Look at the beginning of a file; raises `UserError` if there is no table in it."""
    with errors_explained(name):
        with path.open("rb") as binary:
            magic = binary.read(4)
        if magic == b"PAR1":
            return open_parquet(path, name, reading)
        if magic == OLD_WORKBOOK:
            raise UserError(f"{name} is a workbook of Excel before 2007; save it as .xlsx or CSV")
        if magic == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                is_workbook = WORKBOOK_MEMBER in archive.namelist()
            if is_workbook:
                return open_workbook(path, name, reading)
        return open_csv(path, name, reading)


@dataclass(frozen=True, kw_only=True)
class ParquetFile(TableFile):
    """A Parquet file; its columns keep the types of Arrow."""

    path: Path

    def left_out(self, table: pd.DataFrame) -> dict[str, str]:  # noqa: ARG002 (as others)
        return dict.fromkeys(self.unnamed, "it is an index that pandas has added")

    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:  # noqa: ARG002 (as CSV)
        return self._as_frame(pq.read_table(self.path), FIRST_ROW)

    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        first_row = FIRST_ROW
        with pq.ParquetFile(self.path) as file:
            waiting = file.schema_arrow.empty_table()
            # Where a chunk ends depends on nothing but the number of rows: its size may decide
            # how a network's sums are rounded. A batch may end with its group of rows.
            for batch in file.iter_batches(n_rows):
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
        renamed = table.rename_columns(self.columns).cast(pa.schema(plain))
        frame = renamed.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
        frame.index += first_row
        return frame


def open_parquet(path: Path, name: str, reading: Reading) -> ParquetFile:
    """Read the names of the columns; raises `UserError` if there are no rows."""
    metadata = pq.read_metadata(path)
    if metadata.num_rows == 0:
        raise UserError(f"{name} has no rows")
    header = [str(column) for column in metadata.schema.to_arrow_schema().names]
    columns, unnamed = names_of(header)
    return ParquetFile(
        path=path,
        name=name,
        description="Parquet",
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


@dataclass(frozen=True, kw_only=True)
class Workbook(TableFile):
    """A sheet of a workbook, in memory: columns of numbers, dates or true and false, or texts."""

    sheet_cells: pd.DataFrame
    """The cells as Python has them."""

    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                name: _typed(cells, ("",) if name in text_columns else self.spelling.gaps)
                for name, cells in self.sheet_cells.items()
            },
            copy=False,
        )

    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        table = self._all_rows(set())
        for start in range(0, len(table), n_rows):
            yield table.iloc[start : start + n_rows]


def open_workbook(path: Path, name: str, reading: Reading) -> Workbook:
    """Read the sheet that is named, or the first.

    Raises `UserError` if there is no such sheet, or no table in it.
    """
    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            sheets = [str(sheet) for sheet in book.sheet_names]
            sheet = sheets[0] if reading.sheet is None else reading.sheet
            if sheet in sheets:
                cells = pd.read_excel(
                    book, sheet_name=sheet, header=None, dtype=object, na_filter=False
                )
    # openpyxl has no error of its own for a broken file: it may be anything.
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{name} cannot be read as a workbook: {error}") from None
    there = quoted(sheets)
    if sheet not in sheets:
        raise UserError(
            f"{name} has no sheet '{sheet}'; prepare.sheet must be null or one of: {there}"
        )
    if cells.empty:
        raise UserError(f"{name}: the sheet '{sheet}' is empty; its sheets are: {there}")
    spelling = spelling_of(reading)
    first = [_spelled(cell) for cell in cells.iloc[0]]
    below = cells.iloc[1:1000].map(_spelled).to_numpy().tolist()
    has_header = has_names(f"{name}: row 1", first, below, reading, spelling)
    if has_header:
        cells = cells.iloc[1:]
        if cells.empty:
            raise UserError(f"{name}: the sheet '{sheet}' has no rows below its header")
    cells.columns, unnamed = names_of(first, has_header=has_header)
    cells.index = pd.RangeIndex(1 + has_header, 1 + has_header + len(cells))
    of = f" of {there}" if len(sheets) > 1 else ""
    header = "names in row 1" if has_header else "no header"
    return Workbook(
        name=name,
        description=f"workbook, sheet '{sheet}'{of}, {header}",
        resolved={"sheet": sheet, "header": has_header},
        columns=list(cells),
        unnamed=unnamed,
        spelling=spelling,
        sheet_cells=cells,
    )


def _typed(cells: pd.Series, gaps: tuple[str, ...]) -> pd.Series:
    """Return a column of the one type that all cells have which are no gaps, else of texts."""
    is_gap = cells.map(lambda cell: isinstance(cell, str) and cell.strip() in gaps)
    kinds = {type(cell) for cell in cells[~is_gap]}
    filled = cells.mask(is_gap, None)
    if kinds and kinds <= {int, float} and filled.dropna().abs().max() <= LARGEST_EXACT:
        return filled.astype("float64")
    if kinds == {bool}:
        return filled.astype(pd.ArrowDtype(pa.bool_()))
    if kinds and kinds <= {dt.datetime, pd.Timestamp}:
        return pd.to_datetime(filled).astype(pd.ArrowDtype(pa.timestamp("us")))
    return cells.map(_spelled).astype("str")


def _spelled(cell: object) -> str:
    """Return a cell as CSV would have it."""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    if abs(cell) <= LARGEST_EXACT:
        return str(int(cell) if float(cell).is_integer() else cell)
    # pandas has made whole numbers of floats, and of large ones nobody knows which they were.
    is_float = isinstance(cell, float) or (cell.bit_length() < 1024 and cell == float(cell))
    return str(float(cell) if is_float else cell)
