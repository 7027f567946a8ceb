"""How much of the loss of the best of many tries is luck: it was chosen by it."""

import numpy as np
import numpy.typing as npt

N_RESAMPLES = 100

Numbers = npt.NDArray[np.float64]


def losses_of_resamples(
    losses: Numbers, weights: Numbers, units: npt.NDArray[np.int64]
) -> tuple[Numbers, Numbers]:
    """Return the mean loss on resamples of rows, and on the rows that each resample left out.

    A resample has as many rows, drawn with replacement: the same for every try. Both have the shape
    (N_RESAMPLES,), and are not a number where there is no row.

    Parameters
    ----------
    losses
        What each row loses, in nats, shape (n,).
    weights
        What each row counts for, shape (n,).
    units
        Which rows belong together, and so are drawn or left out together: those with the same
        number, shape (n,).

    """
    unit = np.unique(units, return_inverse=True)[1]
    n = unit.max() + 1
    rng = np.random.default_rng(0)
    means = np.full((2, N_RESAMPLES), np.nan)
    for number in range(N_RESAMPLES):
        drawn = np.bincount(rng.integers(n, size=n), minlength=n)[unit]
        for part, times in enumerate((drawn, drawn == 0)):
            weight = weights * times
            if weight.any():
                means[part, number] = np.average(losses, weights=weight)
    return means[0], means[1]


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
        What `losses_of_resamples` returns for each try, shapes (n_tries, N_RESAMPLES).
    winner
        The index of the best try.

    """
    known = ~np.isnan(drawn + left_out).any(axis=0)
    if not known.any():
        return None
    best = drawn[:, known].argmin(axis=0)
    chosen = np.take_along_axis(left_out[:, known], best[None], axis=0)[0]
    return max(0.0, float(np.mean(chosen - left_out[winner, known])))
