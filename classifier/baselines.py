"""Simple models, fitted by scikit-learn, which the network has to beat."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from classifier.evaluation.evaluated import BaselineReport, LeftOut
from classifier.io.later_params import BaselineName
from classifier.io.prepared import Split

REGULARISATIONS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Logistic regression is fitted with each of these as scikit-learn's `C`."""

MAX_ITERATIONS = 1000
"""A solver stops after so many at the latest, and boosting, which the validation rows stop."""

MOST_CELLS = 5_000_000
"""Training rows times classes times folds. With more, there is no boosting, which grows a tree for
each class in each iteration, and logistic regression has fewer iterations, and `C` to choose."""

FEWER_ITERATIONS = 50

Features = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]

Predict = Callable[[Features], Probabilities]
"""Return class probabilities, shape (n, n_classes), of features, shape (n, n_features)."""


@dataclass(frozen=True)
class Baseline:
    """A fitted model."""

    predict: Predict
    of_val: Probabilities
    """Of the validation rows, shape (n_val, n_classes), each by a model not fitted to it."""
    report: BaselineReport


@dataclass(frozen=True)
class Fold:
    """Rows that a model is fitted to, and those that judge it."""

    train: Split
    left_out: Split
    class_weights: npt.NDArray[np.float64]
    """What a row of each class counts for in the losses, shape (n_classes,)."""
    guess: DummyClassifier
    """Says the class frequencies for every row."""

    def fitted(self, model: BaseEstimator, **judges: npt.NDArray[Any]) -> BaseEstimator:
        """Return a copy of a model, fitted to the rows; the guess for one class or no judges."""
        if len(np.unique(self.train.target)) < 2 or not all(map(len, judges.values())):
            return self.guess
        # Where a plane divides the classes, the coefficients of a regression grow without end.
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return clone(model).fit(self.train.features, self.train.target, **judges)


Folds = Callable[[], Iterator[Fold]]
"""Make one fold after the other: each has copies of its rows."""


class Candidate(NamedTuple):
    """A model that is fitted once in each fold."""

    chosen: str
    model: BaseEstimator
    of_folds: list[BaseEstimator]
    n_iterations: int | None = None
    """Those of the folds predict as they were after so many."""


def fit(
    name: BaselineName, train: Split, val: Split, n_classes: int, *, balanced: bool
) -> Baseline | LeftOut:
    """Fit a model to the training rows; the validation rows choose, as in training.

    Each validation row judges what is fitted to the training rows of other folds. Where there are
    several folds, what is best on all validation rows is then fitted to all training rows.

    It is left out where it would take long, or is worse on these than the class frequencies of the
    training rows. With `balanced`, as `train.class_weights` may be, each class counts the same.
    """
    numbers, n, n_known = np.unique(val.fold), len(train.target), len(np.unique(train.target))
    class_weight = "balanced" if balanced else None

    def fold(number: int | None) -> Fold:
        """Return copies of the rows without and with this number; None: of all and of none."""
        rows, left_out = train.take(train.fold != number), val.take(val.fold == number)
        # All rows that were drawn may be of one fold.
        target = rows.target if len(rows.target) > 0 else train.target
        class_weights = np.ones(n_classes)
        class_weights[target] = compute_sample_weight(class_weight, target)
        guess = DummyClassifier(strategy="prior").fit(target, target, class_weights[target])
        return Fold(rows, left_out, class_weights, guess)

    weights, guesses = np.empty(len(val.target)), []
    for number, one in zip(numbers, map(fold, numbers), strict=True):
        weights[val.fold == number] = one.class_weights[one.left_out.target]
        guesses.append(one.guess)

    def judged(candidate: Candidate) -> tuple[float, Probabilities, Candidate]:
        of_val = np.empty((len(val.target), n_classes))
        for number, model in zip(numbers, candidate.of_folds, strict=True):
            predict = partial(_predict, model, n_classes, candidate.n_iterations)
            of_val[val.fold == number] = predict(val.features[val.fold == number])
        loss = log_loss(val.target, of_val, sample_weight=weights, labels=range(n_classes))
        return loss, of_val, candidate

    guess = judged(Candidate("the only class of the training rows", guesses[0], guesses))
    is_much = n * n_known * len(numbers) > MOST_CELLS
    candidates = CANDIDATES[name](lambda: map(fold, numbers), class_weight, is_much=is_much)
    best = min(map(judged, candidates), key=itemgetter(0), default=None) if n_known > 1 else guess
    if best is None:
        why = f"{n:,} rows of {n_known:,} classes would take long"
        why += f" in {len(numbers)} folds" if len(numbers) > 1 else ""
    elif best[0] > guess[0]:
        why = (
            f"its log loss on the validation rows, {best[0]:.4f}, is worse than the {guess[0]:.4f} "
            "of predicting the class frequencies for every row"
        )
    else:
        loss, of_val, (chosen, model, (fitted, *others), n_iterations) = best
        if others:
            fitted, n_iterations = fold(None).fitted(model), None
        report = BaselineReport(chosen=chosen, val_log_loss=loss, n_train=n)
        return Baseline(partial(_predict, fitted, n_classes, n_iterations), of_val, report)
    return LeftOut(left_out=f"{name.replace('_', ' ')} is left out: {why}")


