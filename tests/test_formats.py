"""The same table in every format gives the same bytes, and the same predictions."""

import bz2
import contextlib
import datetime as dt
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.io.schema import read_schema
from classifier.io.user_error import UserError
from tests.in_process import run_all, run_predict, run_prepare

TRAINING: dict[str, Any] = {
    "train__max_epochs": 3,
    "train__eval_every": 1,
    "train__lr": 0.1,
    "prepare__missing_indicator": True,
}

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "blanks": " "}


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", content)
    return buffer.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
}


def drawn(seed: int) -> pd.DataFrame:
    """Return a table with every kind of column."""
    random = np.random.default_rng(seed)
    n = int(random.integers(24, 60))

    def with_gaps(values: Any) -> list[Any]:  # noqa: ANN401 (one of many kinds)
        return [None if random.random() < 0.1 else value for value in values]

    days = np.datetime64("1900-01-01") + random.integers(0, 70_000, n)
    minutes = np.datetime64("1900-01-01T00:00:00") + 60 * random.integers(0, 10**8, n)
    return pd.DataFrame(
        {
            "größe in mm": with_gaps(random.integers(-9999, 9999, n) / 8 + 0.0625),
            "count": random.integers(0, 50, n),
            "word": with_gaps(random.choice(["rot", "grün", "d'or", "x y"], n)),
            "flag": with_gaps(random.choice([True, False], n).tolist()),
            "day": days.astype(str),
            "when": [str(stamp).replace("T", " ") for stamp in minutes],
            "klasse": [["jä", "nein"][i % 2] for i in range(n)],
        }
    )


def as_csv(table: pd.DataFrame, delimiter: str, decimal: str, encoding: str) -> bytes:
    # Between blanks, an empty field would be none.
    gap = "NA" if delimiter == " " else ""
    text = table.to_csv(index=False, sep=delimiter, decimal=decimal, na_rep=gap)
    return str(text).encode(encoding)


