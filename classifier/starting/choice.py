"""What `start` decides about a table: the sections `prepare` and `train` of params.yaml."""

from collections import Counter
from dataclasses import dataclass, field
from textwrap import shorten

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from classifier.io.user_error import LISTS, NeedsParameterError, UserError
from classifier.tables.encoding import EncodedColumn, Encoder, PreparedTable, put_together
from classifier.tables.names import by_reason
from classifier.tables.prepare_params import PrepareParams, Reading
from classifier.tables.rows import TableRows, read_rows
from classifier.tables.splits import may_be_left_out

MOST_GAPS = 3
"""Texts of one column that are taken for gaps; with more of them, its numbers are codes."""


@dataclass(frozen=True)
class DecidedParam:
    """A parameter that differs from its default, and why."""

    parameter: str
    value: str | bool | int
    """What it is set to; of a list, what is added to it."""
    reason: str


@dataclass
class Choice:
    """Parameters with which the table can be prepared, and what becomes of it."""

    params: PrepareParams
    decisions: list[DecidedParam] = field(default_factory=list)
    gaps_of: Counter[str] = field(default_factory=Counter)
    """How many texts of each column are taken for gaps."""

    @property
    def reasons(self) -> dict[tuple[str, str | bool | int], str]:
        return {(one.parameter, one.value): one.reason for one in self.decisions}

    def decide(self, parameter: str, value: str | bool | int, reason: str) -> None:  # noqa: FBT001
        if parameter in {"ignore", "text"}:
            # What it was until now does not matter.
            self.decisions = [one for one in self.decisions if one.value != value]
            kept = [name for name in self.params.categorical if name != value]
            self.params = self.params.model_copy(update={"categorical": kept})
        self.decisions.append(DecidedParam(parameter, value, reason))
        chosen: object = value
        if parameter in LISTS:
            # Another column may have needed the same.
            chosen = list(dict.fromkeys([*getattr(self.params, parameter), value]))
        self.params = self.params.model_copy(update={parameter: chosen})


def first_params(
    data: str, target: str, reading: Reading, group: str | None, order_by: str | None
) -> PrepareParams:
    """Return what `start` goes out from; the table may need something else."""
    values = {
        **{name: [] for name in LISTS},
        **reading.model_dump(),
        "data": data,
        "target": target,
        "features": None,
        "text_components": 100,
        "day_first": "auto",
        "split": "group" if group else "time" if order_by else "random",
        "group": group,
        "order_by": order_by,
        "test_size": 0.2,
        "val_size": 0.2,
        "folds": 1,
        "rare_classes": "error",
        "scaler": "squash",
        "missing_indicator": True,
        "max_categories": 50,
        "beyond_max_categories": "error",
        "seed": 42,
    }
    try:
        return PrepareParams.model_validate(values)
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def choose(params: PrepareParams) -> tuple[Choice, PreparedTable]:
    """Prepare the table in memory until nothing is refused; return what that took.

    Raises `UserError` if there is something that no parameter settles.
    """
    choice, table = _choose(Choice(params))
    n_folds, reason = folds_for(table.rows)
    if n_folds > 1:
        # Other rows are trained on: what they hold may need something else.
        with_folds = params.model_copy(update={"folds": n_folds})
        choice, table = _choose(Choice(with_folds, [DecidedParam("folds", n_folds, reason)]))
    return choice, table


def _choose(choice: Choice) -> tuple[Choice, PreparedTable]:
    try:
        while True:
            rows = _read(choice)
            with threadpool_limits(1, "blas"):  # as `prepare`
                encoded = _encode(choice, rows)
            if rows.params == choice.params:
                break
        table = put_together(rows, encoded)
    except UserError as error:
        why = {
            str(one.value): shorten(one.reason, 90)  # It may have a long text in it.
            for one in choice.decisions
            if one.parameter == "ignore"
        }
        raise UserError("; left out: ".join([str(error), *by_reason(why)])) from None
    resolved: dict[str, object] = dict(rows.file.resolved)
    if not any(column.n_gaps for column in table.columns):
        resolved["missing_indicator"] = False
    choice.params = choice.params.model_copy(update=resolved)
    return choice, table


