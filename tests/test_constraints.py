"""Everybody has the same packages: constraints.txt pins all that the requirements bring."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import REPOSITORY, Project
from tests.readme import commands

REQUIREMENTS = [
    "requirements.txt",
    "requirements-dev.txt",
    "benchmarks/requirements.txt",
    "benchmarks/quality/requirements.txt",
]

OF_TORCH = re.compile(r"(cuda|nvidia|triton)\b")
"""Packages that some of torch's builds bring, in versions that they pin themselves."""


def lines(file: str) -> list[str]:
    """Return what the file asks for, without comments and names of further files."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    found = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith("-r ")]


def pins() -> dict[str, Requirement]:
    found = [Requirement(line) for line in lines("constraints.txt")]
    by_name: dict[str, Requirement] = {canonicalize_name(pin.name): pin for pin in found}
    assert len(by_name) == len(found), "a package is there twice"
    return by_name


def pinned_version(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


def test_each_pin_is_one_version_for_all_platforms() -> None:
    assert len(pins()) > 100
    for name, pin in pins().items():
        # A hash, or a version with a star, is none that can be parsed.
        assert pinned_version(pin).local is None, pin
        assert (pin.url, pin.extras) == (None, set()), pin
        assert not OF_TORCH.match(name), pin


def test_the_requirements_are_among_the_constraints() -> None:
    constraints = pins()
    for file in REQUIREMENTS:
        for requirement in map(Requirement, lines(file)):
            pin = constraints.get(canonicalize_name(requirement.name))
            # What only the benchmarks need is pinned where they ask for it.
            assert pin is not None or file.startswith("benchmarks/"), requirement
            assert pinned_version(requirement) == pinned_version(pin or requirement), requirement


def needed(requirements: list[Requirement]) -> set[str]:
    """Return the names of these packages and of all that they need here."""
    waiting, found = list(requirements), set[tuple[str, str]]()
    while waiting:
        requirement = waiting.pop()
        for extra in {"", *requirement.extras}:
            wanted = (canonicalize_name(requirement.name), extra)
            if wanted in found:
                continue
            found.add(wanted)
            further = map(Requirement, distribution(requirement.name).requires or [])
            waiting += [
                each
                for each in further
                if not each.marker or each.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in found}


def test_what_is_needed_here_is_what_is_pinned() -> None:
    """What else is in the environment, such as pip, the project does not use."""
    files = ("requirements.txt", "requirements-dev.txt")
    here = needed([Requirement(line) for file in files for line in lines(file)])
    pinned = {name: pin for name, pin in pins().items() if not pin.marker or pin.marker.evaluate()}
    assert {name for name in here if not OF_TORCH.match(name)} == set(pinned)
    others = {name: version(name) for name in pinned if version(name) not in pinned[name].specifier}
    assert others == {}, "make test installs the versions of constraints.txt"


def test_nothing_is_left_to_install(fresh_clone: Project) -> None:
    (install,) = commands("docs/sharing.md", "The same packages", block=0)
    try_it = f"{install} --quiet --dry-run --no-index --report -"
    assert json.loads(fresh_clone.run("sh", "-c", try_it).stdout)["install"] == []


def test_make_installs_by_the_constraints() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert "--constraint constraints.txt" in makefile
    assert re.findall(r"(?<!\$\(INSTALL\)) -r .*", makefile) == []


def test_what_make_installs_starts_in_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    shutil.copy(REPOSITORY / "Makefile", folder)
    with zipfile.ZipFile(folder / "hello-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("hello.py", "def say(): print('hello')")
        wheel.writestr(
            "hello-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1\n"
        )
        wheel.writestr("hello-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(
            "hello-1.dist-info/entry_points.txt", "[console_scripts]\nhello = hello:say\n"
        )
        wheel.writestr("hello-1.dist-info/RECORD", "")
    (folder / "requirements.txt").write_text("./hello-1-py3-none-any.whl\n")
    (folder / "constraints.txt").touch()
    offline = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
    make = ["make", ".venv/installed"]
    subprocess.run(make, cwd=folder, env=offline, check=True, capture_output=True)
    hello = subprocess.run(
        [folder / ".venv/bin/hello"], cwd=tmp_path, check=True, capture_output=True
    )
    assert hello.stdout == b"hello\n"
