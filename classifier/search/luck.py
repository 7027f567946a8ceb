"""How much of a winner's loss is the luck of having been chosen."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

N_RESAMPLES = 200

MOST_GROUPS = 20_000
"""Of validation rows: where there are more rows, some share a group that is drawn as one."""


class ResampledLosses(BaseModel):
    """A try's loss on resamples of the validation rows, and on the rows that those left out."""

    drawn: list[float]
    """Of each resample."""
    left_out: list[float | None]
    """None where it left out no row."""


def resampled(losses: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> ResampledLosses:
    """Return the weighted mean of the rows' losses on each resample and on what it left out.

    Both arrays have shape (n,). Resamples are the same for every try with as many rows.
    """
    group = np.arange(len(losses)) % MOST_GROUPS
    of_groups = np.stack([np.bincount(group, weights * losses), np.bincount(group, weights)])
    counts = _resamples(of_groups.shape[1])
    drawn, left_out = of_groups @ counts.T, of_groups @ (counts == 0).T
    return ResampledLosses(
        drawn=[_mean(*sums) for sums in drawn.T.tolist()],
        left_out=[_mean(*sums) if sums[1] > 0 else None for sums in left_out.T.tolist()],
    )


def _mean(total: float, weight: float) -> float:
    return float(f"{total / weight:.7g}")


@cache
def _resamples(n: int) -> npt.NDArray[np.float32]:
    """Return how often each resample has each of n rows, shape (N_RESAMPLES, n)."""
    rng = np.random.default_rng(0)
    counts = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(N_RESAMPLES)]
    return np.array(counts, np.float32)


def luck_of_choosing(tries: Sequence[ResampledLosses], winner: int) -> float:
    """Return by how much the winner's loss is likely to be too low, because it was chosen by it.

    On each resample of the validation rows, that try wins which is best there; on the rows that
    were left out, which had no part in the choice, its loss is compared with that of the winner
    on all rows. The mean of the differences is the bias of the winner's loss: Tsamardinos, I.,
    Greasidou, E. and Borboudakis, G. (2018), "Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation", Machine Learning 107, 1895-1922.
    """
    drawn = np.array([each.drawn for each in tries])
    left_out = np.array([each.left_out for each in tries], np.float64)
    chosen = np.take_along_axis(left_out, drawn.argmin(axis=0)[None], axis=0)[0]
    return max(0.0, float(np.nanmean(chosen - left_out[winner])))
