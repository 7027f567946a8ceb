"""Whether a model is still right: new rows beside the training rows, and the answers to them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.checking import CountedColumn, Limits, check_columns, compare
from classifier.evaluation.evaluated import ClassMetrics, Interval, Metrics
from classifier.exported_model.format import CHECKSUM_LENGTH, with_checksum
from classifier.io.profile import FEWEST, cells_of, profile_of
from classifier.io.schema import CategoricalColumn, LabelKind, NumericColumn
from classifier.tables import table_file
from classifier.tables.labels import label_names
from commands import check
from tests.conftest import REPOSITORY
from tests.in_process import prepared_profile, refused, run_all, run_check, run_prepare

SECRET, RARE = 987654.25, "a rare text"


def table(n: int, seed: int) -> pd.DataFrame:
    """Return rows whose class is mostly told by the columns."""
    chance = np.random.default_rng(seed)
    price, color = chance.lognormal(3, 1, n).round(2), chance.choice(["red", "green", "blue"], n)
    score = np.log(price) - 3 + (color == "red") + 0.4 * chance.normal(size=n)
    rows = pd.DataFrame(
        {
            "price": price,
            "count": chance.poisson(2, n).astype(float),
            "color": color,
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="h"),
            "y": np.where(score > 0.6, "yes", "no"),
        }
    )
    rows.loc[chance.random(n) < 0.05, "count"] = np.nan
    return rows


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    rows = table(1500, 0)
    rows.loc[7, "price"], rows.loc[[8, 9, 10], "color"] = SECRET, RARE
    rows.to_csv(folder / "t.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(
            folder,
            "t.csv",
            "y",
            train__max_epochs=150,
            train__eval_every=50,
            train__lr=0.5,
            prepare__scaler="squash",
            prepare__seed=1,
            evaluate__threshold="best_f1",
            evaluate__importance_repeats=0,
        )
    return folder


@pytest.fixture
def made(model_folder: Path, folder: Path) -> Path:
    """An empty folder but for a model and what it was worth."""
    Path("models").symlink_to(model_folder / "models")
    Path("metrics.json").write_bytes((model_folder / "metrics.json").read_bytes())
    return folder


def checked(rows: pd.DataFrame, *options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status, and what the JSON file holds."""
    rows.to_csv("new.csv", index=False)
    status = run_check("new.csv", *options)
    return status, json.loads(Path("check.json").read_text())


def differing(found: dict[str, Any]) -> set[str]:
    return {name for name, column in found["columns"].items() if column["differs"]}


def test_on_its_test_rows_it_says_what_evaluate_has_said(model_folder: Path, made: Path) -> None:
    rows = pd.read_csv(model_folder / "reports/predictions.csv")["row"] - 2
    raw = pd.read_csv(model_folder / "t.csv", dtype=str, keep_default_na=False).iloc[rows]
    status, found = checked(raw)
    expected = json.loads((made / "metrics.json").read_text())
    assert expected["threshold"] != 0.5
    metrics = found["labelled"]["metrics"]
    for name, value in metrics.items():
        # Torch and onnxruntime add up in single precision, each in its own order.
        if isinstance(value, float):
            assert value == pytest.approx(expected[name], abs=1e-6), name
    assert metrics["classes"].keys() == expected["classes"].keys()
    changes = found["labelled"]["changes"]
    assert {one["said"] for one in changes.values()} == {"not told apart"}
    assert {"accuracy", "log_loss", "recall of 'yes'"} <= set(changes)
    assert (status, found["verdict"]) == (0, "go on")


def shifted(rows: pd.DataFrame) -> None:
    rows["price"] *= 100


def with_gaps(rows: pd.DataFrame) -> None:
    rows.loc[::5, "count"] = np.nan


def with_a_new_category(rows: pd.DataFrame) -> None:
    rows.loc[::10, "color"] = "mauve"


def with_a_sentinel(rows: pd.DataFrame) -> None:
    rows.loc[::10, "count"] = -1


def swapped(rows: pd.DataFrame) -> None:
    rows[["price", "count"]] = rows[["count", "price"]].to_numpy()


def with_other_shares(rows: pd.DataFrame) -> None:
    rows.loc[::5, "color"] = "red"


