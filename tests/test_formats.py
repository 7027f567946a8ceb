"""The same table in every format gives the same bytes, and the same predictions."""

import base64
import bz2
import csv
import datetime as dt
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pytest

from tests.in_process import (
    prepared,
    prepared_bytes,
    prepared_schema,
    refused,
    run_all,
    run_predict,
    run_prepare,
    table_report,
)

TRAINING: dict[str, Any] = {
    "train__max_epochs": 3,
    "train__eval_every": 1,
    "train__lr": 0.1,
    "prepare__missing_indicator": True,
}


def drawn() -> pd.DataFrame:
    """Return a table with every kind of column."""
    random, n = np.random.default_rng(0), 40

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


TABLE = drawn()


XLS = (
    "c-rllJxmlq6vyA}-sf^3d!KN3a1s(xk;d5Az^RE+Nzg{4CVB{kfq=PCh=rm^X<}lfu_2+cL2dj97TTF;g3-"
    "dn#00doGSS2WSl_(cLms|@GfLF#yUg3!+28zk?!U8hxBF^7u`qo<zX<E18%$Vn!Vp-~rm%!-"
    "J2v2P$I;c=HiX6T;-"
    "89e2rp#74|CC%L46JN^<D%6?)jc!2Ka#GB%FiZ(UHN{O^p3ChO*LQ=)$bvHnzkdN25woK0`T0`7V)9DDS0~Ym~c?"
    "T~NnizSP^X$DPH;j5azJ1Fidz`n;o-"
    "U66t2dKO>0uBxmb_EpZ7hyTt4MPCGF0Iyrm;K*R5JiGvDynr+C)oBIzQoB>1wtDTG+pYlHzw!2<(0;@40Zf2%nkM"
    ")ZL}1R;M|?0)9xE?Fljd=cmfrJN#<7&K^jmr<rd!u$w{DcCbOiGN#HpU3iEZQJymaUD>qGs0rBl>0LCbY@QQxY^0"
    "S;W&J+O0(j%=Z<*$&D(DPJMg0@d@B(>NV*+uoOPD+ecuxk^Xd@jSaJ-juejsc*;n)ThIbic=p;JFq_6vv?sr`?fR"
    "<ZTKTIfc^Dn5;|3<x^+{><5F#_+y&r0<=jt;LCCP(u{-"
    "WBR~(kXqH2P2bx*saTwbl?FB%rLRsGYvT6I(NhQJ%dzi|1g`=-"
    "mA0&fx@aCwvI`vl%c{0XDV`<T98;Qho~uD+k?2LwJq{3o-"
    "@2bg|P;Df}+T>T)^4+(sT`59vRVSx`bKf_Gl5_pUGX)*l<fp1`bHZc8&z(<&$5vCs%_$c!;%JgFbA7g&Tn0{Q~<I"
    "K-E)3*iQW`5dCKOyi5=4XQGCj~yq{7f?al)$H$pDCuF7Wg#tGtKlf0-"
    "s@iW|)3f;IqunEYoik_(tYuBhzmZ_$KCO6VuNLe2)2<WBPf4&oe*sOur!T1?Fdg={E~}GxM{V>9+`c3-"
    "hyu=@$jQ$owp>>USGSc%VDtU%MY+ffrtQ;e{8!9LoKRZ@Lc}e)mBl=)Tuk#<JqQCi!pU2#n%q3?DQPzzA+DFkaXE"
    "$%0?iwA2Rs)ZQ2BIErVlz!3D)IELz;zxW`i)_$K2ceH=sEmZIMSLzw(A3pzgGE^Um"
)
"""A workbook of Excel 97, as xlwt writes it: 30 rows, compressed, in base 85."""


def as_csv(delimiter: str = ",", decimal: str = ".", **how: Any) -> str:  # noqa: ANN401
    """Return the table as CSV; `how` are pandas' own options."""
    return str(TABLE.to_csv(index=False, sep=delimiter, decimal=decimal, **how))


def with_types() -> pd.DataFrame:
    """Return the table with dates, and true and false, as such instead of texts."""
    days = [dt.date.fromisoformat(str(day)) for day in TABLE["day"]]
    return TABLE.assign(
        day=pd.Series(days, dtype=object),
        when=pd.to_datetime(TABLE["when"]),
        flag=TABLE["flag"].astype(object),
    )


