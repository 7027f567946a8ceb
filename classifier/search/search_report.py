"""What the last search has found: reports/search.json."""

from typing import Any

from pydantic import BaseModel, RootModel


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
    n_folds: int
    """How many networks a seed trains, each stopped by other rows."""
    best_try: int
    best_loss: float
    """Of the rows that the networks leave out, each at its best epoch."""
    luck: float | None
    """By how much the best loss is likely to be too low, because the try was chosen by it.

    None where there are too few validation rows to say.
    """
    first_loss: float | None
    """Of the parameters that the search began with; None if that try failed."""
    params: dict[str, Any]
    """Of `train`: what was searched, as the best try has it."""
    prepared_rows: str
    """Which rows it was searched with: the hash in data/prepared/rows.json."""


class LastSearch(RootModel[SearchReport | None]):
    """Null before the first."""


def in_words(report: SearchReport) -> list[str]:
    """Return what the search has come to, a line for each thing to know."""
    failed = f", {report.n_failed} failed" if report.n_failed else ""
    of_these = f"{report.n_finished} finished, {report.n_stopped} were stopped early{failed}"
    of_runs = f"the training seeds {', '.join(map(str, report.seeds))}"
    of_rows = "of the validation rows"
    if report.n_folds > 1:
        of_rows = f"of the rows that each of {report.n_folds} networks leaves out"
    lines = [
        f"tries: {report.n_tries}, of which {of_these}",
        f"loss: {of_rows}, the mean over {of_runs}",
    ]
    if report.best_loss == report.first_loss:
        lines.append(f"none is better than what the search began with: loss {report.best_loss:.4f}")
    else:
        before = "" if report.first_loss is None else f" instead of {report.first_loss:.4f}"
        lines.append(f"best: try {report.best_try}, loss {report.best_loss:.4f}{before}")
    lines += _about_luck(report)
    lines.append("the test rows, which no try has seen, have the last word: dvc repro")
    return lines


def _about_luck(report: SearchReport) -> list[str]:
    chosen = f"it was chosen among {report.n_tries} tries by these validation rows: "
    if report.luck is None:
        return [f"{chosen}they are too few to say how much of its loss is luck"]
    expected = report.best_loss + report.luck
    likely = f"about {report.luck:.4f} of its loss is likely luck of choosing"
    lines = [f"{chosen}{likely}, so expect {expected:.4f} or more on other rows"]
    if report.first_loss is not None:
        gain = report.first_loss - report.best_loss
        if 0 < gain <= report.luck:
            lines.append(
                f"that is more than what was gained, {gain:.4f}: what it began with may be as good"
            )
    return lines
