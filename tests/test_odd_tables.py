"""Tables that are odd in one way, as people meet them every week: what becomes of each.

Each gives the values that a careful person would have typed, with or without a warning, or an
error that names the parameter and the value that settle it, which `start` then sets.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from classifier.io.schema import Schema
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import AS_THE_FILE_SAYS
from stages import prepare
from tests.in_process import (
    prepared,
    prepared_schema,
    refused,
    run_prepare,
    run_start,
    table_report,
    write_params,
)
from tests.test_formats import zipped

N = 100


def base() -> pd.DataFrame:
    random = np.random.default_rng(0)
    x = random.normal(size=N).round(4)
    colour = random.choice(["red", "green", "blue"], N)
    return pd.DataFrame(
        {
            "x": x,
            "z": random.normal(size=N).round(4),
            "colour": colour,
            "label": np.where(x + (colour == "red") > 0.3, "yes", "no"),
        }
    )


BASE = base()


def csv(table: pd.DataFrame = BASE, encoding: str = "utf-8", **how: Any) -> bytes:  # noqa: ANN401
    """Return the table as CSV; `how` are pandas' own options."""
    return str(table.to_csv(index=False, **how)).encode(encoding)


def changed(**columns: object) -> pd.DataFrame:
    return BASE.assign(**columns)


def each(column: str, change: Callable[[int, object], object]) -> pd.DataFrame:
    """Return the table with each cell of a column changed, given its row from 0 on."""
    return changed(**{column: [change(i, cell) for i, cell in enumerate(BASE[column])]})


def front(name: str, values: object) -> pd.DataFrame:
    table = BASE.copy()
    table.insert(0, name, values)
    return table


def every(n: int, value: object) -> Callable[[int, object], object]:
    """Return a change of one cell in n."""
    return lambda i, cell: value if i % n == 0 else cell


def but_for(n: int, value: float | None) -> Callable[[int], float | None]:
    """Return what x is where one cell in n is something else."""
    return lambda i: value if i % n == 0 else float(BASE["x"][i])


def each_x(spelled: Callable[[float], str], **how: Any) -> bytes:  # noqa: ANN401
    """Return the table as CSV, with x spelled in another way."""
    return csv(changed(x=[spelled(x) for x in BASE["x"]]), **how)


@dataclass(frozen=True)
class Outcome:
    """What becomes of a table."""

    error: str = ""
    """Part of what `prepare` says; `start` settles it. What follows is what it is then."""
    warning: str = ""
    """Part of one of the warnings; without it, there is none."""
    said: str = ""
    """How the line ends that says how the file is read."""
    left_out: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=lambda: ["x", "z", "colour"])
    x: Callable[[int], float | None] | None = lambda i: float(BASE["x"][i])
    """What the column x is in each row, from 0 on; None for a gap."""
    first_row: int = 2
    n: int = N
    classes: list[str] = field(default_factory=lambda: ["no", "yes"])


SAME = Outcome()
NO_HEADER = Outcome(error="set prepare.header: false", columns=["c1", "c2", "c3"], first_row=1)
TEN_THOUSANDTHS = Outcome(
    warning="'x' is another whole number in every row", x=lambda i: int(BASE["x"][i] * 10_000)
)