def written(write: Callable[..., None], **how: object) -> bytes:
    """Return what pandas writes into a file; `how` are its own options."""
    buffer = io.BytesIO()
    write(buffer, **how)
    return buffer.getvalue()


def zipped(members: dict[str, bytes | str]) -> bytes:
    """Return an archive of files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def json_lines(table: pd.DataFrame) -> bytes:
    """Return an object on each line; but for the first, without what is missing."""
    first, *others = table.astype(object).where(table.notna(), None).to_dict("records")
    rows = [first, *({name: one for name, one in row.items() if one is not None} for row in others)]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def arff(table: pd.DataFrame) -> bytes:
    """Return it as Weka writes it: texts in single quotes, where there are blanks in them."""
    words = {"rot": "rot", "grün": "grün", "d'or": r"'d\'or'", "x y": "'x y'"}
    kinds = ["NUMERIC", "INTEGER", f"{{{','.join(words.values())}}}", "{True,False}"]
    kinds += ["STRING", "string", "{jä,nein}"]
    lines = ["% made by hand", "", "@RELATION t"]
    lines += [f"@ATTRIBUTE '{name}' {kind}" for name, kind in zip(table, kinds, strict=True)]
    quoted = table.replace({"word": words}).assign(when=[f'"{one}"' for one in table["when"]])
    rows = quoted.to_csv(index=False, header=False, na_rep="?", quoting=csv.QUOTE_NONE)
    return "\n".join([*lines, "@DATA", rows]).encode()


def database(table: pd.DataFrame) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIEW lost AS SELECT * FROM gone")
        table.astype({"flag": object}).to_sql("t", connection, index=False)
        connection.execute("CREATE TABLE 'a \"list\"' (nr, note)")
        connection.execute("CREATE VIEW seen AS SELECT word, count FROM t LIMIT 3")
        return connection.serialize()


def open_document(rows: list[list[Any]]) -> bytes:
    """Return a spreadsheet as LibreOffice has it."""

    def cell(one: Any) -> str:  # noqa: ANN401 (one of many kinds)
        if pd.isna(one):
            return "<table:table-cell/>"
        kind, value = "string", ""
        if isinstance(one, bool):
            kind, value = "boolean", f' office:boolean-value="{str(one).lower()}"'
        elif isinstance(one, int | float):
            kind, value = "float", f' office:value="{one}"'
        elif isinstance(one, dt.date):
            kind, value = "date", f' office:date-value="{one.isoformat()}"'
        text = escape(str(one))
        return (
            f'<table:table-cell office:value-type="{kind}"{value}><text:p>{text}</text:p>'
            "</table:table-cell>"
        )

    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0"?><office:document-content {names}><office:body><office:spreadsheet>'
        f'<table:table table:name="Sheet">{lines}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    manifest = '<manifest xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "content.xml": content,
            "META-INF/manifest.xml": manifest,
        }
    )


PLAIN = as_csv()

FORMATS: dict[str, bytes] = {
    "byte order mark": PLAIN.encode("utf-8-sig"),
    "windows": PLAIN.replace("\n", "\r\n").encode(),
    "no line end at the end": PLAIN.rstrip("\n").encode(),
    "blank rows": PLAIN.encode() + b"\n,,,,,,\n\n",
    "blanks around a text": PLAIN.replace(",rot,", ", rot  ,").encode(),
    "capitals": PLAIN.replace("True", "TRUE").replace("False", "false").encode(),
    "decimal commas": as_csv(decimal=",").encode(),
    "semicolons": gzip.compress(as_csv(";").encode()),
    "semicolons and decimal commas": bz2.compress(as_csv(";", ",").encode("utf-16")),
    "tabs": lzma.compress(as_csv("\t", ",").encode("cp1252")),
    "pipes": zipped({"table.csv": as_csv("|")}),
    # Between them, an empty field would be none.
    "blanks": as_csv(" ", ",", na_rep="NA").encode(),
    "Parquet": with_types().to_parquet(),
    "categories in Parquet": TABLE.astype(
        {"word": "category", "größe in mm": "float32"}
    ).to_parquet(),
    "workbook": written(with_types().to_excel, index=False),
    "OpenDocument": open_document([[*TABLE], *with_types().astype(object).to_numpy().tolist()]),
    "JSON lines": gzip.compress(json_lines(TABLE)),
    "JSON records": json.dumps(TABLE.astype(object).where(TABLE.notna(), None).to_dict("records"))
    .replace("[", "\n[ ", 1)
    .encode("utf-16"),
    "Feather": written(with_types().to_feather),
    "ARFF": arff(TABLE),
    "SQLite": database(
        TABLE.assign(flag=TABLE["flag"].astype(object).map(str, na_action="ignore"))
    ),
}
CODECS = {"tabs": "cp1252"}
"""Encodings that have to be named."""


def test_every_format_gives_the_same_bytes_and_predictions(folder: Path) -> None:
    Path("plain").write_bytes(PLAIN.encode())
    run_all(folder, "plain", "klasse", **TRAINING)
    expected = prepared_bytes()
    kinds = [column.kind for column in prepared_schema().columns]
    assert kinds == ["numeric", "numeric", "text", "boolean", "datetime", "datetime"]
    evaluated = pd.read_csv("reports/predictions.csv")
    for name, content in FORMATS.items():
        Path(name).write_bytes(content)
        codec = CODECS.get(name, "auto")
        run_prepare(folder, name, "klasse", prepare__encoding=codec, **TRAINING)
        assert prepared_bytes() == expected, name
        run_predict(name, "-o", "predicted.parquet", "--encoding", codec)
        predicted = pd.read_parquet("predicted.parquet")
        assert len(predicted) == len(TABLE)
        test = predicted.iloc[evaluated["row"] - 2]
        assert list(test["predicted"]) == list(evaluated["predicted"])
        # In single precision a sum's rounding may depend on how many rows there are beside it.
        np.testing.assert_allclose(test["probability_jä"], evaluated["probability_jä"], atol=1e-6)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-16", "t.csv is not utf-16 text: UTF-16 stream does not start with BOM; set"),
        ("ascii", "is not ASCII text: 'gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_encoding_that_the_file_does_not_have(
    folder: Path, encoding: str, expected: str
) -> None:
    Path("t.csv").write_bytes(PLAIN.encode())
    with refused(expected):
        run_prepare(folder, "t.csv", "klasse", prepare__encoding=encoding)


def test_a_sheet_by_its_name(folder: Path) -> None:
    table = pd.DataFrame({"x": range(30), "z": ["a", "b", "c"] * 10, "y": ["no", "yes"] * 15})
    with pd.ExcelWriter("book.xlsx") as book:
        pd.DataFrame({"notes": ["none"]}).to_excel(book, sheet_name="About", index=False)
        table.to_excel(book, sheet_name="Data", index=False)
    run_prepare(folder, "book.xlsx", "y", prepare__sheet="Data")
    from_book = prepared_bytes()
    file = table_report()["file"]
    assert file == "workbook, sheet 'Data' of 'About', 'Data', names in row 1"
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y")
    assert prepared_bytes() == from_book
    # Without a name, it is the one that has the target.
    run_prepare(folder, "book.xlsx", "y")
    assert prepared_bytes() == from_book
    assert table_report()["file"] == file
    for sheet, target, expected in [
        ("Dates", "y", "book.xlsx has no sheet 'Dates'; prepare.sheet must be null or one of: 'Ab"),
        (None, "w", "book.xlsx has no column 'w'; prepare.target must be one of: 'x', 'z', 'y'"),
        ("About", "y", "book.xlsx has no column 'y'; prepare.target must be one of: 'notes'"),
    ]:
        with refused(expected):
            run_prepare(folder, "book.xlsx", target, prepare__sheet=sheet)


def test_a_table_that_begins_further_down_in_a_workbook(folder: Path) -> None:
    plain = TABLE.assign(x=range(40))
    plain.to_csv("plain.csv", index=False)
    run_all(folder, "plain.csv", "klasse", **TRAINING)
    expected = [prepared(part).features.tolist() for part in ("train", "val", "test")]
    with pd.ExcelWriter("book.xlsx") as book:
        pd.DataFrame({"author": ["me"], "when": ["today"]}).to_excel(book, sheet_name="About")
        plain.to_excel(book, sheet_name="Data", index=False, startrow=3, startcol=2)
        sheet = book.sheets["Data"]
        sheet["C2"] = "Measured in 2024"
        sheet["D46"], sheet["C47"] = "Total", "Source: me"
    run_prepare(folder, "book.xlsx", "klasse", **TRAINING)
    assert [prepared(part).features.tolist() for part in ("train", "val", "test")] == expected
    assert table_report()["file"] == (
        "workbook, sheet 'Data' of 'About', 'Data', names in row 4, rows above the table left out: "
        "1, 2, 3, rows below the table left out: 46, 47"
    )
    # `predict` finds the sheet by the columns of the model.
    predictions = {}
    for name in ("plain.csv", "book.xlsx"):
        run_predict(name, "-o", "predicted.parquet")
        predictions[name] = pd.read_parquet("predicted.parquet")["probability_jä"]
    pd.testing.assert_series_equal(*predictions.values())


def test_a_workbook_of_excel_before_2007(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = zlib.decompress(base64.b85decode(XLS))
    Path("t.xls").write_bytes(content)
    run_prepare(folder, "t.xls", "y")
    assert table_report()["file"] == "workbook, sheet 'data', names in row 1"
    Path("t.csv").write_text("x,y\n" + "".join(f"{i % 7 / 2},{'ab'[i % 2]}\n" for i in range(30)))
    from_workbook = prepared_bytes()
    run_prepare(folder, "t.csv", "y")
    assert prepared_bytes() == from_workbook

    Path("t.xls").write_bytes(content[:-100])
    with refused("t.xls cannot be read: range end index 64 out of range"):
        run_prepare(folder, "t.xls", "y")
    assert capfd.readouterr().err == ""


def test_texts_of_json_lines_may_hold_ends_of_lines(folder: Path) -> None:
    table = TABLE.assign(word=["one\u2028two\x85three", "four"] * 20)
    table.to_json("t.jsonl", orient="records", lines=True, force_ascii=False)
    run_prepare(folder, "t.jsonl", "klasse")
    assert "one\u2028two\x85three" in prepared_schema().model_dump_json()


def test_a_table_of_a_database_by_its_name(folder: Path) -> None:
    Path("t.db").write_bytes(database(TABLE))
    with refused(
        "t.db has no sheet 'u'; prepare.sheet must be null or one of: 'lost', 't', 'a \"list\"'"
    ):
        run_prepare(folder, "t.db", "klasse", prepare__sheet="u")
    with refused("t.db: the table 'a \"list\"' has no rows"):
        run_prepare(folder, "t.db", "note", prepare__sheet='a "list"')
    with refused("t.db cannot be read: no such table: main.gone"):
        run_prepare(folder, "t.db", "klasse", prepare__sheet="lost")
    with refused("t.db has no column 'klasse'; prepare.target must be one of: 'word', 'count'"):
        run_prepare(folder, "t.db", "klasse", prepare__sheet="seen")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA user_version = 1")
        Path("t.db").write_bytes(connection.serialize())
    with refused("t.db has no tables"):
        run_prepare(folder, "t.db", "klasse")
    # What a program has not yet written into the file itself would be missing.
    with closing(sqlite3.connect("open.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        TABLE.to_sql("t", connection)
        with refused("open.db lacks what is in open.db-wal; close what writes to it"):
            run_prepare(folder, "open.db", "klasse")
    assert sorted(path.name for path in folder.iterdir()) == ["open.db", "params.yaml", "t.db"]


def test_a_workbooks_whole_number_that_no_float_can_be(folder: Path) -> None:
    """No program writes it. As in a CSV file, it is infinite, and so a gap."""
    whole = pd.DataFrame({"x": range(60), "y": ["yes", "no"] * 30}).replace({"x": {7: 7777}})
    whole.to_excel("small.xlsx", index=False)
    with zipfile.ZipFile("small.xlsx") as source, zipfile.ZipFile("large.xlsx", "w") as target:
        for name in source.namelist():
            cells = source.read(name).replace(b"<v>7777</v>", b"<v>1" + b"0" * 400 + b"</v>")
            target.writestr(name, cells)
    run_prepare(folder, "large.xlsx", "y")
    assert table_report()["gaps"] == 1
