"""Every command of the README works, and prints what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY, Project

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

RUN_ELSEWHERE = {
    "make test": "what .ci/run runs",
    "python -m tests.soak --kills 100": "test_killed_again_and_again, with fewer kills",
}
"""Commands too long for a test, and what runs them instead."""

COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_what_is_typed_from_top_to_bottom(fresh_clone: Project) -> None:
    (fresh_clone.path / ".venv").symlink_to(sys.prefix)
    commands = [found for block in fenced("console") for found in COMMAND.findall(block)]
    assert {command for command, _ in commands} > set(RUN_ELSEWHERE)
    for command, expected in commands:
        if command in RUN_ELSEWHERE:
            continue
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=fresh_clone.path,
            env=fresh_clone.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = f"$ {command}\n{result.stdout}"
        assert result.returncode == 0, printed
        assert not expected or as_the_readme_says(result.stdout, expected), printed
    examples = fenced("python")
    assert examples
    for example in examples:
        fresh_clone.run(sys.executable, "-c", example)


def as_the_readme_says(output: str, expected: str) -> bool:
    """Look for each line of the README in the output, which a line `...` allows to have more.

    In any order, since that of `dvc metrics diff` differs from run to run; spaces do not count.
    """
    printed = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    lines = [" ".join(line.split()) for line in expected.splitlines() if line.strip()]
    whole = "..." not in lines
    patterns = [re.escape(line).replace(r"\.\.\.", ".*") for line in lines if line != "..."]
    found = all(any(re.fullmatch(pattern, line) for line in printed) for pattern in patterns)
    return found and (len(printed) == len(patterns) or not whole)


def test_the_table_of_parameters() -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    expected = {
        f"{section}.{key}": value
        for section, values in params.items()
        for key, value in values.items()
    }
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `([^`]*)` \|", README, re.MULTILINE)
    assert {name: yaml.safe_load(default) for name, default in rows} == expected


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (REPOSITORY / link).exists(), link


def test_ci_runs_the_test_command() -> None:
    assert "make test" in Path(REPOSITORY / ".ci/run").read_text()
