"""Whether new rows are like those that a model has learned from, and whether it is as good."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.stats import fisher_exact, hypergeom, norm, t

from classifier.evaluation.evaluated import Evaluated, Metrics, Scores, SliceMetrics
from classifier.evaluation.words import slices_in_words
from classifier.io.later_params import MOST_PROBABLE
from classifier.io.profile import ColumnProfile, cells_of
from classifier.io.schema import CategoricalColumn, ColumnOfTable, DatetimeColumn, TextColumn
from classifier.io.user_error import quoted

UNSURE = 0.6
"""The model is unsure of a row whose predicted class has a lower probability."""

MOST_NAMED = 5
"""Of rare or new texts, so many are named."""

Verdict = Literal["go on", "look", "train anew"]
Said = Literal["better", "worse", "not told apart"]


class Limits(BaseModel):
    """From where on a difference counts: options of `check`."""

    confidence: float = Field(
        default=0.95, description="of intervals, and that nothing is found where nothing differs"
    )
    least_difference: float = Field(
        default=0.05, description="look at a column that differs in such a share of the rows"
    )
    least_loss: float = Field(
        default=0.02, description="train anew from so much less accuracy, or more log loss, on"
    )


class Shares(BaseModel):
    of: str
    training: float
    new: float


class ColumnCheck(BaseModel):
    """A column of the new rows beside that of the training rows."""

    differs: bool
    """By more than chance, and by so much that it counts."""
    difference: float
    """In what share of the rows, at least: the total variation distance of the cells' shares."""
    p_value: float
    """Were all columns alike, how likely would some cell of some column have grown as much?

    The least p-value of Fisher's exact test of each, times the number of all (Bonferroni).
    """
    cells: list[Shares]
    """What has grown most comes first; what no row is in is left out."""
    rare_or_new: dict[str, int]
    """Some of the texts that fewer than ten training rows have, and how many new rows."""


class Change(BaseModel):
    """A metric on the test rows and on new ones, and whether they differ by more than chance."""

    test: float
    new: float
    p_value: float
    said: Said


class Labelled(BaseModel):
    """How good the model is on the new rows whose classes are known."""

    n_labels: int
    """Of very many, a random part is measured."""
    n_unknown: int
    """Labels that are no class of the model: these rows are in no metric."""
    promised_accuracy: float
    metrics: Metrics
    """Of the new rows; `n_test` is how many they are."""
    changes: dict[str, Change]
    """By metric, and of the recall by class; empty where the test rows' metrics are not there."""
    groups: dict[str, dict[str, SliceMetrics]]
    """By column and group."""


class Checked(BaseModel):
    """What check.json holds."""

    table: str
    target: str
    n_training: int
    rows: int
    limits: Limits
    verdict: Verdict = "go on"
    said: list[str] = []
    """What it is for, and what to do."""
    columns: dict[str, ColumnCheck]
    """With labels, also the target."""
    classes: list[Shares]
    """The training rows of each class, and the new rows that are taken for it."""
    promised_accuracy: float
    """The mean probability of the predicted class."""
    n_unsure: int
    labelled: Labelled | None = None


