"""Tables that are odd in one way, as people meet them every week: what becomes of each.

Each gives the values that a careful person would have typed, with or without a warning, or an
error that names the parameter and the value that settle it, which `start` then sets.
"""

import datetime as dt
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from classifier.io.prepared import read_split
from classifier.io.schema import Schema, read_schema
from classifier.io.user_error import UserError
from stages import prepare
from tests.in_process import run_prepare, run_start, write_params

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


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("table.csv", content)
    return buffer.getvalue()


def parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def every(n: int, value: object) -> Callable[[int, object], object]:
    """Return a change of one cell in n."""
    return lambda i, cell: value if i % n == 0 else cell


@dataclass(frozen=True)
class Outcome:
    """What becomes of a table."""

    error: str = ""
    """Part of what `prepare` says; `start` settles it. What follows is what it is then."""
    warning: str = ""
    """Part of one of the warnings; without it, there is none."""
    left_out: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=lambda: ["x", "z", "colour"])
    x: Callable[[int], float | None] | None = lambda i: float(BASE["x"][i])
    """What the column x is in each row, from 0 on; None for a gap."""
    n: int = N
    classes: list[str] = field(default_factory=lambda: ["no", "yes"])


SAME = Outcome()
NO_HEADER = Outcome(error="set prepare.header: false", columns=["c1", "c2", "c3"])

