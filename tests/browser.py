"""Pages opened in a real browser, without a network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Before the page's own scripts: collect what goes wrong.
COLLECT_ERRORS = """
<script>
const errors = [];
console.error = (...parts) => errors.push(parts.join(" "));
addEventListener(
    "error", event => errors.push(event.message || `${event.target.src} failed`), true
);
addEventListener("unhandledrejection", event => errors.push(String(event.reason)));
</script>
"""


def found_by(page: Path, profile: Path, *options: str) -> dict[str, Any]:
    """Open a page; return what a script in it writes, as JSON, into a `pre` called "found"."""
    dom = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=30000",
            *options,
            "--dump-dom",
            page.as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    values: dict[str, Any] = json.loads(html.unescape(found[1]))
    return values
