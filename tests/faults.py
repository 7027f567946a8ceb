"""Let every write of every stage fail, one after the other, and look at what that leaves behind.

The long form, which needs Linux and gcc: python -m tests.faults
"""

import argparse
import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from tests.conftest import QUICK_TRAINING, Project, clone_working_tree
from tests.warm_start import start_server

Outputs = dict[str, bytes]

SOURCE = Path(__file__).with_name("failing_writes.c")


@dataclass(frozen=True)
class Call:
    """A line of the log of failing_writes.c."""

    kind: str
    name: str
    size: int
    failed: bool
    path: str

    @property
    def may_fail(self) -> bool:
        """Without a saved state training goes on, and the lock is of use only while it is open."""
        if self.path == ".training/lock":
            return self.name == "close"
        return self.path.startswith(".training")


@dataclass(frozen=True)
class Mode:
    """How writes fail."""

    name: str
    error: int
    kinds: str
    """Letters that failing_writes.c explains."""
    how_many: int = 0
    """Fail; 0: from the first one on, all do."""
    short: bool = False
    """Half of the first one is written."""

    def numbers(self, calls: list[Call]) -> list[int]:
        """Return the numbers of the calls that can be the first to fail."""
        return [
            number
            for number, call in enumerate(calls, start=1)
            if call.kind in self.kinds and (call.size > 1 or not self.short)
        ]


FULL = Mode("the disk is full", errno.ENOSPC, "cd")
FULL_IN_A_WRITE = Mode("the disk is full in the middle of a write", errno.ENOSPC, "cd", short=True)
FULL_FOR_A_MOMENT = Mode("the quota is used up for a moment", errno.EDQUOT, "cd", how_many=1)
READ_ONLY = Mode("the disk becomes read-only", errno.EROFS, "cdor")
FORBIDDEN = Mode("the folders may not be written to", errno.EACCES, "cr")
MODES = [FULL, FULL_IN_A_WRITE, FULL_FOR_A_MOMENT, READ_ONLY, FORBIDDEN]


@dataclass(frozen=True)
class Program:
    """Something that writes files."""

    command: str
    """What follows `python -m`."""
    outputs: tuple[str, ...]
    changed: dict[str, object] = field(default_factory=dict)
    """Parameters with which the outputs differ from those before."""

    @property
    def name(self) -> str:
        return self.command.split()[0].partition(".")[2]

    def written(self, project: Project) -> Outputs:
        """Return its outputs, as far as they are there."""
        found = project.contents(*self.outputs)
        return {name: content for name, content in found.items() if not name.endswith(".tmp")}


PROGRAMS = [
    Program(
        "stages.prepare",
        ("data/prepared/[!.]*", "reports/table.json"),
        {"prepare.seed": 1, "prepare.ignore": ["sepal_length", "sepal_width"]},
    ),
    Program(
        "stages.train",
        ("models/[!.]*", "reports/losses.csv", "reports/training.json"),
        # Few epochs, and a state saved after each of them.
        {"train.max_epochs": 4, "train.eval_every": 2, "train.save_every_seconds": 0},
    ),
    Program(
        "stages.baseline",
        ("data/baseline/[!.]*", "reports/baseline.json"),
        {"baseline.models": ["logistic_regression"]},
    ),
    Program(
        "stages.evaluate",
        ("metrics.json", "reports/predictions.csv", "reports/reliability.csv"),
        {"evaluate.confidence": 0.5},
    ),
    Program("stages.plot", ("reports/*.png",), {"plot.dpi": 60}),
    Program("commands.predict data/iris.csv -o out.csv", ("out.csv",)),
    Program("commands.predict data/iris.csv -o out.csv.gz", ("out.csv.gz",)),
    Program("commands.predict data/iris.csv -o out.parquet", ("out.parquet",)),
    Program("commands.start data/wine.csv target --force", ("params.yaml",)),
]


