"""Which rows train, validate and test: what is kept together, and what comes first."""

import contextlib
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from classifier.io.prepared import PreparedRows
from classifier.io.user_error import UserError
from classifier.tables.labels import Labels
from classifier.tables.prepare_params import PrepareParams, RareClasses
from classifier.tables.rows import TableRows, read_rows
from classifier.tables.splits import NO_FOLD, PARTS, Positions, Splitter, deal_folds
from tests.in_process import DEFAULTS, prepared, refused, run_prepare, table_report

SIZES = (0.6, 0.2, 0.2)


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


def parts_of(table: pd.DataFrame) -> pd.Series:
    """Return which part each row is in, '' for none."""
    parts = pd.Series("", index=table.index)
    for part in PARTS:
        rows = prepared(part).rows - 2
        assert (parts.iloc[rows] == "").all()
        assert list(rows) == sorted(rows)
        parts.iloc[rows] = part
    return parts


@settings(max_examples=25, deadline=None)
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
        parts = parts_of(table)
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
        report = table_report()
        assert report["rows_of_rare_classes"] == len(table) - len(inside)
        assert rare_classes == "drop" or len(inside) == len(table)
        warned = any("groups, copies, equal" in line for line in report["warnings"])
        sizes = [((parts == part).sum(), size) for part, size in zip(PARTS, SIZES, strict=True)]
        asked = [(n, round(len(inside) * size)) for n, size in sizes]
        assert warned == any(2 * n < wanted or n > 2 * wanted for n, wanted in asked)


@st.composite
def grouped_rows(draw: st.DrawFn) -> tuple[Positions, Labels]:
    """Draw groups of rows, of about the same size or of very different ones, and classes."""
    sizes = draw(
        st.lists(st.integers(1, 9), min_size=3, max_size=20)
        | st.lists(st.sampled_from([1, 2, 4, 30, 99]), min_size=3, max_size=12)
    )
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    groups = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    # In some tables, all rows of a group are of one class.
    each = groups if draw(st.booleans()) else np.arange(len(groups))
    classes = random.integers(0, draw(st.integers(2, 4)), len(groups))[each]
    return groups, labels_of(np.unique(classes, return_inverse=True)[1])


@pytest.mark.parametrize(("rare_classes", "n_train"), [("train_only", 3), ("drop", 0)])
def test_rows_of_a_rare_class_train_or_are_left_out(
    rare_classes: RareClasses, n_train: int
) -> None:
    target = np.array([0] * 30 + [1] * 30 + [2] * 3)
    # Each row by itself, but for two of the rare class, which are equal.
    together = np.array([*range(62), 61])
    parts = Splitter(0.2, 0.2, rare_classes, 0).at_random(labels_of(target), together)
    found = {name: int((target[rows] == 2).sum()) for name, rows in parts.items()}
    assert found == {"train": n_train, "val": 0, "test": 0}


@settings(max_examples=60, deadline=None)
@given(
    rows=grouped_rows(),
    sizes=st.sampled_from([(0.2, 0.2), (0.1, 0.1), (0.2, 0.1), (0.1, 0.3), (0.3, 0.3), (0.4, 0.4)]),
    rare_classes=st.sampled_from(["error", "error", "train_only", "drop"]),
    seed=st.integers(0, 50),
)
def test_the_largest_group_trains_and_small_ones_are_folds_of_scikit_learn(
    rows: tuple[Positions, Labels], sizes: tuple[float, float], rare_classes: RareClasses, seed: int
) -> None:
    (groups, labels), (test_size, val_size) = rows, sizes
    try:
        parts = Splitter(test_size, val_size, rare_classes, seed).by_group(labels, groups)
    except UserError:
        return
    kept = np.concatenate(list(parts.values()))
    assert len(set(kept)) == len(kept) <= len(groups)
    groups_of = {name: set(groups[positions]) for name, positions in parts.items()}
    assert all(groups_of.values())
    assert sum(map(len, groups_of.values())) == len(set(groups[kept]))
    assert set(labels.indices[kept]) == set(labels.indices[parts["train"]])
    if rare_classes != "drop":
        assert len(kept) == len(groups)
    if rare_classes != "error":
        return
    n_rows = np.bincount(groups)
    if n_rows.max() > round(min(sizes) * len(groups)):
        assert n_rows[list(groups_of["train"])].max() == n_rows.max()
        return
    rest = np.arange(len(groups))
    for name, size in [("test", test_size), ("val", val_size / (1 - test_size))]:
        n_folds = min(max(2, round(1 / size)), np.bincount(labels.indices[rest]).max())
        folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            _, fold = next(folds.split(rest, labels.indices[rest], groups[rest]))
        assert list(parts[name]) == list(rest[fold])
        rest = np.delete(rest, fold)


