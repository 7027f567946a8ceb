"""Tables as people have them: what goes in, what is refused, and what it becomes."""

import datetime as dt
import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from skrub import Cleaner, SquashingScaler

from classifier.io.schema import GAPS, CategoricalColumn, NumericColumn
from classifier.tables import csv_file
from classifier.tables.labels import parse_labels
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import AS_THE_FILE_SAYS
from tests.in_process import (
    prepared,
    prepared_bytes,
    prepared_schema,
    refused,
    run_prepare,
    table_report,
)


def csv_table(
    line: Callable[[int], str] = lambda i: f"{i * 0.5},{i % 7},{'ab'[i % 2]}",
    n: int = 30,
    header: str = "x,z,y",
) -> str:
    return "\n".join([header, *(line(i) for i in range(n))]) + "\n"


GOOD = csv_table()


def label(i: int) -> str:
    return "ab"[i % 2]


def feather() -> bytes:
    buffer = io.BytesIO()
    table = pd.DataFrame({"x": ["four"] * 30, "y": ["a", "b"] * 15})
    table.to_feather(buffer, compression="uncompressed")
    return buffer.getvalue()


BAD_TABLES: dict[str, tuple[str | bytes, str]] = {
    "blank": ("\n \n", "t.csv is empty; it must be a table"),
    "a comment and a blank row": ("# one\n\n", "t.csv: row 2 is blank; it must name the columns"),
    "header only, no line end": ("x,z,y", "t.csv has no rows below its header"),
    "blank rows only": ("x,z,y\n\n,,\n", "t.csv has nothing but gaps"),
    "a workbook": (b"PK\x03\x04\x14\x00", "t.csv cannot be read: File is not a zip file"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "t.csv is not a table"),
    "a broken workbook of Excel before 2007": (b"\xd0\xcf\x11\xe0\xa1", "t.csv cannot be read: "),
    "a broken Feather file": (b"ARROW1\0\0 and so on", "t.csv cannot be read: "),
    "a Feather file with texts that begin anywhere": (
        feather().replace(struct.pack("<qq", 4, 8), struct.pack("<qq", 4, 2**50)),
        "t.csv cannot be read: ",
    ),
    "a broken database": (b"SQLite format 3\0 and so on", "t.csv cannot be read: "),
    "broken JSON lines": (
        '{"x": 1, "y": "a"}\n\n{"x": 2 "y": "b"}\n',
        "t.csv: line 3 cannot be read as JSON: Expecting ',' delimiter: line 1 column 9 (char 8)",
    ),
    "broken JSON records": ('[{"x": 1, "y": "a"}, {"x": 2', "t.csv cannot be read as JSON: Expect"),
    "JSON of something else": ('[{"x": 1}, [2]]', "t.csv holds [2]; all must be objects: {...}"),
    "JSON that holds nothing in between": ("[{}, null]", "t.csv holds null; all must be objects"),
    "JSON of a hundred thousand lists": (
        '[{"x": ' + "[" * 100_000,
        "t.csv cannot be read as JSON: maximum recursion depth exceeded",
    ),
    "JSON in Latin-1": (
        b'[{"x": "\xe9"}]',
        (
            "t.csv is not UTF-8 text: 'utf-8' codec can't decode byte 0xe9 in position 8: "
            "invalid continuation byte; save the file as UTF-8, or name the encoding that it has; "
            "set prepare.encoding: cp1252"
        ),
    ),
    "JSON lines of empty objects": ("{}\n{}\n", "t.csv has no rows"),
    "broken ARFF": ("@relation r\n@attribute x foo\n@data\n1\n", "t.csv cannot be read as ARFF: "),
    "ARFF with a whole number that is none": (
        "@relation r\n@attribute x integer\n@data\n1e400\n",
        "t.csv cannot be read as ARFF: cannot convert float infinity to integer",
    ),
    "ARFF with a row too short": (
        "@relation r\n@attribute x numeric\n@attribute y {a,b}\n@data\n1,a\n2\n",
        "t.csv cannot be read as ARFF: Bad @DATA instance format in line 6",
    ),
    "a header that looks like data": (
        csv_table(header="0.5,2,a"),
        (
            "t.csv: row 1 looks like data, not like the names of columns: 0.5, 2, a; true takes it "
            "for names, false calls the columns c1, c2, ...; set prepare.header: false"
        ),
    ),
    "a Latin-1 header": (
        GOOD.replace("x,", "h\xf6he,", 1).encode("latin-1"),
        (
            "t.csv: row 1 is not UTF-8 text: 'h\ufffdhe'; save the file as UTF-8, or name the "
            "encoding that it has; set prepare.encoding: cp1252"
        ),
    ),
    "a Latin-1 text far down": (
        (csv_table(lambda i: f"{i},red,{label(i)}", 9_000) + "1,\xe9t\xe9,a\n").encode("latin-1"),
        "t.csv: column 'z', row 9002 is not UTF-8 text",
    ),
    "a short row": (GOOD + "1,2\n", "t.csv: row 32 has 2 fields, but there are 3 columns"),
    "a quote left open": (GOOD + '1,"2,a\n3,4,b\n', "or close a quote left open"),
    "a long row": (GOOD + "\n1,2,3,4\n", "t.csv: row 33 has 4 fields, but there are 3 columns"),
    "a truncated .gz": (gzip.compress(GOOD.encode())[:-12], "t.csv cannot be read: "),
    "a broken Parquet file": (b"PAR1 and so on", "t.csv cannot be read: "),
    "no such target": (
        GOOD.replace("y", "w", 1),
        "t.csv has no column 'y'; prepare.target must be one of: 'x', 'z', 'w'",
    ),
    "one class": (csv_table(lambda i: f"{i},{i % 7},a"), "the target column 'y' is 'a' in every"),
    "a continuous target of integers": (
        csv_table(lambda i: f"{i},{i % 7},{i * 37}"),
        "such as 0 and 1073; this pipeline predicts classes",
    ),
    "a continuous target with decimal commas": (
        csv_table(lambda i: f"{i};{i % 7};{i},25", header="x;z;y"),
        "the target column 'y' is a quantity: it has 30 different values in 30 rows",
    ),
    "a target of too many texts": (
        csv_table(lambda i: f"{i},{i % 7},t{i // 3}", 3300),
        "has 1100 different values in 3300 rows",
    ),
    "a rare class": (
        GOOD + "1,2,c\n",
        (
            "t.csv: the target column 'y': class 'c' has 1 different row, too few for each of "
            "train, val and test to have one; add rows of it, or leave it out with "
            "prepare.rare_classes: drop; set prepare.rare_classes: train_only"
        ),
    ),
    "a class that is not in every split": (
        csv_table(n=300) + "1,2,c\n" * 4 + "2,2,c\n",
        "class 'c' has 2 different rows, too few",
    ),
    "a range too large": (
        csv_table(lambda i: f"{[-1e308, 1e308, 0][i % 3]},{i % 7},{label(i)}"),
        "t.csv: column 'x' reaches from -1e+308 to 1e+308, too far to scale",
    ),
    "constant columns": (
        csv_table(lambda i: f"3,q,{label(i // 2)}") + "3,,a\n3,,b\n?,q,a\n?,q,b\n?,?,a\n?,?,b\n",
        (
            "t.csv has no column that says anything: 'x': it is 3 in every training row; 'z': it "
            "is 'q' in every training row"
        ),
    ),
    "equal rows": (
        csv_table(lambda i: f"3,,{label(i)}"),
        "t.csv has no column that says anything: 'x', 'z': it is the same in every row",
    ),
    "names of people": (
        csv_table(lambda i: f"name {i},{i % 7},{label(i)}", 200),
        "column 'x' has 120 different texts in the training rows, words in which tell the class",
    ),
    "a word among numbers": (
        csv_table(lambda i: f"{'many' if i < 50 and i % 3 == 1 else i},{i % 7},{label(i)}", 200),
        (
            "t.csv: column 'x' holds numbers, but row 3 is 'many'; correct it; add 'x' to "
            "prepare.categorical if its numbers are codes; add 'many' to prepare.gaps"
        ),
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_and_nothing_written(folder: Path, case: str) -> None:
    content, expected = BAD_TABLES[case]
    (folder / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(expected):
        run_prepare(folder, "t.csv", "y")
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("table", "values", "expected"),
    [
        ("t.csv", {"ignore": ["id"]}, "prepare.ignore names 'id', but the columns of t.csv are"),
        ("t.csv", {"features": ["y"]}, "prepare.features names 'y', which is the target"),
        (
            "t.csv",
            {"ignore": ["x"], "features": ["x"]},
            (
                "t.csv has no features left: 'x': prepare.ignore names it; 'z': prepare.features "
                "does not name it; 'y': it is prepare.target"
            ),
        ),
        (".", {}, ". is a folder, not a table"),
    ],
)
def test_parameters_that_do_not_fit_the_table(
    folder: Path, table: str, values: dict[str, object], expected: str
) -> None:
    (folder / "t.csv").write_text(GOOD)
    with refused(expected):
        run_prepare(folder, table, "y", **{f"prepare__{key}": one for key, one in values.items()})


def test_types_that_parquet_has_alone(folder: Path) -> None:
    times = [dt.time(i % 24) for i in range(30)]
    pd.DataFrame({"x": times, "z": range(30), "y": [True, False, True] * 10}).to_parquet("t")
    with refused("values of the type time64"):
        run_prepare(folder, "t", "y")
    run_prepare(folder, "t", "y", prepare__ignore=["x"])
    schema = prepared_schema()
    assert (schema.label_kind, schema.classes) == ("boolean", ["false", "true"])


def test_a_cell_of_another_kind_in_a_row_that_does_not_train(folder: Path) -> None:
    dates = [f"2024-01-{1 + i % 28:02}" for i in range(60)]
    table = pd.DataFrame({"day": dates, "x": range(60), "y": ["a", "b"] * 30}, dtype=object)
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y")
    row = prepared("test").rows[0]
    for name, kind in {"day": "a date like 2024-05-31", "x": "a number"}.items():
        other = table.copy()
        other.loc[row - 2, name] = "soon"
        other.to_csv("t.csv", index=False)
        with refused(f"column '{name}', row {row} is 'soon', but must be {kind}"):
            run_prepare(folder, "t.csv", "y")
        run_prepare(folder, "t.csv", "y", prepare__gaps=["soon"])
        assert table_report()["gaps"] == 1


def mixed_table(n: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "number": random.normal(50, 10, n),
            "count": random.integers(0, 9, n),
            "color": random.choice(["red", "green", "blue"], n),
            "flag": random.choice(["true", "false"], n),
            "y": random.choice(["no", "yes"], n, p=[0.8, 0.2]),
        }
    )
    table.loc[random.random(n) < 0.1, "number"] = np.nan
    table.loc[random.random(n) < 0.1, "color"] = None
    return table


@pytest.mark.parametrize(("folds", "unseen"), [(1, {"val", "test"}), (3, {"test"})])
def test_what_is_fitted_knows_nothing_of_rows_that_train_no_network(
    folder: Path, folds: int, unseen: set[str]
) -> None:
    table = mixed_table()
    # No rows are equal, before or after: these would be kept together.
    table["serial"] = np.random.default_rng(3).normal(size=len(table))
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True, prepare__folds=folds)
    before = prepared_bytes()
    other = table.astype(object)
    for name in unseen:
        for count, row in enumerate(prepared(name).rows):
            changed = [
                [1e6 * count, -count - 0.25, "unheard of", "perhaps"],
                [None, None, None, None],
                [-1e-9, 10**12, "zebra", None],
            ]
            other.iloc[row - 2, :4] = changed[count % 3]
    other.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True, prepare__folds=folds)
    after = prepared_bytes()
    assert after["schema.json"] == before["schema.json"]
    for name in ("train", "val", "test"):
        file = f"{name}.parquet"
        assert (after[file] != before[file]) == (name in unseen)


