"""Run the pipeline of a commit anew, and compare all outputs with what git and dvc.lock say.

It runs in a temporary clone, without the cache, the saved states and the changes of this folder.
"""

import argparse
import hashlib
import os
import platform
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


@dataclass(frozen=True)
class Verified:
    """An output of the commit beside that of the run."""

    path: str
    expected: str
    """The hash (MD5) in dvc.lock; of dvc.lock itself, that of the file in git."""
    found: str | None
    """The hash of what the run has written, None where it has written nothing."""
    difference: str | None
    """None if all are the same: the run's, dvc.lock's and git's."""


def main() -> None:
    # So that nothing goes on, or is left, without this process.
    for ending in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
        signal.signal(getattr(signal, ending), lambda number, _: sys.exit(128 + number))
    parser = argparse.ArgumentParser(prog="python -m commands.verify", description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD", help="default: the last one")
    name = parser.parse_args().commit
    commit = git_text("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    if not commit:
        raise UserError(f"{name} is no commit of this repository")
    warnings = list(what_to_know_first(commit))
    print("\n".join([f"verifying {commit}", *warnings]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        run_anew(commit, clone)
        verified = list(compare(commit, clone))
    lines = in_a_table(verified)
    n_different = sum(each.difference is not None for each in verified)
    verdict = f"all {len(verified)} are the same"
    if n_different:
        verdict = f"{n_different} of {len(verified)} differ"
    print("\n".join([*lines, verdict]))
    write_bytes(PAGE, "\n".join(page(commit, warnings, verified, verdict)).encode())
    print(f"a page for whoever wants to see it: {PAGE}")
    sys.exit(n_different > 0)


def git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (no shell)


def git_text(*arguments: str) -> str:
    """Return what git prints; nothing if it fails."""
    result = git(*arguments)
    return result.stdout.decode(errors="replace") if result.returncode == 0 else ""


def in_commit(commit: str, path: str) -> bytes | None:
    """Return a file as the commit has it, or None."""
    result = git("show", f"{commit}:./{path}")
    return result.stdout if result.returncode == 0 else None


def lock_of(commit: str) -> dict[str, str]:
    """Return the hashes of the outputs in the commit's dvc.lock, by path."""
    text = in_commit(commit, LOCK_FILE)
    if text is None:
        raise UserError(f"{commit[:12]} has no {LOCK_FILE}: there is nothing to verify")
    with suppress(ValueError, KeyError, TypeError):
        stages = from_yaml(text.decode())["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        if all(out["path"] and out["md5"] for out in outs):
            return {out["path"]: out["md5"] for out in outs}
    raise UserError(f"{LOCK_FILE} of {commit[:12]} is none that DVC has written")


def params_of(commit: str) -> dict[str, Any]:
    with suppress(ValueError):
        params = from_yaml((in_commit(commit, str(PARAMS_FILE)) or b"").decode())
        if isinstance(params, dict):
            return params
    raise UserError(f"{PARAMS_FILE} of {commit[:12]} cannot be read")


def what_to_know_first(commit: str) -> Iterator[str]:
    """Yield a line for each reason why outputs may differ, or are not looked at."""
    lock_of(commit)
    # It would otherwise write what it has seen of the files into git's index.
    status = git_text("--no-optional-locks", "status", "--porcelain")
    changed = [line[3:] for line in status.splitlines()]
    if changed and commit == git_text("rev-parse", "HEAD").strip():
        yield f"not verified, as it is not committed: {', '.join(changed)}"
    others = list(other_packages(commit))
    if others:
        yield f"other packages are installed than constraints.txt names: {', '.join(others)}"
    if not has_avx2():
        yield (
            f"this processor ({platform.machine()}) is none with x86-64 and AVX2: what such a one "
            "has computed differs in its last digits; see docs/same-bytes.md"
        )
    train = params_of(commit).get("train")
    if isinstance(train, dict) and train.get("same_bytes") != "everywhere":
        yield (
            "train.same_bytes is not 'everywhere': on another processor than the one that wrote "
            "this commit, outputs may differ in their last digits"
        )


def other_packages(commit: str) -> Iterator[str]:
    for line in (in_commit(commit, "constraints.txt") or b"").decode().splitlines():
        name, is_one, rest = line.partition("==")
        if is_one and not line.startswith("#"):
            wanted = rest.split()[0]
            with suppress(metadata.PackageNotFoundError):
                installed = metadata.version(name)
                # A build for a kind of device is the same version, as 2.13.0+cpu is.
                if installed.partition("+")[0] != wanted:
                    yield f"{name} {installed} instead of {wanted}"


def run_anew(commit: str, clone: Path) -> None:
    """Clone the commit, and run its whole pipeline; raise a `UserError` where that fails."""
    here = Path.cwd()
    for arguments in (
        ["clone", "--quiet", "--no-checkout", str(here), str(clone)],
        ["-C", str(clone), "checkout", "--quiet", "--detach", commit],
    ):
        result = git(*arguments)
        if result.returncode != 0:
            why = result.stderr.decode(errors="replace").strip().splitlines() or ["?"]
            raise UserError(f"this folder cannot be cloned by git: {why[-1]}")
    env = {
        **os.environ,
        # Each stage is started with the `python` that is on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_SITE_CACHE_DIR": str(clone.parent / "site"),
    }

    def dvc(*arguments: str, is_shown: bool = False) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 (no shell)
            [sys.executable, "-m", "dvc", *arguments],
            cwd=clone,
            env=env,
            stdout=sys.stderr if is_shown else subprocess.PIPE,
            stderr=None if is_shown else subprocess.PIPE,
            text=True,
            check=False,
        )

    table = str((params_of(commit).get("prepare") or {}).get("data"))
    # Not what the commit, or a user's own settings, name.
    dvc("cache", "dir", "--local", str(clone.parent / "cache"))
    if not (clone / table).exists():
        local = here / ".dvc/config.local"
        if local.exists():  # how to reach the remote
            (clone / ".dvc/config.local").write_bytes(local.read_bytes())
        cache = subprocess.run(
            [sys.executable, "-m", "dvc", "cache", "dir"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        dvc("remote", "add", "--local", "the-cache-of-this-folder", cache)
        for where in (["--remote", "the-cache-of-this-folder"], []):
            pulled = dvc("pull", *where, table)
            if pulled.returncode == 0:
                break
        else:
            why = pulled.stderr.strip().splitlines() or ["?"]
            raise UserError(f"{table} is not in git, and DVC cannot bring it: {why[-1]}")
    # By force: where git has all outputs of a stage, it would be taken for done.
    if dvc("repro", "--force", is_shown=True).returncode != 0:
        raise UserError(f"the pipeline of {commit[:12]} does not run: see above")


def compare(commit: str, clone: Path) -> Iterator[Verified]:
    """Yield each output of the commit's dvc.lock, and dvc.lock itself."""
    for path, expected in [*lock_of(commit).items(), (LOCK_FILE, None)]:
        committed, file = in_commit(commit, path), clone / path
        found = file.read_bytes() if file.is_file() else None
        difference = None
        if found is None:
            difference = "the run has not written it"
        elif committed is not None and committed != found:
            difference = f"git has another: {describe(committed, found, file.suffix)}"
        elif expected not in {None, md5(found)}:
            cached = cached_file(expected)
            difference = "dvc.lock has another hash"
            if cached is not None:
                difference = describe(cached, found, file.suffix)
        yield Verified(
            path,
            expected or md5(committed or b""),
            None if found is None else md5(found),
            difference,
        )


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 (as DVC)


def cached_file(expected: str) -> bytes | None:
    """Return what the cache of this folder has under a hash, if it has it."""
    path = Path(".dvc/cache/files/md5") / expected[:2] / expected[2:]
    return path.read_bytes() if path.is_file() else None


def describe(old: bytes, new: bytes, suffix: str) -> str:
    """Say in what two files differ: where the largest relative difference of two numbers is."""
    from classifier.differences import largest_difference  # noqa: PLC0415 (seldom, and it imports)

    return largest_difference(old, new, suffix)


def in_a_table(verified: list[Verified]) -> list[str]:
    width = max(len(each.path) for each in verified)
    return [f"{each.path:{width}}  {each.difference or 'same'}" for each in verified]


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
        found, said = each.found or "-", each.difference or "same"
        yield f"| {each.path} | `{each.expected}` | `{found}` | {said.replace('|', '/')} |"
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
