"""Put right what a kill has left of DVC's own files, which DVC then cannot read.

DVC writes them in place, so that a kill can hit a file when it is empty or half written. And a
`dvc exp run` that was killed leaves what stops the next one, or `dvc repro`.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import psutil
from dvc.lock import Lock, LockError
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from voluptuous import Invalid

from classifier.io.files import write_bytes
from classifier.io.params import PARAMS_FILE
from classifier.io.user_error import UserError, user_errors_in_one_line

DVC_LOCK = Path("dvc.lock")
REPO_LOCK = Path(".dvc/tmp/lock")
"""DVC holds it whenever it writes dvc.lock."""
RWLOCKS = (Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock"))
"""Which process reads or writes what: of all commands, and of `dvc exp`."""
RUN_CACHE = Path(".dvc/cache/runs")
EXPERIMENT = Path(".dvc/tmp/exps/run/workspace/workspace.run")
"""What `dvc exp run` is doing; the next one reads it before it writes its own."""
ARGUMENTS = Path(".dvc/tmp/repro.dat")
"""In git's index for a moment, with what else DVC is about to stash."""
GIT_LOCKS = ("index.lock", "HEAD.lock", "refs/**/*.lock")
"""In `.git` while something, such as `dvc exp run`, writes what they are named after."""


def main() -> None:
    for rwlock in RWLOCKS:
        mend_rwlock(rwlock)
    mend_dvc_lock()
    mend_run_cache()
    mend_experiment()
    mend_params()
    remove_git_locks()
    mend_index()


def mend_rwlock(rwlock: Path) -> None:
    """Remove a rwlock that DVC cannot read, or that only processes hold that are gone.

    DVC goes by the number of a process alone, which another one may have by now. Raises `UserError`
    if the lock cannot be read, and a process is at work that may be in it.
    """
    if what_is_wrong(rwlock) is None:
        return
    # DVC holds this one while it reads and writes the other.
    with held(rwlock.with_name("rwlock.lock")):
        wrong = what_is_wrong(rwlock)
        if wrong is None:
            return
        if wrong == "cut off by a kill" and (process := at_work("dvc")):
            raise UserError(f"{rwlock} cannot be read, and {in_words(process)}")
        rwlock.unlink()
        print(f"mend: removed {rwlock}, {wrong}")