def test_names_that_the_prepared_files_have_a_use_for(folder: Path) -> None:
    names = {"number": "row", "count": "color=red", "flag": "a.b", "y": "row_"}
    table = mixed_table().rename(columns=names)
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "row_")
    split = prepared("train")
    assert split.features.shape == (120, 7)
    assert list(split.target) == list((table["row_"] == "yes")[split.rows - 2])


def test_ignored_columns_change_nothing(folder: Path) -> None:
    table = mixed_table()
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y")
    before = prepared_bytes()
    table.insert(1, "id", [f"{i:05}" for i in range(len(table))])
    table.insert(0, "date", "2020-01-01")
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__ignore=["id", "date"])
    assert prepared_bytes() == before
    features = ["flag", "color", "count", "number"]
    run_prepare(folder, "t.csv", "y", prepare__features=features)
    assert prepared_bytes() == before


@pytest.mark.parametrize(
    ("scaler", "folds"), [("minmax", 1), ("standard", 3), ("squash", 1), ("none", 3)]
)
def test_features_are_those_of_a_scikit_learn_pipeline(
    folder: Path, scaler: str, folds: int
) -> None:
    table = mixed_table()
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__scaler=scaler, prepare__folds=folds)
    splits = [prepared("train" if folds == 1 else "val"), prepared("test")]
    scalers: dict[str, list[Any]] = {
        "minmax": [MinMaxScaler()],
        "standard": [StandardScaler()],
        "squash": [SquashingScaler()],
        "none": [],
    }
    transformer = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), *scalers[scaler]), ["number", "count"]),
        (OneHotEncoder(handle_unknown="ignore"), ["color", "flag"]),
        sparse_threshold=0,
    )
    theirs = transformer.fit(table.iloc[splits[0].rows - 2])
    # scikit-learn takes a gap for a category of its own: the column that is left out here.
    columns = [
        index
        for index, name in enumerate(theirs.get_feature_names_out())
        if not name.endswith(("_None", "_nan"))
    ]
    for split in splits:
        expected = theirs.transform(table.iloc[split.rows - 2])[:, columns]
        # Single precision rounds to 24 bits.
        np.testing.assert_allclose(split.features, expected, rtol=2**-23, atol=2**-23)


