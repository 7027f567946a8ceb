"""Columns as features: what there is to learn about them, from the training rows alone."""

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_float_dtype
from sklearn.preprocessing import OneHotEncoder
from threadpoolctl import threadpool_limits

from classifier.io.profile import ColumnProfile, profile_of
from classifier.io.schema import (
    DATE_PARTS,
    ISO,
    LARGEST_EXACT,
    CategoricalColumn,
    ColumnOfTable,
    DatetimeColumn,
    NumericColumn,
    PartOfDate,
    Schema,
    TextColumn,
)
from classifier.io.user_error import NeedsParameterError, UserError, quoted, shortened
from classifier.tables.dates import is_time, part_of
from classifier.tables.free_text import Components, pieces_tell
from classifier.tables.kinds import Dates, Numbers, Texts, kind_of
from classifier.tables.names import by_reason
from classifier.tables.rows import TableRows
from classifier.tables.scalers import fit_scaling, scale, scaled
from classifier.tables.suspicions import (
    MOST_OF_ALL,
    NUMBERS_TELL,
    SAMPLE,
    TEXTS_TELL,
    Suspicion,
    are_all_different,
    bins,
    suspicious_numbers,
    suspicious_texts,
    tells_the_class,
)
from classifier.tables.values import category_names, free_texts, numbers, seconds, texts

MOST_CHARACTERS = 40
"""Of a text in a message."""

EMPTY = "it is empty in every training row"


@dataclass(frozen=True)
class EncodedColumn:
    """A column of the table, all its rows, as the network sees it."""

    schema: ColumnOfTable
    profile: ColumnProfile
    features: npt.NDArray[np.float32]
    """Shape (number of features, n)."""
    n_gaps: int
    content: str
    """The range of its numbers or its categories, for a person."""
    suspicions: list[Suspicion]


@dataclass(frozen=True)
class PreparedTable:
    """The rows, and the columns that have something to say."""

    rows: TableRows
    columns: list[EncodedColumn]
    left_out: dict[str, str]
    """Columns that say nothing, with the reason; not those that parameters leave out."""
    schema: Schema


def put_together(rows: TableRows, encoded: dict[str, EncodedColumn | str]) -> PreparedTable:
    """Part the columns, by name, from those that are left out for a reason, and describe them.

    Raises `UserError` if all are left out.
    """
    params = rows.params
    columns = [column for column in encoded.values() if isinstance(column, EncodedColumn)]
    without = {name: reason for name, reason in encoded.items() if isinstance(reason, str)}
    if not columns:
        why = "; ".join(by_reason(rows.left_out | without))
        raise UserError(f"{params.data} has no column that says anything: {why}")
    schema = Schema(
        target=params.target,
        label_kind=rows.labels.kind,
        classes=rows.labels.classes,
        scaler=params.scaler,
        gaps=params.gaps,
        not_gaps=params.not_gaps,
        columns=[column.schema for column in columns],
    )
    return PreparedTable(rows, columns, rows.left_out | without, schema)


