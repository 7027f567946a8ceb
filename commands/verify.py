"""Run the pipeline of a commit anew, and compare all outputs with what git and dvc.lock say.

It runs in a temporary clone, without the cache, the saved states and the changes of this folder.
"""

import argparse
import hashlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from classifier.io.arithmetic import has_avx2
from classifier.io.files import write_bytes
from classifier.io.params import PARAMS_FILE
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.io.yaml_text import from_yaml

LOCK_FILE = "dvc.lock"
PAGE = Path("verification.md")
CACHE = Path(".dvc/cache/files/md5")


@dataclass(frozen=True)
class Verified:
    """An output of the commit beside that of the run."""

    path: str
    expected: str
    """The hash (MD5) in dvc.lock; of dvc.lock itself, that of the file in git."""
    found: str
    """The hash of what the run has written, or "-"."""
    difference: str | None
    """None if all are the same: the run's, dvc.lock's and git's."""


def main() -> None:
    # So that nothing goes on, or is left, without this process.
    for ending in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
        signal.signal(getattr(signal, ending), lambda number, _: sys.exit(128 + number))
    parser = argparse.ArgumentParser(prog="python -m commands.verify", description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD", help="default: the last one")
    name = parser.parse_args().commit
    commit = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").stdout.strip()
    if not commit:
        raise UserError(f"{name} is no commit of this repository")
    with tempfile.TemporaryDirectory() as folder:
        committed, run = Path(folder) / "committed", Path(folder) / "run"
        for clone in (committed, run):
            clone_of(commit, clone)
        lock, params = lock_of(committed, commit), params_of(committed, commit)
        warnings = list(what_to_know_first(committed, commit, params))
        print("\n".join([f"verifying {commit}", *warnings]), flush=True)
        run_anew(run, commit, str((params.get("prepare") or {}).get("data")))
        verified = list(compare(committed, run, lock))
    n_different = sum(each.difference is not None for each in verified)
    verdict = f"all {len(verified)} are the same"
    if n_different:
        verdict = f"{n_different} of {len(verified)} differ"
    width = max(len(each.path) for each in verified)
    print(*(f"{each.path:{width}}  {each.difference or 'same'}" for each in verified), sep="\n")
    print(verdict)
    write_bytes(PAGE, "\n".join(page(commit, warnings, verified, verdict)).encode())
    print(f"a page for whoever wants to see it: {PAGE}")
    sys.exit(n_different > 0)


def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["git", *arguments]
    return subprocess.run(  # noqa: S603 (no shell)
        command, capture_output=True, text=True, errors="replace", check=False
    )


def last_line(said: str) -> str:
    return (said.strip().splitlines() or ["?"])[-1]


def clone_of(commit: str, clone: Path) -> None:
    """Clone the commit of this folder; raise a `UserError` where that fails."""
    for arguments in (
        ["clone", "--quiet", "--no-checkout", str(Path.cwd()), str(clone)],
        ["-C", str(clone), "checkout", "--quiet", "--detach", commit],
    ):
        result = git(*arguments)
        if result.returncode != 0:
            raise UserError(f"this folder cannot be cloned by git: {last_line(result.stderr)}")


def lock_of(committed: Path, commit: str) -> dict[str, str]:
    """Return the hashes of the outputs in the commit's dvc.lock, by path."""
    try:
        stages = from_yaml((committed / LOCK_FILE).read_text(encoding="utf-8"))["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        if all(out["path"] and out["md5"] for out in outs):
            return {out["path"]: out["md5"] for out in outs}
    except FileNotFoundError:
        raise UserError(f"{commit[:12]} has no {LOCK_FILE}: there is nothing to verify") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{LOCK_FILE} of {commit[:12]} is none that DVC has written")


def params_of(committed: Path, commit: str) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        params = from_yaml((committed / PARAMS_FILE).read_text(encoding="utf-8"))
        if isinstance(params, dict):
            return params
    raise UserError(f"{PARAMS_FILE} of {commit[:12]} cannot be read")


def what_to_know_first(committed: Path, commit: str, params: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each reason why outputs may differ, or are not looked at."""
    # It would otherwise write what it has seen of the files into git's index.
    status = git("--no-optional-locks", "status", "--porcelain").stdout
    changed = [line[3:] for line in status.splitlines()]
    if changed and commit == git("rev-parse", "HEAD").stdout.strip():
        yield f"not verified, as it is not committed: {', '.join(changed)}"
    others = list(other_packages(committed / "constraints.txt"))
    if others:
        yield f"other packages are installed than constraints.txt names: {', '.join(others)}"
    if not has_avx2():
        yield (
            f"this processor ({platform.machine()}) is none with x86-64 and AVX2: what such a one "
            "has computed differs in its last digits; see docs/same-bytes.md"
        )
    train = params.get("train")
    if isinstance(train, dict) and train.get("same_bytes") != "everywhere":
        yield (
            "train.same_bytes is not 'everywhere': on another processor than the one that wrote "
            "this commit, outputs may differ in their last digits"
        )


def other_packages(constraints: Path) -> Iterator[str]:
    text = constraints.read_text(encoding="utf-8") if constraints.exists() else ""
    for name, wanted in re.findall(r"^([^#=\n]+)==(\S+)", text, re.MULTILINE):
        with suppress(metadata.PackageNotFoundError):
            installed = metadata.version(name)
            # A build for a kind of device is the same version, as 2.13.0+cpu is.
            if installed.partition("+")[0] != wanted:
                yield f"{name} {installed} instead of {wanted}"


def run_anew(clone: Path, commit: str, table: str) -> None:
    """Run the whole pipeline of a clone; raise a `UserError` where that fails."""
    env = {
        **os.environ,
        # Each stage is started with the `python` that is on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_SITE_CACHE_DIR": str(clone.parent / "site"),
    }

    def dvc(
        *arguments: str, folder: Path = clone, is_shown: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 (no shell)
            [sys.executable, "-m", "dvc", *arguments],
            cwd=folder,
            env=env,
            stdout=sys.stderr if is_shown else subprocess.PIPE,
            stderr=None if is_shown else subprocess.PIPE,
            text=True,
            check=False,
        )

    local, is_here = Path(".dvc/config.local"), (clone / table).exists()
    if local.exists() and not is_here:  # how to reach the remote
        (clone / local).write_bytes(local.read_bytes())
    # Not what the commit, or a user's own settings, name.
    dvc("cache", "dir", "--local", str(clone.parent / "cache"))
    if not is_here:
        cache = dvc("cache", "dir", folder=Path.cwd()).stdout.strip()
        dvc("remote", "add", "--local", "the-cache-of-this-folder", cache)
        for where in (["--remote", "the-cache-of-this-folder"], []):
            pulled = dvc("pull", *where, table)
            if pulled.returncode == 0:
                break
        else:
            raise UserError(
                f"{table} is not in git, and DVC cannot bring it: {last_line(pulled.stderr)}"
            )
    # By force: where git has all outputs of a stage, it would be taken for done.
    if dvc("repro", "--force", is_shown=True).returncode != 0:
        raise UserError(f"the pipeline of {commit[:12]} does not run: see above")


def compare(committed: Path, run: Path, lock: dict[str, str]) -> Iterator[Verified]:
    """Yield each output that dvc.lock has the hash of, and dvc.lock itself.

    The folders have the files as the commit has them, and as the run has left them.
    """
    of_lock = md5((committed / LOCK_FILE).read_bytes())
    for path, expected in {**lock, LOCK_FILE: of_lock}.items():
        in_git, written = committed / path, run / path
        if not written.is_file():
            yield Verified(path, expected, "-", "the run has not written it")
            continue
        new, difference = written.read_bytes(), None
        if in_git.is_file() and in_git.read_bytes() != new:
            difference = f"git has another: {describe(in_git, written)}"
        elif md5(new) != expected:
            in_cache = CACHE / expected[:2] / expected[2:]
            is_there = in_cache.is_file()
            difference = describe(in_cache, written) if is_there else "dvc.lock has another hash"
        yield Verified(path, expected, md5(new), difference)


def describe(old: Path, new: Path) -> str:
    """Say in what two files differ: where the largest relative difference of two numbers is."""
    from classifier.differences import largest_difference  # noqa: PLC0415 (seldom: it imports torch)

    return largest_difference(old.read_bytes(), new.read_bytes(), new.suffix)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 (as DVC)


def page(commit: str, warnings: list[str], verified: list[Verified], verdict: str) -> Iterator[str]:
    """Yield the lines of a page in Markdown for somebody who was not there."""
    yield from [f"# Verification of {commit}", "", f"Of the outputs, **{verdict}**.", ""]
    yield from (f"- {warning}" for warning in warnings)
    yield from [
        "",
        f"Run with `python -m commands.verify {commit}`:",
        "a clone of this commit alone, in which `dvc repro --force` ran; the table is that of the",
        "commit, from git or, by its hash, from DVC's cache or remote, and nothing else is.",
        "",
        f"- processor: {processor()}",
        f"- system: {platform.platform()}, Python {platform.python_version()}",
        "",
        "| output | MD5 in dvc.lock | MD5 of the run | |",
        "|---|---|---|---|",
    ]
    for each in verified:
        said = (each.difference or "same").replace("|", "/")
        yield f"| {each.path} | `{each.expected}` | `{each.found}` | {said} |"
    installed = {each.name: each.version for each in metadata.distributions()}
    versions = ", ".join(f"{name} {installed[name]}" for name in sorted(installed, key=str.lower))
    yield from ["", f"Packages: {versions}", ""]


def processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    with user_errors_in_one_line("verify"):
        main()
