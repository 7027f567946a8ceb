"""The same value, however a file spells it; what is no gap; numbers with too many digits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifier.io.schema import CategoricalColumn, Schema
from classifier.io.user_error import UserError
from commands.predict import count_unseen
from tests.conftest import REPOSITORY
from tests.in_process import (
    prepared,
    prepared_schema,
    raw_of,
    refused,
    run_all,
    run_predict,
    run_prepare,
    run_start,
    table_report,
)

N = 60

FORMATS = ("t.csv", "gap.csv", "t.parquet", "gap.parquet", "t.xlsx")
"""In those with a gap, pandas has made floats of whole numbers."""


@pytest.fixture(autouse=True)
def _in_a_folder(folder: Path) -> None:
    (folder / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())


def write_formats(csv: pd.DataFrame) -> None:
    """Write what a person has as CSV in all formats, by pandas; the last row has a gap."""
    csv.to_csv("t.csv", index=False)
    read = pd.read_csv("t.csv")
    read.to_parquet("t.parquet")
    read.to_excel("t.xlsx", index=False)
    gap = pd.concat([read, read[["x", "y"]].tail(1)], ignore_index=True)
    gap.to_csv("gap.csv", index=False)
    gap.to_parquet("gap.parquet")


def table(**columns: object) -> pd.DataFrame:
    random = np.random.default_rng(0)
    y = np.where(random.random(N) < 0.5, "yes", "no")
    return pd.DataFrame({"x": random.normal(size=N).round(4), **columns, "y": y})


def schema_of(name: str, **values: object) -> Schema:
    run_prepare(Path(), name, "y", **values)
    return prepared_schema()


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "numbers": st.integers(-(10**9), 10**9).map(lambda number: number / 1024),
    "codes": st.sampled_from([0, 1, 2, 10, 11, 21, 100, 10**15]),
    "prices": st.sampled_from(["1.50", "2.00", "2.5", "10", "0.00001"]),
    "codes that begin with 0": st.sampled_from(["010", "007", "0021"]),
    "codes and texts": st.sampled_from(["10", "2.0", "A", "1e5"]),
    "true and false": st.booleans(),
    "dates": st.dates(pd.Timestamp("2000-01-01").date(), pd.Timestamp("2030-01-01").date()),
    "per cent": st.integers(1, 99).map("{}%".format),
    "long codes": st.sampled_from([1582220000000000000 + digit for digit in range(10)]),
}
"""Kinds of columns."""


@pytest.mark.parametrize("kind", sorted(CELLS))
@settings(
    max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(trained=st.sampled_from(FORMATS), data=st.data())
def test_a_cell_is_the_same_in_every_format_or_is_said_to_be_none(
    kind: str, trained: str, data: st.DataObject
) -> None:
    some = data.draw(st.lists(CELLS[kind], min_size=2, max_size=8, unique=True))
    write_formats(table(cell=[some[i % len(some)] for i in range(N)]))
    codes = ["cell"] if kind in {"codes", "prices", "codes that begin with 0", "long codes"} else []
    try:
        schema = schema_of(trained, prepare__categorical=codes)
    except UserError:
        # Of few different values, some are too few.
        return
    expected = raw_of(trained, schema)
    for name in FORMATS:
        try:
            found = raw_of(name, schema)
        except UserError as refusal:
            assert kind in {"per cent", "true and false"}, refusal  # noqa: PT017
            continue
        for column in schema.columns:
            both = (pd.Series(raw[column.name][:N]) for raw in (found, expected))
            same = pd.Series.equals(*both)
            # What is spelled 010 is the number 10 to pandas; long numbers are floats where there is
            # a gap, and in workbooks: both are lost before the file is here.
            lost = kind in {"codes that begin with 0", "long codes"}
            assert same or (lost and count_unseen(found, schema)["cell"] > 0), (name, column)


def test_a_float_that_may_have_been_one_of_many_codes_is_none_of_them() -> None:
    codes = [str(1582220000000000000 + digit) for digit in (0, 1)]
    table(code=np.resize(codes, N)).to_csv("t.csv", index=False)
    schema = schema_of("t.csv", prepare__categorical=["code"])
    table(code=np.resize(["1.58222e+18", *codes], N)).to_csv("float.csv", index=False)
    assert count_unseen(raw_of("float.csv", schema), schema)["code"] == N / 3


def test_codes_predict_alike_from_every_format() -> None:
    codes = np.tile([0, 10, 11, 21], N // 4)
    write_formats(table(code=codes).assign(y=np.where(codes % 2 == 0, "even", "odd")))
    run_all(
        Path(),
        "t.csv",
        "y",
        prepare__categorical=["code"],
        train__max_epochs=20,
        train__eval_every=10,
        train__lr=0.5,
    )
    predicted = []
    for name in FORMATS:
        run_predict(name, "-o", "out.csv")
        predicted.append(pd.read_csv("out.csv")[["predicted", "probability_even"]][:N])
        assert predicted[-1].equals(predicted[0]), name
    assert list(predicted[0]["predicted"]) == list(pd.read_csv("t.csv")["y"])
    # Whoever runs the file without this code may have floats as well.
    session = onnxruntime.InferenceSession("models/model.onnx")
    x = np.zeros((4, 1))
    whole, floats = (
        session.run(None, {"x": x, "code": np.array([spelled], object).T})[0]
        for spelled in (["0", "10", "11", "21"], ["0.0", "10.0", "11.0", "21.0"])
    )
    assert np.array_equal(whole, floats)


def test_equal_numbers_are_one_category_and_versions_are_said_to_be() -> None:
    cells = np.resize(["10", "10.0", "1.1", "1.10", "1.2.3", "010"], N)
    table(code=cells).to_csv("t.csv", index=False)
    (_, code) = schema_of("t.csv", prepare__categorical=["code"]).columns
    assert isinstance(code, CategoricalColumn)
    assert code.categories == ["010", "1.1", "1.2.3", "10"]
    (warning,) = table_report()["warnings"]
    assert warning.startswith("'code' has '1.1' and '1.10', one category")


@pytest.mark.parametrize("write", [pd.DataFrame.to_csv, pd.DataFrame.to_excel])
def test_a_class_called_na_is_a_class(write: Callable[..., None]) -> None:
    name = "t.csv" if write is pd.DataFrame.to_csv else "t.xlsx"
    odd = 'a "b",\nc #é'
    classes = np.resize(["AS", odd, "NA", ""], N)
    write(table().assign(y=classes), name, index=False)
    assert schema_of(name).classes == ["AS", "NA", odd]
    report = table_report()
    assert report["rows_without_target"] == N / 4
    assert "class 'NA' often stands for a missing value" in report["warnings"][0]
    assert schema_of(name, prepare__target_gaps=["NA"]).classes == ["AS", odd]
    assert table_report()["rows_without_target"] == N / 2


def test_start_takes_a_rare_class_that_is_spelled_as_a_gap_for_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    classes = np.resize(["1", "2"], N).astype(object)
    classes[3] = "?"
    table().assign(y=classes).to_csv("t.csv", index=False)
    run_start("t.csv", "y", "--force")
    assert "decided: prepare.target_gaps: " in capsys.readouterr().out
    assert schema_of("t.csv", prepare__target_gaps=["?"]).classes == ["1", "2"]


def test_a_category_called_na_is_asked_for_and_may_be_kept() -> None:
    where = np.resize(["AS", "EU", "NA"], N)
    table(where=where).to_csv("t.csv", index=False)
    (_, column) = schema_of("t.csv").columns
    assert isinstance(column, CategoricalColumn)
    assert column.categories == ["AS", "EU"]
    (warning,) = table_report()["warnings"]
    assert warning.startswith("'where' has 'NA' in ")
    assert warning.endswith("if it is a category, add 'NA' to prepare.not_gaps")
    schema = schema_of("t.csv", prepare__not_gaps=["NA"])
    (_, column) = schema.columns
    assert isinstance(column, CategoricalColumn)
    assert column.categories == ["AS", "EU", "NA"]
    assert not table_report()["warnings"]
    assert schema.not_gaps == ["NA"]
    # A few are no category.
    where = np.where(np.arange(N) < 5, "NA", np.resize(["AS", "EU"], N))
    table(where=where).to_csv("t.csv", index=False)
    schema_of("t.csv")
    assert not table_report()["warnings"]


@pytest.mark.parametrize(("name", "gap"), [("t.csv", True), ("t.parquet", False)])
def test_the_last_of_nineteen_digits_is_not_lost(name: str, *, gap: bool) -> None:
    random = np.random.default_rng(0)
    digit = random.integers(0, 10, N)
    numbers = pd.Series(1582220000000000000 + digit, dtype="Int64")
    if gap:
        numbers[3] = None
    written = table(number=numbers).assign(y=np.where(digit % 2 == 0, "even", "odd"))
    (written.to_csv if name == "t.csv" else written.to_parquet)(name, index=False)
    with pytest.raises(UserError, match=r"10 different whole numbers .* apart; add 'number' to"):
        schema_of(name)
    run_start(name, "y", "--force", "--dry-run")
    (_, column) = schema_of(name, prepare__categorical=["number"]).columns
    assert isinstance(column, CategoricalColumn)
    assert column.categories == [str(1582220000000000000 + one) for one in range(10)]


def test_long_numbers_that_a_network_can_tell_apart_stay_numbers() -> None:
    numbers = 10**18 + 10**15 * np.random.default_rng(0).permutation(N)
    table(number=numbers).assign(number=numbers // 2 * 2).to_csv("t.csv", index=False)
    split = schema_of("t.csv")
    assert [column.kind for column in split.columns] == ["numeric", "numeric"]
    assert len(np.unique(prepared("test").features[:, 1])) > 5


@pytest.mark.parametrize("numbers", [np.arange(1000, 1000 + N), 10**18 + 977 * np.arange(N) ** 2])
def test_an_identifier_with_a_gap_or_many_digits_is_one(
    numbers: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    order = np.random.default_rng(0).permutation(N)
    identifier = pd.Series(numbers[order], dtype="Int64")
    identifier[7] = None
    table(customer_id=identifier).to_csv("t.csv", index=False)
    run_start("t.csv", "y", "--force")
    assert "decided: prepare.ignore: customer_id" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["%d %B %Y", "workbook"])
def test_a_text_among_dates_is_a_gap(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    when = pd.Series(pd.date_range("2024-01-20", periods=N, freq="3D"), dtype=object)
    name = "t.xlsx" if form == "workbook" else "t.csv"
    if form != "workbook":
        when = when.map(lambda one: one.strftime(form))
    when[7] = "not yet"
    written = table(when=when)
    (written.to_excel if form == "workbook" else written.to_csv)(name, index=False)
    with refused("holds dates, but row 9 is 'not yet'; correct it; add"):
        schema_of(name)
    run_start(name, "y", "--force")
    out = capsys.readouterr().out
    assert "decided: prepare.gaps: not yet (column 'when' holds dates, but row 9 is" in out
    assert "datetime     1" in out


@pytest.mark.parametrize(
    ("form", "unit"),
    [
        ("{} kg", "kg"),
        ("{}km/h", "km/h"),
        ("{} °C", "°C"),
        ("USD {}", "USD"),
        ("{}", ""),
        ("u{}", None),
        ("{}a", "a"),
    ],
)
def test_a_number_with_a_unit_is_one_and_a_code_is_none(form: str, unit: str | None) -> None:
    numbers = np.random.default_rng(0).permutation(np.linspace(-7.5, 12, N)).round(2)
    spelled = [form.format(str(one).replace("-", "\N{MINUS SIGN}")) for one in numbers]
    table(a=spelled).to_csv("t.csv", index=False)
    schema = schema_of("t.csv", prepare__max_categories=100)
    assert getattr(schema.columns[1], "unit", None) == unit
    if unit is not None:
        np.testing.assert_array_equal(raw_of("t.csv", schema)["a"], numbers)


@pytest.mark.parametrize("form", ["({})", "$({})", "(${})", "({} kg)"])
def test_a_number_between_brackets_is_below_0(form: str) -> None:
    numbers = np.linspace(-30, 29, N)
    plain = form.replace("(", "").replace(")", "")
    spelled = [(form if one < 0 else plain).format(f"{abs(one):.1f}") for one in numbers]
    table(a=spelled).to_csv("t.csv", index=False)
    np.testing.assert_array_equal(raw_of("t.csv", schema_of("t.csv"))["a"], numbers)


def test_a_sign_of_money_between_digits_makes_a_text() -> None:
    table(a=np.tile(["5$5", "6$6", "7$7"], N // 3)).to_csv("t.csv", index=False)
    assert schema_of("t.csv").columns[1].kind == "text"


def test_words_behind_some_numbers_are_categories() -> None:
    spelled = np.tile(["1st class", "2nd class", "3rd class", "12 Main St", "14b Main St"], N // 5)
    table(a=spelled).to_csv("t.csv", index=False)
    assert schema_of("t.csv").columns[1].kind == "text"
