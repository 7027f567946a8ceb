"""A commit is verified by running it anew, and what was made up is found."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from classifier.io.arithmetic import ALWAYS, OF_NETWORKS
from classifier.training.replay import Recording
from classifier.training.side_by_side import Stack
from commands import verify
from tests.conftest import Project
from tests.readme import commands
from tests.test_folds import FOLDS, start
from tests.test_resume import make_params

INSTALLED = "--no-print-directory --assume-old=.venv/installed"
"""For make: the environment of the tests is there."""

FORGERIES = {
    "a score": ("metrics.json", rb'("accuracy": 0\.\d*)\d', rb"\g<1>0123"),
    "a last digit": ("metrics.json", rb'("log_loss": 0\.\d*)\d,', rb"\g<1>,"),
    "a losing epoch is left out": ("reports/losses.csv", rb"\n20,.*", b""),
    "a prediction": ("reports/predictions.csv", b"virginica,virginica", b"virginica,setosa"),
    "a blank": ("reports/importance.csv", rb"\n", rb" \n"),
    "a pixel": ("reports/loss.png", rb"(IDAT(?s:.){1000})(?s:.)", rb"\1x"),
    "the weights": ("dvc.lock", rb"(path: models/weights.pt\n.*\n +md5: )\w", rb"\1g"),
    "the page": ("dvc.lock", rb"(path: reports/report.html\n.*\n +md5: )\w", rb"\1g"),
    "code that was not run": ("dvc.lock", rb"(path: classifier/io\n.*\n +md5: )\w", rb"\1g"),
    "a parameter that was not used": ("dvc.lock", b"max_epochs: 60", b"max_epochs: 600"),
}
"""What is made up, by its name: a file, what is in it, and by what its first match is replaced."""


def test_what_is_made_up_is_found(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    # What the pipeline of the forged commit writes is what it has written before.
    run = project.copy(tmp_path / "run").path

    def differing() -> list[str]:
        lock = verify.lock_of(project.path, "HEAD")
        compared = verify.compare(project.path, run, lock)
        return [each.path for each in compared if each.difference]

    assert differing() == []
    for what, (name, pattern, by) in FORGERIES.items():
        file = project.path / name
        content = file.read_bytes()
        forged, n = re.subn(pattern, by, content, count=1)
        assert n == 1, what
        file.write_bytes(forged)
        assert differing() != [], what
        file.write_bytes(content)


def files_of(project: Project) -> dict[str, bytes]:
    paths = [path for path in project.path.rglob("*") if path.is_file()]
    return {str(path.relative_to(project.path)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_cuts_it_off_leaves_nothing_here(
    project: Project, tmp_path: Path, number: signal.Signals
) -> None:
    before = files_of(project)
    verifying = subprocess.Popen(
        [sys.executable, "-m", "commands.verify"],
        cwd=project.path,
        env=project.env | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert verifying.stderr is not None
    assert any("Running stage 'train'" in line for line in verifying.stderr)
    if number == signal.SIGTERM:
        verifying.send_signal(number)
    else:
        os.killpg(verifying.pid, number)
    assert "Traceback" not in verifying.stderr.read()
    assert verifying.wait() != 0
    assert files_of(project) == before
    if number != signal.SIGKILL:
        assert list(tmp_path.glob("tmp*")) == []


def test_a_commit_is_run_anew_and_nothing_else_is_touched(project: Project, tmp_path: Path) -> None:
    before = files_of(project)
    (project.path / "README.md").write_text("changed")
    (command,) = commands("docs/same-bytes.md", "The same bytes, and how to check them", block=0)
    result = project.run("sh", "-c", command.replace("verify", f"{INSTALLED} verify"))
    assert "not verified, as it is not committed: README.md" in result.stdout
    assert re.search(r"\nmodels/weights.pt +same\n", result.stdout)
    assert "\nall 33 are the same\n" in result.stdout
    page = (project.path / "verification.md").read_text()
    assert "Of the outputs, **all 33 are the same**." in page
    assert "| models/weights.pt |" in page
    after = files_of(project)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {
        "README.md",
        "verification.md",
    }

    # Of the table, git has the hash alone; a remote has it.
    project.run("git", "checkout", "-q", "README.md")
    project.run("git", "rm", "-q", "--cached", "data/iris.csv")
    project.dvc("remote", "add", "--default", "far", str(tmp_path / "far"))
    project.dvc("add", "data/iris.csv")
    project.dvc("push", "data/iris.csv.dvc")
    cached = verify.md5((project.path / "data/iris.csv").read_bytes())
    (project.path / ".dvc/cache/files/md5" / cached[:2] / cached[2:]).unlink()
    metrics = project.path / "metrics.json"
    truth = json.loads(metrics.read_text())["log_loss"]
    metrics.write_text(metrics.read_text().replace(f"{truth}", f"{truth * 0.9}", 1))
    project.commit("a better one")
    result = project.run(sys.executable, "-m", "commands.verify", "HEAD", status=1)
    assert "metrics.json" in result.stdout
    assert "git has another: log_loss[0] by 0.1 of itself" in result.stdout
    assert "1 of 33 differ" in result.stdout


def test_what_cannot_be_verified_gets_one_line(project: Project) -> None:
    def said(*arguments: str) -> str:
        result = project.run(sys.executable, "-m", "commands.verify", *arguments, status=1)
        assert result.stderr.count("\n") == 1
        return result.stderr

    assert said("nonsense") == "verify: error: nonsense is no commit of this repository\n"
    (project.path / "own.csv").write_text((project.path / "data/iris.csv").read_text())
    (project.path / ".git/info/exclude").write_text("own.csv\n")
    project.set_params(prepare__data="own.csv")
    project.commit("a table of my own")
    assert said().startswith("verify: error: own.csv is not in git, and DVC cannot bring it: ")
    (project.path / "dvc.lock").write_text("nonsense")
    project.commit("no lock")
    assert "is none that DVC has written" in said()
    (project.path / "dvc.lock").unlink()
    project.commit("not run")
    assert "has no dvc.lock: there is nothing to verify" in said()


@pytest.mark.parametrize("same_bytes", ["everywhere", "here"])
def test_the_arithmetic_is_settled_before_the_libraries_load(
    project: Project, same_bytes: str
) -> None:
    project.set_params(train__same_bytes=same_bytes)
    ours = {*ALWAYS, *OF_NETWORKS}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    if same_bytes == "here":
        env |= OF_NETWORKS  # as of a process of another folder
    for first in ("from stages import train", "from commands import search"):
        program = f"{first}; import os, torch; print(torch.backends.cpu.get_cpu_capability())"
        program += f"; print(sorted({ours} & os.environ.keys()))"
        result = subprocess.run(
            [sys.executable, "-c", program],
            cwd=project.path,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        capability, settings = result.stdout.splitlines()
        if same_bytes == "everywhere":
            assert capability == "AVX2"
        assert settings == str(sorted(ours if same_bytes == "everywhere" else ALWAYS))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_no_root_of_float32_is_left_in_a_step(optimizer: str) -> None:
    """That of MKL differs between processors, whatever it is told."""
    params = make_params(optimizer=optimizer, max_grad_norm=0.1, members=2, embedding="periodic")
    stack = Stack(start(params).runs, params, n_batches=1)
    rows = FOLDS[0].train
    features = rows.features[:9].expand(3, -1, -1)
    target, weight = rows.target[:9].expand(3, -1), torch.full((3, 9), 1 / 9)
    with Recording(features, target, weight) as recording:
        stack._one_step(features, target, weight)  # noqa: SLF001 (as it is recorded)
    operations = str(recording._graph)  # noqa: SLF001 (what was recorded)
    assert "bmm" in operations
    assert "aten.sqrt" not in operations
    assert "aten.pow" not in operations
