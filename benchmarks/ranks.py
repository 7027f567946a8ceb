"""Measure what several ranks bring, in time and in memory; write RANKS.md.

`python -m benchmarks.ranks` takes some minutes on two cores that do nothing else.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.contenders import params_of
from benchmarks.loads import LOADS, write_data
from benchmarks.memory import memory
from classifier.network.model import Task
from classifier.training import ranks
from classifier.training.device import compute_deterministically
from classifier.training.folds import read_folds
from classifier.training.loop import train
from classifier.training.run import start_run
from classifier.training.train_params import TrainParams

HERE = Path(__file__).parent
REPETITIONS = 3
BATCH_SIZES = (1024, 16_384)
"""That of load B, and one with less talk between the ranks."""
N_CLASSES = 7

INTRODUCTION = """# Benchmark of ranks

Written by `python -m benchmarks.ranks`. Every rank has one CPU thread.
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sections = [
            INTRODUCTION,
            section_of_speed(Path(folder)),
            section_of_memory(Path(folder)),
        ]
    text = "\n".join(sections)
    print(text)
    (HERE / "RANKS.md").write_text(text, encoding="utf-8")


def section_of_speed(folder: Path) -> str:
    write_data("B", folder)
    lines = [f"## Time: load B, {LOADS['B'].title}\n"]
    for batch_size in BATCH_SIZES:
        pairs = [
            (measure(1, "B", folder, batch_size), measure(2, "B", folder, batch_size))
            for _ in range(REPETITIONS)
        ]
        for name in ("training", "process"):
            one, two = (median(runs[0][name] for runs in side) for side in zip(*pairs, strict=True))
            ratio = median(one[0][name] / two[0][name] for one, two in pairs)
            lines.append(
                f"- batches of {batch_size:,}, {name}: one process {one:.2f} s, "
                f"two ranks {two:.2f} s, a speed-up of {ratio:.2f}"
            )
    return "\n".join(lines) + "\n"


def section_of_memory(folder: Path) -> str:
    write_data("C", folder)
    lines = [
        f"## Memory: {LOADS['C'].title}\n",
        "The table is 432 MB as float32. Peak memory of a rank, above that after its imports:\n",
    ]
    for n_ranks in (1, 2, 4):
        peaks = [run["peak_mb"] for run in measure(n_ranks, "C", folder, 1024)]
        lines.append(
            f"- number of ranks {n_ranks}: {', '.join(f'{peak:.0f} MB' for peak in peaks)}"
        )
    return "\n".join(lines) + "\n"


def measure(n_ranks: int, load: str, folder: Path, batch_size: int) -> list[dict[str, float]]:
    """Return what each rank measures, and the seconds of it all, in the order of the ranks."""
    torchrun = ["torchrun", "--standalone", f"--nproc-per-node={n_ranks}"]
    command = [sys.executable] if n_ranks == 1 else torchrun
    start = time.perf_counter()
    result = subprocess.run(
        [*command, "-m", "benchmarks.ranks", load, folder, str(batch_size)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - start
    measured = [json.loads(line) | {"process": seconds} for line in result.stdout.splitlines()]
    return sorted(measured, key=lambda run: run["rank"])


def train_as_a_rank(load: str, folder: Path, batch_size: int) -> None:
    import torch._dynamo

    before = memory("VmRSS")
    values = params_of(LOADS[load]) | {"threads": 1, "batch_size": batch_size}
    params = TrainParams.model_validate(values)
    device = torch.device("cpu")
    compute_deterministically(threads=1)
    with ranks.joined():
        (fold,) = read_folds(device, folder)
        run = start_run(params, Task(fold.train.features.shape[1], N_CLASSES), fold)
        start = time.perf_counter()
        for _ in train([run], params):
            pass
        seconds = time.perf_counter() - start
    peak_mb = (memory("VmHWM") - before) / 1e6
    line = {"rank": ranks.RANK, "training": seconds, "peak_mb": peak_mb}
    # In one piece, so that those of several ranks do not mix.
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    if sys.argv[1:]:
        train_as_a_rank(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