@dataclass
class CountedColumn:
    """A column, the cells that its values are parted into, and how many new rows are in each."""

    column: ColumnOfTable
    profile: ColumnProfile
    new: npt.NDArray[np.int64] = field(init=False)
    """As `ColumnProfile.counts`."""
    rare_or_new: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.new = np.zeros(len(self.profile.counts), np.int64)

    def add(self, raw: npt.NDArray[Any]) -> None:
        """Count further rows: what the model takes for their cells, shape (n,)."""
        cells = cells_of(self.column, self.profile, raw)
        self.new += np.bincount(cells, minlength=len(self.new))
        if isinstance(self.column, CategoricalColumn):
            self.rare_or_new.update(raw[cells == len(self.new) - 2])
            self.rare_or_new = Counter(dict(self.rare_or_new.most_common(1000)))

    def names(self) -> list[str]:
        if isinstance(self.column, CategoricalColumn):
            return [*self.column.categories, "rare or new", "gaps"]
        if isinstance(self.column, DatetimeColumn):
            return ["before all training rows", "from then on", "gaps"]
        unit = " characters" if isinstance(self.column, TextColumn) else ""
        cuts = [f"{cut:.6g}" for cut in self.profile.cuts]
        between = [f"{low} to {high}{unit}" for low, high in pairwise(cuts)]
        ends = [f"up to {cuts[0]}{unit}", *between, f"above {cuts[-1]}{unit}"] if cuts else ["all"]
        return [*ends, "gaps"]

    def shares(self) -> list[Shares]:
        """Return how many of the training rows and of the new ones are in each cell."""
        counts = np.array([self.profile.counts, self.new])
        shares = zip(self.names(), *(counts / counts.sum(axis=1, keepdims=True)), strict=True)
        return [Shares(of=name, training=training, new=new) for name, training, new in shares]

    def check(self, n_cells: int, limits: Limits) -> ColumnCheck:
        """Compare new and training rows; `n_cells` is how many cells all columns have."""
        then = np.array(self.profile.counts)
        # Fisher's exact test, one-sided: where a cell shrinks, another one grows.
        n_then, n_now = then.sum(), self.new.sum()
        p_values = hypergeom.sf(self.new - 1, n_then + n_now, then + self.new, n_now)
        p_value = min(1.0, n_cells * float(p_values.min()))
        found = [cell for cell in self.shares() if cell.training or cell.new]
        cells = sorted(found, key=lambda cell: cell.training - cell.new)
        difference = sum(max(0, cell.new - cell.training) for cell in cells)
        return ColumnCheck(
            differs=p_value < 1 - limits.confidence and difference >= limits.least_difference,
            difference=difference,
            p_value=p_value,
            cells=cells,
            rare_or_new=dict(self.rare_or_new.most_common(MOST_NAMED)),
        )


def check_columns(counted: Sequence[CountedColumn], limits: Limits) -> dict[str, ColumnCheck]:
    """Compare each column of new rows with that of the training rows."""
    n_cells = sum(len(one.new) for one in counted)
    return {one.column.name: one.check(n_cells, limits) for one in counted}


def compare(test: Metrics, new: Metrics, confidence: float) -> dict[str, Change]:
    """Compare accuracy, and the recall of each class, by Fisher's exact test; and other metrics.

    These by the widths of their intervals, which of few rows is but rough. P-values are corrected:
    half of the chance of a false alarm is for the two metrics that decide, half for the recalls.
    """
    p_value = _p_value([test.accuracy, new.accuracy], [test.n_test, new.n_test])
    found = [("accuracy", test.accuracy, new.accuracy, 4 * p_value)]
    width = 2 * norm.ppf((1 + confidence) / 2)
    for name in Scores.model_fields:
        of_test, of_new = (getattr(one, f"{name}_interval", None) for one in (test, new))
        if name != "accuracy" and of_test is not None and of_new is not None:
            then, now = (getattr(one, name) for one in (test, new))
            # Of two widths, as of a standard error.
            both = math.hypot(of_test.high - of_test.low, of_new.high - of_new.low) or math.inf
            # Student's t: the interval of few rows may be narrow by chance.
            degrees = min(test.n_test, new.n_test) - 1
            p_value = 2 * t.sf(abs(now - then) * width / both, degrees)
            found.append((name, then, now, 4 * p_value))
    for name, of_new in new.classes.items():
        of_test = test.classes[name]
        then, now = of_test.recall, of_new.recall
        if then is not None and now is not None:
            p_value = _p_value([then, now], [of_test.n_test, of_new.n_test])
            found.append((f"recall of '{name}'", then, now, 2 * len(new.classes) * p_value))
    changes = {}
    for name, then, now, p_value in found:
        is_worse = (now > then) == (name in {"log_loss", "brier_score"})
        said: Said = "worse" if is_worse else "better"
        said = said if p_value < 1 - confidence else "not told apart"
        changes[name] = Change(test=then, new=now, p_value=min(1.0, p_value), said=said)
    return changes


