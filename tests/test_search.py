"""A search can be interrupted, shared and believed."""

import contextlib
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from classifier.io.prepared import Split, read_split
from classifier.io.user_error import UserError
from classifier.resuming.fingerprint import source_files
from classifier.search.luck import losses_of_resamples, luck_of_choosing
from classifier.search.search_report import SearchReport, in_words
from classifier.search.study import loss_of, open_study, study_file, tries_of
from commands import search
from stages import train
from tests import search_soak
from tests.conftest import REPOSITORY, Project
from tests.in_process import run_prepare, write_params
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
    best = finished.loc[finished["val_loss"].idxmin()]
    assert report["best_try"] == best["try"]
    assert report["best_loss"] == best["val_loss"] < tries["val_loss"][0]
    assert report["first_loss"] == tries["val_loss"][0]
    assert report["params"] == {"lr": best["lr"], "hidden": json.loads(best["hidden"])}
    counts = tries["state"].value_counts()
    assert report["n_finished"] == counts["finished"]
    assert report["n_stopped"] == counts["stopped"] > 0
    assert report["n_tries"] == 20
    # What is worse is stopped earlier.
    assert tries[tries["state"] == "stopped"]["epochs"].max() < 20
    assert report["luck"] >= 0
    # What it is compared with is what params.yaml has, not what the study began with.
    better = {f"train__{name}": value for name, value in report["params"].items()}
    run_search(folder, search__trials=20, **better)
    report = json.loads((folder / "reports/search.json").read_text())
    assert report["first_loss"] == report["best_loss"]


def test_it_says_when_the_gain_may_be_luck() -> None:
    found: dict[str, Any] = {"n_tries": 9, "n_finished": 9, "n_stopped": 0, "n_failed": 0}
    for luck, says_so in ((0.02, True), (0.005, False)):
        report = SearchReport(
            **found,
            seeds=[1],
            n_folds=1,
            best_try=3,
            best_loss=0.4,
            luck=luck,
            first_loss=0.41,
            params={},
            prepared_rows="",
        )
        lines = in_words(report)
        assert any(f"{0.4 + luck:.4f} or more on other rows" in line for line in lines)
        assert any("what it began with may be as good" in line for line in lines) == says_so


@pytest.mark.parametrize("folds", [1, 3])
def test_a_try_is_what_the_stage_trains(folder: Path, folds: int) -> None:
    """Also with chance in it; of several seeds it is the mean."""
    values = {
        "prepare__folds": folds,
        "train__dropout": 0.3,
        "train__batch_size": 16,
        "train__max_epochs": 21,
        "train__eval_every": 4,
        "train__patience": 1,
        "train__optimizer": "adam",
        "train__lr": 0.05,
        "train__class_weights": "balanced",
        "train__embedding": "piecewise_linear",
        "train__threads": 1,
    }
    one_try = {"search__trials": 1, "search__space": {"lr": [0.05, 0.1]}}
    run_prepare(folder, str(REPOSITORY / "data/iris.csv"), "species", prepare__folds=folds)
    (found,) = run_search(folder, search__seeds=[3], **one_try, **values)["val_loss"]
    write_params(folder, **values, train__seed=3)
    train.main()
    report = json.loads((folder / "reports/training.json").read_text())
    of_all = report["best_val_loss"] if folds == 1 else report["networks"]["out_of_fold_loss"]
    assert found == of_all
    # Networks that train side by side drop the same units, and sums are rounded otherwise.
    values["train__dropout"] = 0.0
    one, other, both = (
        run_search(folder, search__seeds=seeds, **one_try, **values)["val_loss"][0]
        for seeds in ([3], [4], [3, 4])
    )
    assert one != other
    assert both == pytest.approx((one + other) / 2, rel=1e-3)


def test_with_several_folds_a_try_is_judged_by_all_rows_that_do_not_test(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_prepare(folder, str(REPOSITORY / "data/iris.csv"), "species", prepare__folds=3)
    run_search(folder, prepare__folds=3, search__trials=2)
    assert json.loads((folder / "reports/search.json").read_text())["n_folds"] == 3
    assert "loss: of the rows that each of 3 networks leaves out" in capsys.readouterr().out


def test_every_module_that_decides_what_comes_of_a_try_is_in_the_name_of_a_study() -> None:
    without_influence = ["results", "search_report"]
    modules = sorted(path.stem for path in (REPOSITORY / "classifier/search").glob("[a-z]*.py"))
    files = source_files("search/searching.py")
    with_influence = [path.stem for path in files if path.parent.name == "search"]
    assert modules == sorted([*with_influence, *without_influence])


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
    for change in ({"train__max_epochs": 10}, {"search__seeds": [2]}, {"train__momentum": 0.5}):
        assert len(run_search(folder, **change)) == 4
        assert "have changed since the last search: this is a new study" in capsys.readouterr().out
    run_prepare(folder, str(REPOSITORY / "data/iris.csv"), "species", prepare__seed=1)
    run_search(folder)
    assert "have changed since the last search: this is a new study" in capsys.readouterr().out
    # What is searched is another starting point, and no other study.
    another = run_search(folder, train__lr=0.02, search__trials=5)
    assert "going on with a study that has 4 tries" in capsys.readouterr().out
    assert another["lr"][4] == 0.02


def test_the_number_of_workers_changes_nothing(folder: Path) -> None:
    def files() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (folder / "reports").glob("search*")}

    # Rounds of five, of which the last stops tries; interrupted within one.
    run_search(folder, "--workers", "1", search__trials=12)
    alone = files()
    (study,) = (folder / ".training/search").glob("*.journal")
    study.unlink()
    run_search(folder, "--workers", "2", search__trials=8)
    run_search(folder, "--workers", "2", search__trials=12)
    assert files() == alone


