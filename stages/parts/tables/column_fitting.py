"""What there is to learn from the training rows about how to prepare a column."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from stages.parts.tables.raw_values import is_number, is_text, numbers, parse_numbers, read_texts
from stages.parts.tables.schema import CategoricalColumn, Column, NumericColumn
from stages.parts.tables.table import Table
from stages.parts.user_error import UserError

Scaler = Literal["minmax", "standard", "none"]
BeyondMaxCategories = Literal["error", "other"]


@dataclass(frozen=True)
class ColumnFitter:
    """Fits columns of a table to its training rows."""

    table: Table
    train: npt.NDArray[np.int64]
    """Positions of the training rows, shape (n_train,)."""
    scaler: Scaler
    missing_indicator: bool
    max_categories: int
    beyond_max_categories: BeyondMaxCategories

    def fit(self, name: str) -> NumericColumn | CategoricalColumn:
        """Return how to prepare the column.

        Raises
        ------
        UserError
            If it is of no kind that a network can learn from, or has nothing to learn from.

        """
        kind = self.table.data.column(name).type
        if is_number(kind):
            return self._fit_numbers(name)
        if pa.types.is_temporal(kind):
            example = self.table.data.column(name).drop_null()[0]
            raise self._refusal(
                name, f"holds dates or times, such as {example}; turn them into numbers"
            )
        if not is_text(kind) and kind not in {pa.bool_(), pa.null()}:
            raise self._refusal(name, f"holds values of the type {kind}; turn them into numbers")
        texts = read_texts(self.table, name)
        counts = np.bincount(texts.codes[self.train], minlength=len(texts.distinct))
        seen = Counter[str]()
        for text, count in zip(texts.distinct, counts.tolist(), strict=True):
            if text is not None and count > 0:
                seen[text] += count
        if not seen:
            raise self._refusal(name, "is empty in every training row; fill it in")
        if parse_numbers(list(seen), self.table.decimal_point) is not None:
            return self._fit_numbers(name)
        return self._fit_texts(name, seen)

    def _fit_numbers(self, name: str) -> NumericColumn:
        raw = numbers(self.table, name)[self.train]
        missing = np.isnan(raw)
        if missing.all():
            raise self._refusal(name, "is empty in every training row; fill it in")
        median = np.nanmedian(raw)
        filled = np.where(missing, median, raw)
        has_indicator = self.missing_indicator and bool(missing.any())
        if filled.min() == filled.max() and not has_indicator:
            raise self._refusal(name, f"is {filled[0]:g} in every training row; remove it")
        with np.errstate(all="ignore"):
            center, scale = center_and_scale(filled, self.scaler)
        if not np.isfinite([center, scale]).all():
            raise self._refusal(
                name,
                f"reaches from {filled.min():g} to {filled.max():g}, too far to scale; correct it",
            )
        return NumericColumn(
            name=name,
            median=float(median),
            center=center,
            scale=scale,
            missing_indicator=has_indicator,
        )

    def _fit_texts(self, name: str, seen: Counter[str]) -> CategoricalColumn:
        is_boolean = {text.lower() for text in seen} <= {"true", "false"}
        if is_boolean:
            counts = Counter[str]()
            for text, count in seen.items():
                counts[text.lower()] += count
            seen = counts
        # Among equally frequent ones, those first in the alphabet.
        categories = sorted(seen, key=lambda text: (-seen[text], text))
        has_gaps = seen.total() < len(self.train)
        if len(categories) == 1 and not has_gaps:
            raise self._refusal(name, f"is '{categories[0]}' in every training row; remove it")
        is_beyond = len(categories) > self.max_categories
        if is_beyond and self.beyond_max_categories == "error":
            self._refuse_dirty_numbers(name, seen)
            raise self._refusal(
                name,
                f"has {len(categories)} different texts in the training rows, such as "
                f"'{categories[0]}' and '{categories[-1]}', more than prepare.max_categories "
                f"({self.max_categories}); raise that, set prepare.beyond_max_categories to other",
            )
        return CategoricalColumn(
            name=name,
            kind="boolean" if is_boolean else "text",
            categories=sorted(categories[: self.max_categories]),
            other=is_beyond,
            missing_indicator=self.missing_indicator and has_gaps,
        )

    def _refuse_dirty_numbers(self, name: str, seen: Counter[str]) -> None:
        point = self.table.decimal_point
        others = {text for text in seen if parse_numbers([text], point) is None}
        if len(others) > len(seen) / 2:
            return
        texts = read_texts(self.table, name)
        codes = [code for code, text in enumerate(texts.distinct) if text in others]
        position = np.isin(texts.codes, codes).argmax()
        raise self._refusal(
            name,
            f"holds numbers, but row {self.table.rows[position]} is "
            f"'{texts.distinct[texts.codes[position]]}'; correct it, leave it empty",
        )

    def _refusal(self, name: str, why: str) -> UserError:
        return UserError(
            f"{self.table.source}: column '{name}' {why}, or name it in prepare.ignore"
        )


def fit_columns(names: list[str], fitter: ColumnFitter) -> list[Column]:
    """Fit these columns.

    Raises
    ------
    UserError
        Explains the first refusal, and names all columns that are refused.

    """
    columns: list[Column] = []
    refusals: dict[str, UserError] = {}
    for name in names:
        try:
            columns.append(fitter.fit(name))
        except UserError as refusal:
            refusals[name] = refusal
    if refusals:
        first, *others = refusals
        also = ", ".join(f"'{name}'" for name in others)
        raise UserError(f"{refusals[first]}" + (f"; refused as well: {also}" if others else ""))
    return columns


def center_and_scale(values: npt.NDArray[np.float64], scaler: Scaler) -> tuple[float, float]:
    """Fit scikit-learn's scaler to values, shape (n,), without gaps."""
    if scaler == "none":
        return 0.0, 1.0
    column = values.reshape(-1, 1)
    if scaler == "minmax":
        minmax = MinMaxScaler().fit(column)
        center, scale = float(minmax.data_min_[0]), float(minmax.data_range_[0])
    else:
        standard = StandardScaler().fit(column)
        center, scale = float(standard.mean_[0]), float(standard.scale_[0])
    # It is 0 where all values are equal.
    return center, scale or 1.0