@pytest.mark.parametrize(
    ("split", "sizes", "expected", "is_near"),
    [
        # Of 300 rows, 180, 60 and 60 are asked for.
        ("group", [150, *[3] * 50], [180, 60, 60], True),
        ("group", [210, *[3] * 30], [210, 45, 45], True),
        ("group", [135, 135, *[3] * 10], [144, 135, 21], False),
        ("group", [100, 100, 100], [100, 100, 100], True),
        ("time", [20, 20, 260], [20, 20, 260], False),
        ("random", [240, *[1] * 60], [258, 21, 21], False),
    ],
)
def test_where_sizes_cannot_be_near_those_asked_for_a_warning_says_so(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    sizes: list[int],
    expected: list[int],
    *,
    is_near: bool,
) -> None:
    """What stays together has these sizes: a group, rows of one time, or copies."""
    random = np.random.default_rng(0)
    unit = np.repeat(np.arange(len(sizes)), sizes)
    table = pd.DataFrame({"x": random.normal(size=300), "unit": unit})
    table["y"] = random.choice(["a", "b"], 300)
    if split == "random":
        table["x"], table["y"] = unit + 0.5, np.array(["a", "b"])[unit % 2]
    table.to_csv("t.csv", index=False)
    run_prepare(
        folder,
        "t.csv",
        "y",
        prepare__split=split,
        prepare__group="unit" if split == "group" else None,
        prepare__order_by="unit" if split == "time" else None,
        prepare__ignore=["unit"] if split != "group" else [],
    )
    assert [len(prepared(part).rows) for part in PARTS] == expected
    warning = (
        "prepare.val_size and prepare.test_size ask for 180, 60 and 60 rows to train, validate and "
        "test, but groups, copies, equal times or rare classes make it {}, {} and {}"
    ).format(*expected)
    assert (warning in table_report()["warnings"]) != is_near
    assert (f"warning: {warning}" in capsys.readouterr().out.splitlines()) != is_near


@pytest.mark.parametrize(
    ("sizes", "rows", "rare_classes", "expected"),
    [
        # Training needs some of a class that the large group lacks.
        ([210, *[3] * 30], slice(210, None, 3), "error", [219, 45, 36]),
        ([210, *[3] * 30], slice(10), "train_only", [210, 45, 45]),
        ([210, *[3] * 30], slice(10), "drop", [200, 45, 45]),
        # The second of two large groups has to train.
        ([150, 75, *[3] * 25], slice(150, 160), "train_only", [225, 39, 36]),
    ],
)
def test_a_class_that_only_the_large_group_or_the_small_ones_have(
    sizes: list[int], rows: slice, rare_classes: RareClasses, expected: list[int]
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    classes = np.random.default_rng(0).integers(0, 2, 300)
    classes[rows] = 2
    parts = Splitter(0.2, 0.2, rare_classes, 42).by_group(labels_of(classes), groups)
    assert [len(rows) for rows in parts.values()] == expected
    assert (2 in classes[parts["train"]]) == (rare_classes != "drop")


def test_which_of_equal_groups_test_is_a_matter_of_the_seed() -> None:
    groups, labels = np.repeat(np.arange(4), 50), labels_of(np.tile([0, 1], 100))
    tested = {
        int(groups[Splitter(0.2, 0.2, "error", seed).by_group(labels, groups)["test"]][0])
        for seed in range(20)
    }
    assert tested == {0, 1, 2, 3}


def test_a_class_that_whole_groups_keep_from_training_is_dropped() -> None:
    # The four groups with class 2 all come into the validation and the test rows.
    labels = labels_of(np.array([*map(int, "200012101122202010")]))
    parts = Splitter(0.3, 0.3, "drop", 11).by_group(labels, np.arange(18) // 3)
    assert {int(index) for rows in parts.values() for index in labels.indices[rows]} == {0, 1}


def test_sizes_are_those_asked_for_whatever_the_copies(folder: Path) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(size=1000), "y": random.choice(["a", "b"], 1000)})
    table.loc[:299] = [0.5, "a"]
    table.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "y", prepare__test_size=0.25, prepare__val_size=0.15)
    parts = parts_of(table)
    for part, size in {"train": 600, "val": 150, "test": 250}.items():
        # Each of two classes is rounded for itself.
        assert abs((parts == part).sum() - size) <= 2
        for label, count in table["y"].value_counts().items():
            of_class = (parts[table["y"] == label] == part).sum()
            assert abs(of_class - count * size / 1000) <= 1
    assert len(set(parts[:300])) == 1
    report = table_report()
    assert (report["rows"], report["copies"]) == (1000, 299)


