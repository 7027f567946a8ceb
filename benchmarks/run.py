"""Time every contender on every load; write the medians and ratios to RESULTS.md.

`python -m benchmarks.run` takes about ten minutes on two cores that do nothing else. With
`--loads A` (or B, C, saving, same_bytes, pipeline; several are possible) the tables are
only printed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from benchmarks import pipeline, same_bytes
from benchmarks.loads import LOADS, Load, write_data

HERE = Path(__file__).parent
PACKAGES = ("torch", "numpy", "scikit-learn", "skorch", "lightning", "dvc")
SLOW = {"skorch", "lightning"}
TIME_LIMIT = 300
"""Seconds for one process."""
PAIRS = 15
"""Repetitions of training with and without saving, whose difference is small."""

Table = list[list[str]]


def main() -> None:
    choices = [*LOADS, "saving", "same_bytes", "pipeline"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", nargs="+", choices=choices, default=choices)
    loads = parser.parse_args().loads
    sections = [machine()]
    with tempfile.TemporaryDirectory() as folder:
        for name, load in LOADS.items():
            if name in loads:
                sections.append(section_of_load(name, load, Path(folder)))
        if "saving" in loads:
            sections.append(section_of_saving(Path(folder)))
        if "same_bytes" in loads:
            sections.append(section_of_same_bytes(Path(folder)))
        if "pipeline" in loads:
            sections.append(section_of_pipeline(Path(folder)))
    if loads == choices:
        sections.append((HERE / "tried.md").read_text(encoding="utf-8"))
        (HERE / "RESULTS.md").write_text("\n".join(sections), encoding="utf-8")


def machine() -> str:
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    text = f"""# Benchmark results

Written by `make benchmark`. Every contender trains the same network on the same data, each time in
a new process; the repetitions are interleaved. A ratio is the median over repetitions of the
contender's time divided by ours in the same repetition: above 1, ours is faster. "Training" is the
call that trains; "process" is everything, imports and reading the data included.

{processor()}, {os.cpu_count()} cores; {platform.system()}; {", ".join(versions)}.
"""
    print(text)
    return text


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def train_once(contender: str, name: str, folder: Path) -> dict[str, float]:
    """Return the seconds of training and of the process, and the peak memory in bytes."""
    threads = str(LOADS[name].threads or os.cpu_count())
    env = {**pipeline.users_environment(), "OMP_NUM_THREADS": threads}
    env["OPENBLAS_NUM_THREADS"] = threads
    start = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.contenders", contender, name, str(folder)],
        env=env,
        cwd=HERE.parent,
        check=True,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    ).stdout
    process = time.perf_counter() - start
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return {**figures, "process": process}


def interleaved(
    contenders: tuple[str, ...], repetitions: int, name: str, folder: Path
) -> dict[str, list[dict[str, float]]]:
    data = folder / name
    if not data.exists():
        data.mkdir()
        write_data(name, data)
    runs: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for _ in range(repetitions):
        for contender in contenders:
            runs[contender].append(train_once(contender, name, data))
    return runs


def ratio(theirs: list[dict[str, float]], ours: list[dict[str, float]], key: str) -> float:
    return median(one[key] / other[key] for one, other in zip(theirs, ours, strict=True))


def section_of_load(name: str, load: Load, folder: Path) -> str:
    runs = interleaved(load.contenders, load.repetitions, name, folder)
    rows = n_rows(name)
    table: Table = [["contender", "training", "ratio", "process", "ratio", "peak memory"]]
    for contender, its_runs in runs.items():
        # What skorch and Lightning need for an epoch, from fewer of them.
        fewer = load.slow_epochs / load.epochs if contender in SLOW else 1
        seconds = median(run["seconds"] for run in its_runs) / fewer
        speed = (
            f"{seconds / load.epochs * 1e6:.0f} µs/epoch"
            if load.batch_size is None
            else f"{rows * load.epochs / seconds / 1e3:.0f} thousand rows/s"
        )
        table.append(
            [
                contender,
                speed,
                f"{ratio(its_runs, runs['ours'], 'seconds') / fewer:.2f}",
                f"{median(run['process'] for run in its_runs):.2f} s" if fewer == 1 else "",
                f"{ratio(its_runs, runs['ours'], 'process'):.2f}" if fewer == 1 else "",
                f"{median(run['peak_bytes'] for run in its_runs) / 1e6:.0f} MB",
            ]
        )
    text = f"## Load {name}: {load.title}\n\n{load.threads or os.cpu_count()} threads."
    if load.slow_epochs != load.epochs:
        text += f" skorch and Lightning: {load.slow_epochs:,} epochs, without looks."
    if name == "C":
        peak = median(run["peak_bytes"] for run in runs["ours"]) / (rows * 54 * 4)
        text += f" Our peak memory is {peak:.2f} times the table as float32."
    return show(text, table, load.repetitions)


def n_rows(name: str) -> int:
    return {"A": 90, "B": 200_000, "C": 2_000_000}[name]


def section_of_saving(folder: Path) -> str:
    table: Table = [["load", "without saving", "with saving", "ratio"]]
    for name in ("A", "B"):
        runs = interleaved(("ours", "ours, saving"), PAIRS, name, folder)
        without, saving = (
            [median(run["seconds"] for run in runs[contender])] for contender in runs
        )
        table.append(
            [
                name,
                f"{without[0]:.3f} s",
                f"{saving[0]:.3f} s",
                f"{ratio(runs['ours, saving'], runs['ours'], 'seconds'):.3f}",
            ]
        )
    return show("## What keeping the state costs", table, PAIRS)


def section_of_same_bytes(folder: Path) -> str:
    repetitions = 3
    table: Table = [["`train`", "here, s", "everywhere, s", "ratio"]]
    table += same_bytes.ratios(folder, repetitions)
    text = "Whole processes, with 1.6 to 4 s of imports, by `train.same_bytes`."
    return show(f"## What the same bytes cost\n\n{text}", table, repetitions)


def section_of_pipeline(folder: Path) -> str:
    repetitions = 3
    runs = [pipeline.measure(folder / str(index)) for index in range(repetitions)]
    compared = {
        "cold dvc repro": "teaching script",
        "dvc repro --force, all stages": "teaching script",
        "nothing-changed dvc repro": "nothing-changed dvc repro, empty pipeline",
    }
    table: Table = [["what", "seconds", "compared with", "ratio"]]
    for what in runs[0]:
        other = compared.get(what)
        table.append(
            [
                what,
                f"{median(run[what] for run in runs):.2f}",
                other or "",
                f"{median(run[what] / run[other] for run in runs):.2f}" if other else "",
            ]
        )
    return show("## The whole pipeline", table, repetitions)


def show(text: str, table: Table, repetitions: int) -> str:
    text = f"{text}\n\nMedians of {repetitions}.\n\n{as_markdown(table)}\n"
    print(text, flush=True)
    return text


def as_markdown(table: Table) -> str:
    head, *rows = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([head, f"|{'---|' * len(table[0])}", *rows])


if __name__ == "__main__":
    main()
