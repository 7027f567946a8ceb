"""Simple models, fitted by scikit-learn, which the network has to beat."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from classifier.evaluation.evaluated import BaselineReport, LeftOut
from classifier.io.later_params import BaselineName
from classifier.io.prepared import Split

REGULARISATIONS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Logistic regression is fitted with each of these as scikit-learn's `C`."""

MAX_ITERATIONS = 1000
"""A solver stops after so many at the latest, and boosting, which the validation rows stop."""

MOST_CELLS = 5_000_000
"""Training rows times classes. With more, there is no boosting, which grows a tree for each class
in each iteration, and logistic regression has less choice of `C` and fewer iterations."""

FEWER_ITERATIONS = 50

Features = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]

Predict = Callable[[Features], Probabilities]
"""Return class probabilities, shape (n, n_classes), of features, shape (n, n_features)."""


@dataclass(frozen=True)
class Baseline:
    """A fitted model."""

    predict: Predict | None
    """The model is left out where there is None."""
    report: BaselineReport | LeftOut


def fit(
    name: BaselineName, train: Split, val: Split, n_classes: int, *, balanced: bool
) -> Baseline:
    """Fit a model to the training rows; the validation rows choose, as in training.

    It is left out where it would take long, or is worse on these than predicting the class
    frequencies of the training rows. With `balanced`, as `train.class_weights` may be, each class
    counts the same in the losses.
    """
    known = np.unique(train.target)
    weights = np.ones(n_classes)
    if balanced:
        weights[known] = compute_class_weight("balanced", classes=known, y=train.target)

    def candidate(chosen: str, predict_known: Predict) -> tuple[float, Baseline]:
        def predict(features: Features) -> Probabilities:
            probabilities = np.zeros((len(features), n_classes))
            probabilities[:, known] = predict_known(features)
            return probabilities

        loss = log_loss(
            val.target,
            predict(val.features),
            sample_weight=weights[val.target],
            labels=range(n_classes),
        )
        report = BaselineReport(chosen=chosen, val_log_loss=loss, n_train=len(train.target))
        return loss, Baseline(predict, report)

    frequencies = DummyClassifier(strategy="prior").fit(
        train.features, train.target, weights[train.target]
    )
    of_guess, guess = candidate("the only class of the training rows", frequencies.predict_proba)
    if len(known) == 1:
        return guess
    fitted = [candidate(*one) for one in FITTED[name](train, val, weights)]
    if fitted:
        loss, best = min(fitted, key=itemgetter(0))
        if loss <= of_guess:
            return best
        why = (
            f"its log loss on the validation rows, {loss:.4f}, is worse than the {of_guess:.4f} of "
            "predicting the class frequencies for every row"
        )
    else:
        why = f"{len(train.target):,} rows of {len(known):,} classes would take long"
    return Baseline(None, LeftOut(left_out=f"{name.replace('_', ' ')} is left out: {why}"))


def _is_much_work(train: Split) -> bool:
    return len(train.target) * len(np.unique(train.target)) > MOST_CELLS


def _logistic_regressions(
    train: Split, _val: Split, weights: npt.NDArray[np.float64]
) -> Iterator[tuple[str, Predict]]:
    is_much = _is_much_work(train)
    max_iter = FEWER_ITERATIONS if is_much else MAX_ITERATIONS
    for regularisation in REGULARISATIONS[2::2] if is_much else REGULARISATIONS:
        model = make_pipeline(
            FunctionTransformer(partial(np.asarray, dtype=np.float64)),
            StandardScaler(),
            LogisticRegression(C=regularisation, max_iter=max_iter),
        )
        # Where a plane divides the classes, its coefficients grow without end.
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            model.fit(
                train.features,
                train.target,
                logisticregression__sample_weight=weights[train.target],
            )
        yield f"C={regularisation:g}", model.predict_proba


def _boosting(
    train: Split, val: Split, weights: npt.NDArray[np.float64]
) -> Iterator[tuple[str, Predict]]:
    if _is_much_work(train):
        return
    is_known = np.isin(val.target, np.unique(train.target))
    model = HistGradientBoostingClassifier(
        early_stopping=True, max_iter=MAX_ITERATIONS, random_state=0
    )
    model.fit(
        train.features,
        train.target,
        sample_weight=weights[train.target],
        X_val=val.features[is_known],
        y_val=val.target[is_known],
        sample_weight_val=weights[val.target[is_known]],
    )
    # The first score is that of no tree at all. The model keeps the trees after the best, too.
    n_iterations = max(1, int(np.argmax(model.validation_score_)))

    def predict(features: Features) -> Probabilities:
        probabilities: Probabilities = next(
            islice(model.staged_predict_proba(features), n_iterations - 1, None)
        )
        return probabilities

    yield f"{n_iterations} iterations", predict


FITTED = {"logistic_regression": _logistic_regressions, "gradient_boosting": _boosting}
"""What yields candidates, each as what was chosen and how it predicts the classes it knows."""
