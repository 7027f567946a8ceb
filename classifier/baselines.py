"""Simple models, fitted by scikit-learn, which the network has to beat."""

import warnings
from collections.abc import Callable, Iterable, Iterator
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
"""Training rows times classes times folds. With more, there is no boosting, which grows a tree for
each class in each iteration, and logistic regression has less choice of `C` and fewer iterations.
"""

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
    of_val: Probabilities | None
    """Of the validation rows, shape (n_val, n_classes), each by a model not fitted to it."""
    report: BaselineReport | LeftOut


@dataclass(frozen=True)
class Fold:
    """Rows that a model is fitted to, and those that judge it."""

    train: Split
    left_out: Split
    class_weights: npt.NDArray[np.float64]
    """What a row of each class counts for in the losses, shape (n_classes,)."""

    @property
    def known(self) -> npt.NDArray[np.int64]:
        """The classes of the rows that a model is fitted to, shape (n_known,)."""
        return np.unique(self.train.target)

    def weights(self, rows: Split) -> npt.NDArray[np.float64]:
        """Return what rows count for in the losses, shape (n,)."""
        return self.class_weights[rows.target]

    @property
    def of_all_classes(self) -> Callable[[Predict], Predict]:
        """What makes of a model that knows only the classes of these rows one of all classes."""
        return partial(_of_all_classes, self.known, len(self.class_weights))


@dataclass(frozen=True)
class Folds:
    """Training rows, and the validation rows that judge what is fitted to those of other folds."""

    train: Split
    val: Split
    n_classes: int
    balanced: bool

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Of the folds, in order."""
        return np.unique(self.val.fold)

    def __iter__(self) -> Iterator[Fold]:
        """Yield one fold at a time: each has a copy of its rows."""
        for number in self.numbers:
            is_left_out = self.val.fold == number
            yield self._fold(self.train.take(self.train.fold != number), self.val.take(is_left_out))

    def whole(self) -> Fold:
        """Return all training rows, with none left out."""
        return self._fold(self.train, self.val.take(np.array([], np.int64)))

    def in_order(self, of_left_out: Iterable[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Return what each fold has for its left-out rows in the order of the validation rows."""
        parts = np.concatenate(list(of_left_out))
        ordered = np.empty_like(parts)
        ordered[np.argsort(self.val.fold, kind="stable")] = parts
        return ordered

    def _fold(self, train: Split, left_out: Split) -> Fold:
        class_weights = np.ones(self.n_classes)
        if self.balanced:
            known = np.unique(train.target)
            class_weights[known] = compute_class_weight("balanced", classes=known, y=train.target)
        return Fold(train, left_out, class_weights)


@dataclass(frozen=True)
class Candidate:
    """A model that is fitted once in each fold."""

    chosen: str
    of_folds: list[Predict]
    refit: Callable[[Fold], Predict]
    """Fit the same to the training rows of another fold."""


def fit(
    name: BaselineName, train: Split, val: Split, n_classes: int, *, balanced: bool
) -> Baseline:
    """Fit a model to the training rows; the validation rows choose, as in training.

    Each validation row judges what is fitted to the training rows of other folds. Where there are
    several folds, what is best on all validation rows is then fitted to all training rows.

    It is left out where it would take long, or is worse on these than predicting the class
    frequencies of the training rows. With `balanced`, as `train.class_weights` may be, each class
    counts the same in the losses.
    """
    folds = Folds(train, val, n_classes, balanced)
    weights = folds.in_order(fold.weights(fold.left_out) for fold in folds)

    def judged(candidate: Candidate) -> tuple[float, Probabilities, Candidate]:
        of_val = folds.in_order(
            predict(val.features[val.fold == number])
            for number, predict in zip(folds.numbers, candidate.of_folds, strict=True)
        )
        loss = log_loss(val.target, of_val, sample_weight=weights, labels=range(n_classes))
        return loss, of_val, candidate

    def baseline(loss: float, of_val: Probabilities, best: Candidate) -> Baseline:
        predict = best.of_folds[0] if len(folds.numbers) == 1 else best.refit(folds.whole())
        report = BaselineReport(chosen=best.chosen, val_log_loss=loss, n_train=len(train.target))
        return Baseline(predict, of_val, report)

    known = np.unique(train.target)
    guess = judged(
        Candidate("the only class of the training rows", [_guess(fold) for fold in folds], _guess)
    )
    if len(known) == 1:
        return baseline(*guess)
    best = min(map(judged, CANDIDATES[name](folds)), key=itemgetter(0), default=None)
    if best is None:
        in_folds = f" in {len(folds.numbers)} folds" if len(folds.numbers) > 1 else ""
        why = f"{len(train.target):,} rows of {len(known):,} classes would take long{in_folds}"
    elif best[0] <= guess[0]:
        return baseline(*best)
    else:
        why = (
            f"its log loss on the validation rows, {best[0]:.4f}, is worse than the {guess[0]:.4f} "
            "of predicting the class frequencies for every row"
        )
    return Baseline(None, None, LeftOut(left_out=f"{name.replace('_', ' ')} is left out: {why}"))


