"""What a search has found: reports/search.json, reports/search.csv and pictures, by Optuna."""

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as charts

from classifier.drawing import png_of
from classifier.io.files import write_bytes
from classifier.io.user_error import UserError
from classifier.search.luck import luck_of_choosing
from classifier.search.search_params import Space, from_optuna, in_optuna, text_of
from classifier.search.search_report import SearchReport
from classifier.search.searching import Search
from classifier.search.study import FAILED_WITH, best_first, finished, loss_of

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}

MEASURE = "val_loss"


def search_report_of(
    tries: Sequence[FrozenTrial], search: Search, prepared_rows: str
) -> SearchReport:
    """Sum up tries.

    Raises
    ------
    UserError
        If none has finished.

    """
    counts = Counter(STATES[each.state] for each in tries)
    ended_well = finished(tries)
    if not ended_well:
        reasons = [each.user_attrs.get(FAILED_WITH, "stopped") for each in tries]
        raise UserError(f"of {len(tries)} tries, none has finished; the first: {reasons[0]}")
    ranked = best_first(tries)
    best, in_yaml = ranked[0], partial(from_optuna, search.space)
    first = in_yaml(in_optuna(search.space, search.train))
    drawn = np.array([each.user_attrs["drawn"] for each in ended_well])
    left_out = np.array([each.user_attrs["left_out"] for each in ended_well])
    return SearchReport(
        n_tries=len(tries),
        n_finished=counts["finished"],
        n_stopped=counts["stopped"],
        n_failed=counts["failed"],
        seeds=search.params.seeds,
        n_folds=search.n_folds,
        best_try=tries.index(best),
        best_loss=loss_of(best),
        luck=luck_of_choosing(drawn, left_out, ended_well.index(best)),
        # Of what params.yaml has now: the study may have begun with something else.
        first_loss=next((loss_of(each) for each in ranked if in_yaml(each.params) == first), None),
        params=in_yaml(best.params),
        prepared_rows=prepared_rows,
    )


def write_csv(path: Path, tries: Sequence[FrozenTrial], space: Space) -> None:
    """Write a row for each try, in the order of their start."""
    rows = [
        {
            "try": number,
            "state": STATES[each.state],
            MEASURE: "" if each.value is None else each.value,
            "epochs": each.user_attrs.get("epochs", ""),
            **{name: text_of(value) for name, value in from_optuna(space, each.params).items()},
        }
        for number, each in enumerate(tries)
    ]
    text = pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
    write_bytes(path, text.encode())


def write_pictures(folder: Path, tries: Sequence[FrozenTrial]) -> None:
    """Write search-history.png, search-slices.png and search-importance.png.

    The last only where there are two different losses, which it takes to say what matters.
    """
    # A person's own settings of matplotlib must not change the pictures, nor open windows.
    mpl.rcdefaults()
    mpl.use("agg")
    # Numbered anew, without those that were interrupted.
    study = optuna.create_study(direction="minimize")
    study.add_trials(tries)
    importance = folder / "search-importance.png"
    with warnings.catch_warnings(action="ignore"):  # Optuna calls its drawing experimental
        history = charts.plot_optimization_history(study, target_name=MEASURE)
        _write(history, folder / "search-history.png")
        slices = charts.plot_slice(study, target_name=MEASURE)
        all_slices = [slices] if isinstance(slices, Axes) else slices.tolist()
        for axes in all_slices:
            axes.tick_params(axis="x", labelrotation=45)
        _write(all_slices[0], folder / "search-slices.png")
        if len({loss_of(each) for each in finished(tries)}) < 2:
            importance.unlink(missing_ok=True)
            return
        # By their names, or those as important as one another would come in an order of chance.
        params = list(finished(tries)[0].params)
        bars = charts.plot_param_importances(study, params=params, target_name=MEASURE)
        _write(bars, importance)


def _write(axes: Axes, path: Path) -> None:
    figure: Any = axes.get_figure(root=True)
    write_bytes(path, png_of(figure, dpi=100, bbox_inches="tight"))
