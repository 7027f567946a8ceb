"""Every command of the README and of docs/ works, and prints what the page says."""

import re
import subprocess
import sys
from itertools import chain

import pytest
import yaml

from tests.conftest import REPOSITORY, Project
from tests.readme import PAGES, fenced, read

SOAK = "python -m tests.soak --kills 100"
FAULTS = "EVERY_WRITE=1 pytest tests/test_faults.py"
SEARCH_SOAK = "python -m tests.search_soak --kills 30"
MUTATIONS = "python -m tests.mutations --count 10000"
SEARCH, REPEATS = "python -m commands.search", "python -m commands.repeats"

SHORT_FORMS = {
    SOAK: "soak.kill_until_done(",
    SEARCH_SOAK: "search_soak.kill_until_done(",
    FAULTS: "complaints_of_the_next_run(",
    MUTATIONS: "mutants(",
}
"""What a test calls instead of a command that takes long."""

RUN_ELSEWHERE = {
    "README.md": {".ci/run": ["make test"]},
    "docs/change-the-code.md": {
        # With fewer kills, writes and files.
        "tests/test_resume.py::test_killed_again_and_again": [SOAK],
        "tests/test_faults.py::test_writes_that_fail": [FAULTS],
        "tests/test_mutations.py::test_each_is_refused_or_says_the_same": [MUTATIONS],
        ".ci/run": ["make constraints"],
    },
    "docs/many-runs.md": {
        # Fewer runs of each; then one start for both.
        "tests/test_experiments.py::queue_done": [
            *("dvc exp run --queue", "dvc queue start", "dvc queue status"),
        ],
        "tests/test_experiments.py::test_results_are_shown_best_first": ["dvc exp show"],
        "tests/test_experiments.py::test_the_best_is_compared_and_applied": [
            *("dvc plots diff", "dvc metrics diff", "dvc exp apply"),
        ],
        "tests/test_experiments.py::test_repeats_are_reported_and_compared": [REPEATS],
        # With fewer seeds.
        "tests/test_experiments.py::test_starts_are_repeated_in_one_process": [
            f"{REPEATS} --seeds"
        ],
    },
    "docs/one-big-run.md": {
        "tests/test_ranks.py::test_the_number_of_ranks_is_a_parameter": ["dvc exp run"],
        # At an address of this machine.
        "tests/test_ranks.py::test_two_agents_at_a_rendezvous": ["torchrun"],
    },
    "docs/same-bytes.md": {
        "tests/test_verify.py::test_a_commit_is_run_anew_and_nothing_else_is_touched": [
            "make verify"
        ],
    },
    "docs/search.md": {
        # With fewer tries.
        "tests/test_search.py::test_what_the_page_says": [
            *("make search", f"{SEARCH} --apply", f"{SEARCH} --workers"),
        ],
        "README.md": ["dvc repro"],
        "tests/test_search.py::test_the_best_are_queued": [f"{SEARCH} --queue"],
        "tests/test_experiments.py::queue_done": ["dvc queue start"],
        "tests/test_experiments.py::test_repeats_are_reported_and_compared": [REPEATS],
        "tests/test_search.py::test_several_use_a_storage_one_after_the_other": [
            f"{SEARCH} --storage"
        ],
        # With fewer kills.
        "tests/test_search.py::test_killed_and_gone_on": [SEARCH_SOAK],
    },
    "docs/sharing.md": {
        # Nothing is left to install.
        "tests/test_constraints.py::test_nothing_is_left_to_install": ["pip install -r"],
        # In a folder that is there.
        "tests/test_remotes.py::test_a_folder": [
            *("dvc remote add --default storage /mnt", "git commit", "dvc push", "dvc exp push"),
        ],
        "tests/test_remotes.py::check_second_clone": ["dvc pull", "dvc repro"],
        # Not run but compared: what it installs is there. At an address of this machine.
        "tests/test_remotes.py::test_storage_that_speaks_s3": [
            *("pip install 'dvc[s3]", "dvc remote add --default storage s3", "dvc remote modify"),
        ],
    },
}
"""By page, what runs the lines that are not run here, and how these begin."""

COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


def typed(page: str) -> list[tuple[str, str]]:
    """Return what is typed on a page in `console` blocks, and what that prints."""
    return [found for block in fenced(read(page), "console") for found in COMMAND.findall(block)]


def is_run_here(page: str, command: str) -> bool:
    return not command.startswith(tuple(chain(*RUN_ELSEWHERE.get(page, {}).values())))


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
    """Type its commands, then run its Python, block by block."""
    (as_made.path / ".venv").symlink_to(sys.prefix)
    for command, expected in typed(page):
        if not is_run_here(page, command):
            continue
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=as_made.path,
            env=as_made.warm_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = f"$ {command}\n{result.stdout}"
        assert result.returncode == 0, printed
        assert not expected or as_the_page_says(result.stdout, expected), printed
        if "start" in command:
            # Of what it has chosen, the number of epochs alone: they would take minutes.
            params = as_made.path / "params.yaml"
            params.write_text(re.sub("max_epochs: 300", "max_epochs: 10", params.read_text()))
    for example in fenced(read(page), "python"):
        as_made.run(sys.executable, "-c", example)


@pytest.mark.parametrize("page", PAGES)
def test_each_line_is_run_by_some_test(page: str) -> None:
    lines = [line for block in fenced(read(page), "sh") for line in block.splitlines()]
    unnamed = [line for line in lines if is_run_here(page, line)]
    assert not unnamed, f"name what runs them in RUN_ELSEWHERE: {unnamed}"
    lines += [line for line, _ in typed(page)]
    for runner, starts in RUN_ELSEWHERE.get(page, {}).items():
        for start in starts:
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
    (source,) = re.findall(rf"^def {function}\(.*?(?=\n\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
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