WITHOUT_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Where that cannot be written, Python does without."""


@contextmanager
def python_whose_writes_fail(folder: Path) -> Iterator[Path]:
    """Make a Python whose writes may be told to fail."""
    library = folder / "failing_writes.so"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    with start_server(folder, LD_PRELOAD=str(library), **WITHOUT_BYTECODE) as server:
        yield folder / "python"
        server.terminate()


@dataclass(frozen=True)
class Run:
    """What a program did."""

    status: int
    stdout: str
    stderr: str
    calls: list[Call]

    @property
    def failed(self) -> list[Call]:
        return [call for call in self.calls if call.failed]


def run(
    program: Program, project: Project, python: Path, mode: Mode = FULL, first: int | str = 0
) -> Run:
    """Run a program whose writes fail from one on.

    Parameters
    ----------
    first
        The number of the write, or a part of what is called and for which file; 0: none fails.

    """
    log = project.path.parent / f"{project.path.name}.writes"
    log.unlink(missing_ok=True)
    result = subprocess.run(
        [python, "-m", *program.command.split()],
        cwd=project.path,
        env={
            **project.env,
            **WITHOUT_BYTECODE,
            "WRITES_BELOW": str(project.path.resolve()),
            "WRITES_LOG": str(log),
            "FAILING_FROM": str(first),
            "FAILING_COUNT": str(mode.how_many),
            "FAILING_KINDS": mode.kinds,
            "FAILING_WITH": str(mode.error),
            "FAILING_SHORT": str(int(mode.short)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    calls = []
    for line in log.read_text().splitlines() if log.exists() else []:
        kind, name, size, outcome, path = line.split(" ", 4)
        calls.append(Call(kind, name, int(size), outcome == "2", path))
    return Run(result.returncode, result.stdout, result.stderr, calls)


@dataclass(frozen=True)
class Expected:
    """What may be in the outputs."""

    old: Outputs
    new: Outputs


def complaints(
    program: Program, project: Project, mode: Mode, done: Run, expected: Expected
) -> Iterator[str]:
    """Say what is wrong after a run in which writes have failed."""
    after = program.written(project)
    fatal = [call for call in done.failed if not call.may_fail]
    if not done.failed:
        yield "no write has failed"
    if "Traceback" in done.stdout + done.stderr:
        yield f"a traceback that ends with {done.stderr.splitlines()[-1]}"
    elif fatal:
        yield from complaints_of_the_message(program, mode, fatal[0], done)
    else:
        if done.status != 0 or after != expected.new:
            yield f"status {done.status} and other outputs, though only a state was not kept"
        states = [call for call in done.failed if call.path != ".training/lock"]
        if states and "cannot be saved" not in done.stdout:
            yield "no warning that a state was not kept"
    # What cannot be removed stays until the next run, as after a kill.
    stays = {call.path for call in done.failed if call.name == "remove"}
    for name, content in after.items():
        if name not in stays and content not in (expected.old.get(name), expected.new.get(name)):
            yield f"{name} is neither the old nor the new one"
    yield from (f"{name} is left" for name in temporary_files(project) if name not in stays)


def complaints_of_the_message(
    program: Program, mode: Mode, failed: Call, done: Run
) -> Iterator[str]:
    if done.status != 1:
        yield f"status {done.status}"
    reason = re.escape(os.strerror(mode.error))
    pattern = rf"{program.name}: error: (\S+) cannot be written: {reason}\n"
    message = re.fullmatch(pattern, done.stderr)
    # A folder that cannot be made or synced is not the file that was to be in it.
    path = "" if failed.path == "." else failed.path.removesuffix(".tmp")
    if message is None or not message[1].startswith(path):
        yield f"it says {done.stderr!r}, though {failed.name} {failed.path} has failed"


def temporary_files(project: Project) -> list[str]:
    return [name for name in files(project) if name.endswith(".tmp")]


def files(project: Project) -> Outputs:
    """Return the bytes of all files that a later run may read."""
    paths = {path: str(path.relative_to(project.path)) for path in project.path.rglob("*")}
    return {
        name: path.read_bytes()
        for path, name in paths.items()
        if path.is_file() and not re.match(r"\.git/|\.dvc/|\.training/lock$", name)
    }


def complaints_of_the_next_run(
    program: Program, project: Project, python: Path, new: Outputs
) -> Iterator[str]:
    """Run again, with room, and say what is wrong then."""
    done = run(program, project, python)
    after = program.written(project)
    if done.status != 0:
        yield f"the next run ends with status {done.status}: {done.stderr}"
    yield from (
        f"after the next run, {name} differs" for name in new if after.get(name) != new[name]
    )
    yield from (f"after the next run, {name} is left" for name in temporary_files(project))


class Trial:
    """A program that is ready to run, and to be run with failing writes."""

    def __init__(self, program: Program, base: Project, python: Path, folder: Path) -> None:
        self._program = program
        self._python = python
        self._folder = folder
        self._before = base.copy(folder / "before")
        self._before.set_params(**program.changed)
        for name in program.outputs:
            if name.startswith("out."):
                (self._before.path / name).write_text("an older one")
        undisturbed = self._before.copy(folder / "undisturbed")
        done = run(program, undisturbed, python)
        assert done.status == 0, done.stderr
        self.calls = done.calls
        """All that it writes."""
        self._expected = Expected(program.written(self._before), program.written(undisturbed))
        self._next_runs: dict[frozenset[tuple[str, bytes]], list[str]] = {}
        """What is wrong with the run after one that leaves these files: it goes by them alone."""

    def failures(self, mode: Mode) -> list[list[str]]:
        """Let each write fail; return what is wrong with each run."""
        numbers = mode.numbers(self.calls)
        with ThreadPoolExecutor(2) as two_at_a_time:
            return list(two_at_a_time.map(partial(self._complaints, mode), numbers))

    def _complaints(self, mode: Mode, number: int) -> list[str]:
        program, python = self._program, self._python
        project = self._before.copy(self._folder / f"{MODES.index(mode)} {number}")
        done = run(program, project, python, mode, number)
        found = list(complaints(program, project, mode, done, self._expected))
        left = frozenset(files(project).items())
        if left not in self._next_runs:
            self._next_runs[left] = list(
                complaints_of_the_next_run(program, project, python, self._expected.new)
            )
        shutil.rmtree(project.path)
        return found + self._next_runs[left]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the programs in whose commands this occurs")
    arguments = parser.parse_args()
    runs, failures = 0, 0
    with tempfile.TemporaryDirectory() as name, python_whose_writes_fail(Path(name)) as python:
        folder = Path(name).resolve()
        base = clone_working_tree(folder / "base")
        base.set_params(**QUICK_TRAINING)
        for stage in ("prepare", "train", "baseline", "evaluate", "plot"):
            base.stage(stage)
        for index, program in enumerate(PROGRAMS):
            if arguments.only not in program.command:
                continue
            trial = Trial(program, base, python, folder / str(index))
            print(f"{program.command}: {len(trial.calls)} writes", flush=True)
            for mode in MODES:
                found = trial.failures(mode)
                failed = sum(map(bool, found))
                print(f"  {mode.name}: {len(found)} runs, {failed} failures", flush=True)
                for complaint, count in Counter(chain.from_iterable(found)).items():
                    print(f"    {count} times: {complaint}", flush=True)
                runs, failures = runs + len(found), failures + failed
    print(f"{runs} runs with failing writes; {failures} failures")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
