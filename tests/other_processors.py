"""Run the pipeline on other makes and generations of processors, emulated, and compare the bytes.

The long form: python -m tests.other_processors
It takes `qemu-x86_64` (Debian's package qemu-user) and some minutes for each table and processor.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.in_process import write_params

PROCESSORS = {
    "Haswell-noTSX": "Intel, 2013",
    "Skylake-Client-v3": "Intel, 2015",
    "EPYC": "AMD, 2017",
    "EPYC-Milan": "AMD, 2021",
}
"""As qemu calls them. Those with AVX-512 it cannot emulate."""

ALL_STAGES = """
import runpy
for stage in ("prepare", "train", "baseline", "evaluate", "plot"):
    runpy.run_module(f"stages.{stage}", run_name="__main__")
"""
"""In one process: emulated, PyTorch alone takes half a minute to be imported."""

WITHOUT_MASKED_LOADS = """
from classifier.io.arithmetic import ALWAYS
ALWAYS["NPY_DISABLE_CPU_FEATURES"] += " X86_V3"
"""
"""Those of NumPy's sorting: qemu 7.2 crashes there, as it does in fused SGD."""

FEW_EPOCHS = {"train__max_epochs": 60, "train__eval_every": 10, "train__optimizer": "adamw"}

TABLES: dict[str, dict[str, object]] = {
    "iris": {"prepare__data": str(REPOSITORY / "data/iris.csv"), **FEW_EPOCHS},
    "mixed, folds": {
        "prepare__data": "mixed.csv",
        "prepare__target": "class",
        "prepare__scaler": "squash",
        "prepare__folds": 3,
        **FEW_EPOCHS,
        "train__hidden": [64, 64],
        "train__activation": "gelu",
        "train__batch_size": 32,
        "train__dropout": 0.1,
        "train__members": 4,
        "train__embedding": "periodic",
        "train__max_grad_norm": 1.0,
        "train__calibration": "temperature",
        "train__max_epochs": 20,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processors", nargs="*", default=list(PROCESSORS))
    processors = parser.parse_args().processors
    n_different = 0
    print("| processor | table | outputs | with other bytes |\n|---|---|---|---|")
    for name, params in TABLES.items():
        with tempfile.TemporaryDirectory() as folder:
            expected = outputs(Path(folder), params, [])
        for processor in processors:
            with tempfile.TemporaryDirectory() as folder:
                found = outputs(Path(folder), params, ["qemu-x86_64", "-cpu", processor])
            others = [path for path in expected if found.get(path) != expected[path]]
            n_different += len(others)
            described = f"{processor} ({PROCESSORS.get(processor, '?')})"
            print(
                f"| {described} | {name} | {len(expected)} | {', '.join(others) or 'none'} |",
                flush=True,
            )
    sys.exit(n_different > 0)


def outputs(folder: Path, params: dict[str, object], emulator: list[str]) -> dict[str, bytes]:
    """Return what the stages write, by path."""
    write_params(folder, **params)
    (folder / "mixed.csv").write_text("".join(mixed_table()), encoding="utf-8")
    (folder / "reports").mkdir()
    (folder / "reports/search.json").write_text("null\n", encoding="utf-8")
    (folder / "intended-use.md").touch()
    before = {path for path in folder.rglob("*") if path.is_file()}
    subprocess.run(
        [*emulator, sys.executable, "-c", (WITHOUT_MASKED_LOADS if emulator else "") + ALL_STAGES],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    written = {path for path in folder.rglob("*") if path.is_file()} - before
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(written)
        if not path.relative_to(folder).parts[0].startswith(".")
    }


def mixed_table() -> Iterator[str]:
    """Yield the lines of a table of numbers, whole numbers, categories and gaps."""
    chance = random.Random(0)
    yield "a,b,size,color,class\n"
    for _ in range(300):
        a, b = chance.gauss(0, 1), chance.expovariate(0.1)
        size, color = chance.randint(1, 9), chance.choice(["red", "green", "blue", ""])
        score = a + (color == "red") - b / 20 + chance.gauss(0, 0.5)
        yield f"{a:.4f},{b:.3f},{size},{color},{'yes' if score > 0 else 'no'}\n"


if __name__ == "__main__":
    main()
