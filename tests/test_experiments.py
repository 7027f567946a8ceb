"""Many runs: a grid through the queue, and what its differences are worth."""

import copy
import json
import re
import shutil
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from commands.repeats import (
    compare_with_the_best,
    difference_interval,
    finished_runs,
    hash_of_sources,
    judge,
    report,
)
from tests.conftest import Project
from tests.readme import commands
from tests.test_resume import start

pytestmark = pytest.mark.xdist_group("queue")

GRID = ("docs/many-runs.md", "A grid")
REPEATS = ("docs/many-runs.md", "How sure is a difference?")


def run_the_queue(project: Project, start: str, n: int) -> None:
    """Let background workers run `n` that are queued; when this returns, they are gone."""
    workers: list[Path] = []
    try:
        project.run("sh", "-c", start)
        workers = [
            Path("/proc") / str(json.loads(file.read_text())["pid"])
            for file in project.path.glob(".dvc/tmp/exps/celery/dvc-exp-worker-*.json")
        ]
        assert len(workers) == 2
        # Each look of dvc's own would take longer than a run.
        results = project.path / ".dvc/tmp/exps/celery/result"
        while len(list(results.glob("celery-task-meta-*"))) < n and any(map(is_running, workers)):
            time.sleep(0.5)
    finally:
        project.dvc("queue", "stop")
        while any(map(is_running, workers)):
            time.sleep(0.1)


def is_running(process: Path) -> bool:
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def queue_states(project: Project) -> list[str]:
    rows = project.dvc("queue", "status").split("\n\n")[0].splitlines()[1:]
    return [row.split()[-1] for row in rows]