def _read(choice: Choice) -> TableRows:
    while True:
        try:
            return read_rows(choice.params)
        except NeedsParameterError as error:
            there = getattr(choice.params, error.parameter)
            if error.value in (there if error.parameter in LISTS else [there]):
                raise
            choice.decide(error.parameter, error.value, _reason(error.problem, choice))


def _encode(choice: Choice, rows: TableRows) -> dict[str, EncodedColumn | str]:
    """Encode the columns, and decide what those need that are refused."""
    encoder = Encoder(rows)
    encoded: dict[str, EncodedColumn | str] = {}
    too_many: list[str] = []
    for name in list(rows.cells):
        try:
            column = encoded[name] = encoder.encode(rows.cells.pop(name))
        except NeedsParameterError as error:
            is_of_column = error.parameter in {"ignore", "categorical", "text"}
            reason = _reason(error.problem, choice, name if is_of_column else "")
            if error.parameter == "beyond_max_categories":
                too_many.append(reason)
            elif error.parameter == "gaps" and choice.gaps_of[name] == MOST_GAPS:
                choice.decide("categorical", name, "numbers and many different texts")
            elif error.parameter in LISTS or getattr(choice.params, error.parameter) != error.value:
                choice.decide(error.parameter, error.value, reason)
                choice.gaps_of[name] += error.parameter == "gaps"
            continue
        suspicions = [] if isinstance(column, str) else column.suspicions
        plain = [suspicion for suspicion in suspicions if suspicion.is_plain]
        if plain:
            # One decision, after which the column is looked at again.
            choice.decide(plain[0].parameter, name, _reason(plain[0].sentence, choice, name))
    if too_many and choice.params == rows.params:
        # The last of all decisions: after it, no column would be found to be of free texts.
        choice.decide("beyond_max_categories", "other", too_many[0])
    return encoded


def _reason(problem: str, choice: Choice, column: str = "") -> str:
    """Return a problem without its place, which is plain from what is decided."""
    for place in (f"{choice.params.data}: ", f"column '{column}' ", f"'{column}' "):
        problem = problem.removeprefix(place)
    return problem.partition(";")[0]


FOLDS = ((2_000, 8), (5_000, 4))
"""Below so many rows that do not test, so many folds: see benchmarks/quality/tried.md."""


def folds_for(rows: TableRows) -> tuple[int, str]:
    """Return how many networks are to leave out a part of the rows each, and why."""
    learning = np.concatenate([rows.parts["train"], rows.parts["val"]])
    units = rows.units[learning]
    n_units = len(np.unique(units[may_be_left_out(units, rows.labels.indices[learning])]))
    n_folds = next((n for fewer_than, n in FOLDS if len(learning) < fewer_than), 1)
    n_folds = min(n_folds, n_units)
    if rows.params.split == "time" or n_folds < FEWEST_FOLDS:
        return 1, ""
    return n_folds, (
        f"{len(learning)} rows do not test: so each of them trains all networks but one, which "
        f"takes about {n_folds} times as long"
    )


FEWEST_FOLDS = 3
"""With two, a network would train on half of the rows."""

SMALL, LARGE = 5_000, 100_000
"""Numbers of training rows from which a table is no longer small, or large."""


BATCH_SIZES = ((500, 32), (2_000, 64), (8_000, 128), (LARGE, 256))
"""Below so many training rows, so many in a batch: an epoch of few still has several steps."""


def training_params(n_train: int) -> dict[str, object]:
    """Return parameters for a table with so many training rows, instead of those of the lesson."""
    if n_train < SMALL:
        length = {"max_epochs": 300, "eval_every": 1, "patience": 20}
    elif n_train < LARGE:
        # An evaluation takes a third of the time of an epoch.
        length = {"max_epochs": 150, "eval_every": 2, "patience": 10}
    else:
        length = {"max_epochs": 50, "eval_every": 1, "patience": 5}
    return {
        "embedding": "none",
        "hidden": [128, 128] if n_train < LARGE else [256, 256],
        "activation": "relu",
        "dropout": 0.1,
        "members": 8,
        # Networks for so many rows would make use of more than two threads.
        "same_bytes": "everywhere" if n_train < LARGE else "here",
        "optimizer": "adamw",
        "lr": 0.004,
        "momentum": 0.0,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "batch_size": next((size for rows, size in BATCH_SIZES if n_train < rows), 1024),
        **length,
    }
