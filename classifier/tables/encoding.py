"""Columns as features: what there is to learn about them, from the training rows alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api import types
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler

from classifier.io.schema import CategoricalColumn, NumericColumn, Scaler
from classifier.io.user_error import UserError
from classifier.tables.values import DecimalMark, holds_categories, numbers, parse_numbers, texts

BeyondMaxCategories = Literal["error", "other"]

SCALERS = {"minmax": MinMaxScaler, "standard": StandardScaler, "none": FunctionTransformer}

LARGEST = 1e18
"""Of features: the squares of larger ones have no place in single precision."""


@dataclass(frozen=True)
class EncodedColumn:
    """A column of the table, all its rows, as the network sees it."""

    schema: NumericColumn | CategoricalColumn
    features: npt.NDArray[np.float32]
    """Shape (number of features, n)."""
    n_gaps: int
    content: str
    """The range of its numbers or its categories, for a person."""
    numbers_the_rows: bool = False
    """Whether it holds whole numbers, no two of them the same."""


@dataclass(frozen=True)
class Encoder:
    """Fits scikit-learn's transformers to the training rows of a column, and transforms all rows.

    One column after the other: a ColumnTransformer would hold all training rows several times.
    """

    source: str
    """What messages call the table."""
    decimal: DecimalMark
    train: npt.NDArray[np.int64]
    """Positions of the training rows, shape (n_train,)."""
    scaler: Scaler
    missing_indicator: bool
    max_categories: int
    beyond_max_categories: BeyondMaxCategories

    def encode_all(self, table: dict[str, pd.Series]) -> list[EncodedColumn]:
        """Encode columns, each removed from `table` to make room for its features.

        Raises
        ------
        UserError
            Explains the first refusal, and names all columns that are refused.

        """

        def encoded_or_refusal(name: str) -> EncodedColumn | UserError:
            try:
                return self.encode(table.pop(name))
            except UserError as refusal:
                return refusal

        names = list(table)
        # NumPy, Arrow and scikit-learn let other threads work while they do.
        with ThreadPoolExecutor(max_workers=2) as pool:
            results = dict(zip(names, pool.map(encoded_or_refusal, names), strict=True))
        refusals = {name: one for name, one in results.items() if isinstance(one, UserError)}
        if refusals:
            first, *others = refusals
            also = ", ".join(f"'{name}'" for name in others)
            raise UserError(f"{refusals[first]}" + (f"; refused as well: {also}" if others else ""))
        return [one for one in results.values() if isinstance(one, EncodedColumn)]

    def encode(self, cells: pd.Series) -> EncodedColumn:
        """Learn from the training rows what kind of column it is, and turn it into features.

        Raises
        ------
        UserError
            If it is of no kind that a network can learn from, or has nothing to learn from; if a
            cell is not of the column's kind, or far too large.

        """
        kind = self._kind(cells)
        return self._numbers(cells) if kind == "numeric" else self._texts(cells, kind)

    def _kind(self, cells: pd.Series) -> Literal["numeric", "text", "boolean"]:
        if types.is_numeric_dtype(cells) and not types.is_bool_dtype(cells):
            return "numeric"
        train = cells.iloc[self.train]
        if train.isna().all():
            self._refuse_empty(cells)
        if not holds_categories(cells):
            self._refuse_type(cells, train.dropna().iloc[0])
        spelled = texts(train).dropna().drop_duplicates()
        if spelled.empty:
            self._refuse_empty(cells)
        if not np.isnan(parse_numbers(spelled, self.decimal)).any():
            return "numeric"
        if set(spelled.str.lower()) <= {"true", "false"}:
            return "boolean"
        if are_dates(spelled):
            self._refuse_dates(cells, spelled.iloc[0])
        return "text"

    def _numbers(self, cells: pd.Series) -> EncodedColumn:
        raw = numbers(cells, self.decimal, self._where(cells))
        column = raw.reshape(-1, 1)
        train = column[self.train]
        if np.isnan(train).all():
            self._refuse_empty(cells)
        missing_indicator = self.missing_indicator and bool(np.isnan(train).any())
        low, high = np.nanmin(train), np.nanmax(train)
        if low == high and not missing_indicator:
            which = " that has a number" if np.isnan(train).any() else ""
            self._refuse(cells, f"is {low:g} in every training row{which}; remove it")
        # What is too large becomes infinite.
        with np.errstate(all="ignore"):
            # The imputer's own median sorts all values, which takes most of the time of a column.
            imputer = SimpleImputer(strategy="constant", fill_value=np.nanmedian(train))
            pipeline = make_pipeline(imputer, SCALERS[self.scaler]())
            pipeline.fit(train)
            offset, scale = offset_and_scale(self.scaler, pipeline[1])
            schema = NumericColumn(
                name=str(cells.name),
                median=imputer.fill_value,
                offset=offset,
                scale=scale,
                missing_indicator=missing_indicator,
            )
            if not np.isfinite([high - low, schema.median, schema.offset, schema.scale]).all():
                self._refuse(
                    cells, f"reaches from {low:g} to {high:g}, too far to scale; correct it"
                )
            features = pipeline.transform(column).T.astype(np.float32)
        largest = np.abs(features)
        if largest.max() > LARGEST:
            raise UserError(
                f"{self._where(cells)}, row {cells.index[largest.argmax()]} is far too large next "
                "to the training rows; correct it, or leave it empty"
            )
        if missing_indicator:
            features = np.vstack([features, np.isnan(raw).astype(np.float32)])
        return EncodedColumn(
            schema,
            features,
            n_gaps=int(np.isnan(raw).sum()),
            content=f"{np.nanmin(raw):g} to {np.nanmax(raw):g}",
            numbers_the_rows=bool((np.trunc(raw) == raw).all() and pd.Series(raw).is_unique),
        )

    def _texts(self, cells: pd.Series, kind: Literal["text", "boolean"]) -> EncodedColumn:
        spelled = texts(cells)
        if kind == "boolean":
            spelled = spelled.str.lower()
        train = spelled.iloc[self.train]
        has_gaps = bool(train.isna().any())
        found = sorted(train.dropna().unique())
        if len(found) == 1 and not has_gaps:
            self._refuse(cells, f"is '{found[0]}' in every training row; remove it")
        other = len(found) > self.max_categories
        if other and self.beyond_max_categories == "error":
            self._refuse_too_many(cells, spelled, found)
        encoder = OneHotEncoder(
            categories=[found],
            max_categories=self.max_categories if other else None,
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
            dtype=np.float32,
        )
        # How frequent they are matters only where the rarest are put together.
        encoder.fit(pd.DataFrame({cells.name: train if other else found}))
        rare = set(encoder.infrequent_categories_[0]) if other else set()
        codes, distinct = pd.factorize(spelled, use_na_sentinel=False)
        one_hot = encoder.transform(pd.DataFrame({cells.name: distinct}))
        features = one_hot.T[:, codes]
        schema = CategoricalColumn(
            name=str(cells.name),
            kind=kind,
            categories=[text for text in found if text not in rare],
            other=other,
            missing_indicator=self.missing_indicator and has_gaps,
        )
        if schema.missing_indicator:
            features = np.vstack([features, spelled.isna().to_numpy(np.float32)])
        names = [*schema.categories, *(["other"] if other else [])]
        content = f"{len(names)}: {', '.join(names)}"
        return EncodedColumn(schema, features, n_gaps=int(spelled.isna().sum()), content=content)

    def _where(self, cells: pd.Series) -> str:
        return f"{self.source}: column '{cells.name}'"

    def _refuse(self, cells: pd.Series, why: str) -> NoReturn:
        raise UserError(f"{self._where(cells)} {why}, or name it in prepare.ignore")

    def _refuse_empty(self, cells: pd.Series) -> NoReturn:
        self._refuse(cells, "is empty in every training row; fill it in")

    def _refuse_dates(self, cells: pd.Series, example: object) -> NoReturn:
        self._refuse(cells, f"holds dates or times, such as {example}; turn them into numbers")

    def _refuse_type(self, cells: pd.Series, example: object) -> NoReturn:
        if isinstance(cells.dtype, pd.ArrowDtype) and pa.types.is_temporal(
            cells.dtype.pyarrow_dtype
        ):
            self._refuse_dates(cells, example)
        self._refuse(cells, f"holds values of the type {cells.dtype}; turn them into numbers")

    def _refuse_too_many(self, cells: pd.Series, spelled: pd.Series, found: list[str]) -> NoReturn:
        distinct = pd.Series(found)
        others = distinct[np.isnan(parse_numbers(distinct, self.decimal))]
        if len(others) <= len(found) / 2:
            row = spelled.index[spelled.isin(others).argmax()]
            self._refuse(
                cells,
                f"holds numbers, but row {row} is '{spelled[row]}'; correct it, leave it empty",
            )
        self._refuse(
            cells,
            f"has {len(found)} different texts in the training rows, such as '{found[0]}' and "
            f"'{found[-1]}', more than prepare.max_categories ({self.max_categories}); raise that, "
            "set prepare.beyond_max_categories to other",
        )


def offset_and_scale(kind: Scaler, scaler: Any) -> tuple[float, float]:  # noqa: ANN401
    """Return what scikit-learn's scaler has learnt of its one column, as `NumericColumn` has it."""
    match kind:
        case "minmax":
            return scaler.min_[0], scaler.scale_[0]
        case "standard":
            return scaler.mean_[0], scaler.scale_[0]
        case "none":
            return 0.0, 1.0


def are_dates(spelled: pd.Series) -> bool:
    """Say whether skrub, which takes a second to import, reads the texts as dates."""
    if not spelled.str.contains(r"\d").all():
        return False
    from skrub import ToDatetime  # noqa: PLC0415
    from skrub.core import RejectColumn  # noqa: PLC0415

    try:
        ToDatetime().fit_transform(spelled)
    except RejectColumn:
        return False
    return True
