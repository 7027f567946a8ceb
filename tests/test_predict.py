"""One file out: the exported model, and predictions with nothing but it."""

import gzip
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from classifier.exported_model.load import ExportedModel
from classifier.io.user_error import UserError
from classifier.tables import table_file
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import AS_THE_FILE_SAYS
from commands.predict import opened
from tests.conftest import REPOSITORY, Project
from tests.in_process import refused, run_all, run_predict
from tests.test_prepare import mixed_table

QUICK = {"train__max_epochs": 20, "train__eval_every": 5, "train__lr": 0.5}


@pytest.fixture(scope="session")
def _mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a table of numbers, texts, booleans and gaps has gone through it all."""
    folder = tmp_path_factory.mktemp("mixed")
    mixed_table().to_csv(folder / "t.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        network = {"train__embedding": "piecewise_linear", "train__members": 2}
        run_all(folder, "t.csv", "y", **QUICK, **network, prepare__missing_indicator=True)
    return folder


@pytest.fixture
def mixed(_mixed: Path, folder: Path) -> Path:
    """An empty folder but for a link to that model and that table."""
    for name in ("models", "reports", "data", "t.csv"):
        Path(name).symlink_to(_mixed / name)
    return folder


def assert_the_same(predicted: pd.DataFrame, evaluated: pd.DataFrame) -> None:
    """Check that predictions are those in reports/predictions.csv."""
    assert list(predicted["predicted"]) == list(evaluated["predicted"])
    # Torch and onnxruntime add up in single precision, each in its own order.
    names = [name for name in evaluated if name.startswith("probability_")]
    np.testing.assert_allclose(predicted[names], evaluated[names], rtol=0, atol=1e-6)


def test_the_raw_test_rows_get_the_evaluated_predictions(mixed: Path) -> None:
    evaluated = pd.read_csv("reports/predictions.csv")
    lines = Path("t.csv").read_text().splitlines(keepends=True)
    rows = [lines[0], *(lines[row - 1] for row in evaluated["row"])]
    # In a folder with the model and the rows alone.
    alone = mixed / "alone"
    alone.mkdir()
    (alone / "model.onnx").write_bytes(Path("models/model.onnx").read_bytes())
    (alone / "new.csv").write_text("".join(rows))
    # It takes seconds to import torch.
    program = (
        "import sys; from commands import predict; predict.main(); "
        "assert {'onnxruntime', 'torch'} & {*sys.modules} == {'onnxruntime'}"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "new.csv", "--model", "model.onnx"],
        cwd=alone,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    predicted = pd.read_csv(io.StringIO(result.stdout))
    assert list(predicted["y"]) == list(evaluated["actual"])
    assert_the_same(predicted, evaluated)


@pytest.mark.usefixtures("mixed")
def test_the_order_of_columns_and_further_ones_do_not_matter() -> None:
    table = pd.read_csv("t.csv", dtype=str, keep_default_na=False)
    run_predict("t.csv", "-o", "out.csv")
    expected = pd.read_csv("out.csv", dtype=str, keep_default_na=False)
    other = table[table.columns[::-1]].drop(columns="y")
    other.insert(1, "note", ["007, 1.10", 'said "x"\nand left', "NA"] * 66 + ["", "é"])
    other.to_csv("other.csv", index=False)
    run_predict("other.csv", "-o", "out2.csv")
    ours = pd.read_csv("out2.csv", dtype=str, keep_default_na=False)
    added = ["predicted", "probability_no", "probability_yes"]
    assert list(ours) == [*other, *added]
    # Passed through as they are.
    pd.testing.assert_frame_equal(ours[list(other)], other)
    pd.testing.assert_frame_equal(ours[added], expected[added])


def test_formats_in_and_out(
    mixed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_predict("t.csv", "-o", "out.csv")
    expected = Path("out.csv").read_bytes()
    assert b"\r" not in expected
    run_predict("t.csv")
    assert capfd.readouterr().out.encode() == expected
    with Path("t.csv").open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        run_predict("-", "-o", "stdin.csv")
    assert Path("stdin.csv").read_bytes() == expected
    for name in ("out.csv.gz", "again.csv.gz"):
        run_predict("t.csv", "-o", name)
    assert gzip.decompress(Path("out.csv.gz").read_bytes()) == expected
    assert Path("again.csv.gz").read_bytes() == Path("out.csv.gz").read_bytes()
    for name, point in (("semicolons", "."), ("decimal commas", ",")):
        dialect = str.maketrans({",": ";", ".": point})
        Path("t2.csv").write_text(Path("t.csv").read_text().translate(dialect))
        run_predict("t2.csv", "-o", f"{name}.csv")
        assert Path(f"{name}.csv").read_text() == expected.decode().translate(dialect)
    pd.read_csv("t.csv").to_parquet("t.parquet")
    run_predict("t.parquet", "-o", "out.parquet")
    ours, theirs = pd.read_parquet("out.parquet"), pd.read_csv("out.csv")
    pd.testing.assert_frame_equal(
        ours.iloc[:, -3:], theirs.iloc[:, -3:], check_dtype=False, check_exact=True
    )
    assert list(ours["number"].dropna()) == list(theirs["number"].dropna())
    assert not list(mixed.glob("*.tmp"))


@pytest.mark.usefixtures("mixed")
def test_times_to_the_nanosecond_are_passed_through_without_pandas() -> None:
    table = csv.read_csv("t.csv")
    columns: dict[str, tuple[pa.DataType, str]] = {
        "date": (pa.date32(), "1970-01-02"),
        "moment": (pa.timestamp("ns"), "1970-01-01 00:00:00.000000001"),
        "time": (pa.time64("ns"), "00:00:00.000000001"),
        "duration": (pa.duration("ns"), "1"),
    }
    for name, (kind, _) in columns.items():
        kinds = pa.int32() if kind == pa.date32() else pa.int64()
        table = table.append_column(name, pa.array([1] * len(table), kinds).cast(kind))
    pq.write_table(table, "new.parquet")
    run_predict("new.parquet", "-o", "out.csv")
    written = pd.read_csv("out.csv", dtype=str)
    for name, (_, text) in columns.items():
        assert set(written[name]) == {text}


def test_a_long_table_is_read_in_chunks(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_predict("t.csv", "-o", "whole.csv")
    monkeypatch.setattr(table_file, "CHUNK_ROWS", 3)
    lengths = [
        len(chunk) for chunk in open_table(Path("t.csv"), "t.csv", AS_THE_FILE_SAYS).chunks()
    ]
    assert lengths == [3] * 66 + [2]
    run_predict("t.csv", "-o", "chunks.csv")
    assert Path("chunks.csv").read_bytes() == Path("whole.csv").read_bytes()
    lines = Path("t.csv").read_text().splitlines()
    lines[41] = "many,1,red,true,no"
    Path("long.csv").write_text("\n".join(lines))
    with refused("long.csv: column 'number', row 42 is 'many'"):
        run_predict("long.csv", "-o", "long out.csv")
    assert not list(mixed.glob("long out*"))


HEADER = "number,count,color,flag\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEADER, "new.csv has no rows below its header"),
        ("number,flag\n1,true\n", "new.csv lacks 'count', 'color'; the model needs the columns"),
        (HEADER + "1,2,red,true\nabc,2,red,true\n", "column 'number', row 3 is 'abc', but must"),
        (HEADER + "1,2,red,true\n1,-,red,true\n1,3%,red,true\n", "column 'count', row 4 is '3%'"),
        (HEADER + "1e300,2,red,true\n", "row 2 holds a number far too large for the model"),
        (HEADER + "1,2,red\n", "new.csv: row 2 has 3 fields, but there are 4 columns"),
        ("predicted," + HEADER + "0,1,2,red,true\n", "new.csv already has 'predicted', where"),
        (
            HEADER.encode() + b"1,2,r\xe9d,true\n",
            "or name the encoding that it has; add --encoding=cp1252",
        ),
        ("1.5,2,0,1\n1,2,0,1\n", "the names of columns: 1.5, 2, 0, 1; true takes it for names, "),
    ],
)
def test_bad_rows_are_refused_and_nothing_written(
    mixed: Path, content: str | bytes, expected: str
) -> None:
    Path("new.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(expected):
        run_predict("new.csv", "-o", "out.csv")
    assert not list(mixed.glob("out.csv*"))


@pytest.mark.parametrize("text", ["it's", "-n", 'a "$HOME"'])
def test_advice_is_followed_to_the_letter(mixed: Path, text: str) -> None:
    table = pd.read_csv(mixed / "t.csv", dtype=str)
    table.loc[[3, 5], "number"] = text
    table.to_csv("new.csv", index=False)
    with pytest.raises(UserError) as error:
        run_predict("new.csv", "-o", "out.csv")
    run_predict("new.csv", "-o", "out.csv", *shlex.split(str(error.value).rpartition("add ")[2]))
    table.loc[[3, 5], "number"] = None
    table.to_csv("new.csv", index=False)
    run_predict("new.csv", "-o", "expected.csv")
    added = ["predicted", "probability_no", "probability_yes"]
    found, expected = (pd.read_csv(f"{name}.csv")[added] for name in ("out", "expected"))
    pd.testing.assert_frame_equal(found, expected)


def test_without_a_header_it_is_advised_to_models_of_such_tables_alone(mixed: Path) -> None:
    Path("new.csv").write_text("1.5,2,0,1\n1,2,0,1\n")
    with pytest.raises(UserError, match=r"c1, c2, \.\.\.$"):
        run_predict("new.csv")
    schema = ExportedModel(mixed / "models/model.onnx").schema
    columns = [
        column.model_copy(update={"name": f"c{i}"}) for i, column in enumerate(schema.columns, 1)
    ]
    unnamed = schema.model_copy(update={"columns": columns})
    with (
        pytest.raises(UserError, match=r"add --header=false$"),
        opened("new.csv", AS_THE_FILE_SAYS, unnamed),
    ):
        pass


def test_types_that_are_no_categories_are_refused(mixed: Path) -> None:
    colors = pa.array([b"a", b"\xff"], pa.binary_view())
    table = pa.table({"number": [1, 2], "count": [1, 2], "flag": [True, False], "color": colors})
    pq.write_table(table, mixed / "new.parquet")
    with pytest.raises(UserError, match=r"'color' holds values of the type .* must hold texts"):
        run_predict("new.parquet", "-o", "out.csv")
    assert not list(mixed.glob("out.csv*"))


@pytest.mark.usefixtures("mixed")
def test_values_that_no_training_row_has_are_none_of_those_known_and_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("new.csv").write_text(HEADER + "1,2,mauve,1\n1,2,,1\n1,2,red,1\n")
    run_predict("new.csv", "-o", "out.csv")
    unheard, gap, red = pd.read_csv("out.csv")["probability_yes"]
    # The gap has its indicator.
    assert len({unheard, gap, red}) == 3
    assert capsys.readouterr().err.splitlines() == [
        f"predict: warning: column '{name}': rows with a value that no training row has, and "
        f"that counts as no category: {count}"
        for name, count in (("color", 1), ("flag", 3))
    ]


def test_what_is_a_gap_in_small_letters_alone_is_none(folder: Path) -> None:
    flags = ["TRUE", "false", ""] * 40
    table = pd.DataFrame({"flag": flags, "x": range(120), "y": ["yes", "no", "no"] * 40})
    table.to_csv("t.csv", index=False)
    run_all(folder, "t.csv", "y", **QUICK, prepare__missing_indicator=True)
    # As `prepare` has it, to which a text is a gap as it is spelled.
    flags = ["NONE", "Nan", "Null", "maybe", "none", "", "TRUE", "true"]
    pd.DataFrame({"flag": flags, "x": 60}).to_csv("new.csv", index=False)
    run_predict("new.csv", "-o", "out.csv")
    found = pd.read_csv("out.csv")["probability_yes"]
    assert [len(set(found[part])) for part in (slice(4), slice(4, 6), slice(6, 8))] == [1, 1, 1]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none.csv"], "none.csv is missing"),
        (["t.csv", "-o", "out.txt"], "cannot write out.txt; its name must end with one of .csv"),
        (["t.csv", "--model", "none.onnx"], "the model none.onnx is missing"),
        (["t.csv", "--model", "models/weights.pt"], "weights.pt is not a model that this pipeline"),
    ],
)
@pytest.mark.usefixtures("mixed")
def test_wrong_arguments(arguments: list[str], expected: str) -> None:
    with refused(expected):
        run_predict(*arguments)


def test_a_mistake_gets_one_line_and_status_1(project: Project) -> None:
    result = project.run(sys.executable, "-m", "commands.predict", "none.csv", status=1)
    assert result.stderr == "predict: error: none.csv is missing\n"
    assert result.stdout == ""
