"""Tables whose cells have types, each its own: in workbooks, JSON, ARFF and SQLite databases."""

import datetime as dt
import json
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa

from classifier.io.schema import LARGEST_EXACT
from classifier.io.user_error import NeedsParameterError, UserError, quoted
from classifier.tables.csv_file import SNIFFED_RECORDS
from classifier.tables.layout import LOOKED_AT, find_layout
from classifier.tables.names import names_of
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import FIRST_ROW, TableFile
from classifier.tables.text_file import TextFile
from classifier.tables.values import spelling_of

JSON = re.compile(r'\s*(\[\s*\{|\{\s*["}])')
ARFF = re.compile(r"(?i)([ \t]*(%.*)?\r?\n)*[ \t]*@relation\b")
"""How such files begin."""


@dataclass(frozen=True, kw_only=True)
class CellsFile(TableFile):
    """A table in memory: columns of numbers, dates or true and false, or texts."""

    cells: pd.DataFrame
    """The cells as Python has them."""

    def _all_rows(self, text_columns: set[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                name: _typed(cells, ("",) if name in text_columns else self.spelling.gaps)
                for name, cells in self.cells.items()
            },
            copy=False,
        )

    def _rows_by(self, n_rows: int) -> Iterator[pd.DataFrame]:
        table = self._all_rows(set())
        for start in range(0, len(table), n_rows):
            yield table.iloc[start : start + n_rows]


def _cells_file(
    name: str, description: str, cells: pd.DataFrame, reading: Reading, sheet: str | None = None
) -> CellsFile:
    """Return a table whose columns have names; raises `UserError` if it has no rows."""
    if cells.empty:
        raise UserError(f"{name}{'' if sheet is None else f': the table {sheet!r}'} has no rows")
    columns, unnamed = names_of([str(column) for column in cells])
    return CellsFile(
        name=name,
        description=description,
        resolved={} if sheet is None else {"sheet": sheet},
        columns=columns,
        unnamed=unnamed,
        spelling=spelling_of(reading),
        # As in a workbook, an empty text is a gap.
        cells=cells.fillna("").set_axis(columns, axis="columns").set_axis(cells.index + FIRST_ROW),
    )


def _of_sheets(
    name: str,
    sheets: list[str],
    read: Callable[[str], CellsFile],
    reading: Reading,
    wanted: Collection[str],
) -> CellsFile:
    """Return the table of the sheet that is named, or of the first that has the wanted columns.

    If none has them, it is the first with several columns, or the first.
    """
    if not sheets:
        raise UserError(f"{name} has no tables")
    if reading.sheet is not None:
        if reading.sheet not in sheets:
            raise UserError(
                f"{name} has no sheet '{reading.sheet}'; prepare.sheet must be null or one of: "
                f"{quoted(sheets)}"
            )
        sheets = [reading.sheet]
    found: list[CellsFile | UserError | sqlite3.OperationalError] = []
    for sheet in sheets:
        try:
            found.append(table := read(sheet))
        # A view may be one of a table that is gone.
        except (UserError, sqlite3.OperationalError) as error:
            found.append(error)
        else:
            if {*wanted} <= {*table.columns}:
                return table
    several = (one for one in found if len(getattr(one, "columns", [])) > 1)
    undecided = (one for one in found if isinstance(one, NeedsParameterError))
    chosen = next(chain(undecided, several, found))
    if isinstance(chosen, Exception):
        raise chosen
    return chosen


