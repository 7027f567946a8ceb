"""Which rows train, validate and test: what is kept together, and what comes first."""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.io.prepared import read_split
from classifier.io.user_error import UserError
from tests.in_process import run_prepare

PARTS = ("train", "val", "test")


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Draw a table with many equal rows, groups and times, and gaps."""
    n = draw(st.integers(12, 80))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return pd.DataFrame(
        {
            "number": column(st.integers(0, 4) | st.none()),
            "word": column(st.sampled_from(["a", "b", None])),
            "group": column(st.integers(0, 12).map(lambda i: f"g{i}")),
            "time": column(st.integers(0, 15)),
            "y": column(st.sampled_from(["no", "yes", "maybe"])),
        }
    )


def parts_of(folder: Path, table: pd.DataFrame) -> pd.Series:
    """Return which part each row is in, '' for none."""
    parts = pd.Series("", index=table.index)
    for part in PARTS:
        rows = read_split(folder / f"data/prepared/{part}.parquet").rows - 2
        assert (parts.iloc[rows] == "").all()
        assert list(rows) == sorted(rows)
        parts.iloc[rows] = part
    return parts


@settings(max_examples=60, deadline=None)
@given(
    table=tables(),
    split=st.sampled_from(["random", "group", "time"]),
    rare_classes=st.sampled_from(["error", "train_only", "drop"]),
    seed=st.integers(0, 100),
)
def test_what_belongs_together_is_on_one_side(
    table: pd.DataFrame, split: str, rare_classes: str, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        # A first column with a value in each row: no row is blank.
        table.insert(0, "one", 1)
        table.to_csv("t.csv", index=False)
        ignore = [column for column in ("one", "group", "time") if column != split]
        try:
            run_prepare(
                Path(name),
                "t.csv",
                "y",
                prepare__split=split,
                prepare__group="group" if split == "group" else None,
                prepare__order_by="time" if split == "time" else None,
                prepare__ignore=ignore,
                prepare__rare_classes=rare_classes,
                prepare__seed=seed,
            )
        except UserError:
            return
        parts = parts_of(Path(name), table)
        inside = table[parts != ""]
        parts = parts[parts != ""]
        seen = ["number", "word", "y", *(["time"] if split == "time" else [])]
        assert parts.groupby([inside[name] for name in seen], dropna=False).nunique().max() == 1
        if split == "group":
            assert parts.groupby(inside["group"]).nunique().max() == 1
        if split == "time":
            assert inside["time"][parts == "train"].max() < inside["time"][parts == "val"].min()
            assert inside["time"][parts == "val"].max() < inside["time"][parts == "test"].min()
        classes = {part: set(inside["y"][parts == part]) for part in PARTS}
        assert all(classes.values())
        assert classes["train"] >= classes["val"] | classes["test"]
        if split == "random" and rare_classes == "error":
            assert classes["train"] == classes["val"] == classes["test"] == set(table["y"])
        if rare_classes != "drop":
            assert len(inside) == len(table)


def test_a_class_that_whole_groups_keep_from_training_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    groups = [0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5]
    classes = ["abc"[index] for index in [2, 2, 0, 0, 0, 1, 2, 1, 0, 0, 1, 0, 1, 1, 1]]
    # The three groups with class c all come into the validation and the test rows.
    pd.DataFrame({"x": range(15), "who": groups, "y": classes}).to_csv("t.csv", index=False)
    run_prepare(
        tmp_path,
        "t.csv",
        "y",
        prepare__split="group",
        prepare__group="who",
        prepare__rare_classes="drop",
        prepare__test_size=0.4,
        prepare__val_size=0.3,
        prepare__seed=88,
    )
    targets = [read_split(Path(f"data/prepared/{part}.parquet")).target for part in PARTS]
    assert {int(index) for target in targets for index in target} == {0, 1}
    assert json.loads(Path("reports/table.json").read_text())["rows_of_rare_classes"] == 3


def test_sizes_are_those_asked_for_whatever_the_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(size=1000), "y": random.choice(["a", "b"], 1000)})
    table.loc[:299] = [0.5, "a"]
    table.to_csv("t.csv", index=False)
    run_prepare(tmp_path, "t.csv", "y", prepare__test_size=0.25, prepare__val_size=0.15)
    parts = parts_of(tmp_path, table)
    for part, size in {"train": 600, "val": 150, "test": 250}.items():
        # Each of two classes is rounded for itself.
        assert abs((parts == part).sum() - size) <= 2
        for label, count in table["y"].value_counts().items():
            of_class = (parts[table["y"] == label] == part).sum()
            assert abs(of_class - count * size / 1000) <= 1
    assert len(set(parts[:300])) == 1
    report = json.loads(Path("reports/table.json").read_text())
    assert (report["rows"], report["copies"]) == (1000, 299)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"prepare__split": "group", "prepare__group": "who"}, "prepare.group names 'who'"),
        (
            {"prepare__split": "time", "prepare__order_by": "word"},
            "column 'word', which is prepare.order_by, must hold numbers or dates; name another",
        ),
        (
            {"prepare__split": "time", "prepare__order_by": "holes"},
            "column 'holes', which is prepare.order_by, is empty in row 7; fill it in",
        ),
        (
            {"prepare__split": "group", "prepare__group": "holes"},
            "column 'holes', which is prepare.group, is empty in row 7; fill it in",
        ),
        (
            {"prepare__split": "time", "prepare__order_by": "half"},
            "prepare.order_by has too few different values",
        ),
        (
            {"prepare__split": "group", "prepare__group": "half"},
            "too few for each of train, val and test",
        ),
        (
            {"prepare__split": "time", "prepare__order_by": "late"},
            "class 'c' is in no training row; set prepare.rare_classes: drop",
        ),
    ],
)
def test_a_split_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    n = 40
    table = pd.DataFrame(
        {
            "x": np.arange(n) + 0.5,
            "word": ["a", "b"] * 20,
            "holes": [None if i == 5 else i for i in range(n)],
            "half": [i // 20 for i in range(n)],
            "late": np.arange(n),
            "y": ["a", "b"] * 18 + ["c"] * 4,
        }
    )
    table.to_csv("t.csv", index=False)
    with pytest.raises(UserError) as error:
        run_prepare(tmp_path, "t.csv", "y", **values)
    assert expected in str(error.value)
    assert not (tmp_path / "data").exists()
