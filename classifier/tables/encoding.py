"""Columns as features: what there is to learn about them, from the training rows alone."""

import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_float_dtype
from sklearn.preprocessing import OneHotEncoder

from classifier.io.schema import (
    DATE_PARTS,
    ISO,
    LARGEST_EXACT,
    CategoricalColumn,
    ColumnOfTable,
    DatetimeColumn,
    NumericColumn,
    PartOfDate,
    Scaler,
    Scaling,
)
from classifier.io.user_error import NeedsParameterError, UserError, quoted
from classifier.tables.dates import part_of, seconds
from classifier.tables.kinds import Dates, KindFinder, Numbers, Texts
from classifier.tables.prepare_params import BeyondMaxCategories
from classifier.tables.scalers import fit_scaling, scaled
from classifier.tables.suspicions import (
    Sample,
    Suspicion,
    are_all_different,
    bins,
    suspicious_numbers,
    suspicious_spelling,
    tells_the_class,
)
from classifier.tables.values import (
    category_names,
    date_cells,
    numbers,
    texts,
)

LARGEST = 1e18
"""Of features: the squares of larger ones have no place in single precision."""

FEW_ROWS = 10

MOST_OF_ALL = 0.5
"""Of the training rows: with more different texts than that, these say which row it is."""


@dataclass(frozen=True)
class EncodedColumn:
    """A column of the table, all its rows, as the network sees it."""

    schema: ColumnOfTable
    features: npt.NDArray[np.float32]
    """Shape (number of features, n)."""
    n_gaps: int
    content: str
    """The range of its numbers or its categories, for a person."""
    suspicions: list[Suspicion] = field(default_factory=list)


@dataclass(frozen=True)
class LeftOut:
    """A column that says nothing."""

    name: str
    reason: str


