"""The two pages about the lesson, English and Chinese, say the same, and their Python runs."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY, Project
from tests.readme import read

PAGES = ["docs/from-the-lesson.md", "docs/from-the-lesson.zh.md"]


class Block(NamedTuple):
    """A fenced block.

    Those called `py` are run, in the order of the page, in one process; a `text` block after one
    is what that prints. They are not called `python`, since such blocks stand each for itself.
    """

    language: str
    content: str


def blocks(page: str) -> list[Block]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)
    return [Block(*block) for block in fenced]


def links(page: str) -> list[tuple[str, str]]:
    """Return the text and the target of each link, without the one to the other language."""
    found = re.findall(r"\[([^\]]*)\]\(([^)]*)\)", read(page))
    assert found[0][1] == Path(next(other for other in PAGES if other != page)).name
    return found[1:]


RUNNER = """
import sys
namespace = {"__name__": "__main__"}
for number, code in enumerate(%r):
    print("\\0", end="", flush=True)
    exec(compile(code, f"block {number}", "exec"), namespace)
    sys.stdout.flush()
"""

BOLD_OR_NOT = re.compile(r"\x1b\[[01]m")


def test_the_python_runs_and_prints_what_the_page_says(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several threads wait for one another, which takes long while other tests run.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = blocks(PAGES[0])  # the other page has the same
    code = [block.content for block in found if block.language == "py"]
    # What comes after the training looks at no more than that there was some.
    assert sum("range(1, 20_001)" in block for block in code) == 1
    code = [block.replace("range(1, 20_001)", "range(1, 2_001)") for block in code]
    printed = project.run(sys.executable, "-c", RUNNER % code).stdout.split("\0")[1:]
    assert len(printed) == len(code) >= 5
    outputs = iter(printed)
    output = ""
    for block in found:
        if block.language == "py":
            output = next(outputs)
        else:
            assert without_trailing_spaces(output) == block.content


def without_trailing_spaces(output: str) -> str:
    lines = BOLD_OR_NOT.sub("", output).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def test_both_pages_have_the_same_blocks_links_and_sections() -> None:
    english, chinese = PAGES
    assert blocks(chinese) == blocks(english)
    # Each is Python, or what it prints.
    assert {block.language for block in blocks(english)} == {"py", "text"}
    assert {read(page).count("```") for page in PAGES} == {2 * len(blocks(english))}
    assert [target for _, target in links(chinese)] == [target for _, target in links(english)]
    assert outline(chinese) == outline(english)


def outline(page: str) -> list[str]:
    """Return what begins each heading, item and row of a table, outside of code."""
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^(?:#+|-|\|)(?= )", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_links_and_paths_lead_somewhere(page: str, project: Project) -> None:
    for text, link in links(page):
        target = (REPOSITORY / page).parent / link
        assert target.exists(), link
        for name in re.findall(r"`(\w+)`", text):
            defined = re.search(rf"^(def|class) {name}\b", target.read_text(), re.MULTILINE)
            assert defined or name == target.stem, f"{name}: {link}"
    paths = re.findall(r"`((?:classifier|models|reports|\.training)/[\w./]*)`", read(page))
    assert len(paths) >= 10
    for path in paths:
        assert (project.path / path).exists(), path
