"""A full disk, or a folder that may not be written to: one line, and nothing half-written.

These are some writes of each stage; `python -m tests.faults` lets every one fail.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import (
    FORBIDDEN,
    FULL,
    FULL_FOR_A_MOMENT,
    FULL_IN_A_WRITE,
    PROGRAMS,
    READ_ONLY,
    Expected,
    Mode,
    Outputs,
    complaints,
    complaints_of_the_next_run,
    python_whose_writes_fail,
    run,
)

pytestmark = [
    pytest.mark.xdist_group("faults"),
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("gcc") is None,
        reason="a library that makes writes fail takes Linux and gcc",
    ),
]

COMMANDS = {program.command: program for program in PROGRAMS}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with python_whose_writes_fail(tmp_path_factory.mktemp("python")) as python:
        yield python


def check(
    project: Project, python: Path, command: str, new: Outputs, faults: list[tuple[Mode, str]]
) -> None:
    """Let a program run into one fault after the other, and in the end into none.

    A fault is how writes fail, and from where on: a part of what is called and for which file.
    """
    program = COMMANDS[command]
    old = program.written(project)
    for mode, first in faults:
        done = run(program, project, python, mode, first)
        found = list(complaints(program, project, mode, done, Expected(old, new)))
        assert found == [], (mode.name, first)
    assert list(complaints_of_the_next_run(program, project, python, new)) == []


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        (
            "stages.prepare",
            [
                (FULL, "write data/prepared/val.parquet"),
                (READ_ONLY, "fsync data/prepared/schema.json"),
                (FULL_FOR_A_MOMENT, "fsync reports"),
            ],
        ),
        (
            "stages.train",
            [
                (READ_ONLY, "open .training/lock"),
                (FULL_IN_A_WRITE, "write reports/losses.csv"),
                (FULL_IN_A_WRITE, "write models/checkpoint.pt"),
            ],
        ),
        ("stages.evaluate", [(FORBIDDEN, "rename reports/reliability.csv")]),
        ("stages.plot", [(FORBIDDEN, "open reports/loss.png"), (FULL, "close reports/confusion")]),
    ],
)
def test_a_stage(
    project: Project, python: Path, command: str, faults: list[tuple[Mode, str]]
) -> None:
    new = COMMANDS[command].written(project)
    # So does DVC, before it runs a stage.
    for name in new:
        (project.path / name).unlink()
    check(project, python, command, new, faults)


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        ("commands.predict data/iris.csv -o out.parquet", [(FULL_FOR_A_MOMENT, "write")]),
        ("commands.start data/wine.csv target --force", [(READ_ONLY, "rename params.yaml")]),
    ],
)
def test_a_command(
    project: Project, python: Path, command: str, faults: list[tuple[Mode, str]]
) -> None:
    undisturbed = project.copy(project.path.parent / "undisturbed")
    undisturbed.run(sys.executable, "-m", *command.split())
    check(project, python, command, COMMANDS[command].written(undisturbed), faults)
