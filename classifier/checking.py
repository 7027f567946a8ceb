"""Whether new rows are like those that a model has learned from, and whether it is as good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from scipy.stats import chi2_contingency, fisher_exact, norm

from classifier.evaluation.evaluated import Evaluated, Interval, Metrics, Scores, SliceMetrics
from classifier.evaluation.words import slices_in_words
from classifier.io.later_params import MOST_PROBABLE
from classifier.io.profile import ColumnProfile, count_cells
from classifier.io.schema import CategoricalColumn, ColumnOfTable, DatetimeColumn
from classifier.io.user_error import quoted

FEWEST_EXPECTED = 5
"""Cells of a chi-square test for which fewer rows are expected are put together: Cochran (1954),
"Some methods for strengthening the common chi-square tests", Biometrics 10, 417-451."""

UNSURE = 0.6
"""The model is unsure of a row whose predicted class has a lower probability."""

MOST_UNSEEN = 5
"""So many texts that no training row has are named."""

Verdict = Literal["go on", "look", "train anew"]


@dataclass(frozen=True)
class Limits:
    """From where on a difference counts."""

    confidence: float
    """Of the intervals; of the tests, how likely nothing is found where nothing differs."""
    least_difference: float
    """The share of the rows in which a column has to differ."""
    least_loss: float
    """By so much accuracy has to be lower."""


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
    """Were all columns alike, how likely would some test of some column show as much?

    Fisher's exact tests of gaps and of what is outside, a chi-square test of what is not: the least
    p-value, times the number of tests of all columns (Bonferroni).
    """
    gaps: Shares
    outside: Shares
    """Numbers beyond all but about ten training rows at either end; dates before that; texts that
    fewer than ten training rows have."""
    moved_most: Shares
    unseen: dict[str, int]
    """Some of the texts that no training row has, and how many new rows have them."""


class Change(BaseModel):
    """A metric on the test rows and on new ones, and whether they differ by more than chance."""

    test: float
    new: float
    p_value: float
    said: Literal["better", "worse", "not told apart"]


class Labelled(BaseModel):
    """How good the model is on the new rows whose classes are known."""

    n_labels: int
    """Of very many, a random part is measured."""
    n_unknown: int
    """Labels that are no class of the model: these rows are in no metric."""
    metrics: Metrics
    """Of the new rows; `n_test` is how many they are."""
    changes: dict[str, Change]
    """By metric, and of the recall by class; empty where the test rows' metrics are not there."""
    overconfidence: float
    """How much more accurate its probabilities say that it is."""
    overconfidence_interval: Interval | None
    groups: dict[str, dict[str, SliceMetrics]]
    """By column and group."""


