"""A project as a user has it: a clone, the real dvc, real files and processes."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from tests.warm_start import start_server

# The same examples in each run; others: pytest --hypothesis-profile=default
settings.load_profile("ci")

REPOSITORY = Path(__file__).parent.parent

MAKE_REPRO = ("make", "--no-print-directory", "--assume-old=.venv/installed", "repro")
"""`make repro`, without an environment of its own: that of the tests is there. Where `make test`
started the tests, it would name its folder."""

# Small enough to take no time, long enough to have something to evaluate.
QUICK_TRAINING = {"train.max_epochs": 60, "train.eval_every": 10, "train.lr": 0.5}


def pytest_configure(config: pytest.Config) -> None:
    """Start what saves the processes of all tests their imports."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="warm-start-")
        os.environ["WARM_START"] = folder.name
        server = start_server(Path(folder.name))

        def stop() -> None:
            server.terminate()
            server.wait()
            folder.cleanup()

        config.add_cleanup(stop)


@dataclass(frozen=True)
class Project:
    """A clone of this repository in a temporary folder."""

    path: Path

    @property
    def env(self) -> dict[str, str]:
        """The surroundings of a user who has activated the virtual environment."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "dvc-site-cache"),
            "GIT_AUTHOR_NAME": "tester",
            "GIT_AUTHOR_EMAIL": "tester@example.com",
            "GIT_COMMITTER_NAME": "tester",
            "GIT_COMMITTER_EMAIL": "tester@example.com",
            "COLUMNS": "200",
            # DVC runs commands in it. Without it, in sh, which dies of a Ctrl-C that its child
            # has answered with a status of its own.
            "SHELL": "/bin/bash",
        }

    @property
    def warm_env(self) -> dict[str, str]:
        """The same for processes that need not do all by themselves: see `tests.warm_start`."""
        warm = os.environ.get("WARM_START")
        env = self.env
        return env if warm is None else {**env, "PATH": f"{warm}{os.pathsep}{env['PATH']}"}

    def run(self, *command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; its exit status must be `status`."""
        program = "python" if command[0] == sys.executable else command[0]
        result = subprocess.run(
            [program, *command[1:]],
            cwd=self.path,
            env=self.warm_env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == status, f"{command}:\n{result.stdout}\n{result.stderr}"
        return result

    def dvc(self, *arguments: str, status: int = 0) -> str:
        """Run dvc; return what it and the stages printed on both streams."""
        result = self.run("dvc", *arguments, status=status)
        return result.stdout + result.stderr

    def stage(self, name: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run one stage without dvc."""
        return self.run(sys.executable, "-m", f"stages.{name}", status=status)

    def repro(self) -> list[str]:
        """Run `dvc repro`; return the names of the stages whose commands ran."""
        output = self.dvc("repro")
        return [line.split("'")[1] for line in output.splitlines() if "Running stage" in line]

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)

    def set_params(self, **values: object) -> None:
        """Set parameters; `train__lr=0.1` or `**{"train.lr": 0.1}` sets train.lr."""
        file = self.path / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for name, value in values.items():
            *sections, key = name.replace("__", ".").split(".")
            reduce(getitem, sections, params)[key] = value
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def contents(self, *patterns: str) -> dict[str, bytes]:
        """Return the bytes of the files that match, by name."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for pattern in patterns
            for path in sorted(self.path.glob(pattern))
        }

    def outputs(self) -> dict[str, bytes]:
        """Return the bytes of all that `dvc repro` writes."""
        files = self.contents(
            "data/prepared/*.*", "models/*.*", "reports/*.*", "*.json", "dvc.lock"
        )
        assert len(files) >= 11, sorted(files)
        return files

    def copy(self, path: Path) -> "Project":
        shutil.copytree(self.path, path)
        return Project(path)


def clone_working_tree(path: Path) -> Project:
    """Make a git repository of what is, or is about to be, committed here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        if (REPOSITORY / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, path / name)
    project = Project(path)
    project.run("git", "init", "-q", "-b", "main")
    project.commit("a clone")
    return project


def made_once(name: str, make: Callable[[Path], Project]) -> Project:
    """Return a project that the first process of the tests to ask for it makes, for all of them."""
    folder = Path(os.environ["WARM_START"]) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "project"
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder / "unfinished").path.rename(made)
    return Project(made)


@pytest.fixture(scope="session")
def _fresh_clone() -> Project:
    return made_once("fresh", clone_working_tree)


@pytest.fixture(scope="session")
def _trained(_fresh_clone: Project) -> Project:
    def make(path: Path) -> Project:
        project = _fresh_clone.copy(path)
        project.set_params(**QUICK_TRAINING)
        project.repro()
        project.commit("quick training")
        return project

    return made_once("trained", make)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fresh_clone(_fresh_clone: Project, tmp_path: Path) -> Project:
    """A clone in which nothing has run yet."""
    return _fresh_clone.copy(tmp_path / "project")


@pytest.fixture
def project(_trained: Project, tmp_path: Path) -> Project:
    """A clone with quick training parameters in which `dvc repro` has run."""
    return _trained.copy(tmp_path / "project")


@pytest.fixture
def as_made(_fresh_clone: Project, tmp_path: Path) -> Project:
    """A clone as `make repro` leaves it. It takes long: for the tests of the group "docs"."""

    def make(path: Path) -> Project:
        project = _fresh_clone.copy(path)
        project.run(*MAKE_REPRO)
        return project

    return made_once("as made", make).copy(tmp_path / "project")


@pytest.fixture
def ahead_of_git(_trained: Project, tmp_path: Path) -> Project:
    """A project in which `dvc repro` has run since, with another train.lr: not yet committed."""

    def make(path: Path) -> Project:
        project = _trained.copy(path)
        project.set_params(train__lr=0.1)
        project.repro()
        return project

    return made_once("ahead of git", make).copy(tmp_path / "project")
