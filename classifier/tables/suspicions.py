"""What is suspicious about a column, as far as it can be told from the training rows."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.io.prepared import hash_of_columns

SAMPLE = 20_000
"""The most training rows that are looked at."""

ROWS_OF_A_BIN = 20

AS_COMMON = 0.5
"""A text that counts as a gap may be a category if it is this much as common as the average one."""

MOST_COPIES = 5
"""Columns that are named."""

MOST_BINS = 50

FEW_ROWS = 10

MOST_OF_ALL = 0.5
"""This part of the training rows: with more different texts, these say which row it is."""

TEXTS_TELL, NUMBERS_TELL = 0.9, 0.97
"""How much of the error of always answering the commonest class a column removes that all but
tells the class. A measurement may honestly do so, as the petals of Iris do (0.92 to 0.95); what is
known only afterwards, as whether somebody has a place in a lifeboat, is rather a text or a code."""

IDENTIFIER = re.compile(r"(^|[^a-zA-Z])(?i:id|key|index|nr|no|number)$|[a-z]I[dD]$")
"""Names of columns that say which row it is."""


@dataclass(frozen=True)
class Suspicion:
    """A warning of a column, and the parameter of `prepare` that settles it, if one does."""

    sentence: str
    parameter: str = ""
    """A list to which the column's name is to be added."""
    is_plain: bool = False
    """Whether `start` sets it without being asked."""

    def __str__(self) -> str:
        advice = f", add it to prepare.{self.parameter}" if self.parameter else ""
        return f"{self.sentence}{advice}"


def tells_the_class(
    name: str, codes: npt.NDArray[np.int64], target: npt.NDArray[np.int64], least: float
) -> Iterator[Suspicion]:
    """Warn if the codes of a column, from 0 on, all but tell the class; both have shape (n,).

    The commonest class of each code in one half of the rows is the answer in the other. It tells
    the class if it removes `least` of the error of always answering the commonest.
    """
    half = len(codes) // 2
    if half < ROWS_OF_A_BIN:
        return
    counts = np.zeros((codes.max() + 1, target.max() + 1), np.int64)
    np.add.at(counts, (codes[:half], target[:half]), 1)
    commonest = counts.sum(axis=0).argmax()
    answers = np.where(counts.any(axis=1), counts.argmax(axis=1), commonest)
    accuracy = (answers[codes[half:]] == target[half:]).mean()
    baseline = (target[half:] == commonest).mean()
    if baseline < 1 and (accuracy - baseline) / (1 - baseline) >= least:
        yield Suspicion(
            f"'{name}' all but tells the class: by itself it is right in {100 * accuracy:.1f}% of "
            f"the training rows, the commonest class in {100 * baseline:.1f}%; if it is known only "
            "after the class is",
            "ignore",
        )


def bins(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return codes of numbers, shape (n,): bins of about as many, and one for gaps."""
    present = raw[~np.isnan(raw)]
    distinct = np.unique(present)
    if len(distinct) > MOST_BINS:
        n_bins = int(np.clip(len(present) // ROWS_OF_A_BIN, 2, MOST_BINS))
        distinct = np.unique(np.quantile(present, np.linspace(0, 1, n_bins + 1)[1:-1]))
    codes = np.searchsorted(distinct, raw) + 1
    codes[np.isnan(raw)] = 0
    return codes


def suspicious_numbers(
    name: str, raw: npt.NDArray[np.float64], train: npt.NDArray[np.float64], exact: pd.Series
) -> Iterator[Suspicion]:
    """Warn of numbers that number the rows, and of one that stands for a gap.

    `raw` are all rows' numbers, shape (n,), NaN for gaps, `exact` the same with all their digits,
    and `train` are the numbers of the training rows.
    """
    if are_all_different(raw, exact):
        present = raw[~np.isnan(raw)]
        count_up = bool(np.ptp(present) < 2 * len(raw) or (np.diff(present) > 0).all())
        yield Suspicion(
            f"'{name}' is another whole number in every row; if it only says which row it is",
            "ignore",
            is_plain=count_up or IDENTIFIER.search(name) is not None,
        )
        return
    for extreme in (np.nanmin(train), np.nanmax(train)):
        spelled = f"{extreme:.12g}"
        n = int((train == extreme).sum())
        if n < 2 or set(spelled.lstrip("-")) != {"9"} or abs(extreme) == 9:
            continue
        others = train[(train != extreme) & ~np.isnan(train)]
        if len(np.unique(others)) < 3:
            continue
        low, high = others.min(), others.max()
        if np.abs(others - extreme).min() > high - low:
            yield Suspicion(
                f"'{name}' is {spelled} in {n} training rows, far from all others, which reach "
                f"from {low:g} to {high:g}; if it stands for a missing value, add '{spelled}' "
                "to prepare.gaps"
            )


def suspicious_texts(
    name: str, spelled: pd.Series, category: pd.Series, pieces_tell: Callable[[], bool]
) -> Iterator[Suspicion]:
    """Warn of texts that name the rows, a gap that may be a category, and categories put together.

    `spelled` are the training rows' texts, shape (n,), NaN for empty ones; `category` are the names
    of their categories, NaN for gaps; `pieces_tell` says whether pieces of them tell the class.
    """
    n, n_different = category.notna().sum(), category.nunique()
    if n > FEW_ROWS and n_different > MOST_OF_ALL * n:
        counted = f"'{name}' has {n_different} different texts in {n} training rows; "
        yield (
            Suspicion(f"{counted}since words in them tell the class", "text", is_plain=True)
            if pieces_tell()
            else Suspicion(f"{counted}if they only say which row it is", "ignore", is_plain=True)
        )
    gaps = spelled[category.isna()].value_counts()
    if len(gaps) and gaps.iloc[0] > AS_COMMON * category.value_counts().mean():
        yield Suspicion(
            f"'{name}' has '{gaps.index[0]}' in {gaps.iloc[0]} training rows, which counts as a "
            f"missing value; if it is a category, add '{gaps.index[0]}' to prepare.not_gaps"
        )
    fractions = [name for name in category.dropna().unique() if "." in name]
    pairs = pd.DataFrame({"text": spelled, "category": category})
    for _, alike in pairs[category.isin(fractions)].drop_duplicates().groupby("category")["text"]:
        if len(alike) > 1:
            yield Suspicion(
                f"'{name}' has '{alike.iloc[0]}' and '{alike.iloc[1]}', one category as they are "
                "one number; if they are not, as versions are not, write a letter before them"
            )
            return


def are_all_different(raw: npt.NDArray[np.float64], exact: pd.Series) -> bool:
    """Say whether all numbers are whole and different, with gaps in less than half of the rows."""
    are_whole = (np.isnan(raw) | (np.trunc(raw) == raw)).all()
    present = exact.dropna() if are_whole else exact
    return bool(are_whole and len(present) > max(10, len(raw) / 2) and present.is_unique)


def columns_alike(features: dict[str, npt.NDArray[np.float32]]) -> Iterator[Suspicion]:
    """Warn of columns whose features, each of shape (n_features, n), are the same in all rows."""
    alike: dict[str, list[str]] = {}
    for name, values in features.items():
        alike.setdefault(hash_of_columns([values]), []).append(name)
    copies = [(name, first) for first, *others in alike.values() for name in others]
    for name, first in copies[:MOST_COPIES]:
        yield Suspicion(f"'{name}' says the same as '{first}' in every row")
    if len(copies) > MOST_COPIES:
        yield Suspicion(f"{len(copies) - MOST_COPIES} columns more say the same as another one")
