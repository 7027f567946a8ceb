"""Simple models that the network has to beat, fitted to the same rows by scikit-learn."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from classifier.io.later_params import BaselineName
from classifier.io.prepared import Split

REGULARISATIONS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of logistic regression, scikit-learn's `C`."""

MAX_ITERATIONS = 1000
"""Of a solver, and of boosting, which the validation rows stop before."""

Features = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]

Predict = Callable[[Features], Probabilities]
"""Return class probabilities, shape (n, n_classes), of features, shape (n, n_features)."""


class BaselineReport(BaseModel):
    """How a model was fitted."""

    chosen: str
    """What the validation rows have chosen."""
    val_log_loss: float
    """In nats; the rows are weighted as in training."""
    n_train: int
    """Rows that it was fitted to."""


@dataclass(frozen=True)
class Baseline:
    """A fitted model."""

    predict: Predict
    report: BaselineReport


def fit(
    name: BaselineName, train: Split, val: Split, n_classes: int, *, balanced: bool
) -> Baseline:
    """Fit a model to the training rows; the validation rows choose, as in training.

    Parameters
    ----------
    name
        Which one.
    train, val
        Prepared rows.
    n_classes
        How many classes there are in all.
    balanced
        Whether each class counts the same in the losses, as with `train.class_weights: balanced`.

    """
    known = np.unique(train.target)
    weights = np.ones(n_classes)
    if balanced:
        weights[known] = compute_class_weight("balanced", classes=known, y=train.target)
    fitted = FITTED[name] if len(known) > 1 else _the_only_class
    candidates = []
    for chosen, predict_known in fitted(train, val, weights):

        def predict(features: Features, predict_known: Predict = predict_known) -> Probabilities:
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
        candidates.append(Baseline(predict, report))
    return min(candidates, key=lambda candidate: candidate.report.val_log_loss)


def _logistic_regressions(
    train: Split, _val: Split, weights: npt.NDArray[np.float64]
) -> Iterator[tuple[str, Predict]]:
    scaler = StandardScaler()
    scaled = scaler.fit_transform(train.features.astype(np.float64))
    for regularisation in REGULARISATIONS:
        model = LogisticRegression(C=regularisation, max_iter=MAX_ITERATIONS)
        with warnings.catch_warnings():
            # Where a plane divides the classes, its coefficients grow without end.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, train.target, sample_weight=weights[train.target])

        def predict(features: Features, model: LogisticRegression = model) -> Probabilities:
            probabilities: Probabilities = model.predict_proba(
                scaler.transform(features.astype(np.float64))
            )
            return probabilities

        yield f"C={regularisation:g}", predict


def _boosting(
    train: Split, val: Split, weights: npt.NDArray[np.float64]
) -> Iterator[tuple[str, Predict]]:
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


def _the_only_class(
    _train: Split, _val: Split, _weights: npt.NDArray[np.float64]
) -> Iterator[tuple[str, Predict]]:
    yield "the only class of the training rows", lambda features: np.ones((len(features), 1))


FITTED = {"logistic_regression": _logistic_regressions, "gradient_boosting": _boosting}
"""What yields candidates, each as what was chosen and how it predicts the classes it knows."""
