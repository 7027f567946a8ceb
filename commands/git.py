"""Ask git."""

import subprocess
from pathlib import Path


def git(*arguments: str | Path) -> bytes:
    """Return what git prints: nothing if it fails."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603
