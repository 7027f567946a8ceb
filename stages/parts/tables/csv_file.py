"""CSV files: what types their columns have, and where one is broken."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from stages.parts.user_error import UserError

GAPS = ["", " ", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>"]
"""Texts that stand for a missing value."""

FIRST_ROW = 2
"""The row of a spreadsheet that holds the table's first record; row 1 is the header."""


class OtherTypesError(Exception):
    """A column holds a value that is not of the type it was to be read as."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV file, and what is special about it."""

    path: Path
    name: str
    """What messages call it."""
    compression: str | None
    delimiter: str
    decimal_point: str

    def first_types(self) -> list[tuple[str, pa.DataType]]:
        """Return the columns' names, and the types that fit the first block of rows."""
        first_block = next(self._batches(types=None), None)
        if first_block is None:
            raise UserError(f"{self.name} has no rows below its header")
        schema = first_block.schema
        return list(zip(schema.names, schema.types, strict=True))

    def read(self, types: dict[str, pa.DataType]) -> pa.Table:
        """Read some columns whole, as numbers where all values are, as text otherwise.

        Parameters
        ----------
        types
            For each of these columns, the type that fits the first block of rows.

        """
        types = {name: _widened(kind) for name, kind in types.items()}
        # Left to itself, pyarrow keeps the whole file's text in memory in case that a type has
        # to give way in the last row. Reading once more, should that happen, is leaner.
        try:
            return self._read(types)
        except OtherTypesError:
            return self._read(self._types_of_all_rows(types))

    def _read(self, types: dict[str, pa.DataType]) -> pa.Table:
        # A text that occurs a million times is held once.
        dictionary = pa.dictionary(pa.int32(), pa.string())
        return pa.Table.from_batches(
            self._batches(
                {
                    name: dictionary if pa.types.is_string(kind) else kind
                    for name, kind in types.items()
                }
            )
        )

    def text_batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Read the columns as the text that is in the file."""
        types = dict.fromkeys(names, pa.string())
        try:
            yield from self._batches(types, gaps=[])
        except OtherTypesError:
            self._types_of_all_rows(types)
            raise

    def _types_of_all_rows(self, types: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Return `types` with text in place of each type that does not fit every value."""
        fitting = types.copy()
        row = FIRST_ROW
        for batch in self._batches(dict.fromkeys(types, pa.binary())):
            for name in types:
                text = self._decode(batch.column(name), name, row)
                if not self._fits(text, fitting[name]):
                    fitting[name] = pa.string()
            row += len(batch)
        return fitting

    def _decode(self, values: pa.Array, column: str, first_row: int) -> pa.Array:
        try:
            return values.cast(pa.string())
        except pa.ArrowInvalid:
            for row, value in enumerate(values.to_pylist(), first_row):
                shown = (value or b"").decode("utf-8", errors="replace")
                if "\N{REPLACEMENT CHARACTER}" in shown:
                    raise UserError(
                        f"{self.name}: column '{column}', row {row} is not UTF-8 text: '{shown}'; "
                        "save the file as UTF-8"
                    ) from None
            raise

    def _fits(self, text: pa.Array, kind: pa.DataType) -> bool:
        if self.decimal_point == "," and pa.types.is_floating(kind):
            text = pa.compute.replace_substring(text, ",", ".")
        try:
            pa.compute.utf8_trim_whitespace(text).cast(kind)
        except pa.ArrowInvalid:
            return False
        return True

    def _batches(
        self, types: dict[str, pa.DataType] | None, gaps: list[str] = GAPS
    ) -> Iterator[pa.RecordBatch]:
        ragged: list[Any] = []

        def stop_at(row: Any) -> str:  # noqa: ANN401 (pyarrow has no types)
            ragged.append(row)
            return "error"

        try:
            with (
                pa.input_stream(self.path, compression=self.compression) as file,
                pyarrow.csv.open_csv(
                    file,
                    # One thread counts the rows, and is fast enough.
                    pyarrow.csv.ReadOptions(use_threads=False),
                    pyarrow.csv.ParseOptions(
                        delimiter=self.delimiter,
                        newlines_in_values=True,
                        # They count as rows, so that row numbers are those of a spreadsheet.
                        ignore_empty_lines=False,
                        invalid_row_handler=stop_at,
                    ),
                    pyarrow.csv.ConvertOptions(
                        column_types=types,
                        include_columns=list(types or []),
                        decimal_point=self.decimal_point,
                        null_values=gaps,
                        strings_can_be_null=True,
                        # A column of true and false is read as text, so that one other text in
                        # it changes nothing for the other rows.
                        true_values=[],
                        false_values=[],
                    ),
                ) as reader,
            ):
                yield from reader
        except pa.ArrowInvalid as error:
            if ragged:
                (row,) = ragged
                advice = (
                    "fill in what is missing, or close a quote left open"
                    if row.actual_columns < row.expected_columns
                    else f"put quotes around a text that contains {self.delimiter!r}"
                )
                raise UserError(
                    f"{self.name}: row {row.number} has {row.actual_columns} fields, but the "
                    f"header has {row.expected_columns}; {advice}"
                ) from None
            if "CSV conversion error" in str(error):
                raise OtherTypesError(str(error)) from None
            if "Empty CSV file" in str(error):
                raise UserError(f"{self.name} has no rows below its header") from None
            raise UserError(f"{self.name} cannot be read as CSV: {error}") from None


def _widened(kind: pa.DataType) -> pa.DataType:
    """Return the type to read a column as whose first rows are of type `kind`."""
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return pa.float64()
    # Bytes are what pyarrow takes text for that is not UTF-8.
    return pa.string() if pa.types.is_binary(kind) else kind
