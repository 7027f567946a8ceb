"""A run that is interrupted, extended or repeated ends in the same bytes."""

import fcntl
import os
import pty
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.io.prepared import PREPARED, TRAIN_FILE, VAL_FILE
from classifier.network.layers import N_BINS
from classifier.network.model import Task
from classifier.resuming.checkpoint import restore, training_to_bytes
from classifier.resuming.fingerprint import COMPUTING, NOT_COMPUTING, fingerprint_of, source_files
from classifier.resuming.saved_state import RUNS_KEPT, SavedState, SavedStates
from classifier.training.folds import Fold
from classifier.training.loop import train
from classifier.training.run import Run, Training, start_run
from classifier.training.step import Rows, batches
from classifier.training.train_params import TrainParams
from tests import soak
from tests.conftest import REPOSITORY, Project
from tests.in_process import DEFAULTS, run_stages

QUICK = DEFAULTS["train"] | {
    "hidden": [5],
    "lr": 0.5,
    "max_epochs": 12,
    "eval_every": 2,
    "patience": 2,
    "device": "cpu",
    "threads": 1,
    "seed": 3,
}

CHOICES = st.fixed_dictionaries(
    {
        "embedding": st.sampled_from(["none", "periodic", "piecewise_linear"]),
        "members": st.sampled_from([1, 3]),
        # With more, momentum and an embedding training diverges, and is refused.
        "lr": st.just(0.02),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw"]),
        "momentum": st.sampled_from([0.0, 0.9]),
        "dropout": st.sampled_from([0.0, 0.4]),
        "batch_size": st.sampled_from([None, 7, 30]),
        "eval_every": st.integers(1, 5),
        "patience": st.integers(1, 4),
        "max_epochs": st.integers(1, 15),
        "seed": st.integers(0, 2**32 - 1),
    }
)


Outputs = dict[str, bytes]


def make_params(**values: object) -> TrainParams:
    return TrainParams.model_validate(QUICK | values)


def some_rows(n: int, seed: int) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 4, generator=generator)
    return Rows(features, torch.randint(0, 3, (n,), generator=generator))


FOLD = Fold(some_rows(30, 1), some_rows(12, 2))
TASK = Task(n_features=4, n_classes=3, numbers=(0, 1, 3))
EDGES = torch.linspace(-2, 2, N_BINS + 1).repeat(3, 1)


def new_run(params: TrainParams) -> Run:
    return start_run(params, TASK, FOLD, EDGES)


@given(values=CHOICES, cuts=st.lists(st.integers(0, 25), max_size=3))
@settings(max_examples=25, deadline=None)
def test_a_run_cut_off_anywhere_ends_in_the_same_bytes(
    values: dict[str, Any], cuts: list[int]
) -> None:
    params = make_params(**values)
    undisturbed = new_run(params)
    list(train([undisturbed], params))
    expected = training_to_bytes(Training([undisturbed]))

    run = new_run(params)
    for cut in cuts:
        list(islice(train([run], params), cut))
        saved = training_to_bytes(Training([run]))
        torch.manual_seed(99)
        run = new_run(params)
        restore(Training([run]), saved)
    list(train([run], params))
    assert training_to_bytes(Training([run])) == expected


