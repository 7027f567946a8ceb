"""What a `dvc exp run` that was killed leaves, and what stops the next one, or `dvc repro`."""

import json
from pathlib import Path

from classifier.io.files import write_bytes
from classifier.io.params import PARAMS_FILE
from commands.processes import at_work, git

RUN_FILE = Path(".dvc/tmp/exps/run/workspace/workspace.run")
"""What `dvc exp run` is doing; the next one reads it before it writes its own."""
ARGUMENTS = Path(".dvc/tmp/repro.dat")
"""In git's index for a moment, with what else DVC is about to stash."""
GIT_LOCKS = ("index.lock", "HEAD.lock", "refs/**/*.lock")
"""In `.git` while something, such as `dvc exp run`, writes what they are named after."""


def mend_experiment() -> None:
    mend_run_file()
    mend_params()
    remove_git_locks()
    mend_index()


def mend_run_file() -> None:
    try:
        json.loads(RUN_FILE.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        if not at_work("dvc"):
            RUN_FILE.unlink(missing_ok=True)
            print(f"mend: removed {RUN_FILE}, cut off by a kill")


def mend_params() -> None:
    """Put back git's version of a params.yaml that is empty or not there.

    So it is for a moment while `dvc exp run -S` puts a parameter into it. One that is cut off
    elsewhere is not to be told from one that somebody is about to change.
    """
    if (PARAMS_FILE.exists() and PARAMS_FILE.stat().st_size) or at_work("dvc"):
        return
    if committed := git("show", f"HEAD:./{PARAMS_FILE}"):
        write_bytes(PARAMS_FILE, committed)
        print(
            f"mend: {PARAMS_FILE}, empty or gone after a kill, is restored from git's HEAD; what "
            "was not committed may be in git stash list"
        )


def remove_git_locks() -> None:
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
