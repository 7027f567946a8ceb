"""The commands that the README shows."""

import re

from tests.conftest import REPOSITORY


def commands(heading: str, *, block: int) -> list[str]:
    """Return the lines of a `sh` block below a heading."""
    text = "".join(path.read_text() for path in sorted(REPOSITORY.glob("README*.md")))
    section = text.split(f"\n## {heading}\n" if f"\n## {heading}\n" in text else f"## {heading}\n")
    blocks = re.findall(r"```sh\n(.*?)```", section[1].split("\n## ")[0], flags=re.DOTALL)
    return str(blocks[block]).splitlines()
