"""The picture of whether what the model says is so as often as it says."""

import pandas as pd
from matplotlib.figure import Figure

from classifier.drawing.style import BLUE, VERMILION, shortened


def draw_reliability(bins: pd.DataFrame) -> Figure:
    """Draw accuracy against confidence, with intervals, and the number of rows below.

    Parameters
    ----------
    bins
        What reliability.csv holds.

    """
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    axes, rows = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], ":", color="gray", label="as often as it says")
    diagrams = bins.groupby("of", sort=False)
    for (of, shown), color, width in zip(diagrams, (BLUE, VERMILION), (0.04, 0.02), strict=False):
        errors = [shown["accuracy"] - shown["low"], shown["high"] - shown["accuracy"]]
        axes.errorbar(
            shown["confidence"],
            shown["accuracy"],
            # An end may be beyond what it is the end of, by a rounding.
            [error.clip(lower=0) for error in errors],
            fmt="o-",
            color=color,
            capsize=3,
            # A class name may hold a dollar sign, which is no start of a formula.
            label=shortened(str(of)).replace("$", r"\$"),
        )
        # The narrower bars are drawn over the others.
        rows.bar(shown["confidence"], shown["n_test"], width=width, color=color)
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), ylabel="how often it is so, with its interval")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", frameon=False)
    rows.set(xlabel="probability that is said", ylabel="test rows")
    return figure
