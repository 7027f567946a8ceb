"""What a kill can leave of DVC's own files, `make repro` puts right by itself."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from dvc.dvcfile import Lockfile
from dvc.lock import Lock
from dvc.repo import Repo

from classifier.io.user_error import UserError
from commands import mend
from commands.mend import is_whole
from tests.conftest import MAKE_REPRO, Project
from tests.readme import read
from tests.test_resume import LONG_TRAINING, start, wait_for_evaluations


def mended(project: Project) -> str:
    """Return what `python -m commands.mend` prints; it must end well."""
    printed = StringIO()
    with chdir(project.path), redirect_stdout(printed):
        mend.main()
    return printed.getvalue()


def refusal(project: Project) -> str:
    """Return why it cannot put things right."""
    with pytest.raises(UserError) as error:
        mended(project)
    return str(error.value)


def state(project: Project) -> dict[str, tuple[bytes, int]]:
    files = [project.path / "dvc.lock", *(project.path / ".dvc/tmp").rglob("*")]
    return {
        str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files if file.is_file()
    }


@pytest.mark.parametrize("name", ["project", "fresh_clone"])
def test_nothing_wrong_nothing_said_nothing_changed(
    request: pytest.FixtureRequest, name: str
) -> None:
    project: Project = request.getfixturevalue(name)
    before = state(project)
    assert mended(project) == ""
    assert state(project) == before
    assert (project.path / ".dvc/tmp").exists() == (name == "project")


# dvc.lock


def test_what_dvc_cannot_read_is_not_taken_for_whole(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    file = project.path / "dvc.lock"
    whole = file.read_bytes()
    assert is_whole(whole)
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    # An entry has four lines: at every eleventh, each kind of them has its turn.
    left_to_dvc = [cut for cut in ends[:-1:11] if is_whole(whole[:cut])]
    assert len(left_to_dvc) > 15
    with Repo() as repo:
        for cut in left_to_dvc:
            # DVC reads it, and runs or takes from its cache what is not in it.
            file.write_bytes(whole[:cut])
            Lockfile(repo, str(file)).load()
    assert not any(is_whole(whole[:cut]) for cut in range(0, len(whole), 311) if cut not in ends)


CUTS: dict[str, Callable[[bytes], int]] = {
    "at its beginning": lambda _: 0,
    "behind the name of a stage": lambda lock: lock.index(b"    cmd: python -m stages.train"),
    # DVC can read these two. With one it fails later, with the other it keeps the wrong size.
    "in the kind of a hash": lambda lock: lock.index(b"hash: md5") + len("hash: m"),
    "in the last size": lambda lock: len(lock) - 2,
    "before the last size": lambda lock: lock.rindex(b"      size:"),
    "before its last line end": lambda lock: len(lock) - 1,
}


def test_a_dvc_lock_cut_off_is_again_that_of_git(ahead_of_git: Project) -> None:
    expected = ahead_of_git.outputs()
    file = ahead_of_git.path / "dvc.lock"
    said = "mend: dvc.lock, cut off by a kill, is restored from git's HEAD\n"
    in_git = ahead_of_git.run("git", "show", "HEAD:dvc.lock").stdout
    for where, cut in CUTS.items():
        file.write_bytes(expected["dvc.lock"][: cut(expected["dvc.lock"])])
        assert mended(ahead_of_git) == said, where
        assert file.read_text() == in_git, where
    # What follows is the same for all of them.
    file.write_bytes(b"")
    output = ahead_of_git.run(*MAKE_REPRO).stdout
    assert output.startswith(f"{said}dvc repro\n")
    assert "Running stage" not in output
    assert ahead_of_git.outputs() == expected


def test_what_git_says_has_run_is_not_run_again(project: Project) -> None:
    # So it is after `dvc pull`, which brings the models and not the cache of runs.
    shutil.rmtree(project.path / ".dvc/cache/runs")
    (project.path / "dvc.lock").write_bytes(b"")
    assert "Running stage" not in project.run(*MAKE_REPRO).stdout


def test_where_lines_are_missing_dvc_makes_them_good(ahead_of_git: Project) -> None:
    expected = ahead_of_git.outputs()
    whole = expected["dvc.lock"]
    for line in (b"  evaluate:\n", b"    - path: models/"):
        (ahead_of_git.path / "dvc.lock").write_bytes(whole[: whole.rindex(b"\n" + line) + 1])
        output = ahead_of_git.run(*MAKE_REPRO).stdout
        assert output.startswith("dvc repro\n")
        assert "Running stage" not in output
        assert ahead_of_git.outputs() == expected


def test_where_git_has_no_good_dvc_lock_it_is_removed(project: Project) -> None:
    expected = project.outputs()
    file = project.path / "dvc.lock"
    said = "mend: removed dvc.lock, cut off by a kill; git's HEAD has no good one\n"
    file.write_bytes(expected["dvc.lock"][:1000])
    project.commit("a part of dvc.lock")
    assert mended(project) == said
    project.commit("no dvc.lock")
    file.write_bytes(expected["dvc.lock"][:1000])
    assert mended(project) == said
    assert project.repro() == []
    assert project.outputs() == expected


def test_a_merge_conflict_is_left_to_people(project: Project, tmp_path: Path) -> None:
    file = project.path / "dvc.lock"
    project.run("git", "checkout", "-q", "-b", "other")
    project.set_params(plot__dpi=60)
    file.write_bytes(file.read_bytes().replace(b"dpi: 150", b"dpi: 60"))
    project.commit("another resolution")
    project.run("git", "checkout", "-q", "main")
    project.set_params(plot__dpi=70)
    assert project.repro() == ["plot"]
    project.commit("yet another one")
    project.run("git", "merge", "other", status=1)
    before = file.read_bytes()
    assert b"<<<<<<< " in before
    assert refusal(project) == (
        "dvc.lock has a merge conflict; take either side with "
        "git checkout --ours dvc.lock or git checkout --theirs dvc.lock, then make repro"
    )
    assert file.read_bytes() == before

    outputs = []
    for side in ("--ours", "--theirs"):
        resolved = project.copy(tmp_path / side)
        resolved.run("git", "checkout", "--ours", "params.yaml")
        resolved.run("git", "checkout", side, "dvc.lock")
        resolved.run(*MAKE_REPRO)
        outputs.append(resolved.outputs())
    assert outputs[0] == outputs[1]

    # Then there is no side to take any more.
    project.run("git", "add", "dvc.lock")
    assert "is restored from git's HEAD" in mended(project)


def test_a_dvc_lock_that_is_being_written_is_left_alone(project: Project) -> None:
    file = project.path / "dvc.lock"
    file.write_bytes(b"")
    with Lock(str(project.path / ".dvc/tmp/lock")):
        line = refusal(project)
    assert line == ".dvc/tmp/lock is held: let the other process end, then make repro"
    assert file.read_bytes() == b""


def test_several_at_once(project: Project) -> None:
    file = project.path / "dvc.lock"
    expected = file.read_bytes()
    file.write_bytes(b"")
    (project.path / ".dvc/tmp/rwlock").write_bytes(b"")
    for number in range(20):
        (project.path / f".dvc/cache/runs/ab/{number}").mkdir(parents=True)
    processes = [start(project, sys.executable, "-m", "commands.mend") for _ in range(3)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], printed
    # Each says what it has put right, and nothing is put right twice.
    assert len("".join(printed).splitlines()) == 22
    assert file.read_bytes() == expected


# rwlock


def rwlock_of(project: Project, pid: int) -> bytes:
    info = {"pid": pid, "cmd": "dvc repro"}
    outputs = [str(project.path / name) for name in ("data/prepared/schema.json", "metrics.json")]
    written = {"write": dict.fromkeys(outputs, info), "read": {outputs[0]: [info]}}
    return json.dumps(written).encode()


def test_a_rwlock_that_dvc_cannot_read(project: Project) -> None:
    whole = rwlock_of(project, os.getpid())
    contents = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "not UTF-8": b"\xff" * 9,
        "another format": b'{"write": [], "read": {}}',
    }
    file = project.path / ".dvc/tmp/rwlock"
    said = "mend: removed .dvc/tmp/rwlock, cut off by a kill\n"
    for name, content in contents.items():
        file.write_bytes(content)
        assert mended(project) == said, name
        assert not file.exists(), name
    file.write_bytes(b"")
    output = project.run(*MAKE_REPRO).stdout
    assert output.startswith(f"{said}dvc repro\n")
    assert "Running stage" not in output


def test_a_rwlock_of_a_process_that_is_gone(project: Project) -> None:
    ended = start(project, "true")
    ended.wait()
    file = project.path / ".dvc/tmp/rwlock"
    # Another process may have its number by now.
    for pid in (ended.pid, os.getpid()):
        file.write_bytes(rwlock_of(project, pid))
        assert mended(project) == "mend: removed .dvc/tmp/rwlock, whose processes are gone\n"
        assert not file.exists()


def test_while_dvc_is_at_work_what_may_be_its_own_stays(project: Project, tmp_path: Path) -> None:
    elsewhere = project.copy(tmp_path / "elsewhere")
    project.set_params(**LONG_TRAINING)
    dvc = start(project, "dvc", "repro")
    wait_for_evaluations(project, dvc)
    # It lives, and does not come to its end before this test does.
    os.killpg(dvc.pid, signal.SIGSTOP)
    unfinished = project.path / ".dvc/cache/runs/ab/abc/.entry.tmp"
    unfinished.parent.mkdir(parents=True)
    unfinished.touch()
    experiment = project.path / ".dvc/tmp/exps/run/workspace/workspace.run"
    experiment.parent.mkdir(parents=True)
    experiment.touch()
    params = project.path / "params.yaml"
    text = params.read_text()
    params.write_bytes(b"")
    before = state(project)
    assert b'"pid": %d' % dvc.pid in (project.path / ".dvc/tmp/rwlock").read_bytes()
    assert mended(project) == ""
    assert state(project) == before
    assert params.read_bytes() == b""
    params.write_text(text)

    for folder in (project.path, elsewhere.path):
        (folder / ".dvc/tmp/rwlock").write_bytes(b"")
    line = refusal(project)
    assert line.startswith(f".dvc/tmp/rwlock cannot be read, and process {dvc.pid} (")
    assert line.endswith(f"/dvc repro) is at work: let it end, or kill {dvc.pid}; then make repro")
    assert (project.path / ".dvc/tmp/rwlock").read_bytes() == b""
    # It is no business of another project's, whatever numbers are in there.
    assert "cut off by a kill" in mended(elsewhere)
    (elsewhere.path / ".dvc/tmp/rwlock").write_bytes(rwlock_of(elsewhere, dvc.pid))
    assert "whose processes are gone" in mended(elsewhere)

    os.killpg(dvc.pid, signal.SIGKILL)
    dvc.wait()
    assert len(mended(project).splitlines()) == 3
    project.set_params(train__max_epochs=20, train__eval_every=10)
    assert "Running stage 'train'" in project.dvc("repro", "train")


# What else DVC writes


def test_what_a_killed_experiment_leaves(project: Project) -> None:
    for name in ("rwlock", "run/workspace/workspace.run"):
        file = project.path / ".dvc/tmp/exps" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"git_url": "file:')
        assert mended(project) == f"mend: removed .dvc/tmp/exps/{name}, cut off by a kill\n"
        assert not file.exists()

    for name in ("index.lock", "HEAD.lock"):
        lock = project.path / ".git" / name
        lock.touch()
        with subprocess.Popen(
            ["git", "cat-file", "--batch"], cwd=project.path, stdin=subprocess.PIPE
        ) as git:
            assert mended(project) == ""
            assert lock.exists()
            git.kill()
        assert mended(project) == f"mend: removed .git/{name}, which a kill has left\n"
        assert not lock.exists()

    # What DVC had staged.
    params = project.path / "params.yaml"
    expected = params.read_bytes()
    arguments = project.path / ".dvc/tmp/repro.dat"
    arguments.touch()
    project.set_params(train__lr=0.4)
    project.run("git", "add", "--force", "params.yaml", str(arguments))
    arguments.unlink()
    params.write_bytes(expected)
    assert mended(project) == "mend: removed from git's index what a kill of dvc exp run has left\n"
    assert "Ran experiment" in project.dvc("exp", "run", "-S", "plot.log_scale=true")


def test_an_experiment_that_is_killed_leaves_git_on_no_branch(project: Project) -> None:
    process = start(project, "dvc", "exp", "run", "-S", "plot.dpi=60")
    assert process.stdout is not None
    next(line for line in process.stdout if "python -m stages.plot" in line)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.run("git", "symbolic-ref", "HEAD", status=128)
    assert "Running stage 'plot'" in project.run(*MAKE_REPRO).stdout
    (switch,) = re.findall("`(git switch .*?)`", read("docs/resuming.md"))
    project.run(*switch.split())
    assert project.run("git", "symbolic-ref", "HEAD").stdout == "refs/heads/main\n"
    assert project.repro() == []


def test_an_entry_of_the_run_cache_that_a_kill_has_left_unfinished(project: Project) -> None:
    expected = project.outputs()
    for left in ("a part", "nothing"):
        (entry,) = (
            path
            for path in (project.path / ".dvc/cache/runs").glob("*/*/*")
            if "stages.prepare" in path.read_text()
        )
        if left == "a part":
            # So it is when an entry is longer than what is written at once.
            text = entry.read_text()
            entry.with_name(".entry.tmp").write_text(text[: text.index("outs:")])
        entry.unlink()
        (project.path / "dvc.lock").unlink()
        folder = entry.parent.relative_to(project.path)
        assert mended(project) == f"mend: removed from {folder} what a kill has left unfinished\n"
        assert project.repro() == ["prepare"]
        assert project.outputs() == expected


def test_parameters_that_a_kill_has_lost(project: Project) -> None:
    params = project.path / "params.yaml"
    expected = params.read_bytes()
    params.write_bytes(b"")
    for lose in (Path.touch, Path.unlink):
        lose(params)
        assert mended(project) == (
            "mend: params.yaml, empty or gone after a kill, is restored from git's HEAD; "
            "what was not committed may be in git stash list\n"
        )
        assert params.read_bytes() == expected
    # What somebody has written is not touched, though DVC cannot read it either.
    params.write_bytes(expected[:1000])
    assert mended(project) == ""
    assert params.read_bytes() == expected[:1000]