@pytest.fixture(scope="module")
def queue_done(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which a failing run and the page's grid and repeats, cut short, have run."""
    project = _trained.copy(tmp_path_factory.mktemp("queue") / "project")
    grid, start, status = commands(*GRID, block=0)
    repeats, start_again = commands(*REPEATS, block=0)
    assert start_again == start
    project.run("sh", "-c", cut_short(grid, "0.003,0.01,", ""))
    project.run(
        "sh",
        "-c",
        cut_short(repeats, "=1,2' -S 'prepare.seed=range(1,6)", "=1' -S 'prepare.seed=range(1,3)"),
    )
    project.dvc("exp", "run", "--queue", "--name", "wrong", "-S", "train.lr=-1")
    assert queue_states(project) == ["Queued"] * 7
    run_the_queue(project, start, 7)
    project.run("sh", "-c", status)
    return project


def cut_short(command: str, part: str, shorter: str) -> str:
    assert part in command
    return command.replace(part, shorter)


@pytest.fixture
def own_queue_done(queue_done: Project, tmp_path: Path) -> Project:
    return queue_done.copy(tmp_path / "project")


def test_the_queue_runs_all_and_says_what_failed(queue_done: Project) -> None:
    states = queue_states(queue_done)
    assert (states.count("Success"), states.count("Failed")) == (6, 1)
    assert "train.lr is -1, but must be" in queue_done.dvc("queue", "logs", "wrong")
    # The workspace stays as it was, and the temporary folders are gone.
    assert queue_done.run("git", "status", "--porcelain").stdout == ""
    assert not list(queue_done.path.glob(".dvc/tmp/exps/tmp*"))


def test_prepare_runs_once_for_each_split(queue_done: Project) -> None:
    # What `dvc queue logs` shows. One split is that of the workspace, of which it has run before.
    logs = [file.read_text() for file in queue_done.path.glob(".dvc/tmp/exps/run/*/*.out")]
    ran = [
        [line.split("'")[1] for line in log.splitlines() if "Running stage" in line] for log in logs
    ]
    assert sorted(map(len, ran)) == [1, 3, 3, 3, 3, 5, 5]
    assert ran.count(["train", "evaluate", "plot"]) == 4
    assert sum("Stage 'prepare' is cached" in log for log in logs) == 2


@pytest.fixture(scope="module")
def shown(queue_done: Project) -> list[dict[str, Any]]:
    """What `dvc exp show` shows of the experiments that ended well."""
    found = queue_done.run("dvc", "exp", "show", "--json", "--hide-failed").stdout
    return list(json.loads(found))


def experiments(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [experiment for commit in shown for experiment in commit["experiments"] or []]


def test_results_are_shown_best_first(queue_done: Project) -> None:
    (command,) = commands(*GRID, block=1)
    text = queue_done.run("sh", "-c", f"{command} --csv").stdout
    table = pd.read_csv(StringIO(text))
    assert {"Experiment", "accuracy", "log_loss", "train.hidden", "train.lr"} == set(table)
    runs = table.iloc[2:]  # after the workspace and the commit
    assert len(runs) == 6
    assert runs["accuracy"].is_monotonic_decreasing
    assert runs["train.lr"].nunique() == runs["train.hidden"].nunique() == 2


def test_the_best_is_compared_and_applied(own_queue_done: Project) -> None:
    plots, metrics, apply = (
        cut_short(command, "grid-3", "grid-1") for command in commands(*GRID, block=2)
    )
    assert "index.html" in own_queue_done.run("sh", "-c", plots).stdout
    drawn = (own_queue_done.path / "dvc_plots/index.html").read_text()
    assert "grid-1" in drawn
    assert "log_loss" in own_queue_done.run("sh", "-c", metrics).stdout
    own_queue_done.run("sh", "-c", apply)
    params = own_queue_done.run("dvc", "params", "diff", "--json").stdout
    assert list(json.loads(params)["params.yaml"]) == ["train.lr"]
    assert own_queue_done.repro() == []


def test_repeats_are_reported_and_compared(
    queue_done: Project, shown: list[dict[str, Any]]
) -> None:
    (command,) = commands(*REPEATS, block=1)
    lines = queue_done.run("sh", "-c", command).stdout.splitlines()
    runs = pd.DataFrame(
        [
            {
                "hidden": str(data["params"]["params.yaml"]["data"]["train"]["hidden"]),
                "lr": data["params"]["params.yaml"]["data"]["train"]["lr"],
                "split": data["params"]["params.yaml"]["data"]["prepare"]["seed"],
                **data["metrics"]["metrics.json"]["data"],
            }
            for data in (experiment["revs"][0]["data"] for experiment in experiments(shown))
        ]
    )
    for (hidden, lr), group in runs.groupby(["hidden", "lr"]):
        (line,) = [text for text in lines if f"train.hidden={hidden}, train.lr={lr} (" in text]
        assert f"(runs {len(group)}, splits {len(group)})" in line
        spread = "?" if len(group) == 1 else f"{group['accuracy'].std():.4f}"
        assert f"accuracy {group['accuracy'].mean():.4f} ± {spread}" in line

    # Of the grid's runs one has the same parameters, but its split is not shared.
    (start,) = [index for index, text in enumerate(lines) if "on the 2 splits they share" in text]
    best, other = (
        learning_rate(lines, number) for number in lines[start].split(",")[0].split()[::2]
    )
    repeated = runs[(runs["hidden"] == "[10]") & runs["split"].isin([1, 2])]
    for line, score in zip(lines[start + 1 : start + 3], ("accuracy", "log_loss"), strict=True):
        table = repeated.pivot_table(score, "split", "lr")
        differences = table[best] - table[other]
        assert line.startswith(f"  {score} differs by {differences.mean():+.4f}")
        if len(set(differences)) > 1:
            # 0.2 of all rows are tested, on what 0.6 of them taught.
            error = differences.std() * np.sqrt(1 / 2 + 0.2 / 0.6)
            low, high = stats.t.interval(0.95, 1, differences.mean(), error)
            assert f"interval {low:+.4f} to {high:+.4f}: " in line
            assert ("no larger than" in line) == (low <= 0 <= high)


def learning_rate(lines: list[str], number: str) -> float:
    (line,) = [line for line in lines if line.startswith(f"{number}. ")]
    return float(line.split("train.lr=")[1].split()[0])


def test_what_has_not_ended_is_left_out(
    own_queue_done: Project, shown: list[dict[str, Any]]
) -> None:
    expected = "\n".join(report(finished_runs(shown)))
    own_queue_done.dvc("exp", "run", "--queue", "-S", "prepare.seed=3")
    found = own_queue_done.run("python", "-m", "commands.repeats").stdout
    assert found == f"{expected}\n"
    # A run that is under way shows the metrics of the commit that it started from.
    under_way = copy.deepcopy(shown)
    for run in experiments(under_way):
        run["executor"]["state"] = "running"
    assert finished_runs(under_way).empty


def test_repeats_without_experiments(project: Project) -> None:
    result = project.run("python", "-m", "commands.repeats", status=1)
    assert result.stderr == (
        "repeats: error: there are no finished experiments; start some with dvc exp run\n"
    )
    result = project.run("python", "-m", "commands.repeats", "--rev", "nowhere", status=1)
    assert result.stderr.startswith("repeats: error: dvc exp show failed: ")
    assert result.stderr.count("\n") == 1


def test_starts_are_repeated_in_one_process(project: Project) -> None:
    project.set_params(train__calibration="temperature", prepare__folds=3)
    project.repro()
    before = (project.path / "metrics.json").read_bytes()
    (command,) = commands(*REPEATS, block=2)
    as_typed = command.replace("10", "3").split()
    *seeds, spread = project.run(*as_typed).stdout.splitlines()
    assert [line.split(":")[0] for line in seeds] == [f"train.seed {42 + n}" for n in range(3)]
    scores = np.array([re.findall(r"0\.\d{4}", line) for line in seeds], float)
    metrics = json.loads(before)
    # As printed; several seeds round otherwise than one.
    assert scores[0] == pytest.approx([metrics["accuracy"], metrics["log_loss"]], abs=1.1e-4)
    assert len(set(scores[:, 1])) == 3
    (log_loss,) = re.findall(r"log_loss (.*) ± (.*)", spread)
    expected = (scores[:, 1].mean(), scores[:, 1].std(ddof=1))
    assert [float(text) for text in log_loss] == pytest.approx(expected, abs=1.1e-4)
    assert (project.path / "metrics.json").read_bytes() == before
    for nonsense in ("1", "two"):
        refused = project.run(*as_typed[:-1], nonsense, status=2)
        assert f"'{nonsense}' is no whole number of at least 2" in refused.stderr


def test_the_hash_is_of_code_and_table_alone() -> None:
    paths = ("stages/train.py", "classifier/io", "data/iris.csv", "data/prepared/train.parquet")
    deps = {path: {"hash": "one"} for path in paths}
    before = hash_of_sources(deps, "data/iris.csv")
    hashes = [hash_of_sources(deps | {path: {"hash": "two"}}, "data/iris.csv") for path in paths]
    assert [value == before for value in hashes] == [False, False, False, True]


def make_group(accuracies: dict[int, float], **settings: object) -> pd.DataFrame:
    """Return runs with one training seed, and for each split seed an accuracy."""
    defaults = {"data": "t.csv", "target": "y", "test_size": 0.2, "val_size": 0.2} | settings
    scores = {"prepare.seed": accuracies.keys(), "accuracy": accuracies.values(), "log_loss": 0.1}
    settings = {f"prepare.{name}": json.dumps(value) for name, value in defaults.items()}
    return pd.DataFrame(scores).assign(**settings)


def test_only_groups_with_the_same_test_rows_are_compared() -> None:
    best = make_group({1: 0.9, 2: 0.8})
    other = make_group({1: 0.6, 2: 0.7})
    assert "1 against 2, on the 2 splits they share:" in list(compare_with_the_best([best, other]))
    for apart in (make_group({3: 0.6, 4: 0.7}), make_group({1: 0.6, 2: 0.7}, test_size=0.3)):
        assert "1 against 2: not compared, they share no two splits" in list(
            compare_with_the_best([best, apart])
        )
    (line,) = compare_with_the_best([best, make_group({1: 0.6})])
    assert line.startswith("nothing to compare")


def test_intervals_widen_with_the_number_of_groups() -> None:
    groups = [make_group({1: 0.9, 2: 0.8, 3: 0.9}), make_group({1: 0.7, 2: 0.7, 3: 0.6})]
    two = list(compare_with_the_best(groups))
    # 4.3027, Student's t for 2 degrees of freedom, times 0.1 times the root of 1/3 + 1/3.
    third = make_group({1: 0.1, 2: 0.3, 3: 0.1})
    three = list(compare_with_the_best([*groups, third]))
    assert two[1].startswith(
        "  accuracy differs by +0.2000, interval -0.1513 to +0.5513: no larger"
    )
    low, high = difference_interval(pd.Series([0.2, 0.1, 0.3]), 1 / 3, 1 - 0.05 / 3)
    assert f"interval {low:+.4f} to {high:+.4f}" in three[1]
    assert high > 0.5513


def test_without_shared_rows_the_interval_is_that_of_student() -> None:
    differences = pd.Series([0.03, -0.01, 0.02, 0.05, 0.0])
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    # The same formula, so as exact as double precision is.
    assert difference_interval(differences, 0, 0.9) == pytest.approx(expected, rel=1e-12)


def test_equal_differences_prove_nothing() -> None:
    assert judge(pd.Series([0.5, 0.5]), 1 / 3, 0.95).endswith(
        "too few or too coarse to tell from chance"
    )
    assert judge(pd.Series([0.0, 0.0, 0.0]), 1 / 3, 0.95).startswith(
        "differs by +0.0000 in every split"
    )


def test_chance_is_called_a_difference_as_rarely_as_promised() -> None:
    """Compare two equally good methods on many tables, with ten overlapping splits of each."""
    generator = np.random.default_rng(0)
    tables, n_rows, n_splits, n_test, n_train = 500, 150, 10, 30, 90
    corrected = naive = 0
    for _ in range(tables):
        row_differences = generator.normal(size=n_rows)
        splits = [generator.permutation(n_rows)[:n_test] for _ in range(n_splits)]
        differences = pd.Series([row_differences[split].mean() for split in splits])
        low, high = difference_interval(differences, n_test / n_train, 0.95)
        corrected += low > 0 or high < 0
        low, high = difference_interval(differences, 0, 0.95)
        naive += low > 0 or high < 0
    # 5% and three standard errors of a count out of 500.
    assert corrected / tables < 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)
    assert naive / tables > 0.2


def test_training_ends_with_its_folder(project: Project) -> None:
    """`dvc queue stop --kill` kills DVC alone and deletes the folder in which a run trains."""
    project.set_params(train__max_epochs=10**9, train__patience=10**9, train__save_every_seconds=0)
    shutil.rmtree(project.path / ".training")
    process = start(project, "python", "-m", "stages.train", warm=True)
    while not list(project.path.glob(".training/*.state")):
        assert process.poll() is None
        time.sleep(0.05)
    # Training writes into the folder while it is deleted.
    project.path.rename(project.path.with_name("gone"))
    while project.path.with_name("gone").exists():
        shutil.rmtree(project.path.with_name("gone"), ignore_errors=True)
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output.splitlines()[-1]) == (
        1,
        "train: error: the folder in which it was training has been deleted; nothing is saved",
    )
