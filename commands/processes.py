"""Processes that a command asks, or waits for."""

import subprocess
from collections.abc import Set as AbstractSet
from pathlib import Path

import psutil


def git(*arguments: str | Path) -> bytes:
    """Return what git prints: nothing if it fails."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603


def at_work(*programs: str) -> psutil.Process | None:
    """Return a process of one of these programs in this folder, if there is one."""
    names = set(programs)
    return next((it for it in psutil.process_iter() if works_here(it, names)), None)


def dvc_may_work_here(pid: int) -> bool:
    """Say whether this is the number of a process of DVC, in this folder as far as can be seen."""
    try:
        return works_here(psutil.Process(pid), {"dvc"}, if_hidden=True)
    except psutil.NoSuchProcess:
        return False


def works_here(
    process: psutil.Process, programs: AbstractSet[str], *, if_hidden: bool = False
) -> bool:
    """Say whether a process is one of these programs in this folder.

    In which folder somebody else's process works is hidden; then the answer is `if_hidden`.
    """
    try:
        # `dvc`, `python .venv/bin/dvc` or `python -m dvc`.
        if not any(Path(word).name in programs for word in process.cmdline()[:3]):
            return False
        try:
            folder = process.cwd()
        except psutil.AccessDenied:
            return if_hidden
        return Path(folder).is_relative_to(Path.cwd())
    except psutil.Error:  # it has ended, is a zombie, or is hidden altogether
        return False


def in_words(process: psutil.Process) -> str:
    """Say which process is at work, and what to do."""
    command = " ".join(process.cmdline())
    return (
        f"process {process.pid} ({command}) is at work: let it end, or kill {process.pid}; then "
        "make repro"
    )