def _predict(
    model: BaseEstimator, n_classes: int, n_iterations: int | None, features: Features
) -> Probabilities:
    """Return probabilities of all classes, those of boosting after `n_iterations`, if these are."""
    probabilities = np.zeros((len(features), n_classes))
    probabilities[:, model.classes_] = (
        next(islice(model.staged_predict_proba(features), n_iterations - 1, None))
        if n_iterations and isinstance(model, HistGradientBoostingClassifier)
        else model.predict_proba(features)
    )
    return probabilities


def _regression(folds: Folds, class_weight: str | None, *, is_much: bool) -> Iterator[Candidate]:
    max_iter = FEWER_ITERATIONS if is_much else MAX_ITERATIONS
    for c in REGULARISATIONS[2::2] if is_much else REGULARISATIONS:
        regression = LogisticRegression(C=c, max_iter=max_iter, class_weight=class_weight)
        model = make_pipeline(FunctionTransformer(np.float64), StandardScaler(), regression)
        yield Candidate(f"C={c:g}", model, [fold.fitted(model) for fold in folds()])


def _boosting(folds: Folds, class_weight: str | None, *, is_much: bool) -> Iterator[Candidate]:
    """Yield the number of iterations that is best on all validation rows of known classes.

    It is none after which some fold's model has stopped: of more trees, that one has no loss.
    """
    if is_much:
        return
    boosting = HistGradientBoostingClassifier(
        early_stopping=True, max_iter=MAX_ITERATIONS, class_weight=class_weight, random_state=0
    )
    fitted, scores, weights = [], [], []
    for fold in folds():
        judges = fold.left_out.take(np.isin(fold.left_out.target, fold.train.target))
        of_judges = fold.class_weights[judges.target]
        one = fold.fitted(
            boosting, X_val=judges.features, y_val=judges.target, sample_weight_val=of_judges
        )
        fitted.append(one)
        # Of no tree, one, two, ...: minus the log loss. To a guess, all are the same.
        scores.append(getattr(one, "validation_score_", np.zeros(MAX_ITERATIONS + 1)))
        weights.append(of_judges.sum())
    # One fold has a share of exactly 1. All weights may be 0.
    shares = np.array(weights) / (sum(weights) or 1)
    of_all = np.stack([one[: min(map(len, scores))] for one in scores])
    n = max(1, int(np.argmax(shares @ of_all)))
    model = clone(boosting).set_params(early_stopping=False, max_iter=n)
    yield Candidate(f"{n} iterations", model, fitted, n)


CANDIDATES = {"logistic_regression": _regression, "gradient_boosting": _boosting}
"""What yields candidates; of none where fitting them would take long."""
