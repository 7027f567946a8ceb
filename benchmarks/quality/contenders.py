"""What people use instead: each is fitted to rows, and gives class probabilities for others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

N_THREADS = 2
"""For each contender; ours takes as many as `threads: auto` says."""

Model = Any
"""With scikit-learn's `fit` and `predict_proba`."""


def logistic_regression(seed: int) -> Model:
    from sklearn.linear_model import LogisticRegression

    return _prepared(LogisticRegression(max_iter=2000, random_state=seed))


def mlp_classifier(seed: int) -> Model:
    from sklearn.neural_network import MLPClassifier

    return _prepared(MLPClassifier(random_state=seed))


def _prepared(model: Model) -> Model:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    preparation = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        sparse_threshold=0,
    )
    return make_pipeline(preparation, model)


def histogram_gradient_boosting(seed: int) -> Model:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=seed)


def histogram_gradient_boosting_stopped_early(seed: int) -> Model:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=True, random_state=seed)


def lightgbm(seed: int) -> Model:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=seed, n_jobs=N_THREADS, verbose=-1)


def realmlp_td(seed: int) -> Model:
    from pytabkit import RealMLP_TD_Classifier

    return RealMLP_TD_Classifier(device="cpu", random_state=seed, n_threads=N_THREADS)


def tabm_d(seed: int) -> Model:
    from pytabkit import TabM_D_Classifier

    return TabM_D_Classifier(device="cpu", random_state=seed, n_threads=N_THREADS)


OURS = "ours"

CONTENDERS: dict[str, Callable[[int], Model]] = {
    "logistic regression": logistic_regression,
    "MLPClassifier": mlp_classifier,
    "HistGradientBoosting": histogram_gradient_boosting,
    "HistGradientBoosting, early stopping": histogram_gradient_boosting_stopped_early,
    "LightGBM": lightgbm,
    "RealMLP-TD": realmlp_td,
    "TabM-D": tabm_d,
}

N_FOLDS = 8
BAGGED = {f"{name}, {N_FOLDS} folds": name for name in CONTENDERS if name != "TabM-D"}
"""The same as we train, to tell what is ours from what is bagging: on the smallest tables alone."""
N_BAGGED_TABLES = 10


ALL = [OURS, *CONTENDERS, *BAGGED]


class Bagged:
    """Models that each leave out another part of the rows; the mean of their probabilities."""

    def __init__(self, name: str, seed: int) -> None:
        self._name, self._seed = name, seed

    def fit(self, features: pd.DataFrame, target: pd.Series) -> "Bagged":
        from sklearn.model_selection import StratifiedKFold

        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=self._seed)
        self._models = [
            CONTENDERS[self._name](self._seed).fit(features.iloc[train], target.iloc[train])
            for train, _ in folds.split(features, target)
        ]
        self.classes_ = self._models[0].classes_
        return self

    def predict_proba(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = np.mean(
            [model.predict_proba(features) for model in self._models], axis=0
        )
        return found


SLOW = {"TabM-D"}
"""On tables of more than `SLOW_ROWS` rows their first split alone is run."""
SLOW_ROWS = 1500


def fit(name: str, features: pd.DataFrame, target: pd.Series, seed: int) -> Model:
    """Return the contender, fitted; columns of texts are of pandas' type `category`."""
    model = Bagged(BAGGED[name], seed) if name in BAGGED else CONTENDERS[name](seed)
    return model.fit(features, target)


def probabilities(
    model: Model, features: pd.DataFrame, classes: list[str]
) -> npt.NDArray[np.float64]:
    """Return class probabilities, shape (n, n_classes), in the order of `classes`."""
    found = model.predict_proba(features).astype(np.float64)
    order = [list(model.classes_).index(name) for name in classes]
    ordered: npt.NDArray[np.float64] = found[:, order] / found.sum(axis=1, keepdims=True)
    return ordered
