"""Excel workbooks (.xlsx)."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from classifier.io.schema import LARGEST_EXACT
from classifier.io.user_error import UserError, quoted
from classifier.tables.header import has_names, names_of
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import TableFile
from classifier.tables.values import spelling_of


@dataclass(frozen=True, kw_only=True)
class Workbook(TableFile):
    """A sheet of a workbook, in memory: columns of numbers, dates or true and false, or texts."""

    sheet: str
    sheets: list[str]
    """All there are."""
    sheet_cells: pd.DataFrame
    """As Python has them."""
    has_header: bool

    def resolved(self) -> dict[str, str | bool]:
        return {"sheet": self.sheet, "header": self.has_header}

    def describe(self) -> str:
        header = "names in row 1" if self.has_header else "no header"
        of = f" of {quoted(self.sheets)}" if len(self.sheets) > 1 else ""
        return f"workbook, sheet '{self.sheet}'{of}, {header}"

    def cells(self, text_columns: set[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                name: _typed(cells, ("",) if name in text_columns else self.spelling.gaps)
                for name, cells in self.sheet_cells.items()
            },
            copy=False,
        )

    def parts(self, n_rows: int) -> Iterator[pd.DataFrame]:
        table = self.cells(set())
        for start in range(0, len(table), n_rows):
            yield table.iloc[start : start + n_rows]


def open_workbook(path: Path, name: str, reading: Reading) -> Workbook:
    """Read the sheet that is named, or the first.

    Raises
    ------
    UserError
        If there is no such sheet, or no table in it.

    """
    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            sheets = [str(sheet) for sheet in book.sheet_names]
            sheet = sheets[0] if reading.sheet is None else reading.sheet
            if sheet in sheets:
                cells = book.parse(sheet, header=None, dtype=object, na_filter=False)
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
    columns, unnamed = names_of(first, has_header=has_header)
    cells.columns = columns
    cells.index = pd.RangeIndex(1 + has_header, 1 + has_header + len(cells))
    return Workbook(
        name=name,
        columns=columns,
        unnamed=unnamed,
        spelling=spelling,
        sheet=sheet,
        sheets=sheets,
        sheet_cells=cells,
        has_header=has_header,
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
    if isinstance(cell, int | float) and not isinstance(cell, bool) and cell == float(cell):
        # pandas has made whole numbers of floats, and of large ones nobody knows which they were.
        is_whole = float(cell).is_integer() and abs(cell) <= LARGEST_EXACT
        return str(int(cell) if is_whole else float(cell))
    return str(cell)