@given(values=CHOICES, max_epochs=st.integers(1, 15), patience=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_state_is_past_the_end_if_the_run_would_not_have_come_there(
    values: dict[str, Any], max_epochs: int, patience: int
) -> None:
    params = make_params(**values)
    other = make_params(**{**values, "max_epochs": max_epochs, "patience": patience})
    run = new_run(other)
    reached = {(run.epoch, run.batch) for _ in train([run], other)}
    reached.add((run.epoch, run.batch))
    run = new_run(params)
    for _ in train([run], params):
        assert run.is_past_the_end(other) == ((run.epoch, run.batch) not in reached)


def test_the_order_of_batches_differs_between_epochs_and_seeds() -> None:
    def first_batch(epoch: int, seed: int) -> Rows:
        return next(batches(FOLD.train, 29, seed=seed, epoch=epoch, first=0))

    orders = {
        tuple(first_batch(epoch, seed).features[:, 0].tolist())
        for epoch in range(3)
        for seed in (0, 1, 2**31, 2**32 - 1)
    }
    assert len(orders) == 12


def test_the_fingerprint_covers_every_module_that_computes() -> None:
    """Those of a training run, and those of a search."""
    roots = [*COMPUTING, "search/searching.py"]
    modules = ["classifier." + root.removesuffix(".py").replace("/", ".") for root in roots]
    program = f"import sys, {', '.join(modules)}\nfor module in list(sys.modules.values()):\n"
    program += "    print(getattr(module, '__file__', None))"
    python = [sys.executable, "-c", program]
    output = subprocess.run(python, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    folder = REPOSITORY / "classifier"
    imported = {Path(line) for line in output.stdout.splitlines() if line.startswith(f"{folder}/")}
    assert set(source_files(*roots)) == imported - {folder / module for module in NOT_COMPUTING}
    assert all((folder / module).is_file() for module in NOT_COMPUTING)


def test_each_influence_is_in_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PREPARED.mkdir(parents=True)
    TRAIN_FILE.touch()
    VAL_FILE.touch()
    usual: dict[str, Any] = {
        "params": make_params(),
        "task": Task(4, 3, (0, 1)),
        "device_type": "cpu",
        "threads": 1,
    }
    changes: list[dict[str, Any]] = [
        {},
        {"params": make_params(lr=0.25)},
        {"task": Task(4, 3, (0, 2))},
        {"device_type": "cuda"},
        {"threads": 2},
    ]
    found = [fingerprint_of(**usual | change) for change in changes]
    for file in (TRAIN_FILE, VAL_FILE):
        file.write_text("another")
        found.append(fingerprint_of(**usual))
    monkeypatch.setattr(torch, "__version__", "another")
    found.append(fingerprint_of(**usual))
    assert len({*found}) == len(found)
    # What may be set for a longer run changes no epoch.
    same = make_params(max_epochs=99, patience=9, save_every_seconds=1, calibration="temperature")
    assert fingerprint_of(**usual | {"params": same}) == found[-1]


def test_what_an_editor_leaves_behind_is_no_module_that_computes(project: Project) -> None:
    folder = project.path / "classifier/training"
    (folder / ".#loop.py").symlink_to("nowhere")
    for name in ("loop.py~", "#loop.py#", ".loop.py.swp", "._loop.py"):
        (folder / name).touch()
    assert project.repro() == []
    assert "Traceback" not in project.dvc("repro", "--force", "--single-item", "train")


# Saved states


def state(epoch: int) -> SavedState:
    return SavedState(epoch, patience=1, finished=False, checkpoint=bytes(range(256)) * 4)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def put_what_leads_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "damage",
    # What else a damage can be: tests/mutations.py.
    [lambda path: path.write_bytes(b""), cut_off, flip_a_bit, put_what_leads_nowhere],
)
def test_a_damaged_state_is_reported_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    states, path = SavedStates("run", tmp_path), tmp_path / "run.state"
    states.save(state(2))
    damage(path)
    assert states.load() is None
    (line,) = capsys.readouterr().out.splitlines()
    assert str(path) in line
    assert not path.is_symlink()
    assert not path.exists()
    states.save(state(3))
    assert states.load() == state(3)
    assert capsys.readouterr().out == ""


def test_the_folder_keeps_the_newest_runs(tmp_path: Path) -> None:
    for index in range(RUNS_KEPT + 3):
        states = SavedStates(f"run{index}", tmp_path)
        states.save(state(1))
        states.save(state(2))
        os.utime(tmp_path / f"run{index}.state", (index, index))
    # Left by a process that was killed while it wrote its first state.
    (tmp_path / "killed.state.tmp").touch()
    os.utime(tmp_path / "killed.state.tmp", (0, 0))
    (tmp_path / "nowhere.state").symlink_to("nowhere")
    os.utime(tmp_path / "nowhere.state", (0, 0), follow_symlinks=False)
    SavedStates("the newest", tmp_path).save(state(1))
    left = {path.name for path in tmp_path.iterdir()}
    expected = {f"run{index}.state" for index in range(4, RUNS_KEPT + 3)}
    assert left == expected | {"the newest.state"}


# Real processes


def test_killed_again_and_again(project: Project, tmp_path: Path) -> None:
    # Others: in the long form, and in test_a_run_cut_off_anywhere_ends_in_the_same_bytes.
    name = "full batch, SGD with momentum"
    configuration, chance = soak.CONFIGURATIONS[name], random.Random(name)
    reference, _ = soak.undisturbed(project, tmp_path / "undisturbed", configuration)
    killed_project = project.copy(tmp_path / "killed")
    # The first one comes before even the quickest run is over, the second while DVC says in
    # dvc.lock that `train` has run.
    moments = iter([soak.after(chance.uniform(0.3, 2)), soak.at_change("dvc.lock", 1)])
    counts = soak.kill_until_done(
        killed_project, configuration, kills=2, moments=lambda: next(moments)
    )
    assert counts["killed"] >= 1
    assert killed_project.outputs() == reference.outputs()


LONG_TRAINING = {"train.max_epochs": 6_000, "train.eval_every": 100, "train.lr": 0.01}


def wait_for_evaluations(
    project: Project, process: "subprocess.Popen[Any]", count: int = 2
) -> None:
    losses = project.path / "reports/losses.csv"
    # Each look is cheap; the limit only ends a test that would otherwise hang.
    for _ in range(6000):
        if losses.exists() and losses.read_bytes().count(b"\n") > count:
            return
        assert process.poll() is None, "it ended before that"
        time.sleep(0.01)
    pytest.fail("no evaluations")


def start(project: Project, *command: str, warm: bool = False) -> "subprocess.Popen[str]":
    """Start what is to be killed; `warm` where the process alone is, and not all of its group."""
    (project.path / "reports/losses.csv").unlink(missing_ok=True)
    return subprocess.Popen(
        command,
        cwd=project.path,
        env=project.warm_env if warm else project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def outputs_of_train(project: Project) -> Outputs:
    found = project.contents("models/*.*", "reports/losses.csv", "reports/training.json")
    assert len(found) >= 5
    return found


@pytest.fixture(scope="session")
def _expected_of_long(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    undisturbed = _trained.copy(tmp_path_factory.mktemp("undisturbed") / "project")
    undisturbed.set_params(**LONG_TRAINING)
    run_stages(undisturbed.path, "train")
    return outputs_of_train(undisturbed)


@pytest.fixture
def long_project(project: Project, _expected_of_long: Outputs) -> tuple[Project, Outputs]:
    """A project about to train for some seconds, and what `train` is to have written then."""
    project.set_params(**LONG_TRAINING)
    return project, _expected_of_long


def interrupt(project: Project, number: signal.Signals) -> int:
    """Train until a signal ends it; return the epoch that is saved."""
    process = start(project, "python", "-m", "stages.train", warm=True)
    wait_for_evaluations(project, process)
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 128 + number
    said = rf"{number.name}: epoch (\d+) is saved; to go on from there: dvc repro"
    found = re.fullmatch(said, output.splitlines()[-1])
    assert found is not None, output
    assert not (project.path / "reports/losses.csv").exists()
    return int(found[1])


def test_a_run_that_a_signal_ended_survives_an_experiment_and_a_shorter_one(
    long_project: tuple[Project, Outputs],
) -> None:
    project, expected = long_project
    saved = interrupt(project, signal.SIGTERM)
    project.set_params(train__lr=0.3, train__max_epochs=100)
    assert "going on" not in run_stages(project.path, "train")
    project.set_params(**LONG_TRAINING | {"train.max_epochs": 100})
    output = run_stages(project.path, "train")
    assert f"the state at epoch {saved}, saved by a longer run, is left alone" in output
    assert "going on" not in output
    project.set_params(**LONG_TRAINING)
    assert f"going on from epoch {saved}, " in run_stages(project.path, "train")
    assert outputs_of_train(project) == expected


def test_a_damaged_state_file_does_not_stop_a_run(
    long_project: tuple[Project, Outputs],
) -> None:
    project, expected = long_project
    interrupt(project, signal.SIGINT)
    files = (project.path / ".training").glob("*.state")
    newest = max(files, key=lambda path: path.stat().st_mtime)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert f"{newest.relative_to(project.path)} is not usable" in run_stages(project.path, "train")
    assert outputs_of_train(project) == expected


def test_ctrl_c_in_a_terminal(long_project: tuple[Project, Outputs]) -> None:
    project, expected = long_project
    (project.path / "reports/losses.csv").unlink()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))

    def take_the_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        ["dvc", "repro", "train"],
        cwd=project.path,
        env=project.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_the_terminal,  # noqa: PLW1509 (no threads here)
    )
    os.close(theirs)
    output, interrupted = b"", False
    while True:
        try:
            output += os.read(ours, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not interrupted and output.count(b"val_loss=") >= 3:
            os.write(ours, b"\x03")
            interrupted = True
    assert process.wait() != 0
    text = output.decode()
    assert "SIGINT: epoch " in text
    assert " is saved; to go on from there: dvc repro" in text
    assert "exited with 130" in text
    assert re.search(r"epoch \d+/6000, train_loss=0\.\d+ val_loss=0\.\d+ best=0\.\d+ <", text)
    assert "Traceback" not in text
    assert "going on from epoch" in project.dvc("repro", "train")
    assert outputs_of_train(project) == expected


def test_an_orphan_is_waited_for_and_its_work_taken_over(
    long_project: tuple[Project, Outputs],
) -> None:
    project, expected = long_project
    first = start(project, "dvc", "repro", warm=True)
    wait_for_evaluations(project, first)
    orphan = int((project.path / ".training/lock").read_text())
    first.kill()
    first.wait()
    # Stopped, so that it still lives when the second one arrives.
    os.kill(orphan, signal.SIGSTOP)
    second = start(project, "dvc", "repro", "train", warm=True)
    assert second.stdout is not None
    waiting = next(line for line in second.stdout if "waiting for process" in line)
    assert waiting.startswith(f"waiting for process {orphan}, ")
    os.kill(orphan, signal.SIGCONT)
    output, _ = second.communicate()
    assert second.returncode == 0, output
    # Nothing was trained twice: the orphan's run was over by then.
    assert "going on from epoch 6000" in output
    assert outputs_of_train(project) == expected


def test_a_full_disk_while_saving_state(project: Project, tmp_path: Path) -> None:
    # With these, the checkpoint is the largest output.
    project.set_params(train__hidden=[100, 100], train__optimizer="adam", train__eval_every=60)
    undisturbed = project.copy(tmp_path / "undisturbed")
    run_stages(undisturbed.path, "train")
    expected = outputs_of_train(undisturbed)
    # A state is its checkpoint and a header: the one can be written, the other not.
    limit = max(len(content) for content in expected.values()) + 20
    assert len(expected["models/checkpoint.pt"]) + 20 == limit

    result = subprocess.run(
        [sys.executable, "-m", "stages.train"],
        cwd=project.path,
        env=project.env,
        capture_output=True,
        text=True,
        check=False,
        # As on a full disk.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 0, result.stderr
    assert "warning: the state at epoch 60 cannot be saved" in result.stdout
    assert not list((project.path / ".training").glob("*.tmp"))
    assert outputs_of_train(project) == expected


@pytest.mark.parametrize("further", [{"train.max_epochs": 95}, {"train.patience": 50}])
def test_a_longer_run_goes_on_from_the_shorter_one(
    project: Project, tmp_path: Path, further: dict[str, object]
) -> None:
    # Evaluations at 10, 20, ... 60 and, off that grid, at 65; with this min_delta none but the
    # first is an improvement, so that patience ends the other run.
    project.set_params(train__max_epochs=65, train__momentum=0.9)
    if "train.patience" in further:
        project.set_params(train__min_delta=10.0, train__patience=3)
    run_stages(project.path, "train")
    from_scratch = project.copy(tmp_path / "from scratch")
    shutil.rmtree(from_scratch.path / ".training")
    for longer in (project, from_scratch):
        longer.set_params(**further)
    assert "going on from epoch" in run_stages(project.path, "train")
    assert "going on" not in run_stages(from_scratch.path, "train")
    assert project.outputs() == from_scratch.outputs()


def test_after_a_change_that_moves_no_weight_the_finished_state_is_taken(project: Project) -> None:
    before = project.contents("models/*", "reports/losses.csv")
    verdict = project.path / "classifier/verdict.py"
    verdict.write_text(verdict.read_text().replace("overfitting", "over-fitting"))
    output = project.dvc("repro", "--single-item", "train")
    assert "going on from epoch 60" in output
    assert "epoch 30/60" not in output
    assert project.contents("models/*", "reports/losses.csv") == before


def test_a_shorter_or_forced_run_trains_from_scratch(project: Project) -> None:
    before = project.outputs()
    assert "epoch 30/60" in project.dvc("repro", "--force", "--single-item", "train")
    assert project.outputs() == before
    project.set_params(train__max_epochs=40)
    output = run_stages(project.path, "train")
    assert "epoch 20/40" in output
    assert "going on" not in output


def test_a_loss_that_is_not_finite(project: Project) -> None:
    project.set_params(train__lr=1e30)
    output = project.dvc("repro", status=255)
    (line,) = (line for line in output.splitlines() if "error: training diverged" in line)
    assert "at epoch 10 train_loss is" in line
    assert "lower train.lr (it is 1e+30)" in line
    assert "Traceback" not in output
    assert not project.contents("models/*.pt", "reports/losses.csv", "reports/training.json")