def with_earlier_dates(rows: pd.DataFrame) -> None:
    rows.loc[::10, "when"] = pd.Timestamp("1970-01-01")


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (shifted, {"price"}),
        (with_gaps, {"count"}),
        (with_a_new_category, {"color"}),
        (with_a_sentinel, {"count"}),
        (swapped, {"price", "count"}),
        (with_other_shares, {"color"}),
        (with_earlier_dates, {"when"}),
    ],
)
def test_what_has_changed_is_named(
    change: Callable[[pd.DataFrame], None],
    columns: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = table(400, 1).drop(columns="y")
    change(rows)
    status, found = checked(rows)
    assert differing(found) == columns
    assert (status, found["verdict"]) == (3, "look")
    printed = capsys.readouterr().out
    assert all(f"'{name}' differs in" in printed for name in columns)
    assert "collect labels" in printed
    if change is with_a_sentinel:
        # Not among the zeros, which are many, and its neighbours.
        assert found["columns"]["count"]["cells"][0]["new"] == pytest.approx(0.1, abs=0.03)
    # What few training rows have is not said to be in none.
    assert RARE not in {cell["of"] for cell in found["columns"]["color"]["cells"]}
    assert ("rare or new texts: 'mauve' (40)" in printed) == (change is with_a_new_category)
    # From another size on.
    status, found = checked(rows, "--least-difference=0.99")
    assert (status, differing(found)) == (0, set())


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("n", [1, 30, 3000])
def test_rows_of_the_same_kind_are_alike_though_time_goes_on(n: int) -> None:
    rows = table(n, 2)
    rows["when"] += pd.Timedelta(days=365)
    status, found = checked(rows.drop(columns="y"))
    assert (status, differing(found), found["rows"]) == (0, set(), n)
    assert found["columns"]["when"]["p_value"] == 1
    assert 0.5 < found["promised_accuracy"] <= 1
    assert found["labelled"] is None


@pytest.mark.usefixtures("made")
def test_rows_of_which_the_model_is_unsure_need_labels(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(400, 11).query("color != 'red'").assign(price=np.exp(3.6))
    status, found = checked(rows.drop(columns="y"))
    assert (status, found["verdict"]) == (3, "look")
    assert found["n_unsure"] > len(rows) / 2
    printed = capsys.readouterr().out
    assert f"it is unsure of {found['n_unsure']} of {len(rows)} rows" in printed
    assert "that is less than the 0.8" in printed
    assert "collect labels" in printed


@pytest.mark.usefixtures("made")
def test_wrong_answers_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(500, 3)
    # As many of each: the classes are as frequent as before.
    wrong = rows.groupby("y").head(45).index
    rows.loc[wrong, "y"] = rows.loc[wrong, "y"].map({"yes": "no", "no": "yes"})
    status, found = checked(rows)
    assert (status, found["verdict"]) == (4, "train anew")
    printed = capsys.readouterr().out
    assert "train anew" in printed
    assert "they are not right as often as they say" in printed
    change = found["labelled"]["changes"]["balanced_accuracy"]
    assert change["said"] == "worse"
    assert change["test"] - change["new"] > 0.05
    # What loss counts is for a person to say.
    assert checked(rows, "--least-loss=0.99")[0] == 3
    # Without what it was worth, there is nothing to compare with.
    Path("metrics.json").unlink()
    capsys.readouterr()
    status, found = checked(rows)
    assert (status, found["labelled"]["changes"]) == (0, {})
    assert "what it was worth is not known" in capsys.readouterr().out


@pytest.mark.usefixtures("made")
def test_labels_that_are_missing_or_unknown_are_in_no_metric() -> None:
    rows = table(1000, 4)
    whole = checked(rows.iloc[:600])[1]["labelled"]["metrics"]
    rows.loc[600:, "y"] = None
    rows.loc[900:, "y"] = "perhaps"
    status, found = checked(rows)
    assert found["labelled"]["metrics"] == whole
    assert (found["labelled"]["n_labels"], found["labelled"]["n_unknown"]) == (700, 100)
    assert found["rows"] == 1000
    assert found["columns"]["y"]["rare_or_new"] == {"perhaps": 100}
    # The model can never be right on these.
    assert (status, differing(found)) == (3, {"y"})


@pytest.mark.usefixtures("made")
def test_of_very_many_labels_a_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST_MEASURED", 1200)
    labelled = checked(table(3000, 5))[1]["labelled"]
    assert (labelled["n_labels"], labelled["metrics"]["n_test"]) == (3000, 1200)
    assert labelled["changes"]["accuracy"]["said"] == "not told apart"


@pytest.mark.usefixtures("made")
def test_groups_and_periods_on_which_it_is_worse_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = table(800, 6)
    rows["shop"] = np.where(rows.index % 4 == 0, "north", "south")
    wrong = rows.index[(rows["shop"] == "north") | (rows.index >= 600)]
    rows.loc[wrong, "y"] = rows.loc[wrong, "y"].map({"yes": "no", "no": "yes"})
    groups = checked(rows, "--slice=shop", "--slice=count")[1]["labelled"]["groups"]
    printed = capsys.readouterr().out
    assert groups["shop"]["north"]["n_test"] == 200
    assert "with shop 'north'" in printed
    assert "with shop 'south'" not in printed
    # Numbers are numbers, though a CSV has texts.
    assert list(groups["count"])[:3] == ["0", "1", "2"]
    first, *_, last = groups["when"]
    assert (first, last) == (
        "2024-01-01 to 2024-01-09 07:00",
        "2024-01-26 to 2024-02-03 07:00",
    )
    assert f"with when '{last}'" in printed
    assert f"with when '{first}'" not in printed


@pytest.mark.usefixtures("made")
def test_a_chunk_after_the_other_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(300, 7)
    whole = checked(rows)[1]
    monkeypatch.setattr(table_file, "CHUNK_ROWS", 29)
    chunks = checked(rows)[1]
    # The order of a sum.
    assert chunks.pop("promised_accuracy") == pytest.approx(whole.pop("promised_accuracy"))
    assert chunks == whole


def test_the_page_shows_the_numbers_of_the_file_and_lets_no_html_through(made: Path) -> None:
    rows = table(400, 8)
    rows["<b>"] = "<i>"
    rows.loc[::5, "color"] = "<script>"
    _, found = checked(rows, "--slice=<b>")
    page = (made / "check.html").read_text()
    shown = re.findall(r'<data value="([^"]*)" data-path="([^"]*)">', page)
    assert len(shown) > 30
    for value, place in shown:
        at: Any = found
        for key in json.loads(place.replace("&#34;", '"').replace("&#39;", "'")):
            at = at[key]
        assert json.loads(value) == at
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "<i>" not in page
    assert not re.search(r'(src|href)="?http', page)


HEADER = "price,count,color,when\n"


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("price,color\n1,red\n", [], "new.csv lacks 'count', 'when'; the model needs the columns"),
        (HEADER + "1,2,red,2024-01-01\nx,2,red,2024-01-01\n", [], "'price', row 3 is 'x', but"),
        (HEADER, [], "new.csv has no rows below its header"),
        (HEADER + "1,2,red,2024-01-01\n", ["--slice=shop"], "new.csv lacks 'shop', which --slice"),
        (HEADER + "1,2,red,2024-01-01\n", ["--model=none.onnx"], "the model none.onnx is missing"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_written(
    made: Path, content: str, options: list[str], expected: str
) -> None:
    Path("new.csv").write_text(content)
    with refused(expected):
        run_check("new.csv", *options)
    assert not list(made.glob("check*"))


def test_metrics_of_another_model_are_refused(made: Path) -> None:
    found = json.loads((made / "metrics.json").read_text())
    found["classes"]["perhaps"] = found["classes"]["yes"]
    (made / "metrics.json").write_text(json.dumps(found))
    with refused("metrics.json is of another model than models/model.onnx"):
        checked(table(30, 9))


@pytest.mark.parametrize("damage", ["none", "other counts", "another column", "no JSON"])
def test_a_model_that_does_not_say_what_its_training_rows_were_like(
    made: Path, damage: str
) -> None:
    content = (made / "models/model.onnx").read_bytes()[:-CHECKSUM_LENGTH]
    model = onnx.load_model_from_string(content)
    entry = model.metadata_props[-1]
    profile = json.loads(entry.value)
    if damage == "none":
        del model.metadata_props[-1]
    elif damage == "other counts":
        profile["columns"][0]["counts"][0] += 1
    elif damage == "another column":
        del profile["columns"][0]
    entry.value = "[" if damage == "no JSON" else json.dumps(profile)
    (made / "old.onnx").write_bytes(with_checksum(model.SerializeToString()))
    with refused("old.onnx does not say what its training rows were like; to make it anew"):
        checked(table(30, 9), "--model=old.onnx")


def test_the_model_tells_no_single_value_and_stays_small(made: Path) -> None:
    model = onnx.load(made / "models/model.onnx")
    (profile,) = [one.value for one in model.metadata_props if one.key == "profile"]
    for secret in (str(SECRET), str(int(SECRET)), f"{SECRET:.3g}", RARE):
        assert secret not in profile
    chance = np.random.default_rng(0)
    wide = pd.DataFrame(chance.normal(1e6, 1, (1000, 40)), columns=[f"x{i}" for i in range(40)])
    for number in range(10):
        wide[f"text {number}"] = chance.integers(0, 50, 1000).astype(str) + "th text"
    wide.assign(y=["a", "b"] * 500).to_csv("wide.csv", index=False)
    run_prepare(made, "wide.csv", "y")
    assert len(prepared_profile().model_dump_json()) < 20_000


NUMBER = NumericColumn(name="x", median=0, offset=0, scale=1, unit="", missing_indicator=False)


@given(
    # Between the least of all numbers, 5e-324, and 0 there is none.
    st.lists(st.integers(-3, 3) | st.floats(-1e300, 1e300, allow_subnormal=False), max_size=200),
    st.integers(1, 30),
    st.integers(0, 5),
)
def test_cells_of_numbers(numbers: list[float], times: int, n_gaps: int) -> None:
    raw = np.array([*np.repeat(numbers, times), *[np.nan] * n_gaps])
    profile = profile_of(NUMBER, raw)
    cuts, counts = profile.cuts, profile.counts
    assert cuts == sorted(cuts)
    assert len(counts) == len(cuts) + 2
    assert (sum(counts), counts[-1]) == (len(raw), n_gaps)
    # What fewer rows have than may be told is in a cell with others, or at an end.
    assert all(count >= FEWEST for count in counts[2:-3])
    # No cut is a value: the last digit in which two readers of a file differ decides nothing.
    assert not set(cuts) & set(raw)
    for value in {-1e301, 1e301}:
        expected = 0 if value < 0 else len(cuts)
        assert cells_of(NUMBER, profile, np.array([value])) == [expected]


def test_rare_texts_are_put_together() -> None:
    column = CategoricalColumn(
        name="x", kind="text", categories=["a", "b", "c"], other=False, missing_indicator=False
    )
    raw = np.array(["a"] * 10 + ["b"] * 9 + ["c"] + [""] * 2, object)
    profile = profile_of(column, raw)
    assert profile.counts == [10, 0, 0, 10, 2]
    new = np.array(["a", "b", "c", "d", ""], object)
    assert cells_of(column, profile, new).tolist() == [0, 3, 3, 3, 4]


@pytest.mark.parametrize(
    ("kind", "classes", "cells", "expected"),
    [
        ("text", ["NA", "yes"], ["yes ", "NA", "no", "", None], [1, 0, -1, -2, -2]),
        (
            "integer",
            ["-1", "5"],
            ["5", "5.0", "05", "+5", "-1", "6", "x", ""],
            [*[1] * 4, 0, -1, -1, -2],
        ),
        ("integer", ["1", "2"], [1.0, 2.0, 3.0, np.nan], [0, 1, -1, -2]),
        ("boolean", ["false", "true"], ["TRUE", "False", "1", ""], [1, 0, -1, -2]),
    ],
)
def test_labels_are_read_as_those_of_the_training_rows(
    kind: LabelKind, classes: list[str], cells: list[Any], expected: list[int]
) -> None:
    names = label_names(pd.Series(cells, name="y"), kind, "t.csv")
    assert names.isna().tolist() == [one == -2 for one in expected]
    assert pd.Index(classes).get_indexer(names).tolist() == [max(-1, one) for one in expected]


def test_a_job_sees_the_status(made: Path) -> None:
    table(300, 10).drop(columns="y").assign(color="mauve").to_csv("new.csv", index=False)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "commands.check", "new.csv"],
        cwd=made,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 3
    # It takes seconds to import torch.
    assert "| torch" not in result.stderr


def test_among_many_columns_chance_finds_none() -> None:
    chance = np.random.default_rng(0)
    counted = []
    for number in range(200):
        column = NUMBER.model_copy(update={"name": f"x{number}"})
        counted.append(CountedColumn(column, profile_of(column, chance.normal(size=1000))))
        counted[-1].add(chance.normal(size=1000))
    found = check_columns(counted, Limits(least_difference=0)).values()
    assert not any(one.differs for one in found)
    # Each alone would be found here and there.
    alone = [check_columns([one], Limits(least_difference=0)) for one in counted]
    assert any(column.differs for one in alone for column in one.values())


def measured(accuracy: float, n: int, loss: float = 0, width: float = 0) -> Metrics:
    """Return metrics of three classes that are told as well as one another, and as frequent."""
    of_class = ClassMetrics.model_construct(recall=accuracy, n_test=n // 3)
    return Metrics.model_construct(
        accuracy=accuracy,
        n_test=n,
        classes=dict.fromkeys("abc", of_class),
        log_loss=loss,
        log_loss_interval=Interval(low=loss - width / 2, high=loss + width / 2),
    )


@pytest.mark.parametrize(("now", "said"), [(0.86, "not told apart"), (0.82, "worse")])
def test_of_several_metrics_chance_finds_none(now: float, said: str) -> None:
    # At 0.86, the p-value of accuracy alone is 0.04; at 0.82, that of a recall alone is 0.03.
    found = compare(measured(0.9, 600), measured(now, 600), 0.95)
    assert found["accuracy"].said == said
    assert {found[f"recall of '{name}'"].said for name in "abc"} == {"not told apart"}


@pytest.mark.parametrize(("n", "said"), [(2, "not told apart"), (200, "worse")])
def test_of_two_rows_a_narrow_interval_says_little(n: int, said: str) -> None:
    found = compare(measured(0.9, 600, 0.3, 0.1), measured(0.9, n, 0.6, 0.2), 0.95)
    assert found["log_loss"].said == said
