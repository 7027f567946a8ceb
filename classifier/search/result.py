"""What a search has found: reports/search.json and reports/search.csv."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel

from classifier.io.atomic_write import write_bytes
from classifier.io.user_error import UserError
from classifier.search.luck import ResampledLosses, luck_of_choosing
from classifier.search.space import Space, from_optuna, text_of
from classifier.search.study import FAILED_WITH

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


class SearchReport(BaseModel):
    """What reports/search.json holds. Tries are numbered from 0, the parameters it began with."""

    n_tries: int
    n_finished: int
    n_stopped: int
    """Worse than half of the others at some epoch."""
    n_failed: int
    """Diverged, or too large for the device."""
    seeds: list[int]
    """Of training; a loss is the mean over them."""
    best_try: int
    best_val_loss: float
    luck: float
    """By how much the best loss is likely to be too low, because the try was chosen by it."""
    first_val_loss: float | None
    """Of the parameters that the search began with; None if that try failed."""
    params: dict[str, Any]
    """Of `train`: what was searched, as the best try has it."""


def report_on(tries: Sequence[FrozenTrial], space: Space, seeds: list[int]) -> SearchReport:
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
        best_try=tries.index(ranked[0]),
        best_val_loss=ranked[0].values[0],
        luck=luck_of_choosing(
            [ResampledLosses.model_validate(each.user_attrs["resampled"]) for each in finished],
            finished.index(ranked[0]),
        ),
        first_val_loss=tries[0].values[0] if tries[0] in finished else None,
        params=from_optuna(space, ranked[0].params),
    )


def best_first(tries: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished tries, that with the least loss first; of equals, the earlier."""
    finished = [each for each in tries if each.state == TrialState.COMPLETE]
    return sorted(finished, key=lambda each: each.values[0])


def in_words(report: SearchReport) -> list[str]:
    """Return what the search has come to, a line for each thing to know."""
    failed = f", {report.n_failed} failed" if report.n_failed else ""
    of_these = f"{report.n_finished} finished, {report.n_stopped} were stopped early{failed}"
    lines = [f"tries: {report.n_tries}, of which {of_these}"]
    if report.best_try == 0:
        lines.append(
            f"none is better than what the search began with: val_loss {report.best_val_loss:.4f}"
        )
    else:
        before = "" if report.first_val_loss is None else f" instead of {report.first_val_loss:.4f}"
        lines.append(
            f"best: try {report.best_try}, val_loss {report.best_val_loss:.4f}{before}, the mean "
            f"over the training seeds {', '.join(map(str, report.seeds))}"
        )
    lines.append(
        f"it was chosen among {report.n_tries} tries by these validation rows: about "
        f"{report.luck:.4f} of its val_loss is likely luck of choosing, so expect "
        f"{report.best_val_loss + report.luck:.4f} on other rows"
    )
    if report.first_val_loss is not None and report.best_try > 0:
        gain = report.first_val_loss - report.best_val_loss
        if gain <= report.luck:
            lines.append(
                f"that is more than what was gained, {gain:.4f}: what it began with may be as good"
            )
    lines.append("the test rows, which no try has seen, have the last word: dvc repro")
    return lines


def write_csv(path: Path, tries: Sequence[FrozenTrial], space: Space) -> None:
    """Write a row for each try, in the order of their start."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["try", "state", "val_loss", "epochs", *space])
    for number, each in enumerate(tries):
        epochs = max(each.user_attrs.get("epochs", [0]))
        loss = each.values[0] if each.values else ""
        params = map(text_of, from_optuna(space, each.params).values())
        writer.writerow([number, STATES[each.state], loss, epochs or "", *params])
    write_bytes(path, text.getvalue().encode())
