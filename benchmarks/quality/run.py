"""Run what has no result yet, and write what the results say to benchmarks/QUALITY.md.

`python -m benchmarks.quality.run` takes about an hour on two cores that do nothing else, and goes
on where it was interrupted. `--again NAME` runs a contender anew, such as `ours` after a change.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.quality import contenders
from benchmarks.quality.report import report
from benchmarks.quality.results import forget, read_results

QUALITY = Path(__file__).parent.parent / "QUALITY.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", nargs="+", choices=contenders.ALL, default=[])
    parser.add_argument("--only-report", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    forget(arguments.again)
    if not arguments.only_report:
        for name in contenders.ALL:
            subprocess.run([sys.executable, "-m", "benchmarks.quality.worker", name], check=True)
    QUALITY.write_text(report(read_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
