"""The pictures of a search, drawn by Optuna."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
from matplotlib.axes import Axes
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as drawn

from classifier.drawing import png_of
from classifier.io.files import write_bytes

MEASURE = "held_out_loss"


def write_pictures(folder: Path, tries: Sequence[FrozenTrial]) -> None:
    """Write search-history.png, search-slices.png and search-importance.png.

    The last only where there are two different losses, which it takes to say what matters.
    """
    # A person's own settings of matplotlib must not change the pictures, nor open windows.
    mpl.rcdefaults()
    mpl.use("agg")
    study = _numbered_anew(tries)
    with warnings.catch_warnings(action="ignore"):  # Optuna calls its drawing experimental
        history = drawn.plot_optimization_history(study, target_name=MEASURE)
        slices = drawn.plot_slice(study, target_name=MEASURE)
    all_slices = [slices] if isinstance(slices, Axes) else slices.tolist()
    for axes in all_slices:
        axes.tick_params(axis="x", labelrotation=45)
    _write(history, folder / "search-history.png")
    _write(all_slices[0], folder / "search-slices.png")
    losses = {each.values[0] for each in tries if each.state == TrialState.COMPLETE}
    importance = folder / "search-importance.png"
    if len(losses) < 2:
        importance.unlink(missing_ok=True)
        return
    with warnings.catch_warnings(action="ignore"):
        _write(drawn.plot_param_importances(study, target_name=MEASURE), importance)


def _numbered_anew(tries: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study of these tries: without those that were interrupted, which have numbers."""
    study = optuna.create_study(direction="minimize")
    study.add_trials(tries)
    return study


def _write(axes: Axes, path: Path) -> None:
    figure: Any = axes.get_figure(root=True)
    write_bytes(path, png_of(figure, dpi=100, bbox_inches="tight"))