class Encoder:
    """Fits scikit-learn's transformers to the training rows of a column, and transforms all rows.

    One column after the other: a ColumnTransformer would hold all training rows several times.
    """

    def __init__(self, rows: TableRows) -> None:
        self.rows, self.params = rows, rows.params
        self.spelling = rows.file.spelling
        self.train = rows.training
        different = self.train[~rows.is_copy[self.train]]
        self.different = np.random.default_rng(0).permutation(different)
        self.sample = self.different[:SAMPLE]

    def encode_all(self) -> PreparedTable:
        """Encode the columns, each removed from the rows' cells to make room for its features.

        Raises a `UserError` that explains the first refusal, and names all columns that are
        refused.
        """
        cells = self.rows.cells
        share_heap()
        # NumPy, Arrow and scikit-learn let other threads work while they do; OpenBLAS rounds sums
        # otherwise with more of its own.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(max_workers=2) as pool:
            columns = {name: pool.submit(self.encode, cells.pop(name)) for name in list(cells)}
        refused = [name for name in columns if isinstance(columns[name].exception(), UserError)]
        if refused:
            also = f"; refused as well: {quoted(refused[1:])}" if len(refused) > 1 else ""
            raise UserError(f"{columns[refused[0]].exception()}{also}")
        return put_together(self.rows, {name: one.result() for name, one in columns.items()})

    def encode(self, cells: pd.Series) -> EncodedColumn | str:
        """Learn from the training rows what kind of column it is, and turn it into features.

        If it says nothing, return the reason. Raises `UserError` if it is of no kind that a network
        can learn from, or if a cell is not of the column's kind or far too large.
        """
        if cells.name in self.params.text:
            return self._free_texts(cells)
        is_categorical = cells.name in self.params.categorical
        known, day_first = cells.iloc[self.train], self.params.day_first
        match kind := kind_of(known, self.rows.file, day_first, is_categorical=is_categorical):
            case None:
                return EMPTY
            case Numbers():
                return self._numbers(cells, kind)
            case Dates():
                return self._dates(cells, kind)
            case "text" | "boolean":
                return self._texts(cells, kind)

    def _numbers(self, cells: pd.Series, kind: Numbers) -> EncodedColumn | str:
        name, where = str(cells.name), self.rows.file.where(cells)
        raw = numbers(cells, self.spelling, where, kind.unit)
        train, missing = raw[self.train], np.isnan(raw)
        if missing[self.train].all():
            return EMPTY
        has_indicator = self._has_indicator(missing)
        exact = pd.Series(raw, cells.index)
        lost, n_exact = "", 0
        if np.nanmax(np.abs(raw)) > LARGEST_EXACT and not is_float_dtype(cells):
            exact = category_names(cells, self.spelling).where(exact.notna())
            n_exact, n_rounded = exact.iloc[self.train].nunique(), pd.Series(train).nunique()
            if n_exact > n_rounded:
                lost = (
                    f"has {n_exact} different whole numbers in the training rows, with so many "
                    f"digits that a network can tell {n_rounded} of them apart"
                )
        if np.nanmin(train) == np.nanmax(train) and not has_indicator:
            if lost:
                parameter = "ignore" if are_all_different(raw, exact) else "categorical"
                raise NeedsParameterError(f"{where} {lost}", parameter, name)
            return f"it is {np.nanmin(train):g} in every training row"
        scaling, feature = scale(self.params.scaler, raw, self.train, cells, where)
        suspicions = [
            *suspicious_numbers(name, raw, train, exact),
            *self._tells_the_class(name, bins(raw[self.sample]), NUMBERS_TELL),
        ]
        if lost:
            is_plain = n_exact <= self.params.max_categories
            sentence = f"'{name}' {lost}; if they are codes"
            suspicions.append(Suspicion(sentence, "categorical", is_plain=is_plain))
        if kind.begin_with_zero or name in self.rows.file.codes:
            sentence = f"'{name}' has numbers that begin with 0; if they are codes"
            suspicions.append(Suspicion(sentence, "categorical", is_plain=True))
        unit = f" ({kind.unit})" if kind.unit else ""
        schema = NumericColumn(
            **scaling.model_dump(), name=name, unit=kind.unit, missing_indicator=has_indicator
        )
        content = f"{np.nanmin(raw):g} to {np.nanmax(raw):g}{unit}"
        return self._encoded(schema, train, missing, [feature], content, suspicions=suspicions)

    def _dates(self, cells: pd.Series, kind: Dates) -> EncodedColumn | str:
        name, where = str(cells.name), self.rows.file.where(cells)
        raw = seconds(cells, self.spelling, where, kind.format)
        train, missing = raw[self.train], np.isnan(raw)
        first = float(np.nanmin(train))
        parts, features = [], []
        for part in DATE_PARTS:
            values = part_of(part, raw, first)
            if np.nanmin(values[self.train]) == np.nanmax(values[self.train]):
                continue
            scaling, feature = scale(self.params.scaler, values, self.train, cells, where)
            parts.append(PartOfDate(**scaling.model_dump(), part=part))
            features.append(feature)
        has_indicator = self._has_indicator(missing)
        if not parts and not has_indicator:
            return "it is the same date in every training row"
        suspicions = list(self._tells_the_class(name, bins(raw[self.sample]), NUMBERS_TELL))
        if kind.either_way:
            suspicions.append(
                Suspicion(
                    f"'{name}' is read as {kind.format}, but day and month could be the other way "
                    "round: set prepare.day_first to true or false"
                )
            )
        ends = [pd.Timestamp(end(raw), unit="s") for end in (np.nanmin, np.nanmax)]
        low, high = (stamp.time() if is_time(kind.format) else stamp for stamp in ends)
        spelled = "" if kind.format == ISO else f" ({kind.format})"
        schema = DatetimeColumn(
            name=name, format=kind.format, first=first, parts=parts, missing_indicator=has_indicator
        )
        content = f"{low} to {high}".replace(" 00:00:00", "") + spelled
        return self._encoded(schema, train, missing, features, content, suspicions=suspicions)

    def _free_texts(self, cells: pd.Series) -> EncodedColumn | str:
        name, where = str(cells.name), self.rows.file.where(cells)
        spelled = free_texts(cells, self.spelling, where)
        missing = (spelled == "").to_numpy()
        if missing[self.train].all():
            return EMPTY
        known = spelled.iloc[self.different[~missing[self.different]][:SAMPLE]]
        learnt = Components(known, self.params.text_components)
        codes, distinct = pd.factorize(spelled)
        components = learnt.of(pd.Series(distinct))
        if not np.ptp(components[:, np.unique(codes[self.train])], axis=1).any():
            return f"it is '{shortened(known.iloc[0], MOST_CHARACTERS)}' in every training row"
        scaler = self.params.scaler
        # Of many a component, half of the texts are next to 0: their quartiles say nothing.
        fitted = "standard" if scaler == "squash" else scaler
        scalings, features = [], []
        for component in components:
            raw = component[codes]
            scaling = fit_scaling(fitted, raw[self.train])
            scalings.append(scaling)
            features.append(scaled(scaler, scaling, raw).astype(np.float32))
        schema = TextColumn(
            name=name,
            pieces=learnt.pieces,
            weights=learnt.weights.tobytes(),
            components=scalings,
            missing_indicator=self._has_indicator(missing),
        )
        train = spelled.iloc[self.train].to_numpy()
        different = pd.Series(train[train != ""]).nunique()
        content = f"{different} different, such as '{known.iloc[0]}'"
        of_sample = pd.factorize(spelled.iloc[self.sample])[0]
        suspicions = list(self._tells_the_class(name, of_sample, TEXTS_TELL))
        return self._encoded(schema, train, missing, features, content, suspicions=suspicions)

    def _texts(self, cells: pd.Series, kind: Texts) -> EncodedColumn | str:
        name = str(cells.name)
        category = category_names(cells, self.spelling)
        if kind == "boolean":
            category = category.str.lower()
        train = category.iloc[self.train]
        missing = category.isna().to_numpy()
        has_indicator = self._has_indicator(missing)
        found = sorted(train.dropna().unique())
        if not found:
            return EMPTY
        if len(found) == 1 and not has_indicator:
            return f"it is '{found[0]}' in every training row"
        other = len(found) > self.params.max_categories
        if other and self.params.beyond_max_categories == "error":
            self._refuse_too_many(cells, category, found)
        encoder = OneHotEncoder(
            categories=[found],
            max_categories=self.params.max_categories if other else None,
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
            dtype=np.float32,
        )
        # How frequent they are matters only where the rarest are put together.
        encoder.fit(pd.DataFrame({name: train if other else found}))
        rare = set(encoder.infrequent_categories_[0]) if other else set()
        codes, distinct = pd.factorize(category, use_na_sentinel=False)
        features = encoder.transform(pd.DataFrame({name: distinct})).T[:, codes]
        schema = CategoricalColumn(
            name=name,
            kind=kind,
            categories=[text for text in found if text not in rare],
            other=other,
            missing_indicator=has_indicator,
        )
        names = [*schema.categories, *(["other"] if other else [])]
        content = f"{len(names)}: {', '.join(names)}"
        spelled = texts(cells.iloc[self.train], ("",))
        suspicions = [
            *suspicious_texts(name, spelled, train, lambda: self._pieces_tell(category)),
            *self._tells_the_class(name, codes[self.sample], TEXTS_TELL),
        ]
        raw = train.fillna("").to_numpy()
        return self._encoded(schema, raw, missing, features, content, suspicions=suspicions)

    def _has_indicator(self, missing: npt.NDArray[np.bool_]) -> bool:
        """Say whether a feature is to tell where gaps are, given these of all rows, shape (n,)."""
        return bool(self.params.missing_indicator and missing[self.train].any())

    def _encoded(
        self,
        schema: ColumnOfTable,
        train: npt.NDArray[Any],
        missing: npt.NDArray[np.bool_],
        features: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32],
        content: str,
        *,
        suspicions: list[Suspicion],
    ) -> EncodedColumn:
        """Add what is common to all kinds of columns.

        `train` is what the model takes for the training rows' cells, `missing` says of all rows
        where gaps are, and each feature has shape (n,).
        """
        if schema.missing_indicator:
            features = np.vstack([*features, missing.astype(np.float32)])
        profile, n_gaps = profile_of(schema, train), int(missing.sum())
        return EncodedColumn(schema, profile, np.asarray(features), n_gaps, content, suspicions)

    def _refuse_too_many(self, cells: pd.Series, category: pd.Series, found: list[str]) -> NoReturn:
        first, last = shortened(found[0], MOST_CHARACTERS), shortened(found[-1], MOST_CHARACTERS)
        problem = (
            f"{self.rows.file.where(cells)} has {len(found)} different texts in the training rows, "
            f"such as '{first}' and '{last}', more than prepare.max_categories "
            f"({self.params.max_categories})"
        )
        parameter, value = "beyond_max_categories", "other"
        otherwise = "raise that, or name it in prepare.ignore"
        if self._pieces_tell(category):
            problem = f"{problem.partition(', such as')[0]}, words in which tell the class"
            parameter, value = "text", str(cells.name)
        elif len(found) > MOST_OF_ALL * category.iloc[self.train].notna().sum():
            parameter, value = "ignore", str(cells.name)
            otherwise = "raise that; prepare.beyond_max_categories: other puts the rarest together"
        raise NeedsParameterError(problem, parameter, value, otherwise)

    def _pieces_tell(self, category: pd.Series) -> bool:
        """Say whether pieces of a column's texts tell the class; of a group, one row is asked."""
        known = self.different[category.iloc[self.different].notna()]
        _, first_of_unit = np.unique(self.rows.units[known], return_index=True)
        rows = known[np.sort(first_of_unit)]
        target = self.rows.labels.indices[rows]
        return pieces_tell(category.iloc[rows], target, self.params.max_categories)

    def _tells_the_class(
        self, name: str, codes: npt.NDArray[np.int64], least: float
    ) -> Iterator[Suspicion]:
        return tells_the_class(name, codes, self.rows.labels.indices[self.sample], least)


def share_heap() -> None:
    """Let a thread use the memory that another has given back: a fifth less at the peak.

    With glibc (`M_ARENA_MAX`); elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, 1)
