"""A search can be interrupted, shared and believed."""

import copy
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from classifier.io.prepared import Split, read_split, write_split
from classifier.io.schema import read_schema
from classifier.io.user_error import UserError
from classifier.network.model import Task
from classifier.resuming.fingerprint import source_files
from classifier.search.held_out import MOST_GROUPS, HeldOutLoss, luck_of_choosing
from classifier.search.search_report import SearchReport, in_words
from classifier.search.study import StudyFile
from classifier.search.trying import SeededRun, try_out
from classifier.search.validation_splits import ValidationSplit, split_again, split_as_wanted
from classifier.training.loop import TrainParams
from commands import search
from stages import train
from tests import search_soak
from tests.conftest import REPOSITORY, Project
from tests.in_process import DEFAULTS, run_prepare, write_params
from tests.readme import commands

PAGE, TITLE = "docs/search.md", "How do I find better parameters?"

MAKE_SEARCH = "--no-print-directory --assume-old=.venv/installed"
"""Without an environment of its own: that of the tests is there."""

SPACE = {"lr": {"low": 0.001, "high": 0.5, "log": True}, "hidden": [[10], [16, 8]]}
SEARCHED = ("embedding", "hidden", "dropout", "lr", "weight_decay")
"""By the default of params.yaml."""

IRIS: dict[str, Any] = {
    "train__max_epochs": 20,
    "train__eval_every": 2,
    "search__trials": 4,
    "search__seeds": [1],
    "search__splits": 1,
    "search__space": SPACE,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Iris, prepared."""
    monkeypatch.chdir(tmp_path)
    run_prepare(tmp_path, str(REPOSITORY / "data/iris.csv"), "species")
    return tmp_path


def run_search(folder: Path, *arguments: str, **values: object) -> pd.DataFrame:
    """Search in the current folder, which is `folder`, with these parameters; return the tries."""
    prepare = {"prepare__data": str(REPOSITORY / "data/iris.csv")}
    write_params(folder, **{**prepare, **IRIS, **values})
    return search_again(*arguments)


def search_again(*arguments: str) -> pd.DataFrame:
    with patch.object(sys, "argv", ["search", *arguments]):
        search.main()
    return pd.read_csv("reports/search.csv", dtype={"hidden": str})


def read_prepared(folder: Path) -> tuple[Split, Split]:
    train_rows, val_rows = (
        read_split(folder / f"data/prepared/{part}.parquet") for part in ("train", "val")
    )
    return train_rows, val_rows


def test_it_reads_no_test_rows(folder: Path) -> None:
    (folder / "data/prepared/test.parquet").unlink()
    tries = run_search(folder)
    assert list(tries["try"]) == [0, 1, 2, 3]


def test_what_the_prepared_rows_are_is_known_without_them(folder: Path) -> None:
    iris = pd.read_csv(REPOSITORY / "data/iris.csv").sample(frac=1, random_state=0)
    parts = ("train", "val", "test")
    iris.to_csv("t.csv", index=False)
    run_prepare(folder, "t.csv", "species")
    before = json.loads((folder / "data/prepared/rows.json").read_text())
    prepared = {part: read_split(folder / f"data/prepared/{part}.parquet") for part in parts}
    assert before["class_counts"] == {
        part: np.bincount(rows.target).tolist() for part, rows in prepared.items()
    }
    for part, is_other in zip(parts, (True, True, False), strict=True):
        changed = iris.reset_index(drop=True)
        changed.loc[prepared[part].rows[0] - 2, "sepal_length"] = 5.55
        changed.to_csv("t.csv", index=False)
        run_prepare(folder, "t.csv", "species")
        after = json.loads((folder / "data/prepared/rows.json").read_text())
        assert (after["hash_of_train_and_val"] != before["hash_of_train_and_val"]) == is_other


def test_it_begins_with_params_yaml_and_reports_what_is_best(folder: Path) -> None:
    tries = run_search(folder, search__trials=20)
    assert (tries["lr"][0], tries["hidden"][0]) == (0.01, "[10]")
    report = json.loads((folder / "reports/search.json").read_text())
    finished = tries[tries["state"] == "finished"]
    best = finished.loc[finished["held_out_loss"].idxmin()]
    assert report["best_try"] == best["try"]
    assert report["best_loss"] == best["held_out_loss"] < tries["held_out_loss"][0]
    assert report["first_loss"] == tries["held_out_loss"][0]
    assert report["params"] == {"lr": best["lr"], "hidden": json.loads(best["hidden"])}
    counts = tries["state"].value_counts()
    assert report["n_finished"] == counts["finished"]
    assert report["n_stopped"] == counts["stopped"] > 0
    assert report["n_tries"] == 20
    # What is worse is stopped earlier.
    assert tries[tries["state"] == "stopped"]["epochs"].max() < 20
    assert report["luck"] >= 0


def test_it_says_when_the_gain_may_be_luck() -> None:
    found: dict[str, Any] = {"n_tries": 9, "n_finished": 9, "n_stopped": 0, "n_failed": 0}
    for luck, says_so in ((0.02, True), (0.005, False)):
        report = SearchReport(
            **found,
            seeds=[1],
            n_splits=1,
            best_try=3,
            best_loss=0.4,
            luck=luck,
            first_loss=0.41,
            params={},
            prepared_rows="",
        )
        lines = in_words(report)
        assert any(f"{0.4 + luck:.4f} on other rows" in line for line in lines)
        assert any("what it began with may be as good" in line for line in lines) == says_so


def test_a_try_is_what_the_stage_trains(folder: Path) -> None:
    """Also with chance in it, and side by side with other seeds and splits."""
    values = {
        "train__dropout": 0.3,
        "train__batch_size": 16,
        "train__max_epochs": 21,
        "train__eval_every": 4,
        "train__patience": 1,
        "train__optimizer": "adam",
        "train__lr": 0.05,
        "train__class_weights": "balanced",
        "train__embedding": "piecewise_linear",
    }
    space = {"lr": [0.05, 0.1]}
    tries = run_search(
        folder,
        search__seeds=[3, 4],
        search__splits=2,
        search__trials=1,
        search__space=space,
        **values,
    )
    schema = read_schema(folder / "data/prepared/schema.json")
    prepared = read_prepared(folder)
    losses = []
    for split in split_again(*prepared, 2, seed=42):
        for part, rows in zip(("train", "val"), split, strict=True):
            path = folder / f"data/prepared/{part}.parquet"
            names = [*schema.feature_names, schema.target]
            write_split(
                path,
                rows.rows,
                rows.units,
                [*rows.features.T],
                rows.target,
                fold=np.full(len(rows.rows), {"train": -1, "val": 0}[part]),
                column_names=names,
            )
        for seed in (3, 4):
            write_params(folder, **values, train__seed=seed)
            train.main()
            report = json.loads((folder / "reports/training.json").read_text())
            losses.append(report["best_val_loss"])
    assert len({*losses}) == 4
    assert tries["val_loss"][0] == math.fsum(losses) / 4


@st.composite
def prepared_rows(draw: st.DrawFn) -> tuple[Split, Split]:
    """Training and validation rows, some of which belong together, of up to four classes."""
    n_val = draw(st.integers(1, 12))
    n_train = draw(st.integers(2 * n_val, 60))
    # What belongs together is in one part, and may be of several classes, as a group is.
    parts = []
    for part, n in enumerate((n_train, n_val)):
        units = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)), np.int64)
        target = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int64)
        rows = np.arange(n) + part * n_train
        features = rows.astype(np.float32)[:, None]
        parts.append(Split(rows, units + 9 * part, features, target, np.full(n, part - 1)))
    return parts[0], parts[1]


@settings(deadline=None, max_examples=200)
@given(prepared=prepared_rows(), n=st.integers(1, 9))
def test_each_split_leaves_out_other_rows(prepared: tuple[Split, Split], n: int) -> None:
    splits = split_again(*prepared, n, seed=0)
    for part, expected in zip(splits[0], prepared, strict=True):
        assert part.rows.tolist() == expected.rows.tolist()
    assert 1 <= len(splits) <= n
    validated: list[int] = []
    for number, (train_rows, val_rows) in enumerate(splits):
        # A class is always trained on.
        assert number == 0 or {*val_rows.target} <= {*train_rows.target}
        rows = [*train_rows.rows, *val_rows.rows]
        assert sorted(rows) == list(range(len(prepared[0].rows) + len(prepared[1].rows)))
        assert len(val_rows.rows) > 0
        validated += list(val_rows.rows)
        assert not {*train_rows.units} & {*val_rows.units}
    assert len({*validated}) == len(validated)


def test_the_other_splits_are_as_large_and_stratified(folder: Path) -> None:
    prepared = read_prepared(folder)
    for seed in range(5):
        for train_rows, val_rows in split_again(*prepared, 4, seed):
            assert len(val_rows.target) in (29, 30, 31)
            for rows, expected in ((train_rows, 30), (val_rows, 10)):
                assert (abs(np.bincount(rows.target) - expected) <= 1).all()


def test_a_row_with_many_copies_leaves_the_others_to_other_splits() -> None:
    target = np.arange(80) % 2
    units = np.where(np.arange(80) < 20, target, np.arange(80))
    fold = np.where(np.arange(80) < 60, -1, 0)
    rows = Split(np.arange(80), units, np.zeros((80, 1), np.float32), target, fold)
    train_rows, val_rows = rows.take(np.arange(60)), rows.take(np.arange(60, 80))
    # Of each class, 10 copies of a row and 20 other rows, for three splits.
    sizes = [len(part[1].target) for part in split_again(train_rows, val_rows, 4, seed=0)]
    assert sizes == [20, 20, 20, 20]


def test_few_rows_are_split_several_times(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for splits, n in (("auto", 4), (2, 2), (1, 1)):
        run_search(folder, search__splits=splits)
        assert json.loads((folder / "reports/search.json").read_text())["n_splits"] == n
        said = f"training seeds 1 on each of {n} splits into training and validation rows"
        assert (said in capsys.readouterr().out) == (n > 1)
    too_many = "search.splits is 5, but must be at most 4: train.parquet has 90 rows and val.parq"
    with pytest.raises(UserError, match=too_many):
        run_search(folder, search__splits=5)
    by_time = {"prepare__split": "time", "prepare__order_by": "petal_length"}
    run_search(folder, search__splits="auto", **by_time)
    assert json.loads((folder / "reports/search.json").read_text())["n_splits"] == 1
    with pytest.raises(UserError, match=r"at most 1: with prepare\.split: time there is no second"):
        run_search(folder, search__splits=2, **by_time)


def test_whole_groups_go_to_one_side(folder: Path) -> None:
    """Of rows of which some equal one of another group, which joins the two."""
    iris = pd.read_csv(REPOSITORY / "data/iris.csv")
    iris["flower bed"] = np.arange(150) % 30
    pd.concat([iris, iris.head(3).assign(**{"flower bed": 40})]).to_csv("t.csv", index=False)
    by_group = {"prepare__split": "group", "prepare__group": "flower bed"}
    run_prepare(folder, "t.csv", "species", **by_group)
    beds = pd.read_csv("t.csv")["flower bed"].replace({0: 40, 1: 40, 2: 40, 22: 11}).to_numpy()
    prepared = read_prepared(folder)
    units = np.concatenate([rows.units for rows in prepared])
    of_rows = beds[np.concatenate([rows.rows for rows in prepared]) - 2]
    assert len({*zip(units, of_rows, strict=True)}) == len({*units}) == len({*of_rows})
    splits = split_again(*prepared, 3, seed=0)
    assert len(splits) == 3
    for train_rows, val_rows in splits:
        assert len(val_rows.target) == pytest.approx(30, abs=6)
        assert not {*beds[train_rows.rows - 2]} & {*beds[val_rows.rows - 2]}
        assert np.bincount(val_rows.target).min() > 0.2 * len(val_rows.target)
    run_search(folder, search__splits=3, search__trials=2, **by_group)
    assert json.loads((folder / "reports/search.json").read_text())["n_splits"] == 3


@pytest.mark.parametrize(
    ("n_train", "n_val", "n"),
    [(3000, 1000, 1), (2997, 999, 2), (1800, 600, 2), (600, 200, 4), (6, 2, 4), (4, 4, 1)],
)
def test_so_many_splits_that_a_thousand_rows_validate(
    folder: Path, n_train: int, n_val: int, n: int
) -> None:
    write_params(folder)
    train_rows = rows_of(np.arange(n_train), np.zeros(n_train, np.int64))
    val_rows = rows_of(np.arange(n_val), np.zeros(n_val, np.int64), fold=0)
    assert len(split_as_wanted("auto", train_rows, val_rows, seed=0)) == n


def test_splits_that_cannot_be_are_not_counted(folder: Path) -> None:
    write_params(folder, prepare__split="group", prepare__group="bed")
    val = rows_of(np.array([9] * 4), np.array([0, 0, 1, 1]), fold=0)
    # Of these groups of four rows the first two have a class that nothing validates; the fifth is
    # larger than what validates.
    train = rows_of(
        np.repeat(np.arange(5), [4, 4, 4, 4, 6]), np.array([2, 0, 1, 1] * 2 + [0, 1] * 7)
    )
    splits = split_as_wanted("auto", train, val, seed=0)
    assert len(splits) == 3
    for of_train, of_val in splits[1:]:
        assert len(of_val.target) == 4
        assert {0, 1, 4} <= {*of_train.units}
    with pytest.raises(
        UserError, match=r"search.splits is 4, but must be at most 3: .* a group with"
    ):
        split_as_wanted(4, train, val, seed=0)
    write_params(folder, prepare__split="by bed")
    with pytest.raises(
        UserError, match=r"prepare.split is 'by bed', but must be one of random, gr"
    ):
        split_as_wanted("auto", train, val, seed=0)


def rows_of(units: npt.NDArray[np.int64], target: npt.NDArray[np.int64], fold: int = -1) -> Split:
    rows = np.arange(len(units))
    features = rows[:, np.newaxis].astype(np.float32)
    return Split(rows, units, features, target, np.full(len(units), fold))


def test_with_several_folds_these_are_the_splits(folder: Path) -> None:
    few = {"prepare__folds": 3}
    run_prepare(folder, str(REPOSITORY / "data/iris.csv"), "species", **few)
    train_rows, val_rows = read_prepared(folder)
    splits = split_as_wanted("auto", train_rows, val_rows, seed=0)
    assert len(splits) == 3
    for number, (of_train, of_val) in enumerate(splits):
        assert of_val.rows.tolist() == val_rows.rows[val_rows.fold == number].tolist()
        others = [*train_rows.rows, *val_rows.rows[val_rows.fold != number]]
        assert of_train.rows.tolist() == others
    tries = run_search(folder, search__splits="auto", search__trials=2, **few)
    assert set(tries["state"]) == {"finished"}
    assert json.loads((folder / "reports/search.json").read_text())["n_splits"] == 3
    with pytest.raises(UserError) as error:
        run_search(folder, search__splits=4, **few)
    assert str(error.value) == (
        "params.yaml: search.splits is 4, but must be at most 3: prepare.folds is 3"
    )


def test_what_counts_is_the_loss_of_rows_held_out(folder: Path) -> None:
    """Of these networks, at each evaluation; with copies of rows, and classes that weigh more."""
    write_params(folder)
    train_rows, val_rows = read_prepared(folder)
    train_rows = train_rows.take(np.arange(20, 90))
    val_rows = val_rows.take(np.array([*range(30), 0, 0]))
    task = Task.of(read_schema(folder / "data/prepared/schema.json"))
    splits = [
        ValidationSplit.of(*split, task, torch.device("cpu"))
        for split in split_again(train_rows, val_rows, 2, seed=0)
    ]
    params = TrainParams.model_validate(
        DEFAULTS["train"]
        | {"members": 2, "dropout": 0.2, "class_weights": "balanced", "lr": 0.1}
        | {"max_epochs": 30, "eval_every": 3}
    )
    by_hand: list[HeldOutLoss] = []
    for split in splits:
        target = split.val.target.numpy()
        of_classes = compute_class_weight(
            "balanced", classes=np.arange(3), y=split.train.target.numpy()
        )
        rows = pd.DataFrame(split.val.features.numpy()).assign(target=target)
        units = rows.groupby(list(rows), sort=False).ngroup().to_numpy()
        by_hand += [HeldOutLoss(of_classes[target], units, 0.0) for _ in range(2)]

    def evaluate_by_hand(runs: Sequence[SeededRun]) -> None:
        for index, run in enumerate(runs):
            val = splits[index // 2].val
            with torch.no_grad():
                logits = copy.deepcopy(run.run.model).eval()(val.features)
            losses = nn.functional.cross_entropy(logits, val.target, reduction="none")
            by_hand[index].add(losses.double().numpy())

    runs = try_out(params, [1, 2], splits, evaluate_by_hand)
    assert len({run.held_out.mean for run in runs}) == 4
    for run, expected in zip(runs, by_hand, strict=True):
        assert run.held_out.left_out == pytest.approx(expected.left_out, nan_ok=True)


def test_every_module_that_decides_what_comes_of_a_try_is_in_the_name_of_a_study() -> None:
    without_influence = ["results", "search_report"]
    modules = sorted(path.stem for path in (REPOSITORY / "classifier/search").glob("[a-z]*.py"))
    files = source_files("search/searching.py")
    with_influence = [path.stem for path in files if path.parent.name == "search"]
    assert modules == sorted([*with_influence, *without_influence])


def test_all_seeds_count_the_same(folder: Path) -> None:
    one, other, both = (
        run_search(folder, search__seeds=seeds, search__trials=1)["held_out_loss"][0]
        for seeds in ([3], [4], [3, 4])
    )
    assert one != other
    # The mean of the same two numbers, added up in another order.
    assert both == pytest.approx((one + other) / 2, rel=1e-12)


def test_more_tries_go_on_and_others_begin_anew(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = run_search(folder)
    more = run_search(folder, search__trials=6)
    assert "going on with a study that has 4 tries" in capsys.readouterr().out
    pd.testing.assert_frame_equal(more[:4], few)
    assert len(more) == 6
    for options in ([], ["--workers", "2"]):
        pd.testing.assert_frame_equal(run_search(folder, *options, search__trials=3), more)
    for change in ({"train__max_epochs": 10}, {"search__splits": 2}, {"train__momentum": 0.5}):
        assert len(run_search(folder, **change)) == 4
        assert "have changed since the last search: this is a new study" in capsys.readouterr().out
    run_prepare(folder, str(REPOSITORY / "data/iris.csv"), "species", prepare__seed=1)
    run_search(folder)
    assert "have changed since the last search: this is a new study" in capsys.readouterr().out
    # What is searched is another starting point, and no other study.
    another = run_search(folder, train__lr=0.02, search__trials=5)
    assert "going on with a study that has 4 tries" in capsys.readouterr().out
    assert another["lr"][4] == 0.02


def test_two_workers_make_no_try_too_many(folder: Path) -> None:
    # Long enough that the second worker looks for a try before the first has ended its own.
    tries = run_search(folder, "--workers", "2", search__trials=1, train__max_epochs=2_000)
    assert len(tries) == 1


def test_a_try_that_diverges_is_a_failed_try(folder: Path) -> None:
    values = {"train__max_epochs": 20, "train__eval_every": 1, "train__hidden": [10]}
    space = {"lr": [0.01, 1e30]}
    tries = run_search(folder, search__space=space, search__trials=10, **values)
    failed = tries[tries["state"] == "failed"]
    assert set(failed["lr"]) == {1e30}
    assert set(tries[tries["state"] != "failed"]["lr"]) == {0.01}
    assert failed[["held_out_loss", "val_loss"]].isna().all(axis=None)


def test_apply_keeps_comments(folder: Path) -> None:
    write_params(folder)
    text = (REPOSITORY / "params.yaml").read_text()
    quick = text.replace("max_epochs: 20000", "max_epochs: 20").replace("ry: 200", "ry: 2")
    quick = quick.replace("trials: 100", "trials: 12").replace("splits: auto", "splits: 1")
    (folder / "params.yaml").write_text(quick)
    search_again()
    assert (folder / "params.yaml").read_text() == quick
    search_again("--apply")
    before, after = quick.splitlines(), (folder / "params.yaml").read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {old.split()[0] for old, _ in changed} <= {f"{name}:" for name in SEARCHED}
    assert [old.partition("#")[2] for old, _ in changed] == [
        new.partition("#")[2] for _, new in changed
    ]
    found = json.loads((folder / "reports/search.json").read_text())
    prepared = json.loads((folder / "data/prepared/rows.json").read_text())
    assert found["prepared_rows"] == prepared["hash_of_train_and_val"]
    best = found["params"]
    written = yaml.safe_load((folder / "params.yaml").read_text())["train"]
    assert {name: written[name] for name in SEARCHED} == best
    assert changed


def test_several_use_a_storage_one_after_the_other(folder: Path) -> None:
    (command,) = commands(PAGE, "On all cores, on several machines", block=1)
    for storage in (command.split()[-1], "shared.journal"):
        few = run_search(folder, "--storage", storage)
        more = run_search(folder, "--storage", storage, "--trials", "6")
        pd.testing.assert_frame_equal(more[:4], few)
        assert len(more) == 6
    assert not list((folder / ".training/search").glob("*.journal"))


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ("sqlite:////no/such/folder/study.db", "unable to open database file"),
        ("/no/such/folder/study.journal", "No such file or directory"),
        ("nonsense://here", "Can't load plugin"),
        (".", "Is a directory"),
    ],
)
def test_a_storage_that_is_not_there(folder: Path, storage: str, expected: str) -> None:
    with pytest.raises(UserError, match=r"the study in .* cannot be opened: ") as error:
        run_search(folder, "--storage", storage)
    assert expected in str(error.value)


def test_a_study_that_is_none(folder: Path) -> None:
    run_search(folder)
    (study,) = (folder / ".training/search").glob("*.journal")
    study.write_bytes(b"no journal\n" * 3)
    with pytest.raises(UserError, match=r"the study in .*\.journal cannot be opened: JSONDecodeE"):
        search_again()


def test_when_no_try_finishes(folder: Path) -> None:
    with pytest.raises(UserError, match="of 2 tries, none has finished; the first: training div"):
        run_search(folder, train__lr=1e30, search__space={"lr": [1e30, 1e31]}, search__trials=2)


@pytest.fixture(scope="module")
def to_search(_fresh_clone: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with a quick search to be made."""
    project = _fresh_clone.copy(tmp_path_factory.mktemp("search") / "project")
    project.set_params(**search_soak.QUICK_SEARCH, **{"search.trials": search_soak.TRIES})
    project.dvc("repro", "prepare")
    return project


@pytest.mark.xdist_group("search")
def test_mistakes_get_one_line(to_search: Project, tmp_path: Path) -> None:
    project = to_search.copy(tmp_path / "project")
    project.set_params(**{"search.space": {"lr": {"low": 1, "high": 0.1}}})
    result = project.run(sys.executable, "-m", "commands.search", status=1)
    assert result.stderr == (
        "search: error: params.yaml: search.space.lr is empty: low is 1.0, but must be below high, "
        "0.1\n"
    )
    project.set_params(**{"search.space": SPACE})
    (project.path / "data/prepared/val.parquet").unlink()
    result = project.run(sys.executable, "-m", "commands.search", status=1)
    assert result.stderr.startswith("search: error: data/prepared/val.parquet cannot be read")
    assert result.stderr.count("\n") == 1
    found = project.contents("reports/search*", ".training/search/*")
    assert found == {"reports/search.json": b"null\n"}


@pytest.mark.xdist_group("search")
def test_what_the_page_says(to_search: Project, tmp_path: Path) -> None:
    project = to_search.copy(tmp_path / "project")
    project.set_params(**{"search.trials": 5})
    (search,) = commands(PAGE, TITLE, block=0)
    project.run("sh", "-c", search.replace("search", f"{MAKE_SEARCH} search").replace("100", "4"))
    assert len(pd.read_csv(project.path / "reports/search.csv")) == 4
    (workers,) = commands(PAGE, "On all cores, on several machines", block=0)
    project.run("sh", "-c", workers)
    tries = pd.read_csv(project.path / "reports/search.csv")
    assert len(tries) == 5
    apply, _ = commands(PAGE, TITLE, block=1)
    project.run("sh", "-c", apply)
    written = yaml.safe_load((project.path / "params.yaml").read_text())["train"]["lr"]
    assert written == tries["lr"][tries["held_out_loss"].idxmin()]


@pytest.mark.xdist_group("search")
def test_the_best_are_queued(to_search: Project, tmp_path: Path) -> None:
    project = to_search.copy(tmp_path / "project")
    project.set_params(**{"search.trials": 3})
    project.commit("a search")
    queue, *_ = commands(PAGE, "How much of it is luck?", block=0)
    project.run("sh", "-c", queue.replace("--queue 3", "--queue 1"))
    best = json.loads((project.path / "reports/search.json").read_text())["params"]
    shown = json.loads(project.dvc("exp", "show", "--json"))
    queued = [
        experiment["revs"][0]["data"]["params"]["params.yaml"]["data"]
        for commit in shown
        for experiment in commit["experiments"] or []
    ]
    assert sorted(each["prepare"]["seed"] for each in queued) == [1, 2, 3, 4, 5]
    for each in queued:
        assert {name: each["train"][name] for name in best} == best


@pytest.mark.xdist_group("search")
def test_killed_and_gone_on_with_one_worker(to_search: Project, tmp_path: Path) -> None:
    """The study is the same as that of a search that was not interrupted, to the byte."""
    reference = to_search.copy(tmp_path / "undisturbed")
    assert search_soak.start_search(reference).wait() == 0
    project = to_search.copy(tmp_path / "killed")
    # With these random numbers: a kill, and Ctrl-C; one of them, where this process hardly runs.
    assert search_soak.kill_until_done(project, 1, 2, random.Random(5)).total() >= 1
    search_soak.check_study(project, search_soak.TRIES)
    assert search_soak.same_study(project, reference) == []


@pytest.mark.xdist_group("search")
def test_killed_and_gone_on_with_two_workers(to_search: Project, tmp_path: Path) -> None:
    project = to_search.copy(tmp_path / "killed")
    # With these: of one worker, and of the process that has started them; or one of the two.
    assert search_soak.kill_until_done(project, 2, 2, random.Random(3)).total() >= 1
    search_soak.check_study(project, search_soak.TRIES)


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(0, 10_000), n_more=st.integers(1, 2))
def test_a_study_that_was_cut_off_anywhere_is_readable(
    cut: int, n_more: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.journal"

    def go_on(n: int) -> list[float]:
        storage = optuna.storages.JournalStorage(StudyFile(path))
        study = optuna.create_study(study_name="a", storage=storage, load_if_exists=True)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=n)
        return [each.value for each in study.trials if each.value is not None]

    before = go_on(3)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * cut // 10_000])
    after = go_on(n_more)
    n_kept = len(after) - n_more
    assert after[:n_kept] == before[:n_kept]
    assert n_kept == path.read_bytes()[: len(content) * cut // 10_000].count(b'"values":[')
    # As Optuna reads it, without what is ours.
    plain = optuna.storages.journal.JournalFileBackend(str(path))
    assert optuna.load_study(study_name="a", storage=optuna.storages.JournalStorage(plain)).trials


Losses = npt.NDArray[np.float64]


def held_out(evaluations: Losses, min_delta: float = 0.0) -> HeldOutLoss:
    """Take in losses of rows, shape (number of evaluations, n)."""
    n = evaluations.shape[1]
    loss = HeldOutLoss(np.ones(n), np.arange(n), min_delta)
    for losses in evaluations:
        loss.add(losses)
    return loss


def luck(tries: Sequence[HeldOutLoss], winner: int) -> float | None:
    drawn, left_out = [one.drawn for one in tries], [one.left_out for one in tries]
    return luck_of_choosing(np.array(drawn), np.array(left_out), winner)


def test_rows_that_have_not_chosen_the_epoch_judge_it_fairly() -> None:
    rng = np.random.default_rng(0)
    found, lowest = [], []
    for _ in range(40):
        # 50 epochs as good as one another, on 60 rows whose losses have the mean 1.
        losses = rng.exponential(1.0, (50, 60))
        lowest.append(losses.mean(axis=1).min())
        found.append(held_out(losses).mean)
    assert np.mean(lowest) < 0.8
    # 40 means of 60 such losses differ from 1 by a fiftieth.
    assert np.mean(found) == pytest.approx(1, abs=0.06)


def test_an_epoch_that_is_best_for_all_rows_judges_itself() -> None:
    best = np.array([[0.1, 0.4] * 20])
    loss = held_out(np.concatenate([best + 1, best, best + 0.2]))
    assert loss.left_out.tolist() == held_out(best).left_out.tolist()
    assert loss.drawn.tolist() == held_out(best).drawn.tolist()
    # What is less than min_delta better is not chosen.
    late = held_out(np.concatenate([best, best - 0.05]), min_delta=0.06)
    assert late.left_out.tolist() == held_out(best).left_out.tolist()


@pytest.mark.parametrize("n", [50, 2 * MOST_GROUPS + 1])
def test_rows_count_as_much_as_their_class(n: int) -> None:
    weights, losses = np.full(n, 3.0), np.full(n, 0.2)
    weights[: n // 5], losses[: n // 5] = 1.0, 1.0
    loss = HeldOutLoss(weights, np.arange(n), 0.0)
    loss.add(losses)
    # With equal weights it were 0.36 instead of 0.26; 100 resamples scatter by a fiftieth.
    expected = (weights * losses).sum() / weights.sum()
    assert loss.mean == pytest.approx(expected, abs=0.02)
    assert loss.drawn.mean() == pytest.approx(expected, abs=0.02)


def test_a_single_row_has_no_others() -> None:
    loss = held_out(np.array([[0.5], [0.3], [0.9]]))
    assert loss.mean == pytest.approx(0.3)
    assert luck([held_out(np.array([[mean]])) for mean in (0.3, 0.4)], 0) is None


@pytest.mark.parametrize(("n_epochs", "n_copies"), [(1, 1), (10, 1), (10, 3)])
def test_the_luck_of_choosing_is_found(n_epochs: int, n_copies: int) -> None:
    """Of tries that are all as good as one another, the winner's loss is too low by luck alone."""
    rng = np.random.default_rng(0)
    expected, found = list[float](), list[float]()
    units = np.repeat(np.arange(60), n_copies)
    for _ in range(40):
        # 30 tries with losses that have the mean 1, on 60 rows, or on copies of these.
        tries = [HeldOutLoss(np.ones(len(units)), units, 0.0) for _ in range(30)]
        for one in tries:
            for losses in rng.exponential(1.0, (n_epochs, 60)):
                one.add(losses[units])
        winner = int(np.argmin([one.mean for one in tries]))
        likely = luck(tries, winner)
        assert likely is not None
        expected.append(1 - tries[winner].mean)
        found.append(likely)
    # They scatter by a tenth or two of themselves; the mean of 40, by a tenth at most.
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.3)
    assert np.mean(expected) > 0.1


def test_a_single_try_was_not_chosen() -> None:
    losses = np.random.default_rng(0).exponential(1.0, (3, 30))
    assert luck([held_out(losses)], 0) == 0


def test_a_clear_winner_owes_nothing_to_luck() -> None:
    losses = np.random.default_rng(0).exponential(1.0, (3, 30))
    assert luck([held_out(losses + more) for more in (1.0, 0.0, 2.0)], 1) == 0
