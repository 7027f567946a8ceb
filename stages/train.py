"""Train the network, stop early, keep the best weights; go on from where a run was cut off."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import torch

from stages.parts import ranks
from stages.parts.agreement import Agreement
from stages.parts.atomic_write import atomic_write
from stages.parts.checkpoint import run_to_bytes, save_bytes
from stages.parts.compiled import finds_compiler
from stages.parts.device import choose_threads, compute_deterministically, select_device
from stages.parts.fingerprint import fingerprint
from stages.parts.interruption import Interruption
from stages.parts.losses import LossesFile
from stages.parts.params import read_params
from stages.parts.progress import Progress
from stages.parts.resume import save, start_or_go_on
from stages.parts.rows import Rows
from stages.parts.saved_state import SavedStates, only_one_training_process
from stages.parts.schema import read_schema
from stages.parts.split import count_rows, read_split
from stages.parts.training import Evaluation, Run, TrainParams, evaluate, train
from stages.parts.training_report import TrainingReport, write_training_report
from stages.parts.user_error import user_errors_in_one_line

PREPARED = Path("data/prepared")
TRAIN_FILE, VAL_FILE = PREPARED / "train.parquet", PREPARED / "val.parquet"
MODELS = Path("models")
REPORTS = Path("reports")


def main() -> None:
    params = read_params("train", TrainParams)
    device = select_device(params.device)
    n_classes = len(read_schema(PREPARED / "schema.json").classes)
    train_rows, val_rows = read_rows(TRAIN_FILE, device), read_rows(VAL_FILE, device)

    n_rows, n_features = train_rows.n_on_all_ranks, train_rows.features.shape[1]
    threads = choose_threads(
        params.threads,
        rows=min(params.batch_size or n_rows, n_rows) // ranks.SIZE,
        widths=[n_features, *params.hidden, n_classes],
    )
    compute_deterministically(threads)
    if params.compile and not finds_compiler() and ranks.RANK == 0:
        print("train.compile is true, but no C++ compiler is found: training without it")
    course = fingerprint(
        params, TRAIN_FILE, VAL_FILE, n_classes, device_type=device.type, threads=threads
    )
    ranks.must_have_the_same(f"{course} {params.max_epochs} {params.patience}")
    states = SavedStates(course)
    run = start_or_go_on(params, states, n_features, n_classes, device)

    with (
        Interruption(second_one_ends=not ranks.LAUNCHED) as interruption,
        record_of(run, params) as record,
    ):
        agreement = Agreement(interruption, params.save_every_seconds)
        for evaluation in train(run, train_rows, val_rows, params):
            if evaluation is not None:
                record(evaluation)
            agreed = agreement.after_batch()
            if agreed.signal_number is not None:
                if not run.is_over(params):
                    stop_before_the_end(states, run, params, agreed.signal_number)
                break
            if agreed.save:
                save(states, run, params)
        save(states, run, params, finished=True)
        if run.epoch % params.eval_every != 0:
            # Not in the saved state: a run with more epochs has no evaluation here.
            record(evaluate(run, train_rows, val_rows, params))

    checkpoint = run_to_bytes(run)
    if ranks.RANK > 0:
        return
    report = report_on(run, params, threads)
    with atomic_write(MODELS / "weights.pt") as temporary:
        temporary.write_bytes(save_bytes(run.best_weights))
    with atomic_write(MODELS / "checkpoint.pt") as temporary:
        temporary.write_bytes(checkpoint)
    write_training_report(REPORTS / "training.json", report)
    print(in_words(report, params))


def read_rows(path: Path, device: torch.device) -> Rows:
    """Read the rows that this rank holds."""
    n = count_rows(path)
    part = ranks.shard(n)
    split = read_split(path, part)
    features, target = torch.from_numpy(split.features), torch.from_numpy(split.target)
    return Rows(features.to(device), target.to(device), part.start, n)


@contextmanager
def record_of(run: Run, params: TrainParams) -> Iterator[Callable[[Evaluation], None]]:
    """Yield a function that records an evaluation where people look, which only rank 0 does."""
    if ranks.RANK > 0:
        yield lambda _evaluation: None
        return
    with (
        LossesFile(REPORTS / "losses.csv", run.history) as losses,
        Progress(params.max_epochs, run.epoch) as progress,
    ):

        def record(evaluation: Evaluation) -> None:
            losses.append(evaluation)
            progress.show(evaluation, run.early_stopping)

        yield record


def stop_before_the_end(
    states: SavedStates, run: Run, params: TrainParams, signal_number: int
) -> NoReturn:
    name = signal.Signals(signal_number).name
    is_saved = save(states, run, params)
    if ranks.RANK == 0 and is_saved:
        print(f"{name}: epoch {run.epoch} is saved; to go on from there: dvc repro")
    elif ranks.RANK == 0:
        print(f"{name}: to go on from the state saved before, if there is one: dvc repro")
    sys.exit(128 + signal_number)


def report_on(run: Run, params: TrainParams, threads: int) -> TrainingReport:
    best_epoch = run.early_stopping.best_epoch
    best = next(evaluation for evaluation in run.history if evaluation.epoch == best_epoch)
    return TrainingReport(
        best_epoch=best_epoch,
        best_val_loss=best.val_loss,
        train_loss_at_best_epoch=best.train_loss,
        epochs_run=run.epoch,
        stop_reason=run.stop_reason(params),
        threads=threads,
    )


def in_words(report: TrainingReport, params: TrainParams) -> str:
    """Say in one sentence why training stopped, at which epoch, and which epoch was best."""
    why = (
        f"{params.patience} evaluations brought no improvement"
        if report.stop_reason == "early_stopping"
        else "that is max_epochs"
    )
    return (
        f"stopped at epoch {report.epochs_run} because {why}; "
        f"best was epoch {report.best_epoch} with val_loss {report.best_val_loss:.4f}"
    )


if __name__ == "__main__":
    lock = only_one_training_process() if ranks.RANK == 0 else nullcontext()
    with user_errors_in_one_line("train"), lock, ranks.joined():
        main()