class Checked(BaseModel):
    """What check.json holds."""

    table: str
    rows: int
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
    """A column, the cells that its values are parted into, and how many rows are in each."""

    column: ColumnOfTable
    profile: ColumnProfile
    new: npt.NDArray[np.int64] = field(init=False)
    """Of the new rows, as `ColumnProfile.counts`."""
    unseen: Counter[str] = field(default_factory=Counter)
    """Some of the texts that no training row has."""

    def __post_init__(self) -> None:
        self.new = np.zeros(len(self.profile.counts), np.int64)

    def add(self, raw: npt.NDArray[Any]) -> None:
        """Count further rows: what the model takes for their cells, shape (n,)."""
        self.new += count_cells(self.column, self.profile, raw)
        if isinstance(self.column, CategoricalColumn) and not self.column.other:
            known = {"", *self.column.categories}
            self.unseen.update(text for text in raw.tolist() if text not in known)
            self.unseen = Counter(dict(self.unseen.most_common(1000)))

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Of the training and of the new rows, shape (2, n_cells)."""
        return np.array([self.profile.counts, self.new])

    @property
    def outside(self) -> list[int]:
        """The cells that hold what few or no training rows have."""
        if isinstance(self.column, CategoricalColumn):
            return [len(self.new) - 2]
        ends = [0] if isinstance(self.column, DatetimeColumn) else [0, len(self.new) - 2]
        return ends if self.profile.cuts else []

    def names(self) -> list[str]:
        if isinstance(self.column, CategoricalColumn):
            return [*self.column.categories, "rare or new", "gaps"]
        cuts = [f"{cut:.6g}" for cut in self.profile.cuts]
        if isinstance(self.column, DatetimeColumn):
            cuts = [str(np.datetime64(int(cut), "s"))[:10] for cut in self.profile.cuts]
        between = (" to ".join(pair) for pair in pairwise(cuts))
        ends = [f"up to {cuts[0]}", *between, f"above {cuts[-1]}"] if cuts else ["numbers"]
        return [*ends, "gaps"]

    def p_values(self) -> list[float]:
        gaps, known = self.counts[:, -1], self.counts[:, :-1]
        inside = np.delete(known, self.outside, axis=1)
        side = "two-sided"
        if isinstance(self.column, DatetimeColumn):
            # That dates go on is no difference, nor that early ones are none any more.
            inside, side = inside.sum(axis=1, keepdims=True), "less"
        outside = known[:, self.outside].sum(axis=1)
        pairs = np.array([[gaps, known.sum(axis=1)], [outside, inside.sum(axis=1)]])
        found = [
            fisher_exact(pair, alternative=side).pvalue for pair in pairs if pair.sum(axis=1).all()
        ]
        cells = _pooled(inside)
        if cells.shape[1] > 1 and cells.sum(axis=1).all():
            found.append(chi2_contingency(cells, correction=False).pvalue)
        return [float(one) for one in found]

    def check(self, n_tests: int, limits: Limits) -> ColumnCheck:
        """Compare new and training rows; `n_tests` is how many tests there are of all columns."""
        shares = self.counts / self.counts.sum(axis=1, keepdims=True)
        change = shares[1] - shares[0]
        if isinstance(self.column, DatetimeColumn):
            change[1:-1] = 0
        difference = float(max(change.clip(0).sum(), -change.clip(max=0).sum()))
        most = int(np.abs(change).argmax())
        p_value = min([1.0, *(n_tests * one for one in self.p_values())])

        def of(name: str, cells: list[int]) -> Shares:
            training, new = shares[:, cells].sum(axis=1)
            return Shares(of=name, training=training, new=new)

        return ColumnCheck(
            differs=p_value < 1 - limits.confidence and difference >= limits.least_difference,
            difference=difference,
            p_value=p_value,
            gaps=of("gaps", [-1]),
            outside=of("outside", self.outside),
            moved_most=of(self.names()[most], [most]),
            unseen=dict(self.unseen.most_common(MOST_UNSEEN)),
        )


def _pooled(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Put neighbours among cells, shape (2, n), together until enough rows are expected in each."""
    least = FEWEST_EXPECTED * counts.sum() / max(1, counts.sum(axis=1).min())
    found = [np.zeros(2, np.int64)]
    for cell in counts.T:
        if found[-1].sum() >= least:
            found.append(np.zeros(2, np.int64))
        found[-1] = found[-1] + cell
    if len(found) > 1 and found[-1].sum() < least:
        found[-2:] = [found[-2] + found[-1]]
    return np.array(found).T


def check_columns(counted: Sequence[CountedColumn], limits: Limits) -> dict[str, ColumnCheck]:
    """Compare each column of new rows with that of the training rows."""
    n_tests = sum(len(one.p_values()) for one in counted)
    return {one.column.name: one.check(n_tests, limits) for one in counted}


def compare(test: Metrics, new: Metrics, confidence: float) -> dict[str, Change]:
    """Compare metrics: accuracy, and the recall of each class, by Fisher's exact test.

    Recalls are corrected for the number of classes. Other metrics are compared by the widths of
    their intervals, as if they were normally distributed, which of few rows they are but roughly.
    """

    def change(p_value: float, then: float, now: float, *, is_loss: bool = False) -> Change:
        said: Literal["better", "worse"] = "worse" if is_loss == (now > then) else "better"
        is_found = p_value < 1 - confidence
        shown = said if is_found else "not told apart"
        return Change(test=then, new=now, p_value=min(1.0, p_value), said=shown)

    shares = [test.accuracy, new.accuracy]
    found = {"accuracy": change(_p_value(shares, [test.n_test, new.n_test]), *shares)}
    width = 2 * norm.ppf((1 + confidence) / 2)
    for name in Scores.model_fields:
        then, now = (getattr(one, f"{name}_interval", None) for one in (test, new))
        if name not in found and then is not None and now is not None:
            values = [getattr(one, name) for one in (test, new)]
            error = np.hypot(then.high - then.low, now.high - now.low) / width
            p_value = 2 * norm.sf(abs(values[1] - values[0]) / error) if error else 1.0
            found[name] = change(p_value, *values, is_loss=name in {"log_loss", "brier_score"})
    for name, of_new in new.classes.items():
        of_test = test.classes[name]
        if of_test.recall is not None and of_new.recall is not None:
            shares = [of_test.recall, of_new.recall]
            p_value = _p_value(shares, [of_test.n_test, of_new.n_test]) * len(new.classes)
            found[f"recall of '{name}'"] = change(p_value, *shares)
    return found


