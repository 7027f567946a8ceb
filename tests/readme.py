"""What the README says, for tests that do it."""

import re

from tests.conftest import REPOSITORY


def text_of(heading: str) -> str:
    """Return the section below a heading."""
    text = "\n".join(path.read_text() for path in sorted(REPOSITORY.glob("README*.md")))
    _, section = f"\n{text}".split(f"\n## {heading}\n")
    return section.split("\n## ")[0]


def commands(heading: str, *, block: int) -> list[str]:
    """Return the lines of a `sh` block of the section below a heading."""
    blocks = re.findall(r"```sh\n(.*?)```", text_of(heading), flags=re.DOTALL)
    return str(blocks[block]).splitlines()
