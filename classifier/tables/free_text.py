"""Free texts as numbers: their pieces, weighted by tf-idf, and the sums of these that vary most.

Deerwester, S. et al. (1990), "Indexing by Latent Semantic Analysis", Journal of the American
Society for Information Science 41, 391-407; of pieces of words, for columns of a table, skrub's
`StringEncoder`.
"""

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils.extmath import randomized_svd

from classifier.io.pieces import LENGTHS, folded

MOST_PIECES = 5_000
"""The commonest pieces, of which a model knows the weights."""

LEAST = 1e-3
"""Of the largest singular value: components of smaller ones are of rounding alone."""

AT_ONCE = 10_000
"""Texts whose pieces are counted at once, which bounds memory."""


TRIED_ROWS, TRIED_CHARACTERS, TRIED_OF_CLASS = 4_000, 1_000, 5
"""The most rows and the first characters that `pieces_tell` looks at, and the fewest of a class."""

CLEARLY = 3
"""So many standard errors are no chance."""


def pieces_tell(texts: pd.Series, target: npt.NDArray[np.int64], max_categories: int) -> bool:
    """Say whether pieces of texts tell the class clearly better than the commonest texts do.

    The classes are numbers from 0 on, of the same shape, (n,). What tells is a logistic regression
    that is fitted to one half of the rows, and tested by its log loss on the other.
    """
    texts, target = texts.iloc[:TRIED_ROWS].str[:TRIED_CHARACTERS], target[:TRIED_ROWS]
    is_common = np.bincount(target)[target] >= TRIED_OF_CLASS
    texts, target = texts[is_common], np.unique(target[is_common], return_inverse=True)[1]
    if len(target) == 0 or target.max() == 0:
        return False
    whole = CountVectorizer(analyzer=lambda text: [text], max_features=max_categories)
    losses = []
    for vectorizer in (whole, _vectorizer()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = cross_val_predict(
                make_pipeline(vectorizer, LogisticRegression(max_iter=50)),
                texts,
                target,
                cv=StratifiedKFold(2, shuffle=True, random_state=0),
                method="predict_proba",
            )
        losses.append(-np.log(found[np.arange(len(target)), target]))
    gain = losses[0] - losses[1]
    return bool(gain.mean() > CLEARLY * gain.std() / len(gain) ** 0.5)


def _vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=LENGTHS,
        lowercase=False,
        preprocessor=folded,
        max_features=MOST_PIECES,
    )


class Components:
    """Texts as sums of their weighted pieces, learnt of some of them."""

    def __init__(self, known: pd.Series, n_components: int) -> None:
        """Learn from texts, shape (n,), not all of which are blank: at most as many as they have.

        The weights are rounded to half precision, so that they are small in a file, and every
        text's components are computed with these.
        """
        self._vectorizer = _vectorizer()
        weighted = self._vectorizer.fit_transform(known)
        self.pieces: list[str] = self._vectorizer.get_feature_names_out().tolist()
        n = min(n_components, *weighted.shape)
        _, lengths, components = randomized_svd(weighted, n, random_state=0)
        components = components[lengths > LEAST * lengths[0]]
        self.weights = np.vstack([self._vectorizer.idf_, components]).astype("<f2")
        self._vectorizer.idf_ = self.weights[0].astype(np.float64)

    def of(self, texts: pd.Series) -> npt.NDArray[np.float64]:
        """Return the components of texts, shape (n_components, n)."""
        components = self.weights[1:].T.astype(np.float64)
        starts = range(0, len(texts), AT_ONCE)
        parts = (texts.iloc[start : start + AT_ONCE] for start in starts)
        return np.vstack([self._vectorizer.transform(part) @ components for part in parts]).T
