"""The target column: which classes there are, and which one each row belongs to."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifier.io.schema import LabelKind
from classifier.io.user_error import UserError
from classifier.tables.values import Spelling, are_numbers, holds_categories, texts

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
    """The names of the classes, sorted; integers are sorted as numbers."""
    indices: npt.NDArray[np.int64]
    """The class of each row, shape (n,)."""

    def count(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return how many of some rows, positions or a mask, have each class: (n_classes,)."""
        return np.bincount(self.indices[rows], minlength=len(self.classes))

    def limited_to(self, rows: npt.NDArray[np.int64]) -> "Labels":
        """Return the labels without the classes that none of the rows has.

        The other rows' indices are -1.
        """
        present = np.unique(self.indices[rows])
        classes = [self.classes[index] for index in present]
        return replace(self, classes=classes, indices=pd.Index(present).get_indexer(self.indices))


def parse_labels(cells: pd.Series, spelling: Spelling, source: str) -> Labels:
    """Find out the classes; every row has a target.

    Raises `UserError` if the labels are not those of two or more classes.
    """
    where = f"{source}: the target column '{cells.name}'"
    codes, distinct = pd.factorize(_label_texts(cells, (), where))
    spelled = pd.Series(distinct, dtype="str")
    kind = _kind_of(spelled)
    names = [_name(one, kind) for one in spelled]
    classes = sorted(set(names), key=int if kind == "integer" else None)
    if len(classes) == 1:
        raise UserError(f"{where} is '{classes[0]}' in every row; there is nothing to learn")
    indices = pd.Index(classes).get_indexer(names)[codes].astype(np.int64)
    # Whole numbers most of which occur only once or twice measure something, as fractions do.
    is_whole = all(INTEGER.fullmatch(spelling) for spelling in spelled)
    is_quantity = are_numbers(spelled, spelling).all() and (
        not is_whole or (len(classes) > A_GLANCE and np.median(np.bincount(indices)) < 3)
    )
    if is_quantity or len(classes) > MOST_CLASSES:
        what = "is a quantity: it" if is_quantity else ""
        raise UserError(
            f"{where} {what} has {len(classes)} different values in {len(cells)} rows, such as "
            f"{classes[0]} and {classes[-1]}; this pipeline predicts classes, at most "
            f"{MOST_CLASSES} of them: name another target, or group its values in a column of "
            "its own, such as low, medium and high"
        )
    return Labels(where, kind, classes, indices)


def label_names(cells: pd.Series, kind: LabelKind, source: str) -> pd.Series:
    """Return the names of the classes that labels of a kind spell, NaN where a cell is empty.

    Raises `UserError` if the cells are no labels; the message names `source`.
    """
    spelled = _label_texts(cells, ("",), f"{source}: the target column '{cells.name}'")
    return spelled.map(lambda one: _name(one, kind), na_action="ignore")


def _label_texts(cells: pd.Series, gaps: tuple[str, ...], where: str) -> pd.Series:
    if not holds_categories(cells):
        raise UserError(
            f"{where} holds values of the type {cells.dtype}, but must hold text, whole numbers, "
            "or true and false"
        )
    return texts(cells, gaps)


def _name(spelling: str, kind: LabelKind) -> str:
    """Return the name of the class that a text spells among labels of a kind."""
    if kind == "integer" and INTEGER.fullmatch(spelling):
        return str(int(spelling.partition(".")[0]))
    return spelling.lower() if kind == "boolean" else spelling


def _kind_of(spelled: pd.Series) -> LabelKind:
    if all(
        INTEGER.fullmatch(one) and -(2**63) <= int(_name(one, "integer")) < 2**63 for one in spelled
    ):
        return "integer"
    return "boolean" if spelled.str.lower().isin(["true", "false"]).all() else "text"


def spelled_alike(classes: list[str]) -> list[list[str]]:
    """Return the classes that differ in upper and lower case, or in blanks, alone."""
    plain = pd.Series(["".join(name.split()).casefold() for name in classes])
    groups = pd.Series(classes).groupby(plain.to_numpy(), sort=False)
    return [list(names) for _, names in groups if len(names) > 1]
