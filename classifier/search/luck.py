"""How much of a winner's loss is the luck of having been chosen."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from classifier.search.held_out import HeldOutLoss, Numbers


class ResampledLosses(BaseModel):
    """A try's loss by each resample of the validation rows; None where there were too few rows."""

    left_out: list[float | None]
    """Of the rows left out, at the epoch that the rows drawn have chosen: see `HeldOutLoss`."""
    drawn_alone: list[float | None]
    """The mean of the same, if there were only the rows drawn, which are resampled for it."""

    @classmethod
    def of(cls, runs: Sequence[HeldOutLoss]) -> "ResampledLosses":
        """Return the means over runs."""
        return cls(
            left_out=_listed([run.left_out for run in runs]),
            drawn_alone=_listed([run.drawn_alone for run in runs]),
        )


def _listed(losses: list[Numbers]) -> list[float | None]:
    means: list[float] = np.mean(losses, axis=0).tolist()
    return [None if np.isnan(mean) else float(f"{mean:.7g}") for mean in means]


def luck_of_choosing(tries: Sequence[ResampledLosses], winner: int) -> float | None:
    """Return by how much the winner's loss is likely to be too low, because it was chosen by it.

    None where there are too few validation rows to say.

    On each resample of the validation rows, that try wins which is best there; on the rows that
    were left out, which had no part in the choice, its loss is compared with that of the winner
    on all rows. The mean of the differences is the bias of the winner's loss: Tsamardinos, I.,
    Greasidou, E. and Borboudakis, G. (2018), "Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation", Machine Learning 107, 1895-1922.
    """
    drawn_alone = np.array([each.drawn_alone for each in tries], np.float64)
    left_out = np.array([each.left_out for each in tries], np.float64)
    known = ~np.isnan(drawn_alone + left_out).any(axis=0)
    if not known.any():
        return None
    best = drawn_alone[:, known].argmin(axis=0)
    chosen = np.take_along_axis(left_out[:, known], best[None], axis=0)[0]
    return max(0.0, float(np.mean(chosen - left_out[winner, known])))