def _of_all_classes(
    known: npt.NDArray[np.int64], n_classes: int, predict_known: Predict
) -> Predict:
    def predict(features: Features) -> Probabilities:
        probabilities = np.zeros((len(features), n_classes))
        probabilities[:, known] = predict_known(features)
        return probabilities

    return predict


def _guess(fold: Fold) -> Predict:
    model = DummyClassifier(strategy="prior")
    model.fit(fold.train.features, fold.train.target, fold.weights(fold.train))
    return fold.of_all_classes(model.predict_proba)


def _is_much_work(folds: Folds) -> bool:
    target = folds.train.target
    return len(folds.numbers) * len(target) * len(np.unique(target)) > MOST_CELLS


def _logistic_regressions(folds: Folds) -> Iterator[Candidate]:
    is_much = _is_much_work(folds)
    max_iter = FEWER_ITERATIONS if is_much else MAX_ITERATIONS
    for regularisation in REGULARISATIONS[2::2] if is_much else REGULARISATIONS:
        refit = partial(_logistic_regression, regularisation, max_iter)
        yield Candidate(f"C={regularisation:g}", [refit(fold) for fold in folds], refit)


def _logistic_regression(regularisation: float, max_iter: int, fold: Fold) -> Predict:
    if len(fold.known) == 1:
        return _guess(fold)
    model = make_pipeline(
        FunctionTransformer(partial(np.asarray, dtype=np.float64)),
        StandardScaler(),
        LogisticRegression(C=regularisation, max_iter=max_iter),
    )
    # Where a plane divides the classes, its coefficients grow without end.
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(
            fold.train.features,
            fold.train.target,
            logisticregression__sample_weight=fold.weights(fold.train),
        )
    return fold.of_all_classes(model.predict_proba)


def _boosting(folds: Folds) -> Iterator[Candidate]:
    """Yield the number of iterations that is best on all validation rows of known classes.

    It is none after which some fold's model has stopped: of more trees, that one has no loss.
    """
    if _is_much_work(folds):
        return
    boosted = [_boosted(fold) for fold in folds]
    weights = np.array([one.weight for one in boosted])
    n_scores = min(len(one.scores) for one in boosted)
    # One fold has a share of exactly 1. All weights may be 0.
    shares = weights / (weights.sum() or 1)
    scores = shares @ np.stack([one.scores[:n_scores] for one in boosted])
    # The first score is that of no tree at all. The models keep the trees after the best, too.
    n_iterations = max(1, int(np.argmax(scores)))
    yield Candidate(
        f"{n_iterations} iterations",
        [one.after(n_iterations) for one in boosted],
        partial(_boosted_for, n_iterations),
    )


@dataclass(frozen=True)
class Boosted:
    """A model that the left-out rows have stopped."""

    scores: npt.NDArray[np.float64]
    """Of no iteration, one, two, ... on the left-out rows of known classes: minus the log loss."""
    weight: float
    """What these rows count for."""
    after: Callable[[int], Predict]
    """Return the model as it was after so many iterations."""


def _boosted(fold: Fold) -> Boosted:
    judges = fold.left_out.take(np.isin(fold.left_out.target, fold.known))
    if len(fold.known) == 1 or len(judges.target) == 0:
        guess = _guess(fold)
        return Boosted(np.zeros(MAX_ITERATIONS + 1), 0, lambda _: guess)
    model = HistGradientBoostingClassifier(
        early_stopping=True, max_iter=MAX_ITERATIONS, random_state=0
    )
    model.fit(
        fold.train.features,
        fold.train.target,
        sample_weight=fold.weights(fold.train),
        X_val=judges.features,
        y_val=judges.target,
        sample_weight_val=fold.weights(judges),
    )
    # Not the fold: its rows take memory.
    of_all_classes = fold.of_all_classes
    return Boosted(
        model.validation_score_,
        fold.weights(judges).sum(),
        lambda n_iterations: of_all_classes(partial(_predict_staged, model, n_iterations)),
    )


def _predict_staged(
    model: HistGradientBoostingClassifier, n_iterations: int, features: Features
) -> Probabilities:
    probabilities: Probabilities = next(
        islice(model.staged_predict_proba(features), n_iterations - 1, None)
    )
    return probabilities


def _boosted_for(n_iterations: int, fold: Fold) -> Predict:
    model = HistGradientBoostingClassifier(
        early_stopping=False, max_iter=n_iterations, random_state=0
    )
    model.fit(fold.train.features, fold.train.target, sample_weight=fold.weights(fold.train))
    return fold.of_all_classes(model.predict_proba)


CANDIDATES = {"logistic_regression": _logistic_regressions, "gradient_boosting": _boosting}
"""What yields candidates; of none where fitting them would take long."""