def with_types(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with dates, and true and false, as such instead of texts."""
    days = [dt.date.fromisoformat(str(day)) for day in table["day"]]
    return table.assign(
        day=pd.Series(days, dtype=object),
        when=pd.to_datetime(table["when"]),
        flag=table["flag"].astype(object),
    )


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    with_types(table).to_parquet(path)


def write_workbook(table: pd.DataFrame, path: Path) -> None:
    with_types(table).to_excel(path.with_suffix(".xlsx"), index=False)
    path.with_suffix(".xlsx").rename(path)


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in patterns for path in folder.glob(pattern)}


EACH_ENCODING_AND_COMPRESSION = pytest.mark.parametrize(
    ("encoding", "compression"),
    [("utf-8", "none"), ("utf-8-sig", "gz"), ("utf-16", "bz2"), ("cp1252", "xz"), ("utf-8", "zip")],
)
SOME_DELIMITER, SOME_DECIMAL = st.sampled_from(list(DELIMITERS.values())), st.sampled_from(".,")


def write_other_formats(
    table: pd.DataFrame, folder: Path, csv: bytes, encoding: str
) -> dict[str, str]:
    """Write a table as CSV, Parquet and a workbook; return the encoding to name for each."""
    (folder / "other").write_bytes(csv)
    write_parquet(table, folder / "parquet")
    write_workbook(table, folder / "workbook")
    named = "cp1252" if encoding == "cp1252" else "auto"
    return {"other": named, "parquet": "auto", "workbook": "auto"}


@EACH_ENCODING_AND_COMPRESSION
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**9), delimiter=SOME_DELIMITER, decimal=SOME_DECIMAL)
def test_every_format_gives_the_same_bytes(
    seed: int, delimiter: str, decimal: str, encoding: str, compression: str
) -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder, table = Path(name), drawn(seed)
        Path("plain").write_bytes(as_csv(table, ",", ".", "utf-8"))
        run_prepare(folder, "plain", "klasse", **TRAINING)
        prepared = contents(folder, "data/prepared/*")
        kinds = [column.kind for column in read_schema(Path("data/prepared/schema.json")).columns]
        assert kinds == ["numeric", "numeric", "text", "boolean", "datetime", "datetime"]
        csv = COMPRESSIONS[compression](as_csv(table, delimiter, decimal, encoding))
        for file, codec in write_other_formats(table, folder, csv, encoding).items():
            run_prepare(folder, file, "klasse", prepare__encoding=codec, **TRAINING)
            assert contents(folder, "data/prepared/*") == prepared, file


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a table has gone through the stages."""
    folder = tmp_path_factory.mktemp("learned")
    with contextlib.chdir(folder):
        Path("plain").write_bytes(as_csv(drawn(0), ",", ".", "utf-8"))
        run_all(folder, "plain", "klasse", **TRAINING)
    return folder


@EACH_ENCODING_AND_COMPRESSION
@settings(max_examples=2, deadline=None)
@given(delimiter=SOME_DELIMITER, decimal=SOME_DECIMAL)
def test_every_format_gets_the_same_predictions(
    learned: Path, delimiter: str, decimal: str, encoding: str, compression: str
) -> None:
    csv = COMPRESSIONS[compression](as_csv(drawn(0), delimiter, decimal, encoding))
    files = {"plain": "auto"} | write_other_formats(drawn(0), learned, csv, encoding)
    with contextlib.chdir(learned):
        evaluated = pd.read_csv("reports/predictions.csv")
        for file, codec in files.items():
            run_predict(file, "-o", "predicted.csv", "--encoding", codec)
            predicted = pd.read_csv("predicted.csv", sep=delimiter if file == "other" else ",")
            test = predicted.iloc[evaluated["row"] - 2]
            assert list(test["predicted"]) == list(evaluated["predicted"])
            spelled = test["probability_jä"].astype(str).str.replace(",", ".")
            # In single precision a sum's rounding may depend on how many rows there are beside it.
            assert spelled.astype(float).to_numpy() == pytest.approx(
                evaluated["probability_jä"].to_numpy(), abs=1e-6
            )


def test_an_encoding_that_the_file_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn(0).to_csv("t.csv", index=False)
    for encoding, expected in {
        "utf-16": "t.csv is not utf-16 text: UTF-16 stream does not start with BOM; set",
        "ascii": "is not ASCII text: 'gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}",
        "utf-32": "t.csv is not utf-32 text",
    }.items():
        with pytest.raises(UserError) as error:
            run_prepare(tmp_path, "t.csv", "klasse", prepare__encoding=encoding)
        assert expected in str(error.value)


def test_a_sheet_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"x": range(30), "z": ["a", "b", "c"] * 10, "y": ["no", "yes"] * 15})
    with pd.ExcelWriter("book.xlsx") as book:
        pd.DataFrame({"notes": ["none"]}).to_excel(book, sheet_name="About", index=False)
        table.to_excel(book, sheet_name="Data", index=False)
    run_prepare(tmp_path, "book.xlsx", "y", prepare__sheet="Data")
    from_book = contents(tmp_path, "data/prepared/*")
    file = json.loads(Path("reports/table.json").read_text())["file"]
    assert file == "workbook, sheet 'Data' of 'About', 'Data', names in row 1"
    table.to_csv("t.csv", index=False)
    run_prepare(tmp_path, "t.csv", "y")
    assert contents(tmp_path, "data/prepared/*") == from_book
    for sheet, expected in {
        "Dates": "book.xlsx has no sheet 'Dates'; prepare.sheet must be null or one of: 'About'",
        None: "book.xlsx has no column 'y'; prepare.target must be one of: 'notes'",
    }.items():
        with pytest.raises(UserError, match=expected):
            run_prepare(tmp_path, "book.xlsx", "y", prepare__sheet=sheet)


def test_a_workbooks_whole_number_that_no_float_can_be(tmp_path: Path) -> None:
    """No program writes it. As in a CSV file, it is infinite, and so a gap."""
    whole = pd.DataFrame({"x": range(60), "y": ["yes", "no"] * 30}).replace({"x": {7: 7777}})
    whole.to_excel(tmp_path / "small.xlsx", index=False)
    with (
        zipfile.ZipFile(tmp_path / "small.xlsx") as source,
        zipfile.ZipFile(tmp_path / "large.xlsx", "w") as target,
    ):
        for name in source.namelist():
            cells = source.read(name).replace(b"<v>7777</v>", b"<v>1" + b"0" * 400 + b"</v>")
            target.writestr(name, cells)
    with contextlib.chdir(tmp_path):
        run_prepare(tmp_path, "large.xlsx", "y")
    assert json.loads((tmp_path / "reports/table.json").read_text())["gaps"] == 1
