"""The picture of which classes are taken for which."""

import textwrap

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

LINE = 30
"""Characters to a line of a class name; it gets two lines, what fits not is left out in between."""

MOST_CLASSES_WITH_TEXT = 40
"""Above this, names and counts would be too many to read and too large a picture."""

CHARACTER = 0.1
"""Width in inches that is enough for a character."""

DARK = 0.5
"""From this share of a row on, a cell is so dark that its count is written in white."""


def draw_confusion(predictions: pd.DataFrame) -> Figure:
    """Draw how many rows of each actual class, one below the other, got which prediction.

    The colour is the share of the row, so that rare classes are as plain to see as common ones.

    Parameters
    ----------
    predictions
        What predictions.csv holds, the classes as texts.

    """
    counts, classes = confusion_counts(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with_text = len(classes) <= MOST_CLASSES_WITH_TEXT
    digits = len(f"{counts.max():,}")
    cell = max(0.36, CHARACTER * digits)
    side = max(3.3, cell * len(classes)) if with_text else 8
    figure = Figure(figsize=(side + 3, side + 2.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the actual class", shrink=0.8)
    axes.set(
        title="Confusion matrix of the test rows",
        xlabel="predicted class",
        ylabel="actual class",
    )
    if with_text:
        names = [in_two_lines(name) for name in classes]
        # A class name may hold a dollar sign, which is no start of a formula.
        fits = max(map(len, names)) * CHARACTER < side / len(names)
        axes.set_xticks(range(len(names)), names, rotation=0 if fits else 90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        for row, column in np.ndindex(counts.shape):
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=8 if len(classes) > 5 else 11,
                color=text_color(shares[row, column]),
            )
    return figure


def confusion_counts(
    predictions: pd.DataFrame,
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return how often each actual class, a row, got each prediction, and the classes in order."""
    prefix = "probability_"
    names = [str(name) for name in predictions]
    classes = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    table = pd.crosstab(predictions["actual"], predictions["predicted"])
    return table.reindex(index=classes, columns=classes, fill_value=0).to_numpy(), classes


def text_color(share: float) -> str:
    if share == 0:
        return "darkgray"
    return "white" if share > DARK else "black"


def in_two_lines(name: str) -> str:
    name = " ".join(name.split())
    lines = textwrap.wrap(name, LINE)
    if len(lines) > 2:
        lines = [f"{name[: LINE - 1]}…", name[-LINE:]]
    return "\n".join(lines)