LATE_ONLY = {"rare_classes": "drop", "test_size": 0.05, "val_size": 0.05}


@pytest.mark.parametrize(
    ("split", "by", "others", "expected"),
    [
        ("group", "who", {}, "prepare.group names 'who'"),
        ("time", "word", {}, "'word', which is prepare.order_by, must hold numbers or dates; name"),
        ("time", "holes", {}, "column 'holes', which is prepare.order_by, is empty in row 7; fill"),
        ("group", "holes", {}, "column 'holes', which is prepare.group, is empty in row 7; fill"),
        ("time", "half", {}, "prepare.order_by has too few different values"),
        ("group", "half", {}, "too few for each of train, val and test"),
        ("time", "late", {}, "class 'c' is in no training row; set prepare.rare_classes: drop"),
        ("time", "late", LATE_ONLY, "all val rows are of classes that are in no training row"),
        ("time", "late", {"folds": 2}, "folds is 2, but must be 1 with split: time: a network tha"),
        ("random", None, {"folds": 33}, "32 different rows can be left out in turn, too few for p"),
        ("group", "pair", {"folds": 17}, "16 groups in 'pair' can be left out in turn, too few fo"),
    ],
)
def test_a_split_that_cannot_be(
    folder: Path, split: str, by: str | None, others: dict[str, object], expected: str
) -> None:
    n = 40
    table = pd.DataFrame(
        {
            "x": np.arange(n) + 0.5,
            "word": ["a", "b"] * 20,
            "holes": [None if i == 5 else i for i in range(n)],
            "half": [i // 20 for i in range(n)],
            "late": np.arange(n),
            "pair": np.arange(n) % 20,
            "y": ["a", "b"] * 18 + ["c"] * 4,
        }
    )
    table.to_csv("t.csv", index=False)
    values = {"split": split, "group" if split == "group" else "order_by": by, **others}
    with refused(expected) as error:
        run_prepare(folder, "t.csv", "y", **{f"prepare__{key}": one for key, one in values.items()})
    assert "\n" not in str(error.value)
    assert not (folder / "data").exists()


BY_GROUP = {"split": "group", "group": "who"}


def params_with(**values: object) -> PrepareParams:
    return PrepareParams.model_validate(DEFAULTS["prepare"] | values)


def deal(
    labels: Labels,
    together: Positions,
    folds: int,
    *,
    by_group: bool = False,
    rare_classes: RareClasses = "train_only",
    seed: int = 0,
) -> tuple[Positions, Positions]:
    """Return the positions of the rows that do not test, and the folds of all."""
    split = BY_GROUP if by_group else {}
    params = params_with(**split, folds=folds, rare_classes=rare_classes, seed=seed)
    splitter = Splitter(params.test_size, params.val_size, rare_classes, seed)
    parts = (splitter.by_group if by_group else splitter.at_random)(labels, together)
    learning = np.concatenate([parts["train"], parts["val"]])
    return learning, deal_folds(params, labels, together, parts)


def labels_of(target: Positions) -> Labels:
    return Labels("y", "integer", [str(index) for index in range(target.max() + 1)], target)


@settings(max_examples=50, deadline=None)
@given(
    rows=grouped_rows(),
    folds=st.integers(2, 6),
    rare_classes=st.sampled_from(["error", "train_only", "drop"]),
    seed=st.integers(0, 50),
)
def test_each_row_that_does_not_test_is_left_out_once_and_each_network_sees_all_classes(
    rows: tuple[Positions, Labels], folds: int, rare_classes: RareClasses, seed: int
) -> None:
    groups, labels = rows
    try:
        learning, fold = deal(
            labels, groups, folds, by_group=True, rare_classes=rare_classes, seed=seed
        )
    except UserError:
        return
    assert set(np.delete(fold, learning)) <= {NO_FOLD}
    assert set(fold[learning]) - {NO_FOLD} == set(range(folds))
    table = pd.DataFrame({"group": groups, "y": labels.indices, "fold": fold}).loc[learning]
    assert table.groupby("group")["fold"].nunique().max() == 1
    for number in range(folds):
        assert set(table["y"][table["fold"] != number]) == set(table["y"])
    # A group trains all networks only for a class that otherwise one of them would lack.
    for group, rows_of_group in table[table["fold"] == NO_FOLD].groupby("group"):
        others = table[(table["group"] != group) & (table["fold"] != NO_FOLD)]
        folds_of = [others["fold"][others["y"] == index].nunique() for index in rows_of_group["y"]]
        assert min(folds_of) <= 1


@st.composite
def rows_with_copies(draw: st.DrawFn) -> tuple[Positions, Labels]:
    """Draw rows, some of them with many copies, of classes some of which may be rare."""
    n_copies = draw(st.sampled_from([[1], [1, 1, 1, 2, 3, 40]]))
    sizes = draw(st.lists(st.sampled_from(n_copies), min_size=20, max_size=60))
    names = st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2])
    classes = draw(st.lists(names, min_size=len(sizes), max_size=len(sizes)))
    together = np.repeat(np.arange(len(sizes)), sizes)
    return together, labels_of(np.array(classes)[together])


