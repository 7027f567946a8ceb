"""The target column: which classes there are, and which one each row belongs to."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.parts.tables.raw_values import is_number, is_text, read_texts
from stages.parts.tables.schema import LabelKind
from stages.parts.tables.table import Table
from stages.parts.user_error import UserError

MOST_CLASSES = 1000

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


def parse_labels(table: Table, target: str) -> Labels:
    """Find out the classes.

    Raises
    ------
    UserError
        If a row has no label, or the labels are not those of two or more classes.

    """
    where = f"{table.source}: the target column '{target}'"
    kind = table.data.column(target).type
    if not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        raise UserError(
            f"{where} holds values of the type {kind}, but must hold text, whole numbers, or "
            "true and false"
        )
    texts = read_texts(table, target)
    is_gap = np.array([text is None for text in texts.distinct])[texts.codes]
    if is_gap.any():
        row = table.rows[is_gap.argmax()]
        raise UserError(f"{where} is empty in row {row}; fill it in, or remove the row")
    spellings = [text for text in texts.distinct if text is not None]
    label_kind, names = _names(spellings)
    classes = sorted(set(names), key=int if label_kind == "integer" else None)
    if len(classes) == 1:
        raise UserError(f"{where} is '{classes[0]}' in every row; there is nothing to learn")
    position = {name: index for index, name in enumerate(classes)}
    class_of = dict(zip(spellings, (position[name] for name in names), strict=True))
    class_indices = np.array([class_of.get(text or "", -1) for text in texts.distinct])[texts.codes]
    counts = np.bincount(class_indices)
    is_whole = all(INTEGER.fullmatch(spelling) for spelling in spellings)
    # Whole numbers most of which occur only once or twice measure something, as fractions do.
    is_continuous = _are_numbers(spellings, table.decimal_point) and (
        not is_whole or (len(classes) > 20 and np.median(counts) < 3)
    )
    if is_continuous or len(classes) > MOST_CLASSES:
        raise UserError(
            f"{where} has {len(classes)} different values in {len(table)} rows, such as "
            f"{classes[0]} and {classes[-1]}; this pipeline predicts classes, at most "
            f"{MOST_CLASSES} of them: name another target, or group its values"
        )
    return Labels(where, label_kind, classes, class_indices)


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


def _are_numbers(spellings: list[str], decimal_point: str) -> bool:
    try:
        for spelling in spellings:
            float(spelling.replace(decimal_point, "."))
    except ValueError:
        return False
    return True
