"""What `dvc repro` runs, what it leaves alone, and what it writes."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.datasets import load_iris, load_wine
from sklearn.neural_network import MLPClassifier

from classifier.io.prepared import read_split
from classifier.io.progress import Progress
from classifier.network.model import MLP
from classifier.resuming.fingerprint import _imported_files
from classifier.training.step import Rows, loss_and_accuracy
from tests.conftest import QUICK_TRAINING, REPOSITORY, Project, clone_working_tree
from tests.in_process import run_stages

STAGES = ["prepare", "train", "baseline", "evaluate", "plot"]


def test_two_fresh_clones_write_the_same_bytes(project: Project, tmp_path: Path) -> None:
    other = clone_working_tree(tmp_path / "elsewhere" / "another name")
    other.set_params(**QUICK_TRAINING)
    assert other.repro() == STAGES
    assert project.outputs() == other.outputs()


def changed_stages(project: Project) -> set[str]:
    return set(json.loads(project.run("dvc", "status", "--json").stdout))


def test_only_what_a_parameter_touches_runs(project: Project) -> None:
    params, intended_use = (project.path / name for name in ("params.yaml", "intended-use.md"))
    before = params.read_text()
    # All are on the page.
    for name, value, expected in [
        ("plot.log_scale", True, {"plot"}),
        ("evaluate.slices", ["petal_width"], {"evaluate", "plot"}),
        ("train.lr", 0.4, {"train", "plot"}),
        ("train.class_weights", "balanced", {"train", "baseline", "evaluate", "plot"}),
    ]:
        project.set_params(**{name: value})
        assert changed_stages(project) == expected
        params.write_text(before)
    intended_use.write_text("None.")
    assert changed_stages(project) == {"plot"}
    project.set_params(**{"baseline.models": []})
    assert project.repro() == ["baseline", "evaluate", "plot"]


def test_a_changed_row_concerns_every_stage(project: Project) -> None:
    table = project.path / "data/iris.csv"
    table.write_text(table.read_text().replace("5.1,3.5,1.4,0.2", "5.1,3.5,1.4,0.3", 1))
    assert "Running stage 'prepare'" in project.dvc("repro", "prepare")
    # They read what it has written.
    assert changed_stages(project) == {"train", "baseline", "evaluate", "plot"}


def test_deps_name_every_module_a_stage_imports() -> None:
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert list(stages) == STAGES
    for name, stage in stages.items():
        imported = imported_files(f"stages/{name}.py")
        named: set[str] = set()
        for dep in stage["deps"]:
            if dep.startswith(("stages/", "classifier/")):
                paths = [REPOSITORY / dep, *(REPOSITORY / dep).rglob("*.py")]
                files = {str(path.relative_to(REPOSITORY)) for path in paths if path.is_file()}
                # A folder is named where half of it or more is imported.
                assert len(files & imported) >= len(files) / 2, f"{name}: {dep}"
                named |= files
        assert imported <= named, name


def imported_files(file: str) -> set[str]:
    """Return this file of the project and those it imports, directly or not."""
    found: set[Path] = set()
    to_read = {REPOSITORY / file}
    while to_read:
        found.add(path := to_read.pop())
        to_read |= _imported_files(path) - found
    return {str(path.relative_to(REPOSITORY)) for path in found}


def test_the_committed_lock_file_is_that_of_the_committed_code(fresh_clone: Project) -> None:
    status = json.loads(fresh_clone.run("dvc", "status", "--json").stdout)
    # The models and the prepared data are in nobody's cache yet; nothing else may be amiss.
    changes = [change for stage in status.values() for change in stage]
    for change in changes:
        assert all(
            how in {"deleted", "not in cache"}
            for changed in change.values()
            for how in (changed.values() if isinstance(changed, dict) else [changed])
        ), status


def test_the_table_is_that_of_scikit_learn() -> None:
    iris = load_iris(as_frame=True)
    table = pd.read_csv(REPOSITORY / "data/iris.csv")
    assert len(table) == 150
    assert np.array_equal(table.iloc[:, :4], iris.data)
    assert list(table["species"]) == [iris.target_names[index] for index in iris.target]
    wine = load_wine(as_frame=True).frame
    assert pd.read_csv(REPOSITORY / "data/wine.csv").equals(wine)


@pytest.mark.xdist_group("docs")
def test_the_default_run_is_as_accurate_as_scikit_learn(as_made: Project) -> None:
    prepared = as_made.path / "data/prepared"
    train, test = (read_split(prepared / f"{name}.parquet") for name in ("train", "test"))
    ours = json.loads((as_made.path / "metrics.json").read_text())["accuracy"]
    classifier = MLPClassifier((10,), solver="lbfgs", max_iter=5000, random_state=42)
    theirs = classifier.fit(train.features, train.target).score(test.features, test.target)
    # Two standard errors of the difference of two accuracies near 0.95 on 30 rows.
    assert abs(ours - theirs) <= 2 * np.sqrt(2 * 0.95 * 0.05 / 30)
    assert ours > 0.85


def test_train_does_not_read_the_test_file_and_its_log_says_how_long_it_takes_at_most(
    project: Project,
) -> None:
    (project.path / "data/prepared/test.parquet").unlink()
    output = run_stages(project.path, "train")
    assert "stopped at epoch 60" in output
    losses = r"train_loss=0\.\d+ val_loss=0\.\d+ best=0\.\d+"
    for epoch in range(10, 61, 10):
        assert re.search(
            rf"^epoch {epoch}/60 {losses}, about \d\d:\d\d to the last$", output, re.MULTILINE
        )


def test_a_log_of_one_evaluation_where_the_run_began(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # So it is when a finished run is taken up again, and its last epoch is none of eval_every.
    monkeypatch.setattr("classifier.io.progress.SECONDS_BETWEEN_LINES", 0)
    progress = Progress("epoch", 60, 60, "to the last")
    progress.show(60, "train_loss=0.5000 val_loss=0.2500 best=0.2500")
    progress.close()
    assert capsys.readouterr().out == "epoch 60/60 train_loss=0.5000 val_loss=0.2500 best=0.2500\n"


def test_early_stopping_counts_evaluations(project: Project) -> None:
    # With this min_delta only the first evaluation counts as an improvement.
    project.set_params(train__patience=3, train__min_delta=10.0)
    output = run_stages(project.path, "train")
    assert "stopped at epoch 40 because 3 evaluations brought no improvement" in output
    report = json.loads((project.path / "reports/training.json").read_text())
    assert (report["epochs_run"], report["best_epoch"]) == (40, 10)
    assert report["stop_reason"] == "early_stopping"


def test_the_best_weights_are_what_is_saved_and_the_checkpoint_goes_on_by_hand(
    project: Project,
) -> None:
    project.set_params(train__optimizer="adam", train__lr=0.3, train__max_epochs=300)
    run_stages(project.path, "train")
    report = json.loads((project.path / "reports/training.json").read_text())
    assert report["best_epoch"] < report["epochs_run"] == 300
    val = read_split(project.path / "data/prepared/val.parquet")
    saved, checkpoint = (
        torch.load(project.path / f"models/{name}.pt", weights_only=True)
        for name in ("weights", "checkpoint")
    )
    model = MLP(**saved["architecture"])
    model.load_state_dict(saved["weights"])
    rows = Rows(torch.from_numpy(val.features), torch.from_numpy(val.target))
    torch.set_num_threads(1)
    assert loss_and_accuracy(model, rows)[0] == report["best_val_loss"]
    assert checkpoint["epoch"] == 300
    assert checkpoint["early_stopping"]["best_epoch"] == report["best_epoch"]
    best = checkpoint["best_model"]
    assert all(torch.equal(weight, best[name]) for name, weight in saved["weights"].items())
    model.load_state_dict(checkpoint["model"])


def test_a_fresh_clone_has_something_to_show(fresh_clone: Project) -> None:
    assert "accuracy" in fresh_clone.dvc("metrics", "show")
    assert fresh_clone.dvc("params", "diff").strip() == ""
    assert fresh_clone.dvc("metrics", "diff").strip() == ""
    assert "index.html" in fresh_clone.dvc("plots", "show")


def test_an_experiment_in_a_workspace_with_changes(project: Project) -> None:
    table = pd.read_csv(project.path / "data/iris.csv")
    table[table["species"] != "setosa"].to_csv(project.path / "data/two.csv", index=False)
    project.commit("a second table")
    (project.path / "notes.txt").write_text("mine")
    project.set_params(plot__dpi=60)
    output = project.dvc("exp", "run", "-S", "train.lr=0.05", "-S", "prepare.data=data/two.csv")
    assert "Ran experiment" in output
    assert (project.path / "notes.txt").read_text() == "mine"
    assert project.repro() == []
    report = json.loads((project.path / "metrics.json").read_text())
    assert list(report["classes"]) == ["versicolor", "virginica"]
    params = project.run("dvc", "params", "diff", "--json").stdout
    assert json.loads(params)["params.yaml"]["train.lr"] == {"old": 0.5, "new": 0.05, "diff": -0.45}