def _p_value(shares: Sequence[float], of: Sequence[int]) -> float:
    right = np.rint(np.multiply(shares, of)).astype(int)
    return float(fisher_exact([right, of - right]).pvalue)


def decide(checked: Checked, test: Evaluated | None, limits: Limits) -> tuple[Verdict, list[str]]:
    """Return the verdict, and in sentences what it is for and what to do."""
    differing = [name for name, column in checked.columns.items() if column.differs]
    differing.sort(key=lambda name: -checked.columns[name].difference)
    said = [_column_in_words(name, checked.columns[name]) for name in differing]
    said = said or ["no column differs by more than chance, and by so much that it counts"]
    look = f"look at {quoted(differing)}: is the table wrong, or has the world changed?"
    advice = [look] if differing else []
    if (labelled := checked.labelled) is not None:
        said += _labelled_in_words(labelled, test, limits.confidence)
        worse = {name: one for name, one in labelled.changes.items() if one.said == "worse"}
        # Whoever chooses a threshold gives up accuracy for something else. Answers may be as often
        # right as before and say less, where one class is common: log loss tells.
        is_chosen = test is not None and test.threshold not in {None, MOST_PROBABLE}
        for name in ("balanced_accuracy" if is_chosen else "accuracy", "log_loss"):
            change = worse.get(name)
            # One half of the level is for these two, the other for the recalls.
            if (
                change is not None
                and change.p_value < (1 - limits.confidence) / 2
                and abs(change.new - change.test) >= limits.least_loss
            ):
                return "train anew", [*said, *advice, "train anew, with these rows"]
        advice += [f"look at the {name}" for name in worse if name.startswith("recall")]
        return ("look", [*said, *advice]) if advice else ("go on", [*said, "go on"])
    promised = checked.promised_accuracy
    said.append(
        f"its probabilities promise an accuracy of {promised:.3f}, if they are still calibrated; "
        f"it is unsure of {checked.n_unsure} of {checked.rows} rows"
    )
    # On the test rows, what it promised and what was right differed by no more than this error.
    if test and promised < test.accuracy_interval.low - test.expected_calibration_error:
        advice.append(f"that is less than the {test.accuracy:.3f} that it had on the test rows")
    if not advice:
        return "go on", [*said, "go on"]
    return "look", [*said, *advice, "collect labels: some hundred tell whether it is still right"]


def _column_in_words(name: str, column: ColumnCheck) -> str:
    most = column.moved_most
    # The cell that moved most may be one of the others.
    shares = {one.new: one for one in (column.gaps, column.outside, most)}.values()
    shown = [
        f"{one.of}: {one.training:.1%} of the training rows, {one.new:.1%} of these"
        for one in shares
        if one is most or one.new > 2 * one.training
    ]
    unseen = [f"'{text}' ({count})" for text, count in column.unseen.items()]
    new = [f"new: {', '.join(unseen)}"] if unseen else []
    return f"'{name}' differs in {column.difference:.1%} of the rows; {'; '.join([*shown, *new])}"


def _labelled_in_words(labelled: Labelled, test: Evaluated | None, confidence: float) -> list[str]:
    metrics, changes = labelled.metrics, labelled.changes
    accuracy = f"accuracy {metrics.accuracy:.3f} on {metrics.n_test} rows with labels"
    said = [f"{accuracy}; {100 * confidence:g}% interval {metrics.accuracy_interval}"]
    if test is not None:
        changed = [
            f"{name} {one.said} ({one.test:.3f}, now {one.new:.3f})"
            for name, one in changes.items()
            if one.said != "not told apart"
        ]
        beside = ", ".join(changed) or "not to be told apart"
        said.append(f"beside the {test.n_test} test rows, by more than chance: {beside}")
    if labelled.n_unknown:
        said.append(f"labels that are no class of the model: {labelled.n_unknown}")
    interval = labelled.overconfidence_interval
    if interval is not None and not interval.low <= 0 <= interval.high:
        surer = "surer" if labelled.overconfidence > 0 else "less sure"
        said.append(f"it is {surer} than right, by {abs(labelled.overconfidence):.3f}")
    return [*said, *slices_in_words(labelled.groups, metrics.accuracy)]
