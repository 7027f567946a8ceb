"""The target column: which classes there are, and which one each row belongs to."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.io.schema import LabelKind
from classifier.io.user_error import UserError
from classifier.tables.values import DecimalMark, holds_categories, parse_numbers, texts

MOST_CLASSES = 1000

A_GLANCE = 20
"""More different whole numbers than this may well measure something."""

INTEGER = re.compile(r"[+-]?\d+(\.0*)?")


@dataclass(frozen=True)
class Labels:
    """The classes of a table's rows."""

    where: str
    """What messages call the column."""
    kind: LabelKind
    classes: list[str]
    """In sorted order; integers sorted as numbers."""
    indices: npt.NDArray[np.int64]
    """The class of each row, shape (n,)."""


def parse_labels(cells: pd.Series, decimal: DecimalMark, source: str) -> Labels:
    """Find out the classes.

    Raises
    ------
    UserError
        If a row has no label, or the labels are not those of two or more classes.

    """
    where = f"{source}: the target column '{cells.name}'"
    if not holds_categories(cells):
        raise UserError(
            f"{where} holds values of the type {cells.dtype}, but must hold text, whole numbers, "
            "or true and false"
        )
    spelled = texts(cells)
    if spelled.isna().any():
        row = spelled.index[spelled.isna().argmax()]
        raise UserError(f"{where} is empty in row {row}; fill it in, or remove the row")
    codes, spellings = pd.factorize(spelled)
    kind, names = _names(list(spellings))
    classes = sorted(set(names), key=int if kind == "integer" else None)
    if len(classes) == 1:
        raise UserError(f"{where} is '{classes[0]}' in every row; there is nothing to learn")
    indices = pd.Index(classes).get_indexer(names)[codes].astype(np.int64)
    # Whole numbers most of which occur only once or twice measure something, as fractions do.
    is_whole = all(INTEGER.fullmatch(spelling) for spelling in spellings)
    is_continuous = not np.isnan(parse_numbers(pd.Series(spellings), decimal)).any() and (
        not is_whole or (len(classes) > A_GLANCE and np.median(np.bincount(indices)) < 3)
    )
    if is_continuous or len(classes) > MOST_CLASSES:
        raise UserError(
            f"{where} has {len(classes)} different values in {len(cells)} rows, such as "
            f"{classes[0]} and {classes[-1]}; this pipeline predicts classes, at most "
            f"{MOST_CLASSES} of them: name another target, or group its values"
        )
    return Labels(where, kind, classes, indices)


def _names(spellings: list[str]) -> tuple[LabelKind, list[str]]:
    """Return the kind of the labels, and for each spelling the name of its class."""
    if all(INTEGER.fullmatch(spelling) for spelling in spellings):
        integers = [int(spelling.partition(".")[0]) for spelling in spellings]
        if all(-(2**63) <= integer < 2**63 for integer in integers):
            return "integer", [str(integer) for integer in integers]
    lower = [spelling.lower() for spelling in spellings]
    if set(lower) <= {"true", "false"}:
        return "boolean", lower
    return "text", spellings
