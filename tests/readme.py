"""What the README and the pages in docs/ say, for tests that do it."""

import re

from tests.conftest import REPOSITORY

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")))]


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def text_of(page: str, heading: str) -> str:
    """Return the section of a page below a heading, its title included, up to the next one."""
    _, section = re.split(rf"^##? {re.escape(heading)}\n", read(page), flags=re.MULTILINE)
    return section.split("\n## ")[0]


def fenced(text: str, language: str) -> list[str]:
    """Return the content of each block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: str, heading: str, *, block: int) -> list[str]:
    """Return the lines of a `sh` block of the section of a page below a heading."""
    return fenced(text_of(page, heading), "sh")[block].splitlines()