def test_categories_beyond_the_cap_become_other(folder: Path) -> None:
    words = ["a"] * 40 + ["b"] * 30 + ["c"] * 20 + ["d", "e", "f", "g"] * 5
    table = pd.DataFrame({"word": words, "x": range(110), "y": ["no", "yes"] * 55})
    table.to_csv("t.csv", index=False)
    cap = {"prepare__max_categories": 3, "prepare__beyond_max_categories": "other"}
    run_prepare(folder, "t.csv", "y", **cap)
    column, _ = prepared_schema().columns
    assert isinstance(column, CategoricalColumn)
    assert (column.categories, column.other) == (["a", "b"], True)
    split = prepared("train")
    for row, features in zip(split.rows, split.features, strict=True):
        word = words[row - 2]
        assert list(features[:-1]) == [word == "a", word == "b", word not in "ab"]


@pytest.mark.parametrize(
    ("spellings", "kind", "classes"),
    [
        (["1", " x", "10"], "text", ["1", "10", "x"]),
        (["10", "9.0", "-01"], "integer", ["-1", "9", "10"]),
        (["True", "FALSE", "true"], "boolean", ["false", "true"]),
        (["99999999999999999999", "1", "1"], "text", ["1", "99999999999999999999"]),
    ],
)
def test_class_labels(folder: Path, spellings: list[str], kind: str, classes: list[str]) -> None:
    (folder / "t.csv").write_text(csv_table(lambda i: f"{i},{i},{spellings[i % 3]}", 30))
    file = open_table(Path("t.csv"), "t.csv", AS_THE_FILE_SAYS)
    labels = parse_labels(file.read(text_columns={"y"})["y"], file.spelling, "t.csv")
    assert (labels.kind, labels.classes) == (kind, classes)
    for index, spelling in zip(labels.indices, spellings, strict=False):
        named = labels.classes[index]
        assert named == spelling.strip().lower() or float(named) == float(spelling)


