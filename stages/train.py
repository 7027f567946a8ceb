"""Train the network, stop early, keep the best weights; go on from where a run was cut off."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from classifier.exported_model.write import write_exported_model
from classifier.io.files import read_json, write_bytes, write_json
from classifier.io.later_params import read_later_params
from classifier.io.params import read_params
from classifier.io.prepared import read_split
from classifier.io.profile import Profile
from classifier.io.schema import read_schema
from classifier.io.user_error import user_errors_in_one_line
from classifier.network.model import MLP, Task, networks_to_bytes
from classifier.network.temperature import fit_temperature, with_temperature
from classifier.resuming.checkpoint import remember_first_stop, training_to_bytes
from classifier.resuming.fingerprint import fingerprint_of
from classifier.resuming.resume import (
    Agreement,
    save,
    signals_held_back,
    start_or_go_on,
    stop_before_the_end,
)
from classifier.resuming.saved_state import SavedStates, only_one_training_process
from classifier.training import ranks
from classifier.training.device import select_device
from classifier.training.folds import Fold, must_be_one_network, read_edges, read_folds
from classifier.training.loop import Run, TrainParams
from classifier.training.losses_file import mean_evaluations, record_of
from classifier.training.ranks import become_torchrun
from classifier.training.side_by_side import (
    Training,
    evaluate_last,
    seeds_of_networks,
    settle_arithmetic,
    start_runs,
    train,
)
from classifier.training.step import class_counts, class_weights
from classifier.verdict import (
    NetworksReport,
    TrainingReport,
    baseline_loss,
    diagnose,
    what_happened,
    what_to_do,
    why_it_stopped,
)

PREPARED = Path("data/prepared")
TRAIN_FILE, VAL_FILE = PREPARED / "train.parquet", PREPARED / "val.parquet"
MODELS = Path("models")
REPORTS = Path("reports")


def main() -> None:
    params = read_params("train", TrainParams)
    device = select_device(params.device)
    schema = read_schema(PREPARED / "schema.json")
    profile = read_json(PREPARED / "profile.json", Profile)
    read_later_params().must_suit(schema.classes)
    task = Task.of(schema)
    folds = read_folds(TRAIN_FILE, VAL_FILE, device)

    threads = settle_arithmetic(params, folds, task)
    fingerprint = fingerprint_of(
        params, TRAIN_FILE, VAL_FILE, task, device_type=device.type, threads=threads
    )
    ranks.must_have_the_same(f"{fingerprint} {params.max_epochs} {params.patience}")
    is_piecewise = params.embedding == "piecewise_linear"
    edges = read_edges(TRAIN_FILE, folds, task) if is_piecewise else None
    seeds = seeds_of_networks(params.seed, len(folds))
    training, states = start_or_go_on(
        params, fingerprint, lambda: Training(start_runs(params, seeds, task, device, edges))
    )
    train_to_the_end(training, states, folds, params)

    checkpoint = training_to_bytes(training)
    report = training_report_of(training.runs, params, folds, threads)
    if ranks.RANK > 0:
        return
    networks = [run.best_network() for run in training.runs]
    if params.calibration == "temperature":
        report.temperature = fitted_temperature(networks)
    weights = networks_to_bytes(params, task, networks, report.temperature)
    write_bytes(MODELS / "weights.pt", weights)
    write_bytes(MODELS / "checkpoint.pt", checkpoint)
    networks = [with_temperature(network, report.temperature) for network in networks]
    write_exported_model(MODELS / "model.onnx", schema, profile, networks)
    write_json(REPORTS / "training.json", report)
    print(why_it_stopped(report, params.patience))
    print(what_happened(report), what_to_do(report))


def train_to_the_end(
    training: Training, states: SavedStates, folds: Sequence[Fold], params: TrainParams
) -> None:
    """Train and record until all is over, and save it now and then.

    Where a signal comes before, it is saved and this process ends.
    """
    runs, n_val = training.runs, [fold.val.n_on_all_ranks for fold in folds]
    with (
        signals_held_back(second_one_ends=not ranks.LAUNCHED) as interruption,
        record_of(runs, n_val, params.max_epochs, REPORTS / "losses.csv") as record,
    ):
        agreement = Agreement(interruption, params.save_every_seconds)
        seeds = seeds_of_networks(params.seed, len(folds))
        for is_evaluated in train(runs, folds, seeds, params):
            if is_evaluated:
                record()
                remember_first_stop(training, params)
            agreed = agreement.after_batch()
            if agreed.signal_number is not None:
                if not training.is_over(params):
                    stop_before_the_end(states, training, params, agreed.signal_number)
                break
            if agreed.save:
                save(states, training, params)
        save(states, training, params, finished=True)
        # Not in the saved state: a run with more epochs has no evaluation here.
        if evaluate_last(runs, folds, params):
            record()


def fitted_temperature(networks: list[MLP]) -> float:
    """Return the temperature for the rows that the networks leave out, and say what it is."""
    temperature = fit_temperature(networks, read_split(VAL_FILE))
    if temperature == 1:
        print("all validation rows are right, and say nothing about a temperature: there is none")
    else:
        print(f"the logits are divided by a temperature of {temperature:.3g}: train.calibration")
    return temperature


def training_report_of(
    runs: Sequence[Run], params: TrainParams, folds: Sequence[Fold], threads: int
) -> TrainingReport:
    n_val = [fold.val.n_on_all_ranks for fold in folds]
    history = mean_evaluations(runs, n_val)
    val_losses = [evaluation.val_loss for evaluation in history]
    best_epochs = [run.early_stopping.best_epoch for run in runs]
    best = int(np.argmin(val_losses))
    if len(runs) == 1:
        best = [evaluation.epoch for evaluation in history].index(best_epochs[0])
    # Of several networks, these are all rows that train some of them.
    target, n_classes = folds[0].train.target, runs[0].model.n_classes
    weight = class_weights(params.class_weights, target, n_classes)
    val_counts = [class_counts(fold.val.classes, n_classes) for fold in folds]
    baseline = baseline_loss(
        class_counts(target, n_classes),
        np.sum(val_counts, axis=0).tolist(),
        None if weight is None else weight.tolist(),
    )
    train_losses = [evaluation.train_loss for evaluation in history]
    best_val_losses = [run.early_stopping.best_val_loss for run in runs]
    kept = float(np.average(best_val_losses, weights=n_val)) if len(runs) > 1 else None
    diagnosis = diagnose(train_losses, val_losses, best, sum(n_val), baseline, kept=kept)
    stop_reasons = [run.stop_reason(params) for run in runs]
    several = {
        "best_epochs": best_epochs,
        "epochs_of_networks": [run.epoch for run in runs],
        "n_stopped_early": stop_reasons.count("early_stopping"),
        "out_of_fold_loss": kept,
    }
    return TrainingReport(
        **diagnosis.model_dump(),
        best_epoch=history[best].epoch,
        best_val_loss=val_losses[best],
        train_loss_at_best_epoch=train_losses[best],
        epochs_run=max(run.epoch for run in runs),
        stop_reason="max_epochs" if "max_epochs" in stop_reasons else "early_stopping",
        threads=threads,
        temperature=1.0,
        networks=None if len(runs) == 1 else NetworksReport.model_validate(several),
    )


if __name__ == "__main__":
    with user_errors_in_one_line("train"):
        torchrun = read_params("train", TrainParams).torchrun
        if torchrun.is_wanted or ranks.LAUNCHED:
            must_be_one_network(VAL_FILE)
        if torchrun.is_wanted and not ranks.LAUNCHED:
            become_torchrun(torchrun, "stages.train")
    lock = only_one_training_process() if ranks.RANK == 0 else nullcontext()
    with user_errors_in_one_line("train"), lock, ranks.joined():
        main()