@dataclass(frozen=True)
class Encoder:
    """Fits scikit-learn's transformers to the training rows of a column, and transforms all rows.

    One column after the other: a ColumnTransformer would hold all training rows several times.
    """

    kinds: KindFinder
    train: npt.NDArray[np.int64]
    """Positions of the training rows, shape (n_train,)."""
    sample: Sample
    """Some of them, with their classes."""
    categorical: list[str]
    """Names of columns whose numbers are categories."""
    codes: frozenset[str]
    """Names of columns some of whose numbers begin with 0 in the file."""
    scaler: Scaler
    missing_indicator: bool
    max_categories: int
    beyond_max_categories: BeyondMaxCategories

    def encode_all(self, table: dict[str, pd.Series]) -> list[EncodedColumn | LeftOut]:
        """Encode columns, each removed from `table` to make room for its features.

        Raises
        ------
        UserError
            Explains the first refusal, and names all columns that are refused.

        """

        def encoded_or_refusal(name: str) -> EncodedColumn | LeftOut | UserError:
            try:
                return self.encode(table.pop(name))
            except UserError as refusal:
                return refusal

        names = list(table)
        share_heap()
        # NumPy, Arrow and scikit-learn let other threads work while they do.
        with ThreadPoolExecutor(max_workers=2) as pool:
            results = dict(zip(names, pool.map(encoded_or_refusal, names), strict=True))
        refusals = {name: one for name, one in results.items() if isinstance(one, UserError)}
        if refusals:
            first, *others = refusals
            also = f"; refused as well: {quoted(others)}" if others else ""
            raise UserError(f"{refusals[first]}{also}")
        return [one for one in results.values() if not isinstance(one, UserError)]

    def encode(self, cells: pd.Series) -> EncodedColumn | LeftOut:
        """Learn from the training rows what kind of column it is, and turn it into features.

        Raises
        ------
        UserError
            If it is of no kind that a network can learn from; if a cell is not of the column's
            kind, or far too large.

        """
        kind = self.kinds.find(
            cells, self.train, is_categorical=str(cells.name) in self.categorical
        )
        match kind:
            case None:
                return LeftOut(str(cells.name), "it is empty in every training row")
            case Numbers():
                return self._numbers(cells, kind)
            case Dates():
                return self._dates(cells, kind)
            case Texts():
                return self._texts(cells, kind.kind)

    def _numbers(self, cells: pd.Series, kind: Numbers) -> EncodedColumn | LeftOut:
        name = str(cells.name)
        raw = numbers(cells, self.kinds.spelling, self.kinds.where(cells), kind.unit)
        train = raw[self.train]
        if np.isnan(train).all():
            return LeftOut(name, "it is empty in every training row")
        indicator = self._indicator(raw)
        exact = pd.Series(raw, cells.index)
        n_exact = n_rounded = 0
        if np.nanmax(np.abs(raw)) > LARGEST_EXACT and not is_float_dtype(cells):
            exact = category_names(cells, self.kinds.spelling).where(exact.notna())
            n_exact, n_rounded = exact.iloc[self.train].nunique(), pd.Series(train).nunique()
        lost = (
            f"has {n_exact} different whole numbers in the training rows, with so many digits that "
            f"a network can tell {n_rounded} of them apart"
        )
        if np.nanmin(train) == np.nanmax(train) and not len(indicator):
            if n_exact > n_rounded:
                parameter = "ignore" if are_all_different(raw, exact) else "categorical"
                raise NeedsParameterError(f"{self.kinds.where(cells)} {lost}", parameter, name)
            return LeftOut(name, f"it is {np.nanmin(train):g} in every training row")
        scaling, feature = self._scale(cells, raw, train)
        suspicions = [
            *suspicious_numbers(name, raw, train, exact),
            *tells_the_class(
                name, bins(raw[self.sample.rows]), self.sample.target, are_numbers=True
            ),
        ]
        if n_exact > n_rounded:
            is_plain = n_exact <= self.max_categories
            suspicions.append(
                Suspicion(f"'{name}' {lost}; if they are codes", "categorical", name, is_plain)
            )
        if kind.begin_with_zero or name in self.codes:
            suspicions.append(
                Suspicion(
                    f"'{name}' has numbers that begin with 0; if they are codes",
                    "categorical",
                    name,
                    is_plain=True,
                )
            )
        return EncodedColumn(
            NumericColumn(
                **scaling.model_dump(),
                name=name,
                unit=kind.unit,
                missing_indicator=bool(len(indicator)),
            ),
            np.vstack([feature, indicator]) if len(indicator) else feature[np.newaxis],
            n_gaps=int(np.isnan(raw).sum()),
            content=f"{np.nanmin(raw):g} to {np.nanmax(raw):g}"
            + (f" ({kind.unit})" if kind.unit else ""),
            suspicions=suspicions,
        )

    def _dates(self, cells: pd.Series, kind: Dates) -> EncodedColumn | LeftOut:
        name = str(cells.name)
        raw = seconds(date_cells(cells, self.kinds.spelling), kind.format, self.kinds.where(cells))
        train = raw[self.train]
        indicator = self._indicator(raw)
        first = float(np.nanmin(train))
        parts, features = [], []
        for part in DATE_PARTS:
            values = part_of(part, raw, first)
            if np.nanmin(values[self.train]) == np.nanmax(values[self.train]):
                continue
            scaling, feature = self._scale(cells, values, values[self.train])
            parts.append(PartOfDate(**scaling.model_dump(), part=part))
            features.append(feature)
        if not parts and not len(indicator):
            return LeftOut(name, "it is the same date in every training row")
        suspicions = list(
            tells_the_class(name, bins(raw[self.sample.rows]), self.sample.target, are_numbers=True)
        )
        if kind.either_way:
            suspicions.append(
                Suspicion(
                    f"'{name}' is read as {kind.format}, but day and month could be the other way "
                    "round: set prepare.day_first to true or false"
                )
            )
        low, high = (str(pd.Timestamp(end(raw), unit="s")) for end in (np.nanmin, np.nanmax))
        spelled = "" if kind.format == ISO else f" ({kind.format})"
        return EncodedColumn(
            DatetimeColumn(
                name=name,
                format=kind.format,
                first=first,
                parts=parts,
                missing_indicator=bool(len(indicator)),
            ),
            np.vstack([*features, *indicator]),
            n_gaps=int(np.isnan(raw).sum()),
            content=f"{low} to {high}".replace(" 00:00:00", "") + spelled,
            suspicions=suspicions,
        )

    def _scale(
        self, cells: pd.Series, raw: npt.NDArray[np.float64], train: npt.NDArray[np.float64]
    ) -> tuple[Scaling, npt.NDArray[np.float32]]:
        """Return what there is to learn of the training rows' numbers, and all rows' feature."""
        low, high = np.nanmin(train), np.nanmax(train)
        # What is too large becomes infinite.
        with np.errstate(all="ignore"):
            scaling = fit_scaling(self.scaler, train)
            if not np.isfinite([high - low, *scaling.model_dump().values()]).all():
                raise NeedsParameterError(
                    f"{self.kinds.where(cells)} reaches from {low:g} to {high:g}, too far to scale",
                    "ignore",
                    str(cells.name),
                    "correct it",
                )
            feature = scaled(self.scaler, scaling, raw).astype(np.float32)
        largest = np.abs(feature)
        if largest.max() > LARGEST:
            row = cells.index[largest.argmax()]
            raise NeedsParameterError(
                f"{self.kinds.where(cells)}, row {row} is far too large next to the training rows",
                "ignore",
                str(cells.name),
                "correct it, or leave it empty",
            )
        return scaling, feature

    def _indicator(self, raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return the feature that says where gaps are, shape (1, n), or none, shape (0, n)."""
        missing = np.isnan(raw)
        wanted = self.missing_indicator and missing[self.train].any()
        return missing[np.newaxis][: int(wanted)].astype(np.float32)

    def _texts(self, cells: pd.Series, kind: Literal["text", "boolean"]) -> EncodedColumn | LeftOut:
        name = str(cells.name)
        spelled = category_names(cells, self.kinds.spelling)
        if kind == "boolean":
            spelled = spelled.str.lower()
        train = spelled.iloc[self.train]
        has_gaps = bool(train.isna().any())
        found = sorted(train.dropna().unique())
        missing_indicator = self.missing_indicator and has_gaps
        if not found:
            return LeftOut(name, "it is empty in every training row")
        if len(found) == 1 and not missing_indicator:
            return LeftOut(name, f"it is '{found[0]}' in every training row")
        other = len(found) > self.max_categories
        suspicions = [
            *self._names_of_rows(name, train, found),
            *suspicious_spelling(name, texts(cells.iloc[self.train], ("",)), train),
        ]
        if other and self.beyond_max_categories == "error":
            self._refuse_too_many(cells, train, found)
        encoder = OneHotEncoder(
            categories=[found],
            max_categories=self.max_categories if other else None,
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
            dtype=np.float32,
        )
        # How frequent they are matters only where the rarest are put together.
        encoder.fit(pd.DataFrame({name: train if other else found}))
        rare = set(encoder.infrequent_categories_[0]) if other else set()
        codes, distinct = pd.factorize(spelled, use_na_sentinel=False)
        one_hot = encoder.transform(pd.DataFrame({name: distinct}))
        features = one_hot.T[:, codes]
        schema = CategoricalColumn(
            name=name,
            kind=kind,
            categories=[text for text in found if text not in rare],
            other=other,
            missing_indicator=missing_indicator,
        )
        if schema.missing_indicator:
            features = np.vstack([features, spelled.isna().to_numpy(np.float32)])
        names = [*schema.categories, *(["other"] if other else [])]
        suspicions += tells_the_class(
            name, codes[self.sample.rows], self.sample.target, are_numbers=False
        )
        return EncodedColumn(
            schema,
            features,
            n_gaps=int(spelled.isna().sum()),
            content=f"{len(names)}: {', '.join(names)}",
            suspicions=suspicions,
        )

    def _names_of_rows(self, name: str, train: pd.Series, found: list[str]) -> Iterator[Suspicion]:
        n = train.notna().sum()
        if n > FEW_ROWS and len(found) > MOST_OF_ALL * n:
            yield Suspicion(
                f"'{name}' has {len(found)} different texts in {n} training rows; if they only say "
                "which row it is",
                "ignore",
                name,
                is_plain=True,
            )

    def _refuse_too_many(self, cells: pd.Series, train: pd.Series, found: list[str]) -> NoReturn:
        name = str(cells.name)
        problem = (
            f"{self.kinds.where(cells)} has {len(found)} different texts in the training rows, "
            f"such as '{found[0]}' and '{found[-1]}', more than prepare.max_categories "
            f"({self.max_categories})"
        )
        if len(found) > MOST_OF_ALL * train.notna().sum():
            together = "prepare.beyond_max_categories: other puts the rarest together"
            raise NeedsParameterError(problem, "ignore", name, f"raise that; {together}")
        raise NeedsParameterError(
            problem, "beyond_max_categories", "other", "raise that, or name it in prepare.ignore"
        )


def share_heap() -> None:
    """Let a thread use the memory that another has given back: a fifth less at the peak.

    With glibc (`M_ARENA_MAX`); elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, 1)
