"""A full disk, or a folder that may not be written to: one line, and nothing half-written.

Some writes of each program fail, one after the other; with EVERY_WRITE in the environment, each of
them, in all ways.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.warm_start import start_server

EVERY_WRITE = "EVERY_WRITE" in os.environ

pytestmark = [
    *([] if EVERY_WRITE else [pytest.mark.xdist_group("faults")]),
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("gcc") is None,
        reason="a library that makes writes fail takes Linux and gcc",
    ),
]

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
    faults: tuple[tuple[Mode, str], ...] = ()
    """How writes fail, and from where on: a part of what is called and for which file."""
    changed: dict[str, object] = field(default_factory=dict)
    """Parameters for this."""

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
        (
            (FULL, "write data/prepared/val.parquet"),
            (READ_ONLY, "fsync data/prepared/schema.json"),
            (FULL_FOR_A_MOMENT, "fsync reports"),
        ),
    ),
    Program(
        "stages.train",
        ("models/[!.]*", "reports/losses.csv", "reports/training.json"),
        (
            (FULL_FOR_A_MOMENT, "write .training/"),
            (READ_ONLY, "open .training/lock"),
            (FULL_IN_A_WRITE, "write reports/losses.csv"),
            (FULL_IN_A_WRITE, "write models/checkpoint.pt"),
        ),
        # Few epochs, and a state saved after each of them.
        {"train.max_epochs": 4, "train.eval_every": 2, "train.save_every_seconds": 0},
    ),
    Program("stages.baseline", ("data/baseline/[!.]*", "reports/baseline.json")),
    Program(
        "stages.evaluate",
        ("metrics.json", "reports/predictions.csv", "reports/reliability.csv"),
        ((FORBIDDEN, "rename reports/reliability.csv"),),
    ),
    Program(
        "stages.plot",
        ("reports/*.png",),
        ((FORBIDDEN, "open reports/loss.png"), (FULL, "close reports/confusion")),
    ),
    Program("commands.predict data/iris.csv -o out.csv", ("out.csv",)),
    Program("commands.predict data/iris.csv -o out.csv.gz", ("out.csv.gz",)),
    Program(
        "commands.predict data/iris.csv -o out.parquet",
        ("out.parquet",),
        ((FULL_FOR_A_MOMENT, "write"),),
    ),
    Program(
        "commands.start data/wine.csv target --force",
        ("params.yaml",),
        ((READ_ONLY, "rename params.yaml"),),
    ),
]


WITHOUT_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Where that cannot be written, Python does without."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python whose writes may be told to fail."""
    folder = tmp_path_factory.mktemp("python")
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


def complaints(
    program: Program, project: Project, mode: Mode, done: Run, *, old: Outputs, new: Outputs
) -> Iterator[str]:
    """Say what is wrong after a run in which writes have failed: outputs are old or new ones."""
    after = program.written(project)
    fatal = [call for call in done.failed if not call.may_fail]
    if not done.failed:
        yield "no write has failed"
    if "Traceback" in done.stdout + done.stderr:
        yield f"a traceback that ends with {done.stderr.splitlines()[-1]}"
    elif fatal:
        yield from complaints_of_the_message(program, mode, fatal[0], done)
    else:
        if done.status != 0 or after != new:
            yield f"status {done.status} and other outputs, though only a state was not kept"
        states = [call for call in done.failed if call.path != ".training/lock"]
        if states and "cannot be saved" not in done.stdout:
            yield "no warning that a state was not kept"
    # What cannot be removed stays until the next run, as after a kill.
    stays = {call.path for call in done.failed if call.name == "remove"}
    for name, content in after.items():
        if name not in stays and content not in (old.get(name), new.get(name)):
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
    paths = (str(path.relative_to(project.path)) for path in project.path.rglob("*.tmp"))
    return [name for name in paths if not name.startswith((".git/", ".dvc/"))]


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


@pytest.mark.parametrize(
    "program",
    [program for program in PROGRAMS if program.faults or EVERY_WRITE],
    ids=lambda program: program.command,
)
def test_writes_that_fail(project: Project, python: Path, tmp_path: Path, program: Program) -> None:
    project.set_params(**program.changed)
    for name in {*program.outputs, *program.written(project)}:
        if "*" not in name and name != "params.yaml":
            (project.path / name).write_text("an older one")
    undisturbed = project.copy(tmp_path / "undisturbed")
    done = run(program, undisturbed, python)
    assert done.status == 0, done.stderr
    old, new = program.written(project), program.written(undisturbed)
    trials: list[Sequence[tuple[Mode, int | str]]] = [program.faults]
    if EVERY_WRITE:
        trials = [[(mode, number)] for mode in MODES for number in mode.numbers(done.calls)]
    found: list[tuple[object, ...]] = []
    for faults in trials:
        disturbed = project.copy(tmp_path / "disturbed")
        for mode, first in faults:
            done = run(program, disturbed, python, mode, first)
            complained = complaints(program, disturbed, mode, done, old=old, new=new)
            found += [(mode.name, first, complaint) for complaint in complained]
        found += [
            (faults, complaint)
            for complaint in complaints_of_the_next_run(program, disturbed, python, new)
        ]
        shutil.rmtree(disturbed.path)
    assert found == []
