"""Every command of the README and of docs/ works, and prints what the page says."""

import ast
import re
import subprocess
import sys

import pytest
import yaml

from tests.conftest import REPOSITORY, Project
from tests.readme import PAGES, fenced, read

SOAK = "python -m tests.soak --kills 100"
FAULTS = "EVERY_WRITE=1 pytest tests/test_faults.py"
SEARCH_SOAK = "python -m tests.search_soak --kills 30 --workers 2"
MUTATIONS = "python -m tests.mutations --count 10000"

QUEUE_DONE = "tests/test_experiments.py::queue_done"
THE_BEST = "tests/test_experiments.py::test_the_best_is_compared_and_applied"
REPEATS = "tests/test_experiments.py::test_repeats_are_reported_and_compared"
SEARCH = "tests/test_search.py::test_what_the_page_says"
FOLDER = "tests/test_remotes.py::test_a_folder"
S3 = "tests/test_remotes.py::test_storage_that_speaks_s3"
SECOND_CLONE = "tests/test_remotes.py::check_second_clone"

SHORT_FORMS = {
    SOAK: "soak.kill_until_done(",
    SEARCH_SOAK: "search_soak.kill_until_done(",
    FAULTS: "complaints_of_the_next_run(",
    MUTATIONS: "mutants(",
}
"""What a test calls instead of a command that takes long."""

RUN_ELSEWHERE = {
    "README.md": {"make test": ".ci/run"},
    "docs/change-the-code.md": {
        # With fewer kills.
        SOAK: "tests/test_resume.py::test_killed_again_and_again",
        # With a few of the writes.
        FAULTS: "tests/test_faults.py::test_writes_that_fail",
        # With fewer files.
        MUTATIONS: "tests/test_mutations.py::test_each_is_refused_or_says_the_same",
        "make constraints": ".ci/run",
    },
    "docs/many-runs.md": {
        # Fewer runs of each; then one start for both.
        "dvc exp run --queue": QUEUE_DONE,
        "dvc queue start": QUEUE_DONE,
        "dvc queue status": QUEUE_DONE,
        "dvc exp show": "tests/test_experiments.py::test_results_are_shown_best_first",
        "dvc plots diff": THE_BEST,
        "dvc metrics diff": THE_BEST,
        "dvc exp apply": THE_BEST,
        "python -m commands.repeats": REPEATS,
    },
    "docs/one-big-run.md": {
        "dvc exp run": "tests/test_ranks.py::test_the_number_of_ranks_is_a_parameter",
        # At an address of this machine.
        "torchrun": "tests/test_ranks.py::test_two_agents_at_a_rendezvous",
    },
    "docs/search.md": {
        # With fewer tries.
        "make search": SEARCH,
        "python -m commands.search --apply": SEARCH,
        "dvc repro": "README.md",
        "python -m commands.search --queue": "tests/test_search.py::test_the_best_are_queued",
        "dvc queue start": QUEUE_DONE,
        "python -m commands.repeats": REPEATS,
        "python -m commands.search --workers": SEARCH,
        "python -m commands.search --storage": (
            "tests/test_search.py::test_several_use_a_storage_one_after_the_other"
        ),
        # With fewer kills.
        SEARCH_SOAK: "tests/test_search.py::test_killed_and_gone_on_with_two_workers",
    },
    "docs/sharing.md": {
        # Nothing is left to install.
        "pip install -r": "tests/test_constraints.py::test_nothing_is_left_to_install",
        # In a folder that is there.
        "dvc remote add --default storage /mnt": FOLDER,
        "git commit": FOLDER,
        "dvc push": FOLDER,
        "dvc pull": SECOND_CLONE,
        "dvc repro": SECOND_CLONE,
        "dvc exp push": FOLDER,
        # Not run but compared: what it installs is there.
        "pip install 'dvc[s3]": S3,
        "dvc remote add --default storage s3": S3,
        # At an address of this machine.
        "dvc remote modify": S3,
    },
}
"""How the lines begin that are not run here, and what runs them instead."""

COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


def typed(page: str) -> list[tuple[str, str]]:
    """Return what is typed on a page in `console` blocks, and what that prints."""
    return [found for block in fenced(read(page), "console") for found in COMMAND.findall(block)]


def is_run_here(page: str, command: str) -> bool:
    return not any(command.startswith(start) for start in RUN_ELSEWHERE.get(page, {}))


def do_what_is_typed(project: Project, page: str) -> None:
    """Type the commands of a page, from top to bottom; then run its Python, block by block."""
    for command, expected in typed(page):
        if not is_run_here(page, command):
            continue
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=project.path,
            env=project.warm_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = f"$ {command}\n{result.stdout}"
        assert result.returncode == 0, printed
        assert not expected or as_the_page_says(result.stdout, expected), printed
    for example in fenced(read(page), "python"):
        project.run(sys.executable, "-c", example)


def as_the_page_says(output: str, expected: str) -> bool:
    """Look for each line of a page in the output, which a line `...` allows to have more.

    In any order, since that of `dvc metrics diff` differs from run to run; spaces do not count.
    """
    printed = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    lines = [" ".join(line.split()) for line in expected.splitlines() if line.strip()]
    whole = "..." not in lines
    patterns = [re.escape(line).replace(r"\.\.\.", ".*") for line in lines if line != "..."]
    found = all(any(re.fullmatch(pattern, line) for line in printed) for pattern in patterns)
    return found and (len(printed) == len(patterns) or not whole)


@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if typed(page) or fenced(read(page), "python")]
)
def test_a_page_from_top_to_bottom(page: str, as_made: Project) -> None:
    (as_made.path / ".venv").symlink_to(sys.prefix)
    do_what_is_typed(as_made, page)


@pytest.mark.parametrize("page", PAGES)
def test_each_line_is_run_by_some_test(page: str) -> None:
    lines = [line for block in fenced(read(page), "sh") for line in block.splitlines()]
    unnamed = [line for line in lines if is_run_here(page, line)]
    assert not unnamed, f"name what runs them in RUN_ELSEWHERE: {unnamed}"
    lines += [line for line, _ in typed(page)]
    for start, runner in RUN_ELSEWHERE.get(page, {}).items():
        (line, *_) = [line for line in lines if line.startswith(start)]
        assert runs(runner, line), runner


def runs(runner: str, line: str) -> bool:
    """Say whether a test reads its commands from the pages, or another file has this one."""
    file, _, function = runner.partition("::")
    text = read(file)
    if file in PAGES:
        return line in [command for command, _ in typed(file)] and is_run_here(file, line)
    if not function:
        return line in text.splitlines()
    (source,) = [
        ast.unparse(node)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    return SHORT_FORMS.get(line, "commands(") in source


def test_the_readme_is_short_and_lists_each_page() -> None:
    assert len(read("README.md").splitlines()) <= 200
    assert [page for page in PAGES[1:] if f"]({page})" not in read("README.md")] == []


def test_the_table_of_parameters() -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    expected = {
        f"{section}.{key}": value
        for section, values in params.items()
        for key, value in values.items()
    }
    table = read("docs/parameters.md")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `([^`]*)` \|", table, re.MULTILINE)
    assert {name: yaml.safe_load(default) for name, default in rows} == expected


@pytest.mark.parametrize("page", PAGES)
def test_the_links_lead_somewhere(page: str) -> None:
    for path, heading in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", read(page)):
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), path
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [anchor(text) for text in headings], f"{path}#{heading}"


def anchor(heading: str) -> str:
    """Return the name that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
