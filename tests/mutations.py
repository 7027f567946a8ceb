"""Damage model files and saved states in many ways, and look for a crash, a hang, a wrong answer.

The long form: python -m tests.mutations --count 10000
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import resource
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from classifier.exported_model.format import CHECKSUM_LENGTH, with_checksum
from classifier.exported_model.load import ExportedModel
from classifier.io.params import read_params
from classifier.io.schema import CategoricalColumn, Schema, read_schema
from classifier.io.user_error import UserError
from classifier.network.model import Task
from classifier.resuming.checkpoint import restore
from classifier.resuming.saved_state import SavedStates
from classifier.training.folds import read_folds
from classifier.training.run import Training, start_run
from classifier.training.train_params import TrainParams
from tests.in_process import run_all
from tests.test_networks import table_of_all_kinds

Kind = Literal["model", "state"]

SECONDS_AT_MOST = 20
"""For one file, which takes some milliseconds."""

BYTES_OF_MEMORY = 8 * 2**30


@dataclass(frozen=True)
class Mutant:
    kind: Kind
    content: bytes
    how: str
    is_forged: bool
    """Whether its checksum was put right afterwards, as somebody would who forges a file."""


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 8, 64])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def piece(content: bytes, chance: random.Random) -> slice:
    start = chance.randrange(len(content))
    return slice(start, start + chance.choice([1, 2, 4, 16, 256, 4096]))


def replace(content: bytes, chance: random.Random) -> bytes:
    """Put nothing in the place of a piece, or something else, or what is elsewhere, or it twice."""
    where, elsewhere = piece(content, chance), piece(content, chance)
    before = content[where]
    length = len(before)
    others = [b"", bytes(length), b"\xff" * length, chance.randbytes(length)]
    new = chance.choice([*others, content[elsewhere], 2 * before])
    return content[: where.start] + new + content[where.stop :]


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [flip_bits, cut_off, replace]


def forged(kind: Kind, content: bytes) -> bytes:
    if kind == "model":
        return with_checksum(content)
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def without_checksum(kind: Kind, content: bytes) -> bytes:
    return content[:-CHECKSUM_LENGTH] if kind == "model" else content.split(b"\n", 1)[1]


def mutants(
    files: dict[Kind, bytes], count: int, chance: random.Random, *, is_forged: bool
) -> Iterator[Mutant]:
    for number in range(count):
        kind: Kind = "model" if number % 2 else "state"
        mutate = chance.choice(MUTATIONS)
        if is_forged:
            changed = forged(kind, mutate(without_checksum(kind, files[kind]), chance))
        else:
            changed = mutate(files[kind], chance)
        if changed != files[kind]:
            yield Mutant(kind, changed, mutate.__name__, is_forged)


def open_file(kind: Kind, content: bytes) -> str:
    """Return what becomes of a file in the current folder: `refused`, or `taken`."""
    try:
        if kind == "model":
            Path("mutant.onnx").write_bytes(content)
            model = ExportedModel(Path("mutant.onnx"))
            model.probabilities(inputs(model.schema))
            return "taken"
        Path(".training/mutant.state").write_bytes(content)
        saved = SavedStates("mutant").load()
        if saved is None:
            return "refused"
        task = Task.of(read_schema(Path("data/prepared/schema.json")))
        (fold,) = read_folds(torch.device("cpu"))
        run = start_run(read_params("train", TrainParams), task, fold)
        restore(Training([run]), saved.checkpoint)
    except UserError:
        return "refused"
    return "taken"


def inputs(schema: Schema) -> dict[str, np.ndarray]:
    return {
        column.name: np.array(["red"] * 3, object)
        if isinstance(column, CategoricalColumn)
        else np.array([1.5, np.nan, -2])
        for column in schema.columns
    }


def work(connection: Connection, folder: Path) -> None:
    """Open files until there are no more; a crash ends this process."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES_OF_MEMORY, BYTES_OF_MEMORY))
    torch.set_num_threads(1)
    with chdir(folder), Path(os.devnull).open("w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 2)
        with redirect_stdout(nothing), suppress(EOFError):
            while True:
                kind, content = connection.recv()
                try:
                    connection.send(open_file(kind, content))
                except Exception as error:  # noqa: BLE001 (it is what is looked for)
                    connection.send(f"{type(error).__name__}: {error}")


class Worker:
    """A process that opens files, and is replaced when it has crashed or hangs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, self._folder), daemon=True)
        self._process.start()
        theirs.close()

    def open(self, mutant: Mutant) -> str:
        self._connection.send((mutant.kind, mutant.content))
        try:
            if self._connection.poll(SECONDS_AT_MOST if self._process.is_alive() else 0):
                return str(self._connection.recv())
            outcome = "hang"
        except EOFError:
            outcome = "crash"
        self._process.kill()
        self._process.join()
        self._start()
        return outcome


SMALL = {
    "train__embedding": "periodic",
    "train__members": 2,
    "train__hidden": [4],
    "train__max_epochs": 2,
    "train__eval_every": 1,
}


def train_in(folder: Path) -> dict[Kind, bytes]:
    """Train a small network on a table of all kinds of columns; return its files."""
    with chdir(folder):
        table_of_all_kinds().to_csv("t.csv", index=False)
        with redirect_stdout(None):
            run_all(folder, "t.csv", "y", **SMALL, prepare__missing_indicator=True)
        (state,) = Path(".training").glob("*.state")
        return {"model": Path("models/model.onnx").read_bytes(), "state": state.read_bytes()}


def is_wrong(mutant: Mutant, outcome: str) -> bool:
    """Say whether a file should not have led to this; a forged one may be taken for good."""
    return outcome != "refused" and not (mutant.is_forged and outcome == "taken")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    outcomes: Counter[tuple[str, str, str]] = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = train_in(folder)
        worker = Worker(folder)
        for is_forged in (False, True):
            for mutant in mutants(files, arguments.count, chance, is_forged=is_forged):
                outcome = worker.open(mutant)
                checksum = "checksum put right" if is_forged else "as damaged"
                outcomes[mutant.kind, checksum, outcome[:100]] += 1
                if is_wrong(mutant, outcome):
                    wrong += 1
                    path = Path(tempfile.gettempdir()) / f"mutant-{wrong}.{mutant.kind}"
                    path.write_bytes(mutant.content)
                    print(f"{mutant.kind}, {checksum}, {mutant.how}: {outcome}; kept: {path}")
    for (kind, checksum, outcome), n in sorted(outcomes.items()):
        print(f"{kind}, {checksum}: {n} {outcome}")
    print(f"{outcomes.total()} files; {wrong} crashes, hangs, tracebacks or wrong answers")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
