"""How much the model's answers depend on each column of the table."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from classifier.io.prepared import Split

SEED = 0
"""The seed of the shuffles, and of the choice of rows where there are too many."""

MOST_ROWS = 2_000
"""More of them would change little, and take long: the network runs once for each shuffle."""


def permutation_importance(
    mean_loss: Callable[[Split], float],
    left_out: Split,
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
        Of some of these rows, with other features.
    left_out
        Rows that the model was not fitted to; at most `MOST_ROWS` of them are used.
    columns
        Which features are made of each column.
    repeats
        How often each column is shuffled: 0 (there are no rows then), or 2 or more.
    confidence
        Of the intervals, between 0 and 1.

    """
    generator = np.random.default_rng(SEED)
    n = len(left_out.target)
    if n > MOST_ROWS:
        left_out = left_out.take(np.sort(generator.choice(n, MOST_ROWS, replace=False)))
    features = left_out.features
    orders = [generator.permutation(len(features)) for _ in range(repeats)]
    before = mean_loss(left_out)
    shuffled = features.copy()
    found = []
    for name, positions in columns.items() if repeats else ():
        rises = []
        for order in orders:
            shuffled[:, positions] = features[order, positions]
            rises.append(mean_loss(replace(left_out, features=shuffled)) - before)
        shuffled[:, positions] = features[:, positions]
        half = stats.sem(rises) * stats.t.ppf((1 + confidence) / 2, repeats - 1)
        mean = np.mean(rises)
        found.append((name, mean, mean - half, mean + half))
    table = pd.DataFrame(found, columns=["column", "importance", "low", "high"])
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
