"""The loss on rows that have not chosen the epoch, and how much of a winner's loss is luck."""

from functools import cache

import numpy as np
import numpy.typing as npt

N_RESAMPLES = 100

N_AGAIN = 5
"""How often the rows of each resample are resampled."""

MOST_GROUPS = 2_000
"""Of validation rows: where there are more rows, some share a group that is drawn as one."""

Numbers = npt.NDArray[np.float64]


class HeldOutLoss:
    """The loss on validation rows that have no part in choosing the epoch.

    The lowest of many losses is too low, and the more so the more they jump: a `val_loss` favours
    large learning rates. So the epoch is chosen by rows drawn at random with replacement, and
    judged by those left out, again and again: Efron, B. (1983), "Estimating the error rate of a
    prediction rule: improvement on cross-validation", Journal of the American Statistical
    Association 78, 316-331. The rows of each resample are resampled in the same way, as if there
    were no others. Resamples are the same for every run with as many rows.

    Parameters
    ----------
    weights
        What each row counts for, shape (n,).
    units
        Which rows belong together, and so are drawn or left out together: those with the same
        number, shape (n,).
    min_delta
        By how much a loss has to be lower to be better.

    """

    def __init__(self, weights: Numbers, units: npt.NDArray[np.int64], min_delta: float) -> None:
        self._weights, self._min_delta = weights, min_delta
        self._group = np.unique(units, return_inverse=True)[1] % MOST_GROUPS
        of_groups = self._sums_of_groups(weights)
        self._choosers, self._judges = _resamples(len(of_groups))
        self._weight_of_choosers = _dot(self._choosers, of_groups)
        self._weight_of_judges = _dot(self._judges, of_groups)
        self._lowest = np.full(self._weight_of_choosers.shape, np.inf)
        self._judged = np.full(self._weight_of_choosers.shape, np.nan)

    def add(self, losses: Numbers) -> None:
        """Take in what each row loses at one more evaluation, in nats, shape (n,)."""
        of_groups = self._sums_of_groups(self._weights * losses)
        of_choosers = _dot(self._choosers, of_groups) / self._weight_of_choosers
        is_better = of_choosers < self._lowest - self._min_delta
        self._lowest[is_better] = of_choosers[is_better]
        with np.errstate(invalid="ignore"):  # where there is none to judge
            of_judges = _dot(self._judges, of_groups) / self._weight_of_judges
        self._judged[is_better] = of_judges[is_better]

    def _sums_of_groups(self, values: Numbers) -> Numbers:
        sums: Numbers = np.bincount(self._group, values).astype(np.float64)
        return sums

    @property
    def left_out(self) -> Numbers:
        """The loss on the rows that each resample left out, shape (N_RESAMPLES,).

        Not a number where there are none.
        """
        return self._judged[:, 0]

    @property
    def drawn(self) -> Numbers:
        """What `mean` would be if there were only the rows of each resample, shape (N_RESAMPLES,).

        Not a number where they are too few.
        """
        return _means(self._judged[:, 1:])

    @property
    def mean(self) -> float:
        """The mean of `left_out`; of rows that are all equal, none is ever left out: their loss."""
        mean = float(_means(self.left_out))
        return float(self._lowest[:, 0].mean()) if np.isnan(mean) else mean


@cache
def _resamples(n: int) -> tuple[Numbers, Numbers]:
    """Return how often each of n groups counts in choosing the epoch, and how often in judging it.

    Both have the shape (N_RESAMPLES, 1 + N_AGAIN, n). The first of each 1 + N_AGAIN is a resample
    of all groups: those drawn choose, as often as they were drawn, and the others judge, once. The
    rest are resamples of that resample: of what was drawn there, what is drawn again chooses, and
    what is not judges, as often as it is there.
    """
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)[:, None]
    again = rng.multinomial(n, drawn / n, size=(N_RESAMPLES, N_AGAIN))
    choosers = np.concatenate([drawn, again], axis=1)
    judges = np.concatenate([drawn == 0, np.where(again == 0, drawn, 0)], axis=1)
    return choosers.astype(np.float64), judges.astype(np.float64)


def _dot(matrices: Numbers, vector: Numbers) -> Numbers:
    """Multiply without BLAS, which adds in an order that depends on the number of threads."""
    product: Numbers = np.einsum("ijk,k->ij", matrices, vector)
    return product


def _means(values: Numbers) -> Numbers:
    """Return the means over the last axis of what is a number; NaN where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Numbers = np.where(known, values, 0).sum(axis=-1) / known.sum(axis=-1)
    return means


def luck_of_choosing(drawn: Numbers, left_out: Numbers, winner: int) -> float | None:
    """Return by how much the winner's loss is likely to be too low, because it was chosen by it.

    None where there are too few validation rows to say.

    On each resample of the validation rows, that try wins which is best there; on the rows that
    were left out, which had no part in the choice, its loss is compared with that of the winner
    on all rows. The mean of the differences is the bias of the winner's loss: Tsamardinos, I.,
    Greasidou, E. and Borboudakis, G. (2018), "Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation", Machine Learning 107, 1895-1922.

    Parameters
    ----------
    drawn, left_out
        What `HeldOutLoss` has for each try, shapes (n_tries, N_RESAMPLES).
    winner
        The index of the best try.

    """
    known = ~np.isnan(drawn + left_out).any(axis=0)
    if not known.any():
        return None
    best = drawn[:, known].argmin(axis=0)
    chosen = np.take_along_axis(left_out[:, known], best[None], axis=0)[0]
    return max(0.0, float(np.mean(chosen - left_out[winner, known])))
