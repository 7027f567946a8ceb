"""What a search has found: reports/search.json and reports/search.csv."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from classifier.io.files import write_bytes
from classifier.io.user_error import UserError
from classifier.search.held_out import ResampledLosses, luck_of_choosing
from classifier.search.search_params import Space, from_optuna, text_of
from classifier.search.search_report import SearchReport
from classifier.search.study import FAILED_WITH

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


def report_on(
    tries: Sequence[FrozenTrial],
    space: Space,
    seeds: list[int],
    n_splits: int,
    prepared_rows: str,
) -> SearchReport:
    """Sum up tries.

    Raises
    ------
    UserError
        If none has finished.

    """
    counts = Counter(STATES[each.state] for each in tries)
    ranked = best_first(tries)
    if not ranked:
        reasons = [each.user_attrs.get(FAILED_WITH, "stopped") for each in tries]
        raise UserError(f"of {len(tries)} tries, none has finished; the first: {reasons[0]}")
    finished = [each for each in tries if each.state == TrialState.COMPLETE]
    return SearchReport(
        n_tries=len(tries),
        n_finished=counts["finished"],
        n_stopped=counts["stopped"],
        n_failed=counts["failed"],
        seeds=seeds,
        n_splits=n_splits,
        best_try=tries.index(ranked[0]),
        best_loss=ranked[0].values[0],
        luck=luck_of_choosing(
            [ResampledLosses.model_validate(each.user_attrs["resampled"]) for each in finished],
            finished.index(ranked[0]),
        ),
        first_loss=tries[0].values[0] if tries[0] in finished else None,
        params=from_optuna(space, ranked[0].params),
        prepared_rows=prepared_rows,
    )


def best_first(tries: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished tries, that with the least loss first; of equals, the earlier."""
    finished = [each for each in tries if each.state == TrialState.COMPLETE]
    return sorted(finished, key=lambda each: each.values[0])


def best_in_words(tries: Sequence[FrozenTrial]) -> str:
    ranked = best_first(tries)
    if not ranked:
        return "none has finished yet"
    params = " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in ranked[0].params.items()
    )
    return f"best held_out_loss={ranked[0].values[0]:.4f} {params}"


def write_csv(path: Path, tries: Sequence[FrozenTrial], space: Space) -> None:
    """Write a row for each try, in the order of their start."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["try", "state", "held_out_loss", "val_loss", "epochs", *space])
    for number, each in enumerate(tries):
        epochs = max(each.user_attrs.get("epochs", [0]))
        losses = each.values[0] if each.values else "", each.user_attrs.get("val_loss", "")
        params = map(text_of, from_optuna(space, each.params).values())
        writer.writerow([number, STATES[each.state], *losses, epochs or "", *params])
    write_bytes(path, text.getvalue().encode())