def test_a_try_that_is_too_large_is_a_failed_try(folder: Path) -> None:
    tries = run_search(folder, search__space={"hidden": [[10], [10_000_000, 10_000_000]]})
    assert set(tries[tries["hidden"] != "[10]"]["state"]) == {"failed"}
    assert tries["state"][0] == "finished"


def test_a_try_that_diverges_is_a_failed_try(folder: Path) -> None:
    values = {"train__max_epochs": 20, "train__eval_every": 1, "train__hidden": [10]}
    space = {"lr": [0.01, 1e30]}
    tries = run_search(folder, search__space=space, search__trials=10, **values)
    failed = tries[tries["state"] == "failed"]
    assert set(failed["lr"]) == {1e30}
    assert set(tries[tries["state"] != "failed"]["lr"]) == {0.01}
    assert failed["val_loss"].isna().all()


def test_apply_keeps_comments(folder: Path) -> None:
    write_params(folder)
    text = (REPOSITORY / "params.yaml").read_text()
    quick = text.replace("max_epochs: 20000", "max_epochs: 20").replace("ry: 200", "ry: 2")
    quick = quick.replace("trials: 100", "trials: 12")
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
    assert written == tries["lr"][tries["val_loss"].idxmin()]


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
def test_killed_and_gone_on(to_search: Project, tmp_path: Path) -> None:
    """The files are the same as those of a search that was not interrupted, to the byte."""
    reference = to_search.copy(tmp_path / "undisturbed")
    assert search_soak.start_search(reference).wait() == 0
    project = to_search.copy(tmp_path / "killed")
    # With these: of one worker, and of the process that has started them; or one of the two.
    assert search_soak.kill_until_done(project, 2, 2, random.Random(3)).total() >= 1
    search_soak.check_study(project, search_soak.TRIES)
    assert search_soak.same_study(project, reference) == []


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(0, 10_000), n_more=st.integers(1, 2))
def test_a_study_that_was_cut_off_anywhere_is_readable(
    cut: int, n_more: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    allowed: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}

    def go_on(n: int) -> list[float]:
        study = open_study(None, "a")
        for number in range(n):
            study.add_trial(create_trial(value=number, params={"x": 0.5}, distributions=allowed))
        return [loss_of(each) for each in tries_of(study)]

    with contextlib.chdir(folder):
        before = go_on(3)
        path = study_file("a")
        content = path.read_bytes()
        left = content[: len(content) * cut // 10_000]
        path.write_bytes(left)
        # Where the process was killed that had it.
        path.with_name(f"{path.name}.lock").touch()
        after = go_on(n_more)
    n_kept = len(after) - n_more
    assert after[:n_kept] == before[:n_kept]
    whole_lines = left[: left.rfind(b"\n") + 1]
    assert n_kept == whole_lines.count(b"datetime_complete")


Losses = npt.NDArray[np.float64]


def luck(tries: Sequence[Losses], units: npt.NDArray[np.int64]) -> float | None:
    """Return the luck of the best of some tries, of which each row's losses are known."""
    resamples = [losses_of_resamples(losses, np.ones(len(units)), units) for losses in tries]
    drawn, left_out = zip(*resamples, strict=True)
    winner = int(np.argmin([losses.mean() for losses in tries]))
    return luck_of_choosing(np.array(drawn), np.array(left_out), winner)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_the_luck_of_choosing_is_found(n_copies: int) -> None:
    """Of tries that are all as good as one another, the winner's loss is too low by luck alone."""
    rng = np.random.default_rng(0)
    expected, found = list[float](), list[float]()
    units = np.repeat(np.arange(60), n_copies)
    for _ in range(20):
        # 30 tries with losses that have the mean 1, on 60 rows, or on copies of these.
        tries = [rng.exponential(1.0, 60)[units] for _ in range(30)]
        likely = luck(tries, units)
        assert likely is not None
        expected.append(1 - min(losses.mean() for losses in tries))
        found.append(likely)
    # They scatter by a tenth or two of themselves; the mean of 20, by a tenth at most.
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.3)
    assert np.mean(expected) > 0.1


def test_rows_count_as_much_as_their_class() -> None:
    weights, losses = np.full(50, 3.0), np.full(50, 0.2)
    weights[:10], losses[:10] = 1.0, 1.0
    drawn, left_out = losses_of_resamples(losses, weights, np.arange(50))
    # With equal weights it were 0.36 instead of 0.26; 100 resamples scatter by a fiftieth.
    expected = np.average(losses, weights=weights)
    assert drawn.mean() == pytest.approx(expected, abs=0.02)
    assert left_out.mean() == pytest.approx(expected, abs=0.02)


def test_where_there_is_no_luck_and_where_nobody_can_tell() -> None:
    losses = np.random.default_rng(0).exponential(1.0, 30)
    units = np.arange(30)
    assert luck([losses], units) == 0
    assert luck([losses + more for more in (1.0, 0.0, 2.0)], units) == 0
    assert luck([losses[:1], losses[:1] + 1], units[:1]) is None
