"""Train the network, stop early, keep the best weights; go on from where a run was cut off."""

from contextlib import nullcontext
from pathlib import Path

import torch

from classifier.exported_model.write import write_exported_model
from classifier.io.files import write_bytes, write_json
from classifier.io.later_params import read_later_params
from classifier.io.params import read_params
from classifier.io.prepared import count_rows, read_quantiles, read_split
from classifier.io.schema import read_schema
from classifier.io.user_error import user_errors_in_one_line
from classifier.network.layers import N_BINS
from classifier.network.model import MLP, Task, networks_to_bytes, widths
from classifier.network.temperature import fit_temperature, with_temperature
from classifier.resuming.checkpoint import run_to_bytes
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
from classifier.training.device import choose_threads, compute_deterministically, select_device
from classifier.training.loop import Run, TrainParams, evaluate, loss_weight, train
from classifier.training.losses_file import record_of
from classifier.training.ranks import become_torchrun
from classifier.training.step import Rows, class_counts
from classifier.verdict import (
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
    read_later_params().must_suit(schema.classes)
    task = Task.of(schema)
    train_rows, val_rows = read_rows(TRAIN_FILE, device), read_rows(VAL_FILE, device)

    n_rows = train_rows.n_on_all_ranks
    rows_per_step = min(params.batch_size or n_rows, n_rows) // ranks.SIZE
    threads = choose_threads(params.threads, rows_per_step, widths(params, task), params.members)
    compute_deterministically(threads)
    fingerprint = fingerprint_of(
        params, TRAIN_FILE, VAL_FILE, task, device_type=device.type, threads=threads
    )
    ranks.must_have_the_same(f"{fingerprint} {params.max_epochs} {params.patience}")
    edges = None
    if params.embedding == "piecewise_linear":
        edges = torch.from_numpy(read_quantiles(TRAIN_FILE, task.numbers, N_BINS))
    run, states = start_or_go_on(params, fingerprint, task, device, edges)
    train_to_the_end(run, states, train_rows, val_rows, params)

    checkpoint = run_to_bytes(run)
    report = training_report_of(run, params, train_rows, val_rows, threads)
    if ranks.RANK > 0:
        return
    networks = [run.best_network()]
    if params.calibration == "temperature":
        report.temperature = fitted_temperature(networks)
    weights = networks_to_bytes(params, task, networks, report.temperature)
    write_bytes(MODELS / "weights.pt", weights)
    write_bytes(MODELS / "checkpoint.pt", checkpoint)
    networks = [with_temperature(network, report.temperature) for network in networks]
    write_exported_model(MODELS / "model.onnx", schema, networks)
    write_json(REPORTS / "training.json", report)
    print(why_it_stopped(report, params.patience))
    print(what_happened(report), what_to_do(report))


def read_rows(path: Path, device: torch.device) -> Rows:
    """Read the rows that this rank holds."""
    n = count_rows(path)
    part = ranks.shard(n)
    split = read_split(path, part)
    features, target = torch.from_numpy(split.features), torch.from_numpy(split.target)
    return Rows(features.to(device), target.to(device), part.start, n)


def train_to_the_end(
    run: Run, states: SavedStates, train_rows: Rows, val_rows: Rows, params: TrainParams
) -> None:
    """Train and record until the run is over, and save it now and then.

    Where a signal comes before, it is saved and this process ends.
    """
    with (
        signals_held_back(second_one_ends=not ranks.LAUNCHED) as interruption,
        record_of(run, params.max_epochs, REPORTS / "losses.csv") as record,
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
            weight = loss_weight(run, train_rows, params)
            record(evaluate(run, train_rows, val_rows, weight, params))


def fitted_temperature(networks: list[MLP]) -> float:
    """Return the temperature for the validation rows, and say what it is."""
    temperature = fit_temperature(networks, read_split(VAL_FILE))
    if temperature == 1:
        print("all validation rows are right, and say nothing about a temperature: there is none")
    else:
        print(f"the logits are divided by a temperature of {temperature:.3g}: train.calibration")
    return temperature


def training_report_of(
    run: Run, params: TrainParams, train_rows: Rows, val_rows: Rows, threads: int
) -> TrainingReport:
    train_losses = [evaluation.train_loss for evaluation in run.history]
    val_losses = [evaluation.val_loss for evaluation in run.history]
    best_epoch = run.early_stopping.best_epoch
    best = [evaluation.epoch for evaluation in run.history].index(best_epoch)
    weight = loss_weight(run, train_rows, params)
    baseline = baseline_loss(
        class_counts(train_rows.target, run.model.n_classes),
        class_counts(val_rows.target, run.model.n_classes),
        None if weight is None else weight.tolist(),
    )
    diagnosis = diagnose(train_losses, val_losses, best, val_rows.n_on_all_ranks, baseline)
    return TrainingReport(
        **diagnosis.model_dump(),
        best_epoch=best_epoch,
        best_val_loss=val_losses[best],
        train_loss_at_best_epoch=train_losses[best],
        epochs_run=run.epoch,
        stop_reason=run.stop_reason(params),
        threads=threads,
        temperature=1.0,
    )


if __name__ == "__main__":
    with user_errors_in_one_line("train"):
        torchrun = read_params("train", TrainParams).torchrun
        if torchrun.is_wanted and not ranks.LAUNCHED:
            become_torchrun(torchrun, "stages.train")
    lock = only_one_training_process() if ranks.RANK == 0 else nullcontext()
    with user_errors_in_one_line("train"), lock, ranks.joined():
        main()
