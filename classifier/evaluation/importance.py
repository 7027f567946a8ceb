"""How much the model's answers depend on each column of the table."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

SEED = 0
"""The seed of the shuffles, and of the choice of rows where there are too many."""

MOST_ROWS = 2_000
"""More of them would change little, and take long: the network runs once for each shuffle."""


def permutation_importance(
    mean_loss: Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64]], float],
    features: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
    columns: Mapping[str, slice],
    *,
    repeats: int,
    confidence: float,
) -> pd.DataFrame:
    """Return how much the loss rises when a column's values are shuffled among the rows.

    A row for each column, the most important first: `column`, `importance`, the mean rise over
    the shuffles, and `low` and `high`, the ends of its Student interval. All features that are
    made of a column move together. What two columns say both, neither is important for.

    Breiman, L. (2001), "Random forests", Machine Learning 45, 5-32; of any model, Fisher, A.,
    Rudin, C. and Dominici, F. (2019), "All models are wrong, but many are useful", Journal of
    Machine Learning Research 20, 177.

    Parameters
    ----------
    mean_loss
        Of features, shape (n, n_features), of rows of classes, shape (n,).
    features, target
        Of rows that the model was not fitted to; at most `MOST_ROWS` of them are used.
    columns
        Which features are made of each column.
    repeats
        How often each column is shuffled: 0 (there are no rows then), or 2 or more.
    confidence
        Of the intervals, between 0 and 1.

    """
    generator = np.random.default_rng(SEED)
    if len(target) > MOST_ROWS:
        chosen = np.sort(generator.choice(len(target), MOST_ROWS, replace=False))
        features, target = features[chosen], target[chosen]
    orders = [generator.permutation(len(target)) for _ in range(repeats)]
    before = mean_loss(features, target)
    shuffled = features.copy()
    found = []
    for name, positions in columns.items() if repeats else ():
        rises = []
        for order in orders:
            shuffled[:, positions] = features[order, positions]
            rises.append(mean_loss(shuffled, target) - before)
        shuffled[:, positions] = features[:, positions]
        half = stats.sem(rises) * stats.t.ppf((1 + confidence) / 2, repeats - 1)
        mean = np.mean(rises)
        found.append((name, mean, mean - half, mean + half))
    table = pd.DataFrame(found, columns=["column", "importance", "low", "high"])
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
