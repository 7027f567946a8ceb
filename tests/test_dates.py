"""Dates: how they are read, and that the exported model takes them apart as pandas does."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skrub import DatetimeEncoder

from classifier.exported_model.format import Graph
from classifier.exported_model.preparation import add_parts_of_dates
from classifier.io.schema import DATE_PARTS, DatetimeColumn
from classifier.tables.dates import part_of
from tests.in_process import (
    prepared,
    prepared_schema,
    raw_of,
    run_graph,
    run_prepare,
    table_report,
)

# Seconds of the years 1700 to 2250.
SECONDS = st.integers(-8_520_336_000, 8_835_868_800)


@settings(max_examples=40)
@given(st.lists(SECONDS, min_size=1, max_size=20), SECONDS)
def test_the_model_takes_dates_apart_as_pandas_does(raw: list[int], first: int) -> None:
    values = np.array([*raw, np.nan])
    graph = Graph("_")
    parts = add_parts_of_dates(graph, "date", [first])
    for part, found in zip(
        parts, run_graph(graph, {"date": values[:, None]}, parts.values()), strict=True
    ):
        np.testing.assert_array_equal(found[:, 0], part_of(part, values, first))
    assert np.isnan(part_of("year", values, first)[-1])


def test_parts_are_those_of_skrub(folder: Path) -> None:
    random = np.random.default_rng(0)
    stamps = pd.Series(
        pd.to_datetime("2019-03-01") + pd.to_timedelta(random.integers(0, 10**8, 90), unit="s")
    )
    table = pd.DataFrame({"when": stamps.dt.strftime("%d/%m/%Y %H:%M:%S"), "y": ["a", "b"] * 45})
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__scaler="none")
    (column,) = prepared_schema().columns
    assert isinstance(column, DatetimeColumn)
    assert column.format == "%d/%m/%Y %H:%M:%S"
    assert [part.part for part in column.parts] == list(DATE_PARTS)
    split = prepared("test")
    theirs = DatetimeEncoder(add_weekday=True).fit_transform(stamps.rename("when"))
    rows = theirs.iloc[split.rows - 2]
    # skrub counts weekdays from 1.
    expected = [rows[f"when_{part}"] for part in ("year", "month", "day")]
    expected += [rows["when_weekday"] - 1, rows["when_hour"]]
    np.testing.assert_array_equal(split.features[:, :5], np.column_stack(expected))
    train = stamps[prepared("train").rows - 2]
    days = (stamps[split.rows - 2] - train.min()) / pd.Timedelta(days=1)
    # Single precision rounds to 24 bits.
    np.testing.assert_allclose(split.features[:, 5], days, rtol=2**-23)


@pytest.mark.parametrize(
    ("spelling", "day_first", "expected", "is_doubtful"),
    [
        ("%Y-%m-%d", "auto", "ISO8601", False),
        ("%d.%m.%Y", "auto", "%d.%m.%Y", True),
        ("%m/%d/%Y", "auto", "%m/%d/%Y", True),
        ("%m/%d/%Y", True, "%d/%m/%Y", False),
    ],
)
def test_day_and_month(
    folder: Path, spelling: str, day_first: object, expected: str, *, is_doubtful: bool
) -> None:
    # Up to the twelfth of each month, either could be the day.
    days = [pd.Timestamp(2024, 1 + i % 12, 1 + i % 11) for i in range(60)]
    table = pd.DataFrame({"day": [day.strftime(spelling) for day in days], "y": ["a", "b"] * 30})
    table["x"] = np.random.default_rng(0).normal(size=60)
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__day_first=day_first)
    column = prepared_schema().columns[0]
    assert isinstance(column, DatetimeColumn)
    assert column.format == expected
    warnings = table_report()["warnings"]
    assert [w for w in warnings if "set prepare.day_first" in w] == warnings
    assert bool(warnings) == is_doubtful


@pytest.mark.parametrize("spelling", ["%H:%M:%S", "%H:%M", "%I:%M %p", "%H:%M:%S.%f"])
def test_times_of_day(folder: Path, capsys: pytest.CaptureFixture[str], spelling: str) -> None:
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(96) * 15, unit="min")
    table = pd.DataFrame({"when": times.strftime(spelling), "y": ["a", "b"] * 48})
    table.loc[5, "when"] = None
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__scaler="none")
    (column,) = prepared_schema().columns
    assert isinstance(column, DatetimeColumn)
    assert column.format == spelling
    assert [part.part for part in column.parts] == ["hour", "days since the first"]
    assert f"00:00:00 to 23:45:00 ({spelling})" in capsys.readouterr().out
    split, first = prepared("test"), prepared("train").rows.min()
    np.testing.assert_array_equal(split.features[:, 0], (split.rows - 2) // 4)
    # Single precision rounds to 24 bits.
    days = (split.rows - first) / 96
    np.testing.assert_allclose(split.features[:, 1], days, rtol=2**-23)
    assert raw_of("t.csv", prepared_schema())["when"][4] == -2_208_988_800 + 3600


@pytest.mark.parametrize(
    ("spelling", "days", "expected"),
    [
        ("%m%d%Y", pd.date_range("2024-03-14", periods=60), "%m%d%Y"),
        ("%d%m%Y", pd.date_range("1999-02-20", periods=60), "%d%m%Y"),
        # Not those of the year 3000.
        ("%m%d%Y", pd.date_range("2999-12-14", periods=60, unit="s"), None),
    ],
)
def test_dates_of_digits_alone(
    folder: Path, spelling: str, days: pd.DatetimeIndex, expected: str | None
) -> None:
    written = pd.DataFrame({"day": days.strftime(spelling), "y": ["a", "b"] * 30})
    written.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y")
    (column,) = prepared_schema().columns
    assert getattr(column, "format", None) == expected
    if expected:
        raw = raw_of("t.csv", prepared_schema())["day"]
        np.testing.assert_array_equal(raw, days.as_unit("s").astype("int64"))