def test_it_prints_what_it_understood(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = mixed_table()
    table["row"] = np.random.default_rng(2).permutation(90_000)[:200]
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y")
    lines = capsys.readouterr().out.splitlines()
    gaps = table.isna().sum()
    low, high = table["number"].min(), table["number"].max()
    assert lines[0] == ("t.csv: CSV (utf-8), delimiter comma, decimal point, names in row 1")
    assert lines[2].split() == ["column", "kind", "gaps", "range", "or", "categories"]
    assert lines[3] == f"number  numeric    {gaps['number']}  {low:g} to {high:g}"
    assert lines[5] == f"color   text       {gaps['color']}  3: blue, green, red"
    assert lines[6] == "flag    boolean     0  2: false, true"
    assert (
        "warning: 'row' is another whole number in every row; if it only says which row it is, "
        "add it to prepare.ignore"
    ) in lines
    yes = (table["y"] == "yes").sum()
    words = [line.split() for line in lines]
    assert ["all", "120", "40", "40"] in words
    (counts,) = (line[1:] for line in words if line[0:1] == ["yes"])
    assert sum(map(int, counts)) == yes


def test_a_table_that_is_read_a_part_at_a_time_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = mixed_table()
    # Numbers in some parts, texts in others; a part of gaps alone.
    table["code"] = ["x", "y"] * 24 + ["z", "z"] + ["1.50", "007"] * 75
    table.loc[:20, "number"] = np.nan
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True)
    before = prepared_bytes()
    (code,) = (column for column in prepared_schema().columns if column.name == "code")
    assert isinstance(code, CategoricalColumn)
    assert code.categories == ["007", "1.50", "x", "y", "z"]
    monkeypatch.setattr(csv_file, "ROWS_AT_A_TIME", 7)
    run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True)
    assert prepared_bytes() == before
    last = prepared("val").rows[-1]
    table.loc[last - 2, "number"] = 1e300
    table.to_csv("t.csv", index=False)
    with refused(f"row {last} is far too large"):
        run_prepare(folder, "t.csv", "y", prepare__missing_indicator=True)
    assert prepared_bytes() == before


def test_texts_that_skrub_takes_for_gaps_are_gaps(folder: Path) -> None:
    gaps = pd.DataFrame({"x": [*GAPS, "a"]}, dtype="str")
    cleaned = Cleaner(drop_null_fraction=None).fit_transform(gaps)["x"]
    assert cleaned.isna().to_list() == [True] * len(GAPS) + [False]
    texts = [*GAPS, "0.5", "1.5", " NA "]
    (folder / "t.csv").write_text(
        csv_table(lambda i: f"{texts[i % len(texts)]},{i % 7},{label(i)}", 250)
    )
    run_prepare(folder, "t.csv", "y", prepare__scaler="none")
    column = prepared_schema().columns[0]
    assert isinstance(column, NumericColumn)
    numbers = {"0.5": 0.5, "1.5": 1.5}
    split = prepared("train")
    expected = [numbers.get(texts[(row - 2) % len(texts)], column.median) for row in split.rows]
    assert split.features[:, 0].tolist() == expected
