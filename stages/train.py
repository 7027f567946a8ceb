"""Train the network, stop early, keep the best weights; go on from where a run was cut off."""

import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import torch

from stages.parts.advice import what_happened, what_to_do
from stages.parts.atomic_write import atomic_write
from stages.parts.checkpoint import restore_run, run_to_bytes, save_bytes
from stages.parts.compiled import finds_compiler
from stages.parts.device import choose_threads, compute_deterministically, select_device
from stages.parts.diagnosis import baseline_loss, diagnose
from stages.parts.dvc_lock import records_the_stage_as_it_is
from stages.parts.exported_model import write_exported_model
from stages.parts.fingerprint import fingerprint
from stages.parts.interruption import Interruption
from stages.parts.losses import LossesFile
from stages.parts.params import read_params
from stages.parts.progress import Progress
from stages.parts.rows import Rows
from stages.parts.saved_state import Horizon, SavedState, SavedStates, only_one_training_process
from stages.parts.schema import read_schema
from stages.parts.split import Split, read_split
from stages.parts.training import (
    Run,
    TrainParams,
    evaluate,
    loss_weight,
    start_run,
    train,
)
from stages.parts.training_report import TrainingReport, write_training_report
from stages.parts.user_error import UserError, user_errors_in_one_line

PREPARED = Path("data/prepared")
MODELS = Path("models")
REPORTS = Path("reports")


def main() -> None:
    params = read_params("train", TrainParams)
    device = select_device(params.device)
    schema = read_schema(PREPARED / "schema.json")
    n_classes = len(schema.classes)
    train_split = read_split(PREPARED / "train.parquet")
    val_split = read_split(PREPARED / "val.parquet")
    train_rows, val_rows = to_device(train_split, device), to_device(val_split, device)

    n_rows, n_features = train_split.features.shape
    threads = choose_threads(
        params.threads,
        rows=min(params.batch_size or n_rows, n_rows),
        widths=[n_features, *params.hidden, n_classes],
    )
    compute_deterministically(threads)
    if params.compile and not finds_compiler():
        print("train.compile is true, but no C++ compiler is found: training without it")
    states = SavedStates(
        fingerprint(
            params, train_split, val_split, n_classes, device_type=device.type, threads=threads
        )
    )
    run = start_or_go_on(params, states, n_features, n_classes, device)

    with (
        Interruption() as interruption,
        LossesFile(REPORTS / "losses.csv", run.history) as losses,
        Progress(params.max_epochs, run.epoch) as progress,
    ):
        saved_at = time.monotonic()
        for evaluation in train(run, train_rows, val_rows, params):
            if evaluation is not None:
                losses.append(evaluation)
                progress.show(evaluation, run.early_stopping)
            if interruption.signal_number is not None:
                break
            if time.monotonic() - saved_at >= params.save_every_seconds:
                save(states, run, params)
                saved_at = time.monotonic()
        if interruption.signal_number is not None and not run.is_over(params):
            stop_before_the_end(states, run, params, interruption.signal_number)
        save(states, run, params, finished=True)
        if run.epoch % params.eval_every != 0:
            # Not in the saved state: a run with more epochs has no evaluation here.
            evaluation = evaluate(run, train_rows, val_rows, params)
            losses.append(evaluation)
            progress.show(evaluation, run.early_stopping)

    weight = loss_weight(run, train_rows, params)
    baseline = baseline_loss(
        train_split.target, val_split.target, None if weight is None else weight.cpu().numpy()
    )
    report = report_on(run, params, len(val_split.target), baseline, threads)
    with atomic_write(MODELS / "weights.pt") as temporary:
        temporary.write_bytes(save_bytes(run.best_weights))
    with atomic_write(MODELS / "checkpoint.pt") as temporary:
        temporary.write_bytes(run_to_bytes(run))
    write_exported_model(MODELS / "model.pt2", schema, run.model, run.best_weights)
    write_training_report(REPORTS / "training.json", report)
    print(in_words(report, params))
    print(what_happened(report), what_to_do(report))


def to_device(split: Split, device: torch.device) -> Rows:
    return Rows(
        torch.from_numpy(split.features).to(device), torch.from_numpy(split.target).to(device)
    )


def start_or_go_on(
    params: TrainParams, states: SavedStates, n_features: int, n_classes: int, device: torch.device
) -> Run:
    """Return the run that was saved, or a new one where there is none to go on from."""
    run = start_run(params, n_features, n_classes, device)
    saved = states.load()
    if saved is None:
        return run
    restore_run(run, saved.checkpoint)
    horizon = saved.horizon
    if (params.max_epochs, params.patience) == (horizon.max_epochs, horizon.patience):
        # A finished run is here again either because DVC was killed before it could record the
        # result, or because dvc.lock has the result and `dvc repro --force` asks for it anew.
        goes_on = not (horizon.finished and records_the_stage_as_it_is("train", params))
    elif horizon.finished:
        goes_on = params.max_epochs >= horizon.max_epochs and params.patience >= horizon.patience
    else:
        goes_on = not run.is_past_the_end(params)
    if goes_on:
        print(f"going on from epoch {run.epoch}, saved by an earlier run", flush=True)
        return run
    return start_run(params, n_features, n_classes, device)


def save(states: SavedStates, run: Run, params: TrainParams, *, finished: bool = False) -> bool:
    """Save the state; where that fails, warn, because training itself need not stop."""
    horizon = Horizon(params.max_epochs, params.patience, finished)
    try:
        states.save(SavedState(horizon, run_to_bytes(run)))
    except OSError as error:
        # As `dvc queue stop --kill` does, which kills DVC and not the stage that it started.
        if not Path("params.yaml").exists():
            raise UserError(
                "the folder in which it was training has been deleted; nothing is saved"
            ) from None
        print(f"warning: the state at epoch {run.epoch} cannot be saved: {error}", flush=True)
        return False
    return True


def stop_before_the_end(
    states: SavedStates, run: Run, params: TrainParams, signal_number: int
) -> NoReturn:
    name = signal.Signals(signal_number).name
    if save(states, run, params):
        print(f"{name}: epoch {run.epoch} is saved; to go on from there: dvc repro")
    else:
        print(f"{name}: to go on from the state saved before, if there is one: dvc repro")
    sys.exit(128 + signal_number)


def report_on(
    run: Run, params: TrainParams, n_val: int, baseline: float, threads: int
) -> TrainingReport:
    train_losses = [evaluation.train_loss for evaluation in run.history]
    val_losses = [evaluation.val_loss for evaluation in run.history]
    best_epoch = run.early_stopping.best_epoch
    best = [evaluation.epoch for evaluation in run.history].index(best_epoch)
    diagnosis = diagnose(train_losses, val_losses, best, n_val, baseline)
    return TrainingReport(
        **diagnosis.model_dump(),
        best_epoch=best_epoch,
        best_val_loss=val_losses[best],
        train_loss_at_best_epoch=train_losses[best],
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
    with user_errors_in_one_line("train"), only_one_training_process():
        main()
