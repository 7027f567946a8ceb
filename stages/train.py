"""Train the network, stop early, keep the best weights; go on from where a run was cut off."""

from contextlib import nullcontext
from pathlib import Path

from classifier.exported_model.write import write_exported_model
from classifier.io.files import read_json, write_bytes, write_json
from classifier.io.later_params import read_later_params
from classifier.io.params import read_params
from classifier.io.prepared import PREPARED, VAL_FILE, read_split
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
from classifier.training.device import select_device, settle_arithmetic
from classifier.training.folds import must_be_one_network, read_edges, read_folds
from classifier.training.loop import evaluate_last, train
from classifier.training.losses_file import record_of
from classifier.training.ranks import become_torchrun
from classifier.training.run import Training, seeds_of_networks, start_runs
from classifier.training.train_params import TrainParams
from classifier.training.training_report import training_report_of
from classifier.verdict import what_happened, what_to_do, why_it_stopped

MODELS = Path("models")
REPORTS = Path("reports")


def main() -> None:
    params = read_params("train", TrainParams)
    device = select_device(params)
    schema = read_schema(PREPARED / "schema.json")
    profile = read_json(PREPARED / "profile.json", Profile)
    read_later_params().must_suit(schema.classes)
    task = Task.of(schema)
    folds = read_folds(device)

    threads = settle_arithmetic(params, folds, task)
    fingerprint = fingerprint_of(params, task, device_type=device.type, threads=threads)
    ranks.must_have_the_same(f"{fingerprint} {params.max_epochs} {params.patience}")
    is_piecewise = params.embedding == "piecewise_linear"
    edges = read_edges(folds, task) if is_piecewise else None
    seeds = seeds_of_networks(params.seed, len(folds))
    training, states = start_or_go_on(
        params, fingerprint, lambda: Training(start_runs(params, seeds, task, folds, edges))
    )
    train_to_the_end(training, states, params)

    checkpoint = training_to_bytes(training)
    report = training_report_of(training.runs, params, threads)
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


def train_to_the_end(training: Training, states: SavedStates, params: TrainParams) -> None:
    """Train and record until all is over, and save it now and then.

    Where a signal comes before, it is saved and this process ends.
    """
    agreement = Agreement(params.save_every_seconds)
    with (
        signals_held_back(agreement, second_one_ends=not ranks.LAUNCHED),
        record_of(training.runs, params.max_epochs, REPORTS / "losses.csv") as record,
    ):
        for is_evaluated in train(training.runs, params):
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
        if evaluate_last(training.runs, params):
            record()


def fitted_temperature(networks: list[MLP]) -> float:
    """Return the temperature for the rows that the networks leave out, and say what it is."""
    temperature = fit_temperature(networks, read_split(VAL_FILE))
    if temperature == 1:
        print("all validation rows are right, and say nothing about a temperature: there is none")
    else:
        print(f"the logits are divided by a temperature of {temperature:.3g}: train.calibration")
    return temperature


if __name__ == "__main__":
    with user_errors_in_one_line("train"):
        torchrun = read_params("train", TrainParams).torchrun
        if torchrun.is_wanted or ranks.LAUNCHED:
            must_be_one_network()
        if torchrun.is_wanted and not ranks.LAUNCHED:
            become_torchrun(torchrun, "stages.train")
    lock = only_one_training_process() if ranks.RANK == 0 else nullcontext()
    with user_errors_in_one_line("train"), lock, ranks.joined():
        main()