def what_is_wrong(rwlock: Path) -> Literal["cut off by a kill", "whose processes are gone"] | None:
    try:
        lock = RWLOCK_SCHEMA(json.loads(rwlock.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, Invalid):
        return "cut off by a kill"
    pids = {info["pid"] for info in chain(lock["write"].values(), *lock["read"].values())}
    return "whose processes are gone" if pids and not any(map(dvc_may_work_here, pids)) else None


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold one of DVC's locks, which is free again when a process that held it was killed."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Lock(str(lock)):
            yield
    except LockError:
        process = at_work("dvc")
        raise UserError(
            f"{lock} is held: "
            + (in_words(process) if process else "let the other process end, then make repro")
        ) from None


def mend_dvc_lock() -> None:
    """Put back git's version of a dvc.lock that is cut off; remove it if git has no good one.

    Stages that have run since come from DVC's run cache, which has them before dvc.lock does.
    Raises `UserError` if it is not cut off, but has a merge conflict.
    """
    if not DVC_LOCK.exists() or is_whole(DVC_LOCK.read_bytes()):
        return
    with held(REPO_LOCK):
        text = DVC_LOCK.read_bytes()
        if is_whole(text):
            return
        if re.search(rb"^<{7} ", text, re.MULTILINE) and git("ls-files", "--unmerged", DVC_LOCK):
            raise UserError(
                f"{DVC_LOCK} has a merge conflict; take either side with git checkout --ours "
                f"{DVC_LOCK} or git checkout --theirs {DVC_LOCK}, then make repro"
            )
        committed = in_git(DVC_LOCK)
        if is_whole(committed):
            write_bytes(DVC_LOCK, committed)
            print(f"mend: {DVC_LOCK}, cut off by a kill, is restored from git's HEAD")
        else:
            DVC_LOCK.unlink()
            print(f"mend: removed {DVC_LOCK}, cut off by a kill; git's HEAD has no good one")


def is_whole(text: bytes) -> bool:
    """Say whether DVC can read a dvc.lock, and its end is there.

    DVC takes a part for the whole, and makes good what it lacks; but half a line can mislead it,
    and it would leave the last output without its size.
    """
    try:
        stages = COMPILED_LOCKFILE_SCHEMA(parse_yaml(text.decode(), DVC_LOCK))["stages"]
    except (KeyError, ValueError, YAMLFileCorruptedError, Invalid):
        return False
    outputs = [output for stage in stages.values() for output in stage.get("outs", [])]
    return text.endswith(b"\n") and all("size" in output for output in outputs)


def mend_run_cache() -> None:
    """Remove what was to become entries, and folders that have none.

    DVC takes the newest file for an entry, whatever its name, and fails if there is none. What is
    there while no DVC is at work is nobody's any more.
    """
    for folder in RUN_CACHE.glob("*/*/"):
        with suppress(FileNotFoundError):  # another `mend` was quicker
            files = list(folder.iterdir())
            unfinished = [file for file in files if file.suffix == ".tmp"]
            if (files and not unfinished) or at_work("dvc"):
                continue
            for file in unfinished:
                file.unlink()
            if files == unfinished:
                folder.rmdir()
            print(f"mend: removed from {folder} what a kill has left unfinished")


def mend_experiment() -> None:
    """Remove the file of an experiment that DVC cannot read."""
    try:
        json.loads(EXPERIMENT.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        if not at_work("dvc"):
            EXPERIMENT.unlink(missing_ok=True)
            print(f"mend: removed {EXPERIMENT}, cut off by a kill")


def mend_params() -> None:
    """Put back git's version of a params.yaml that is empty or not there.

    So it is for a moment while `dvc exp run -S` puts a parameter into it. One that is cut off
    elsewhere is not to be told from one that somebody is about to change.
    """
    if (PARAMS_FILE.exists() and PARAMS_FILE.stat().st_size) or at_work("dvc"):
        return
    if committed := in_git(PARAMS_FILE):
        write_bytes(PARAMS_FILE, committed)
        print(
            f"mend: {PARAMS_FILE}, empty or gone after a kill, is restored from git's HEAD; what "
            "was not committed may be in git stash list"
        )


def remove_git_locks() -> None:
    """Remove git's locks that no process holds."""
    locks = [lock for pattern in GIT_LOCKS for lock in Path(".git").glob(pattern)]
    if locks and not at_work("dvc", "git"):
        for lock in locks:
            lock.unlink(missing_ok=True)
            print(f"mend: removed {lock}, which a kill has left")


def mend_index() -> None:
    """Unstage what DVC has staged; what people had staged before, DVC has put into the stash."""
    if git("ls-files", ARGUMENTS) and not at_work("dvc", "git"):
        git("reset", "--quiet")
        print("mend: removed from git's index what a kill of dvc exp run has left")


def git(*arguments: str | Path) -> bytes:
    """Return what git prints: nothing if it fails."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603


def in_git(path: Path) -> bytes:
    """Return what git's HEAD has for a file: nothing if it has none."""
    return git("show", f"HEAD:./{path}")


Process = dict[str, Any]
"""What psutil says of a process: those of `ATTRIBUTES`, None where that is hidden."""

ATTRIBUTES = ["pid", "cmdline", "cwd"]


def at_work(*programs: str) -> Process | None:
    """Return a process of one of these programs in this folder, if there is one."""
    found: Iterator[Process] = (each.info for each in psutil.process_iter(ATTRIBUTES))
    return next((each for each in found if each["cwd"] and works_here(each, *programs)), None)


def dvc_may_work_here(pid: int) -> bool:
    """Say whether this is the number of a process of DVC, in this folder as far as can be seen."""
    try:
        return works_here(psutil.Process(pid).as_dict(ATTRIBUTES), "dvc")
    except psutil.NoSuchProcess:
        return False


def works_here(process: Process, *programs: str) -> bool:
    """Say whether a process is one of these programs, in this folder or where it is hidden."""
    # `dvc`, `python .venv/bin/dvc` or `python -m dvc`.
    words, folder = process["cmdline"] or [], process["cwd"]
    is_one = any(Path(word).name in programs for word in words[:3])
    return is_one and (folder is None or Path(folder).is_relative_to(Path.cwd()))


def in_words(process: Process) -> str:
    """Say which process is at work, and what to do."""
    pid, command = process["pid"], " ".join(process["cmdline"])
    return f"process {pid} ({command}) is at work: let it end, or kill {pid}; then make repro"


if __name__ == "__main__":
    with user_errors_in_one_line("mend"):
        main()