ODD: dict[str, tuple[bytes, Outcome]] = {
    "cp1252": (
        csv(changed(colour=BASE["colour"].replace("green", "grün")), "cp1252"),
        Outcome(error="is not UTF-8 text: 'gr\N{REPLACEMENT CHARACTER}n'"),
    ),
    "UTF-16": (csv(encoding="utf-16"), SAME),
    "pipes": (csv(sep="|"), SAME),
    "tabs": (csv(sep="\t"), SAME),
    "blanks": (csv(sep=" "), SAME),
    "many blanks": (csv(sep=" ").replace(b" ", b"   ").replace(b"\n", b" \n "), SAME),
    "semicolons and decimal commas": (csv(sep=";", decimal=","), SAME),
    "decimal commas between quotes": (csv(decimal=","), SAME),
    "an index": (
        BASE.to_csv().encode(),
        Outcome(left_out=["c1"]),
    ),
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
    "a question mark for a gap": (
        csv(each("x", every(17, "?"))),
        Outcome(x=lambda i: None if i % 17 == 0 else float(BASE["x"][i])),
    ),
    "a dash for a gap": (
        csv(each("x", every(17, "-"))),
        Outcome(x=lambda i: None if i % 17 == 0 else float(BASE["x"][i])),
    ),
    "another text for a gap": (
        csv(each("x", every(17, "unknown"))),
        Outcome(
            error="add 'unknown' to prepare.gaps",
            x=lambda i: None if i % 17 == 0 else float(BASE["x"][i]),
        ),
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
            x=lambda i: float(BASE["x"][i]) if i % 17 else None,
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
    "numbers as few texts": (
        csv(each("x", lambda i, x: "?" if i % 17 == 0 else str(int(float(str(x)) * 3)))),
        Outcome(x=lambda i: None if i % 17 == 0 else int(BASE["x"][i] * 3)),
    ),
    "a sentinel": (
        csv(each("x", every(9, -999))),
        Outcome(
            warning="add '-999' to prepare.gaps",
            x=lambda i: -999 if i % 9 == 0 else float(BASE["x"][i]),
        ),
    ),
    "a sentinel of many digits": (
        csv(each("x", every(9, 99_999_999))),
        Outcome(
            warning="add '99999999' to prepare.gaps",
            x=lambda i: 99_999_999 if i % 9 == 0 else float(BASE["x"][i]),
        ),
    ),
    "thousands": (
        csv(each("x", lambda _, x: f"{int(float(str(x)) * 10_000):,}")),
        Outcome(
            warning="'x' is another whole number in every row",
            x=lambda i: int(BASE["x"][i] * 10_000),
        ),
    ),
    "points for thousands": (
        csv(
            each("x", lambda _, x: f"{int(float(str(x)) * 10_000):,}".replace(",", ".")),
            sep=";",
            decimal=",",
        ),
        Outcome(
            warning="'x' is another whole number in every row",
            x=lambda i: int(BASE["x"][i] * 10_000),
        ),
    ),
    "per cent": (
        csv(each("x", lambda _, x: f"{float(str(x)) * 100:.1f}%")),
        Outcome(x=lambda i: float(f"{BASE['x'][i] * 100:.1f}")),
    ),
    "dollars": (
        csv(each("x", lambda _, x: f"${float(str(x)) * 1000:.2f}")),
        Outcome(x=lambda i: float(f"{BASE['x'][i] * 1000:.2f}")),
    ),
    "dollars, and minus before them": (
        csv(
            each(
                "x",
                lambda _, x: (
                    f"{float(str(x)) * 1000:.2f}".replace("-", "-$")
                    if float(str(x)) < 0
                    else f"${float(str(x)) * 1000:,.2f}"
                ),
            )
        ),
        Outcome(x=lambda i: float(f"{BASE['x'][i] * 1000:.2f}")),
    ),
    "some per cent, some not": (
        csv(each("x", lambda i, x: f"{x}%" if i % 3 else x)),
        Outcome(
            error="holds numbers of several forms, such as",
            columns=["z", "colour"],
            x=None,
        ),
    ),
    "dates": (
        csv(front("when", [str(dt.date(2024, 1, 1) + dt.timedelta(7 * i)) for i in range(N)])),
        Outcome(columns=["when", "x", "z", "colour"]),
    ),
    "blanks around classes": (csv(each("label", lambda i, y: f"{y} " if i % 2 else y)), SAME),
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
    "names that the files use themselves": (
        csv(BASE.rename(columns={"x": "row", "z": "probability_yes", "colour": "a.b"})),
        Outcome(columns=["row", "probability_yes", "a.b"]),
    ),
    "equal names": (csv(BASE.rename(columns={"z": "x"})), Outcome(columns=["x", "x.1", "colour"])),
    "no name": (csv(BASE.rename(columns={"z": ""})), Outcome(columns=["x", "c2", "colour"])),
    "a comment": (b"# exported 2024\n" + csv(), SAME),
    "old line ends": (csv().replace(b"\n", b"\r"), SAME),
    "rows without a target": (
        csv(each("label", every(20, ""))),
        Outcome(n=95),
    ),
    "a rare class": (
        csv(each("label", lambda i, y: "maybe" if i in {3, 50} else y)),
        Outcome(
            error="set prepare.rare_classes: train_only",
            warning="row is of class 'maybe'",
            classes=["maybe", "no", "yes"],
        ),
    ),
    "an identifier": (
        csv(front("id", [f"cust-{i:05d}" for i in range(N)])),
        Outcome(error="add 'id' to prepare.ignore"),
    ),
    "a row number": (
        csv(front("nr", range(100, 100 + N))),
        Outcome(
            warning="'nr' is another whole number in every row", columns=["nr", "x", "z", "colour"]
        ),
    ),
    "a constant column": (csv(front("k", "A")), Outcome(left_out=["k"])),
    "an empty column": (csv(front("k", "")), Outcome(left_out=["k"])),
    "a target of decimals": (
        csv(changed(label=np.where(BASE["label"] == "yes", "1.0", "0.0"))),
        Outcome(classes=["0", "1"]),
    ),
    "a target of mixed decimals": (
        csv(
            changed(
                label=[f"{int(y == 'yes')}{'.0' * (i % 2)}" for i, y in enumerate(BASE["label"])]
            )
        ),
        Outcome(classes=["0", "1"]),
    ),
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
    "a zip file": (zipped(csv()), SAME),
    "an index in Parquet": (
        parquet(BASE.set_index(np.random.default_rng(1).permutation(N))),
        Outcome(left_out=["__index_level_0__"]),
    ),
}

REFUSED = {
    "one row": (csv(BASE[:1]), "the target column 'label' is 'no' in every row"),
    "a quantity": (csv(changed(label=BASE["z"])), "'label' is a quantity: it has"),
    "neither UTF-8 nor cp1252": (
        csv(changed(colour="gr")).replace(b"gr", b"gr\x81", 1),
        "save the file as UTF-8, or name the encoding that it has",
    ),
    "two files in a zip file": (
        None,
        "table holds 2 files ('a.csv', 'b.csv'); it must hold one: the table",
    ),
    "an encrypted zip file": (None, "table is encrypted; unpack it"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
        with pytest.raises(UserError) as error:
            run_prepare(folder, "table", target, **values)
        assert expected.error in str(error.value)
        assert not (folder / "data").exists()
        write_params(folder)
        run_start("table", target, "--force")
        started = (folder / "params.yaml").read_text()
        assert "scaler: squash" in started
        (folder / "params.yaml").write_text(started.replace("scaler: squash", "scaler: none"))
        prepare.main()
    else:
        run_prepare(folder, "table", target, **values)
    report = json.loads((folder / "reports/table.json").read_text())
    if expected.warning:
        assert [warning for warning in report["warnings"] if expected.warning in warning]
    else:
        assert report["warnings"] == []
    assert list(report["left_out"]) == expected.left_out
    schema = read_schema(folder / "data/prepared/schema.json")
    assert [column.name for column in schema.columns] == expected.columns
    assert schema.classes == expected.classes
    if expected.x is not None:
        check_x(folder, schema, expected, first_row=1 if expected is NO_HEADER else 2)


def check_x(folder: Path, schema: Schema, expected: Outcome, first_row: int) -> None:
    name = next(column for column in schema.columns if column.name in {"x", "row", "c1"})
    index = schema.feature_names.index(name.name)
    assert name.kind == "numeric"
    first_row += "comment" in str((folder / "table").read_bytes()[:30])
    n = 0
    for part in ("train", "val", "test"):
        split = read_split(folder / f"data/prepared/{part}.parquet")
        first = 3 if (folder / "table").read_bytes().startswith(b"#") else first_row
        assert expected.x is not None
        for row, found in zip(split.rows, split.features[:, index], strict=True):
            value = expected.x(int(row) - first)
            assert found == np.float32(name.median if value is None else value)
        n += len(split.rows)
    assert n == expected.n


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_nothing_settles(folder: Path, case: str) -> None:
    content, expected = REFUSED[case]
    if content is None:
        with zipfile.ZipFile("table", "w") as archive:
            archive.writestr("a.csv", csv())
            if "files" in expected:
                archive.writestr("b.csv", csv())
        if "encrypted" in expected:
            # The flag of its only member, in both places.
            raw = bytearray(Path("table").read_bytes())
            for mark, at in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)]:
                raw[raw.index(mark) + at] |= 1
            Path("table").write_bytes(raw)
    else:
        (folder / "table").write_bytes(content)
    with pytest.raises(UserError) as error:
        run_prepare(folder, "table", "label")
    assert expected in str(error.value)
    assert "set prepare" not in str(error.value)
    with pytest.raises(UserError) as error:
        run_start("table", "label", "--force")
    assert expected in str(error.value)
    assert not (folder / "data").exists()
