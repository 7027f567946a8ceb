"""The picture of which columns the answers depend on."""

import pandas as pd
from matplotlib.figure import Figure

from classifier.drawing.style import BLUE, shortened

MOST_COLUMNS = 30
"""Of more, the least important are left out."""


def draw_importance(importance: pd.DataFrame) -> Figure:
    """Draw how much the loss rises when a column is shuffled, the most important column on top.

    Parameters
    ----------
    importance
        What importance.csv holds.

    """
    shown = importance.head(MOST_COLUMNS).iloc[::-1]
    figure = Figure(figsize=(7, 1.4 + 0.28 * max(len(shown), 2)), layout="constrained")
    axes = figure.add_subplot()
    names = [shortened(name) for name in shown["column"]]
    axes.barh(
        range(len(shown)),
        shown["importance"],
        xerr=(shown["high"] - shown["low"]) / 2,
        color=BLUE,
        capsize=2,
    )
    # A column's name may hold a dollar sign, which is no start of a formula.
    axes.set_yticks(range(len(shown)), names, parse_math=False)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("rise of the log loss when the column is shuffled (validation rows)")
    axes.grid(alpha=0.3, axis="x")
    if len(shown) < len(importance):
        axes.set_title(f"the {len(shown)} most important of {len(importance)} columns", fontsize=10)
    return figure