@settings(max_examples=50, deadline=None)
@given(rows=rows_with_copies(), folds=st.integers(2, 8), seed=st.integers(0, 50))
def test_folds_are_as_even_as_copies_allow(
    rows: tuple[Positions, Labels], folds: int, seed: int
) -> None:
    together, labels = rows
    try:
        learning, fold = deal(labels, together, folds, seed=seed)
    except UserError:
        return
    for index in np.unique(labels.indices[learning]):
        of_class = learning[labels.indices[learning] == index]
        units = np.unique(together[of_class])
        if len(units) == 1:
            assert set(fold[of_class]) == {NO_FOLD}
            continue
        n_rows = np.bincount(fold[of_class], minlength=folds)
        for number in np.unique(fold[of_class]):
            sizes = np.bincount(together[of_class[fold[of_class] == number]])
            # Without the smallest of what it has, it would have no more than any other.
            assert n_rows[number] - sizes[sizes > 0].min() <= n_rows.min()
    if np.bincount(together).max() == 1:
        assert np.ptp(np.bincount(fold[fold != NO_FOLD], minlength=folds)) <= 1


@pytest.mark.parametrize("by_group", [False, True])
def test_folds_are_a_matter_of_the_seed(*, by_group: bool) -> None:
    target = np.arange(90) // 3 % 2
    found = [
        deal(labels_of(target), np.arange(90) // 3, 4, by_group=by_group, seed=seed)[1].tolist()
        for seed in (0, 1, 2, 0)
    ]
    assert found[0] == found[3]
    assert len({*map(tuple, found)}) == 3


def folds_of_groups(target: Positions, groups: Positions, folds: int) -> Positions:
    """Return the folds of rows none of which tests."""
    none = np.arange(0)
    parts = {"train": np.arange(len(target)), "val": none, "test": none}
    return deal_folds(params_with(**BY_GROUP, folds=folds), labels_of(target), groups, parts)


def test_there_may_be_as_many_folds_as_groups_whatever_their_classes() -> None:
    assert sorted(folds_of_groups(np.arange(16) % 4, np.arange(16), 16)) == list(range(16))
    # A group that alone has some class is left out by none.
    assert folds_of_groups(np.append(np.arange(20) // 2 % 3, 3), np.arange(21), 2)[20] == NO_FOLD


def test_many_groups_are_dealt_soon() -> None:
    target, groups = np.random.default_rng(0).integers(0, 7, 40_000), np.arange(40_000) // 2
    start = time.process_time()
    fold = folds_of_groups(target, groups, 8)
    # Those of scikit-learn take a hundred times as long.
    assert time.process_time() - start < 5
    assert np.ptp(np.bincount(fold)) < 10


def test_a_group_trains_all_networks_where_one_would_lack_a_class() -> None:
    # However these three are dealt into two folds, one has all rows of a class.
    fold = folds_of_groups(np.array([0, 1, 1, 2, 2, 0]), np.arange(6) // 2, 2)
    assert sorted(fold.tolist()) == [NO_FOLD, NO_FOLD, 0, 0, 1, 1]


def rows_with(folds: int, **values: object) -> TableRows:
    chosen = {"data": "t.csv", "target": "y", "rare_classes": "train_only", "folds": folds}
    return read_rows(params_with(**chosen | values))


@pytest.mark.parametrize("values", [{}, BY_GROUP])
def test_folds_change_nothing_about_which_rows_test(
    folder: Path, values: dict[str, object]
) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.integers(0, 400, 120), "who": np.arange(120) // 3})
    table["y"] = random.choice(["a", "b", "c"], 120, p=[0.6, 0.3, 0.1])
    table.to_csv(folder / "t.csv", index=False)
    plain = rows_with(1, **values)
    assert (plain.fold[plain.parts["val"]] == 0).all()
    assert (np.delete(plain.fold, plain.parts["val"]) == NO_FOLD).all()
    assert plain.training is plain.parts["train"]
    for folds in (2, 5):
        rows = rows_with(folds, **values)
        assert rows.parts["test"].tolist() == plain.parts["test"].tolist()
        assert rows.training.tolist() == sorted([*plain.parts["train"], *plain.parts["val"]])
        assert rows.parts["val"].tolist() == np.flatnonzero(rows.fold != NO_FOLD).tolist()
        assert len(rows.parts["train"]) + len(rows.parts["val"]) == len(rows.training)


def test_prepare_says_how_large_the_folds_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"x": np.arange(101) + 0.5, "y": [*"aaab" * 25, "c"]})
    table.to_csv("t.csv", index=False)
    few = {"prepare__rare_classes": "train_only", "prepare__folds": 3}
    run_prepare(folder, "t.csv", "y", **few)
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()[-5:]] == [
        ["y", "train", "fold", "0", "fold", "1", "fold", "2", "test"],
        ["a", "0", "20", "20", "20", "15"],
        ["b", "0", "7", "7", "6", "5"],
        ["c", "1", "0", "0", "0", "0"],
        ["all", "1", "27", "27", "26", "20"],
    ]
    assert table_report()["warnings"] == [
        "no val row is of class 'c'",
        "no test row is of class 'c'",
    ]
    counts = PreparedRows.model_validate_json(Path("data/prepared/rows.json").read_text())
    assert counts.class_counts.model_dump() == {
        "train": [60, 20, 1],
        "val": [60, 20, 0],
        "test": [15, 5, 0],
    }
    train, val, test = map(prepared, PARTS)
    assert [len(train.rows), len(val.rows), len(test.rows)] == [1, 80, 20]
    assert set(train.fold) == set(test.fold) == {NO_FOLD}
    assert set(val.fold) == {0, 1, 2}


def test_a_group_too_large_for_a_fold_is_warned_of(folder: Path) -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(51), [150, *[3] * 50])
    table = pd.DataFrame({"x": random.normal(size=300), "who": groups})
    table["y"] = random.choice(["a", "b"], 300)
    table.to_csv("t.csv", index=False)
    by_group = {"prepare__split": "group", "prepare__group": "who"}
    for folds, wanted, is_far in ((2, "120, 120", False), (4, "60, 60, 60, 60", True)):
        run_prepare(folder, "t.csv", "y", **by_group, prepare__folds=folds)
        said = (
            f"prepare.folds and prepare.test_size ask for {wanted} and 60 rows to be left out in "
            "turn and test, but groups, copies, equal times or rare classes make it 150, "
        )
        assert any(said in warning for warning in table_report()["warnings"]) == is_far