ODD: dict[str, tuple[bytes, Outcome]] = {
    "cp1252": (
        csv(changed(colour=BASE["colour"].replace("green", "grün")), "cp1252"),
        Outcome(error="is not UTF-8 text: 'gr\N{REPLACEMENT CHARACTER}n'"),
    ),
    "many blanks": (csv(sep=" ").replace(b" ", b"   ").replace(b"\n", b" \n "), SAME),
    "an index": (BASE.to_csv().encode(), Outcome(left_out=["c1"])),
    "an index that pandas has named": (
        csv(front("Unnamed: 0", range(N))),
        Outcome(left_out=["Unnamed: 0"]),
    ),
    "names of rows, as R writes them": (
        "\n".join(
            [" ".join(BASE), *(f"{i} {x} {z} {c} {y}" for i, x, z, c, y in BASE.itertuples())]
        ).encode(),
        Outcome(left_out=["c1"]),
    ),
    "delimiters at the end": (
        b"".join(line + b",\n" for line in csv().splitlines()),
        Outcome(left_out=["c5"]),
    ),
    "a dash for a gap": (csv(each("x", every(17, "-"))), Outcome(x=but_for(17, None))),
    "another text for a gap": (
        csv(each("x", every(17, "unknown"))),
        Outcome(error="add 'unknown' to prepare.gaps", x=but_for(17, None)),
    ),
    "a gap that is a class as well": (
        csv(
            changed(
                x=[x if i % 17 else "unknown" for i, x in enumerate(BASE["x"])],
                label=[y if i % 10 else "unknown" for i, y in enumerate(BASE["label"])],
            )
        ),
        Outcome(
            error="add 'unknown' to prepare.gaps",
            x=but_for(17, None),
            classes=["no", "unknown", "yes"],
        ),
    ),
    "decimal commas beside a few points": (
        csv(changed(grade=[f"{i % 3}.0" for i in range(N)]), sep=";", decimal=","),
        Outcome(columns=["x", "z", "colour", "grade"]),
    ),
    "years of two digits": (
        csv(front("when", [f"{1 + i % 12}/{1 + i % 28}/{14 + i % 3}" for i in range(N)])),
        Outcome(columns=["when", "x", "z", "colour"]),
    ),
    "a sentinel of many digits": (
        csv(each("x", every(9, 99_999_999))),
        Outcome(warning="add '99999999' to prepare.gaps", x=but_for(9, 99_999_999)),
    ),
    "thousands": (each_x(lambda x: f"{int(x * 10_000):,}"), TEN_THOUSANDTHS),
    "points for thousands": (
        each_x(lambda x: f"{int(x * 10_000):,}".replace(",", "."), sep=";", decimal=","),
        TEN_THOUSANDTHS,
    ),
    "per cent": (
        each_x(lambda x: f"{x * 100:.1f}%"),
        Outcome(x=lambda i: float(f"{BASE['x'][i] * 100:.1f}")),
    ),
    "dollars, and minus before them": (
        each_x(lambda x: f"{'-' * (x < 0)}${abs(x) * 1000:,.2f}"),
        Outcome(x=lambda i: float(f"{BASE['x'][i] * 1000:.2f}")),
    ),
    "some per cent, some not": (
        csv(each("x", lambda i, x: f"{x}%" if i % 3 else x)),
        Outcome(error="holds numbers of several forms, such as", columns=["z", "colour"], x=None),
    ),
    "blanks around names": (csv(BASE.rename(columns={"x": " x ", "label": "label "})), SAME),
    "classes in upper and lower case": (
        csv(each("label", lambda i, y: str(y).title() if i % 2 else y)),
        Outcome(
            warning="classes 'No', 'no' differ in case or blanks alone",
            classes=["No", "Yes", "no", "yes"],
        ),
    ),
    "a leak": (
        csv(changed(outcome_code=(BASE["label"] == "yes").astype(int))),
        Outcome(
            warning="'outcome_code' all but tells the class: by itself it is right in 100.0%",
            columns=["x", "z", "colour", "outcome_code"],
        ),
    ),
    "copies of rows": (
        csv(pd.concat([BASE[:20]] * 5)),
        Outcome(
            warning="80 of 100 rows are copies: only 20 are different",
            x=lambda i: float(BASE["x"][i % 20]),
        ),
    ),
    "a column that is a copy": (
        csv(changed(w=BASE["x"])),
        Outcome(warning="'w' says the same as 'x' in every row", columns=["x", "z", "colour", "w"]),
    ),
    "no header": (csv(header=False), NO_HEADER),
    "equal names and none": (
        csv(BASE.rename(columns={"z": "x", "colour": ""})),
        Outcome(columns=["x", "x.1", "c3"]),
    ),
    "a comment": (b"# exported 2024\n" + csv(), Outcome(first_row=3)),
    "lines above": (
        b'Sales, by region, of 2024\n5" pipes\n\n' + csv(),
        Outcome(said="names in row 4, rows above the table left out: 1, 2, 3", first_row=5),
    ),
    "cells above, as Excel writes them": (
        b"Sales of 2024,,,\n,,,\nby,me,,\n" + csv(),
        Outcome(said="names in row 4, rows above the table left out: 1, 2, 3", first_row=5),
    ),
    "a blank line and decimal commas": (
        b"\n" + csv(sep=";", decimal=","),
        Outcome(said="names in row 2, rows above the table left out: 1", first_row=3),
    ),
    "rows below": (
        csv() + b"Total,12.5,,\n\nSource: the office, 2024\n",
        Outcome(said="names in row 1, rows below the table left out: 102, 103, 104"),
    ),
    "cells below, as Excel writes them": (
        csv(front("name", [f"n{i}" for i in range(N)]))
        + b"Average,0.1,0.2,,\n,,,,\nall paid,,,,\n",
        Outcome(
            error="'name' has 60 different texts in the training rows",
            said="rows below the table left out: 102, 103, 104",
        ),
    ),
    "questions below the names": (
        csv().replace(b"\n", b'\nHow much?,"How, then?",Which one?,Answer\n', 1),
        Outcome(said="names in row 1, rows of further names left out: 2", first_row=3),
    ),
    "questions and what they were imported by": (
        csv().replace(b"\n", b"\nHow much?,How?,Which?,Answer\nid_1,id_2,id_3,id_4\n", 1),
        Outcome(said="names in row 1, rows of further names left out: 2, 3", first_row=4),
    ),
    "units below the names": (
        b"measured by hand\n" + csv().replace(b"\n", b"\nmm,kg,,\n", 1) + b",Sum:,,\n",
        Outcome(
            said="names in row 2, rows above the table left out: 1, rows below the table left out: "
            "104, rows of further names left out: 3",
            first_row=4,
        ),
    ),
    "old line ends": (csv().replace(b"\n", b"\r"), SAME),
    "rows without a target": (csv(each("label", every(20, ""))), Outcome(n=95)),
    "a rare class": (
        csv(each("label", lambda i, y: "maybe" if i in {3, 50} else y)),
        Outcome(
            error="set prepare.rare_classes: train_only",
            warning="row is of class 'maybe'",
            classes=["maybe", "no", "yes"],
        ),
    ),
    "a row number": (
        csv(front("nr", range(100, 100 + N))),
        Outcome(
            warning="'nr' is another whole number in every row", columns=["nr", "x", "z", "colour"]
        ),
    ),
    "a constant column": (csv(front("k", "A")), Outcome(left_out=["k"])),
    "line ends in texts": (csv(changed(colour=BASE["colour"] + "\nish")), SAME),
    "an infinite number": (
        csv(each("x", lambda i, x: "inf" if i == 7 else x)),
        Outcome(x=lambda i: None if i == 7 else float(BASE["x"][i])),
    ),
    "codes that begin with 0": (
        csv(front("zip", [f"{i % 4:05d}" for i in range(N)])),
        Outcome(
            warning="'zip' has numbers that begin with 0; if they are codes, add it to prepare.cat",
            columns=["zip", "x", "z", "colour"],
        ),
    ),
    "an index in Parquet": (
        BASE.set_index(np.random.default_rng(1).permutation(N)).to_parquet(),
        Outcome(left_out=["__index_level_0__"]),
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_table(folder: Path, case: str) -> None:
    content, expected = ODD[case]
    (folder / "table").write_bytes(content)
    target = "c4" if expected is NO_HEADER else "label"
    values = {
        "prepare__max_categories": 5,
        "prepare__missing_indicator": True,
        "prepare__scaler": "none",
    }
    if expected.error:
        with refused(expected.error):
            run_prepare(folder, "table", target, **values)
        assert not (folder / "data").exists()
        write_params(folder)
        run_start("table", target, "--force")
        started = (folder / "params.yaml").read_text()
        assert "scaler: squash" in started
        (folder / "params.yaml").write_text(started.replace("scaler: squash", "scaler: none"))
        prepare.main()
    else:
        run_prepare(folder, "table", target, **values)
    report = table_report()
    if expected.warning:
        assert [warning for warning in report["warnings"] if expected.warning in warning]
    else:
        assert report["warnings"] == []
    assert report["file"].endswith(expected.said)
    assert list(report["left_out"]) == expected.left_out
    schema = prepared_schema()
    assert [column.name for column in schema.columns] == expected.columns
    assert schema.classes == expected.classes
    if expected.x is not None:
        check_x(schema, expected)


def check_x(schema: Schema, expected: Outcome) -> None:
    column = next(column for column in schema.columns if column.name in {"x", "c1"})
    index = schema.feature_names.index(column.name)
    assert column.kind == "numeric"
    n = 0
    for part in ("train", "val", "test"):
        split = prepared(part)
        assert expected.x is not None
        for row, found in zip(split.rows, split.features[:, index], strict=True):
            value = expected.x(int(row) - expected.first_row)
            assert found == np.float32(column.median if value is None else value)
        n += len(split.rows)
    assert n == expected.n


@pytest.mark.parametrize("rows", [N, 3000])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_rows_that_are_no_data_far_down_and_in_predict(
    folder: Path, rows: int, compress: Callable[[bytes], bytes]
) -> None:
    table = pd.concat([BASE] * (rows // N), ignore_index=True)
    plain = csv(table, sep=";", decimal=",")
    names, rest = plain.split(b"\n", 1)
    odd = b"A title\n\n" + names + b"\nmm;kg;Which?;Answer\n" + rest + b"Total;9,5;;\n\n"
    read = {}
    for name, content in {"plain": plain, "odd": odd}.items():
        (folder / name).write_bytes(compress(content.decode().encode("utf-16")))
        file = open_table(folder / name, name, AS_THE_FILE_SAYS)
        read[name] = file.read(set())
        # As `predict` reads it.
        chunks = pd.concat(file.chunks())
        assert list(chunks.index) == list(read[name].index)
        assert list(chunks["x"].str.replace(",", ".").astype(float)) == list(read[name]["x"])
    assert list(read["odd"].index) == list(read["plain"].index + 3)
    pd.testing.assert_frame_equal(*(one.reset_index(drop=True) for one in read.values()))


REGULAR = {
    "a row without a target, and its number unknown": csv() + b"unknown,1,red,\n",
    "a last row with nothing but a name": csv(front("name", BASE["colour"])) + b"red,,,,\n",
    "a first row of texts among numbers": csv().replace(b"\n", b"\nlow,high,red,yes\n", 1),
    "a first row of dashes among numbers": csv().replace(b"\n", b"\n-,-,none,other\n", 1),
    "one number alone": csv(BASE[["x"]]).replace(b"\n", b"\nunknown\n", 1),
    "names for few": b"x,,\n" + csv(BASE[["x", "z", "colour"]], header=False),
}


@pytest.mark.parametrize("case", REGULAR)
def test_rows_of_data_stay(folder: Path, case: str) -> None:
    (folder / "t.csv").write_bytes(REGULAR[case])
    file = open_table(folder / "t.csv", "t.csv", AS_THE_FILE_SAYS)
    assert file.description.endswith("names in row 1")
    assert len(file.read(set())) == REGULAR[case].count(b"\n") - 1


def test_a_header_with_too_many_names_is_refused(folder: Path) -> None:
    (folder / "t.csv").write_bytes(csv().replace(b"\n", b",more\n", 1))
    file = open_table(folder / "t.csv", "t.csv", AS_THE_FILE_SAYS)
    with refused("row 2 has 4 fields, but there are 5 columns"):
        file.read(set())


CUT_OFF = [b"0.1,0.2", b"0.1,0.2,red", b"red"]


@pytest.mark.parametrize("last", CUT_OFF)
def test_a_table_that_is_cut_off_is_refused(folder: Path, last: bytes) -> None:
    (folder / "t.csv").write_bytes(csv(front("name", BASE["colour"])) + last)
    file = open_table(folder / "t.csv", "t.csv", AS_THE_FILE_SAYS)
    with refused(f"row 102 has {last.count(b',') + 1} fields, but there are 5 columns"):
        file.read(set())


def test_rows_that_nobody_can_tell_are_named_in_a_parameter(folder: Path) -> None:
    lines = csv().splitlines(keepends=True)
    (folder / "plain").write_bytes(csv())
    odd = [b"a,b,c,d\n", lines[0], b"1,2,3,4\n", *lines[1:50], b"0,0,none,mean\n", *lines[50:]]
    (folder / "odd").write_bytes(b"".join(odd))
    run_prepare(folder, "plain", "label")
    plain = prepared("test"), prepared_schema()
    write_params(folder)
    run_start("odd", "label", "--force", "--skip-rows=[1, 3, 53]")
    assert "skip_rows: [1, 3, 53]" in (folder / "params.yaml").read_text()
    run_prepare(folder, "odd", "label", prepare__skip_rows=[1, 3, 53])
    assert table_report()["file"].endswith(
        "names in row 2, rows of prepare.skip_rows left out: 1, 3, 53"
    )
    split, schema = prepared("test"), prepared_schema()
    assert schema == plain[1]
    np.testing.assert_array_equal(split.features, plain[0].features)
    shifted = plain[0].rows + 2
    np.testing.assert_array_equal(split.rows, shifted + (shifted >= 53))


def encrypted(archive: bytes) -> bytes:
    """Return an archive of one member with its flag set, in both places."""
    raw = bytearray(archive)
    for mark, at in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)]:
        raw[raw.index(mark) + at] |= 1
    return bytes(raw)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            csv(changed(colour="gr")).replace(b"gr", b"gr\x81", 1),
            "save the file as UTF-8, or name the encoding that it has",
        ),
        (
            zipped({"a.csv": csv(), "b.csv": csv()}),
            "table holds 2 files ('a.csv', 'b.csv'); it must hold one: the table",
        ),
        (encrypted(zipped({"a.csv": csv()})), "table is encrypted; unpack it"),
    ],
    ids=["neither UTF-8 nor cp1252", "two files in a zip file", "an encrypted zip file"],
)
def test_a_table_that_nothing_settles(folder: Path, content: bytes, expected: str) -> None:
    (folder / "table").write_bytes(content)
    with refused(expected) as error:
        run_prepare(folder, "table", "label")
    assert "set prepare" not in str(error.value)
    with refused(expected):
        run_start("table", "label", "--force")
    assert not (folder / "data").exists()
