"""What the README says, for tests that do it."""

import re

from tests.conftest import REPOSITORY


def text_of(heading: str) -> str:
    """Return the section below a heading."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    _, section = text.split(f"\n## {heading}\n")
    return section.split("\n## ")[0]


def commands(heading: str, *, block: int) -> list[str]:
    """Return the lines of a `sh` block of the section below a heading."""
    blocks = re.findall(r"```sh\n(.*?)```", text_of(heading), flags=re.DOTALL)
    return str(blocks[block]).splitlines()
