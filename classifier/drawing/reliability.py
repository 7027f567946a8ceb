"""The picture of whether the model is right as often as it says."""

import pandas as pd
from matplotlib.figure import Figure

from classifier.drawing.style import BLUE


def draw_reliability(bins: pd.DataFrame) -> Figure:
    """Draw accuracy against confidence, with intervals, and the number of rows below.

    Parameters
    ----------
    bins
        What reliability.csv holds.

    """
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    axes, rows = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], ":", color="gray", label="right as often as it says")
    errors = [bins["accuracy"] - bins["low"], bins["high"] - bins["accuracy"]]
    axes.errorbar(
        bins["confidence"],
        bins["accuracy"],
        # An end may be beyond what it is the end of, by a rounding.
        [error.clip(lower=0) for error in errors],
        fmt="o-",
        color=BLUE,
        capsize=3,
        label="network",
    )
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy, with its interval")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", frameon=False)
    rows.bar(bins["confidence"], bins["n_test"], width=0.04, color=BLUE)
    rows.set(xlabel="probability of the predicted class", ylabel="test rows")
    return figure