@contextmanager
def panics_explained(name: str) -> Iterator[None]:
    """Turn a panic of calamine, as of a broken .xls, into a `UserError`.

    What it prints itself, by Rust, nobody sees.
    """
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a device)
            os.dup2(nowhere.fileno(), 2)
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{name} cannot be read: {error}") from None
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def open_workbook(path: Path, name: str, reading: Reading, wanted: Collection[str]) -> CellsFile:
    """Read a sheet; raises `UserError` if there is no such sheet, or no table in it."""
    with panics_explained(name):
        book = pd.ExcelFile(path, engine="calamine")
    sheets = [str(sheet) for sheet in book.sheet_names]
    there = quoted(sheets)

    def read(sheet: str) -> CellsFile:
        cells = pd.read_excel(book, sheet_name=sheet, header=None, dtype=object, na_filter=False)
        if cells.empty:
            raise UserError(f"{name}: the sheet '{sheet}' is empty; its sheets are: {there}")
        spelling, n_rows = spelling_of(reading), len(cells)
        first, last = (
            part.map(_spelled).to_numpy().tolist()
            for part in (cells.iloc[:SNIFFED_RECORDS], cells.iloc[SNIFFED_RECORDS:][-LOOKED_AT:])
        )
        layout = find_layout(name, first, last, lambda: n_rows, reading=reading, spelling=spelling)
        cells.index += 1
        is_data = (cells.index >= layout.first_row) & ~cells.index.isin(layout.no_data)
        cells = cells[is_data & cells.ne("").any(axis="columns")]
        if cells.empty:
            raise UserError(f"{name}: the sheet '{sheet}' has no rows below its header")
        cells.columns = layout.columns
        of = f" of {there}" if len(sheets) > 1 else ""
        return CellsFile(
            name=name,
            description=f"workbook, sheet '{sheet}'{of}, {layout.description}",
            resolved={"sheet": sheet, "header": layout.has_header},
            columns=layout.columns,
            unnamed=layout.unnamed,
            spelling=spelling,
            cells=cells,
        )

    return _of_sheets(name, sheets, read, reading, wanted)


def open_database(path: Path, name: str, reading: Reading, wanted: Collection[str]) -> CellsFile:
    """Read a table, or a view, of SQLite; raises `UserError` if there is no such, or no row."""
    journal = path.with_name(f"{path.name}-wal")
    if journal.exists() and journal.stat().st_size:
        raise UserError(f"{name} lacks what is in {journal.name}; close what writes to it")
    # Without a lock, which would be a file beside it.
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as database:
        found = database.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        )
        tables = [str(table) for (table,) in found]
        of = f" of {quoted(tables)}" if len(tables) > 1 else ""

        def read(table: str) -> CellsFile:
            in_sql = table.replace('"', '""')
            rows = database.execute(f'SELECT * FROM "{in_sql}"')  # noqa: S608 (a name)
            header = [column for column, *_ in rows.description]
            cells = pd.DataFrame(rows.fetchall(), columns=header, dtype=object)
            return _cells_file(name, f"SQLite, table '{table}'{of}", cells, reading, table)

        return _of_sheets(name, tables, read, reading, wanted)


def open_json(file: TextFile, reading: Reading) -> CellsFile:
    """Read a list of objects, or an object on each line, whose keys are the names of columns.

    Raises `UserError` if it is none.
    """
    content = file.content()
    is_list = content.lstrip().startswith("[")
    # In a text of JSON, there may be what else ends a line.
    parts = [content] if is_list else content.split("\n")
    records: list[object] = []
    for number, part in enumerate(parts, start=1):
        if part.strip():
            try:
                found = json.loads(part)
            except (ValueError, RecursionError) as error:
                where = "" if is_list else f": line {number}"
                raise UserError(f"{file.name}{where} cannot be read as JSON: {error}") from None
            records += found if is_list else [found]
    odd = [one for one in records if not isinstance(one, dict)]
    if odd:
        raise UserError(
            f"{file.name} holds {json.dumps(odd[0])[:60]}; all must be objects: {{...}}"
        )
    description = "JSON records" if is_list else "JSON lines"
    return _cells_file(file.name, description, pd.DataFrame(records, dtype=object), reading)


def open_arff(file: TextFile, reading: Reading) -> CellsFile:
    """Read a table of Weka; raises `UserError` if it cannot be read."""
    # SciPy's reader takes neither texts nor letters beyond ASCII.
    from sklearn.externals import _arff  # noqa: PLC0415 (it takes seconds)

    try:
        found = _arff.loads(file.content())
    except (_arff.ArffException, OverflowError) as error:
        raise UserError(f"{file.name} cannot be read as ARFF: {error}") from None
    header = [name for name, _ in found["attributes"]]
    cells = pd.DataFrame(found["data"], columns=header, dtype=object)
    return _cells_file(file.name, "ARFF", cells, reading)


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