def _p_value(shares: list[float], of: list[int]) -> float:
    right = np.rint(np.multiply(shares, of)).astype(int)
    return float(fisher_exact([right, of - right]).pvalue)


def decide(checked: Checked, test: Evaluated | None) -> tuple[Verdict, list[str]]:
    """Return the verdict, and in sentences what it is for and what to do."""
    differing = {name: one for name, one in checked.columns.items() if one.differs}
    names = sorted(differing, key=lambda name: -differing[name].difference)
    said = [_column_in_words(name, differing[name]) for name in names]
    said = said or ["no column differs by more than chance, and by so much that it counts"]
    look = f"look at {quoted(names)}: the table may be wrong, or the world has changed"
    advice = [look] if names else []
    if checked.labelled is not None:
        said += _labelled_in_words(checked.labelled, test, checked.limits.confidence)
        changes = checked.labelled.changes
        worse = {name: one for name, one in changes.items() if one.said == "worse"}
        # Whoever chooses a threshold gives up accuracy for something else. Answers may be as often
        # right as before and say less, where one class is common: log loss tells.
        is_chosen = test is not None and test.threshold not in {None, MOST_PROBABLE}
        for name in ("balanced_accuracy" if is_chosen else "accuracy", "log_loss"):
            lost = abs(worse[name].new - worse[name].test) if name in worse else -1
            if lost >= checked.limits.least_loss:
                return "train anew", [*said, *advice, "train anew, with these rows"]
        advice += [f"look at the {name}" for name in worse if name.startswith("recall")]
    else:
        promised = checked.promised_accuracy
        said.append(
            f"its probabilities promise an accuracy of {promised:.3f}, if they are still "
            f"calibrated; it is unsure of {checked.n_unsure} of {checked.rows} rows"
        )
        # On the test rows, promise and truth differed by no more than this error.
        if test and promised < test.accuracy_interval.low - test.expected_calibration_error:
            advice.append(f"that is less than the {test.accuracy:.3f} that it had on the test rows")
        if advice:
            advice.append("collect labels: some hundred tell whether it is still right")
    return ("look", [*said, *advice]) if advice else ("go on", [*said, "go on"])


def _column_in_words(name: str, column: ColumnCheck) -> str:
    most = column.cells[0]
    texts = [f"'{text}' ({count})" for text, count in column.rare_or_new.items()]
    return (
        f"'{name}' differs in {column.difference:.1%} of the rows; {most.of}: "
        f"{most.training:.1%} of the training rows, {most.new:.1%} of these"
        + (f"; rare or new texts: {', '.join(texts)}" if texts else "")
    )


def _labelled_in_words(labelled: Labelled, test: Evaluated | None, confidence: float) -> list[str]:
    metrics, interval = labelled.metrics, labelled.metrics.accuracy_interval
    accuracy = f"accuracy {metrics.accuracy:.3f} on {metrics.n_test} rows with labels"
    said = [f"{accuracy}; {100 * confidence:g}% interval {interval}"]
    if test is None:
        said.append("what it was worth is not known: no metrics.json lies beside the model")
    else:
        changed = [
            f"{name.replace('_', ' ')} {one.said} ({one.test:.3f}, now {one.new:.3f})"
            for name, one in labelled.changes.items()
            if one.said != "not told apart"
        ]
        found = ", ".join(changed) or "not to be told apart"
        said.append(f"beside the {test.n_test} test rows, by more than chance: {found}")
    if labelled.n_unknown:
        said.append(f"labels that are no class of the model: {labelled.n_unknown}")
    if not interval.low <= labelled.promised_accuracy <= interval.high:
        promised = f"its probabilities promise {labelled.promised_accuracy:.3f} on these rows"
        said.append(f"{promised}: they are not right as often as they say")
    return [*said, *slices_in_words(labelled.groups, metrics.accuracy)]
