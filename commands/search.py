"""Search for better parameters of `train`, by the training and validation rows alone."""

import argparse
import difflib
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from classifier.io.files import read_json, write_json
from classifier.io.params import PARAMS_FILE
from classifier.io.prepared import PREPARED, PreparedRows
from classifier.io.progress import Progress
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.resuming.saved_state import only_one_training_process
from classifier.search.search_params import from_optuna, text_of
from classifier.search.search_report import in_words
from classifier.search.searching import Search, make_tries
from classifier.search.study import (
    FOLDER,
    best_first,
    has_others,
    loss_of,
    open_study,
    tries_of,
)
from classifier.starting.params_file import with_params, write_params

REPORTS = Path("reports")

SPLITS_QUEUED = "1,2,3,4,5"
"""Of the rows, by `prepare.seed`: what commands.repeats compares is a mean over several."""


def main() -> None:
    arguments = parse_arguments()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = Search.in_params_yaml(arguments.trials, arguments.storage, arguments.workers)
    # After this: matplotlib takes a while, and a wrong parameter is to be named at once.
    from classifier.search.results import (  # noqa: PLC0415
        search_report_of,
        write_csv,
        write_pictures,
    )

    # Of a storage that others use as well, this machine cannot know who is at work.
    # Before: another `prepare` may run meanwhile.
    rows = read_json(PREPARED / "rows.json", PreparedRows)
    alone = only_one_training_process(FOLDER) if search.storage is None else nullcontext()
    with alone:
        tries = find(search)
    report = search_report_of(tries, search, rows.hash_of_train_and_val)
    write_csv(REPORTS / "search.csv", tries, search.space)
    write_json(REPORTS / "search.json", report)
    write_pictures(REPORTS, tries)
    print("\n".join(in_words(report)))
    propose(report.params, apply=arguments.apply)
    for trial in best_first(tries)[: arguments.queue]:
        queue(from_optuna(search.space, trial.params))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m commands.search", description=__doc__)
    parser.add_argument("--trials", type=at_least_one, help="instead of search.trials")
    parser.add_argument(
        "--workers", type=at_least_one, help="processes at work here (default: all cores)"
    )
    parser.add_argument(
        "--storage",
        help="that several machines share: a journal file, the URL of a database, or the host:port "
        "of Optuna's gRPC server (default: a file of this folder)",
    )
    parser.add_argument("--apply", action="store_true", help="write the best into params.yaml")
    parser.add_argument(
        "--queue",
        type=at_least_one,
        default=0,
        metavar="K",
        help="queue the best K as experiments, each on five splits, for commands.repeats",
    )
    return parser.parse_args()


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def find(search: Search) -> list[FrozenTrial]:
    """Make the tries that the study lacks; return all."""
    study = open_study(search.storage, search.study_name)
    n_done, n_wanted = len(tries_of(study)), search.params.trials
    if n_done:
        print(f"going on with a study that has {n_done} tries", flush=True)
    elif search.storage is None and has_others(search.study_name):
        print(
            "the prepared rows, the code or what is searched have changed since the last search: "
            "this is a new study",
            flush=True,
        )
    try:
        with closing(Progress("try", n_wanted, n_done, "left")) as progress:

            def show() -> None:
                tries = tries_of(study)
                progress.show(len(tries), best_in_words(tries))

            make_tries(search, study, show)
    except KeyboardInterrupt:
        print(f"{len(tries_of(study))} tries are kept; the same command goes on from there")
        raise
    return tries_of(study)


def best_in_words(tries: list[FrozenTrial]) -> str:
    ranked = best_first(tries)
    if not ranked:
        return "none has finished yet"
    params = " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in ranked[0].params.items()
    )
    return f"best val_loss={loss_of(ranked[0]):.4f} {params}"


def propose(params: dict[str, object], *, apply: bool) -> None:
    """Show how params.yaml changes with these parameters of `train`; write it if told to."""
    before, after = PARAMS_FILE.read_text(encoding="utf-8"), with_params({"train": params})
    if before == after:
        print(f"{PARAMS_FILE} has these parameters")
        return
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        str(PARAMS_FILE),
        str(PARAMS_FILE),
        n=0,
        lineterm="",
    )
    print("\n".join(lines))
    if apply:
        write_params(after)
        print(f"written to {PARAMS_FILE}; next: dvc repro")
    else:
        print(f"to write this to {PARAMS_FILE}: the same command with --apply")


def queue(params: dict[str, object]) -> None:
    """Queue an experiment with these parameters of `train` on each of several splits."""
    settings = [f"train.{name}={text_of(value)}" for name, value in params.items()]
    settings.append(f"prepare.seed={SPLITS_QUEUED}")
    options = [part for setting in settings for part in ("-S", setting)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--queue", *options]
    queued = subprocess.run(command, check=False)  # noqa: S603 (no shell)
    if queued.returncode != 0:
        raise UserError("dvc exp run --queue failed: see above")


if __name__ == "__main__":
    with user_errors_in_one_line("search"):
        main()
