"""The whole pipeline, end to end, beside a script that does the same and an empty pipeline."""

import os
import subprocess
import sys
import time
from pathlib import Path

from classifier.io.yaml_text import from_yaml, to_yaml

REPOSITORY = Path(__file__).parent.parent
DVC = [sys.executable, "-m", "dvc"]


def seconds_of(command: list[str], folder: Path) -> float:
    """Run a command in a folder; return the seconds that its whole process took."""
    env = {
        **users_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"),
    }
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


def users_environment() -> dict[str, str]:
    """Return the environment, less what slows NumPy or each start of Python on some machines."""
    unwanted = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def measure(folder: Path) -> dict[str, float]:
    """Return seconds by what was run, once each, in a new clone and a new empty pipeline."""
    clone, empty, script = folder / "clone", folder / "empty", folder / "script"
    for new in (empty, script):
        new.mkdir(parents=True)
    seconds_of(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], folder)
    make_empty_pipeline(empty)
    figures = {
        "teaching script": seconds_of(
            [sys.executable, str(REPOSITORY / "benchmarks/teaching_script.py")], script
        ),
        "cold dvc repro": seconds_of([*DVC, "repro"], clone),
        "dvc repro --force, all stages": seconds_of([*DVC, "repro", "--force"], clone),
        "nothing-changed dvc repro": seconds_of([*DVC, "repro"], clone),
        "nothing-changed dvc repro, empty pipeline": seconds_of([*DVC, "repro"], empty),
    }
    params = clone / "params.yaml"
    values = from_yaml(params.read_text(encoding="utf-8"))
    values["plot"]["dpi"] += 1
    params.write_text(to_yaml(values), encoding="utf-8")
    figures["plot-only dvc repro"] = seconds_of([*DVC, "repro"], clone)
    return figures


def make_empty_pipeline(folder: Path) -> None:
    """Five stages, each copying one small file."""
    stages = {
        f"stage{index}": {
            "cmd": f"cp file{index} file{index + 1}",
            "deps": [f"file{index}"],
            "outs": [f"file{index + 1}"],
        }
        for index in range(5)
    }
    (folder / "file0").write_text("nothing\n", encoding="utf-8")
    (folder / "dvc.yaml").write_text(to_yaml({"stages": stages}), encoding="utf-8")
    seconds_of(["git", "init", "--quiet"], folder)
    seconds_of([*DVC, "init"], folder)
    seconds_of([*DVC, "repro"], folder)
