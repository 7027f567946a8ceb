"""What the hosted checks would do."""

import sys
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY, Project
from tests.readme import fenced, read

WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
}
# One for other repositories, to copy.
WORKFLOWS["check"] = yaml.safe_load(*fenced(read("docs/in-use.md"), "yaml"))


def steps(workflow: str) -> list[dict[str, Any]]:
    (job,) = WORKFLOWS[workflow]["jobs"].values()
    return list(job["steps"])


def test_they_run_the_commands_of_the_pages() -> None:
    commands = {name: [step.get("run") for step in steps(name)] for name in WORKFLOWS}
    assert list(commands) == ["report", "test", "verify", "check"]
    assert "make test" in commands["test"]
    assert "make repro" in commands["report"]
    assert "make verify" in commands["verify"]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_they_may_do_no_more_than_they_need(workflow: str) -> None:
    to_comment = {"pull-requests": "write"} if workflow == "report" else {}
    assert WORKFLOWS[workflow]["permissions"] == {"contents": "read"} | to_comment
    for step in steps(workflow):
        if "uses" in step:
            assert "@" in step["uses"]
            assert not step["uses"].endswith(("@main", "@master"))
        # What somebody else chose, such as a branch's name, must not become part of a command.
        assert "${{" not in step.get("run", "")


def test_the_comment_says_what_changed_and_shows_the_chart(ahead_of_git: Project) -> None:
    project = ahead_of_git
    (comment,) = [step for step in steps("report") if step.get("name") == "comment"]
    base = project.run("git", "rev-parse", "HEAD").stdout.strip()
    # CML, which is not installed here, sends the file it is given.
    program = project.path.parent / "bin" / "cml"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nset -e\n[ "$1 $2" = "comment create" ]\ncat "$3" > ../sent.md\n')
    program.chmod(0o755)
    script = f'export PATH="$PWD/../bin:$PATH" BASE={base}\n{comment["run"]}'
    project.run("bash", "-e", "-c", script)
    sent = (project.path.parent / "sent.md").read_text()
    assert "| metrics.json" in sent
    assert "| reports/training.json | best_val_loss " in sent
    assert (project.path / sent.split("](")[1].split(")")[0]).exists()


def test_a_table_that_has_changed_makes_the_weekly_job_fail(project: Project) -> None:
    rows = (project.path / "data/iris.csv").read_text().replace("5.", "50.")
    (project.path / "served.csv").write_text(rows)
    (step,) = [step for step in steps("check") if step.get("name") == "check"]
    (project.path / ".venv").symlink_to(sys.prefix)
    script = f"export NEW_ROWS=file://{project.path}/served.csv\n{step['run']}"
    # Not the status of a table that cannot be read.
    result = project.run("bash", "-e", "-c", script, status=4)
    assert "look at " in result.stdout
    assert "'sepal_length'" in result.stdout
    assert (project.path / "check.html").exists()
    project.run("bash", "-e", "-c", script.replace("served.csv", "none.csv"), status=37)
    result = project.run(sys.executable, "-m", "commands.check", "none.csv", status=1)
    assert result.stderr == "check: error: none.csv is missing\n"
