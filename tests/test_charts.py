"""What the pictures show: artists, labels and extents, not bytes."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from classifier.drawing import (
    LINE,
    MOST_CLASSES_WITH_TEXT,
    OVERFITTING,
    CurveKind,
    confusion_counts,
    draw_confusion,
    draw_curves,
    draw_importance,
    draw_reliability,
    draw_run,
    in_two_lines,
)
from classifier.evaluation.answers import Answers, Decision
from classifier.evaluation.predictions import predictions_table
from classifier.io.prepared import Split
from classifier.io.table_writer import table_writer
from classifier.verdict import TrainingReport, diagnose, what_happened
from stages.plot import read_csv
from tests.conftest import REPOSITORY, Project

Curves = tuple[list[float], list[float]]

UNIT = np.linspace(0, 1, 1000)

CURVES: dict[str, Curves] = {
    "overfitting": (list(np.exp(-4 * UNIT)), list(np.exp(-6 * UNIT) + 0.5 * UNIT)),
    "best just before the end": (
        list(np.linspace(1, 0.3, 1000)),
        [*np.linspace(1, 0.4, 997), 0.45, 0.5, 0.55],
    ),
    "one evaluation": ([0.9], [0.8]),
    "converged": (list(np.exp(-12 * UNIT) + 0.1), list(np.exp(-12 * UNIT) + 0.2)),
    "not learning": ([1.1, 1.1, 1.1], [1.1, 1.11, 1.1]),
    "unstable": ([0.5, 0.3, 0.6, 0.9], [0.6, 0.4, 0.7, 1.0]),
    "tiny losses": ([1e-3, 1e-5, 1e-7], [2e-3, 2e-5, 2e-7]),
    "huge losses": ([1e4, 10.0, 1.0], [2e5, 11.0, 0.9]),
}


def run_of(curves: Curves) -> tuple[pd.DataFrame, TrainingReport]:
    train_losses, val_losses = curves
    best = val_losses.index(min(val_losses))
    epochs = [20_000 * (index + 1) for index in range(len(val_losses))]
    losses = {
        "epoch": epochs,
        "train_loss": train_losses,
        "val_loss": val_losses,
        "train_accuracy": np.exp(-np.array(train_losses)).tolist(),
        "val_accuracy": np.exp(-np.array(val_losses)).tolist(),
    }
    report = TrainingReport(
        **diagnose(train_losses, val_losses, best, 100, 1.0986).model_dump(),
        best_epoch=epochs[best],
        best_val_loss=val_losses[best],
        train_loss_at_best_epoch=train_losses[best],
        epochs_run=epochs[-1],
        stop_reason="early_stopping",
        threads=1,
        temperature=1.0,
    )
    return pd.DataFrame(losses), report


def texts_of(figure: Figure) -> Iterator[Text]:
    """Yield the texts that are drawn; an axis also keeps labels outside its limits."""
    yield from figure.texts
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in (each for each in figure.axes if each.axison):
        yield from axes.texts
        yield axes.title
        for axis, coordinate in ((axes.xaxis, 0), (axes.yaxis, 1)):
            yield axis.label
            yield axis.get_offset_text()
            low, high = sorted(axis.get_view_interval())
            for label in axis.get_ticklabels(which="both"):
                if low <= label.get_position()[coordinate] <= high:
                    yield label


def text_boxes(figure: Figure) -> dict[str, Bbox]:
    """Return where each text of the drawn figure lies; check that it lies inside, to a pixel."""
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    boxes, whole = {}, figure.bbox.padded(1)
    for number, text in enumerate(texts_of(figure)):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert whole.x0 <= box.x0 < box.x1 <= whole.x1, text
            assert whole.y0 <= box.y0 < box.y1 <= whole.y1, text
            boxes[f"{text.get_text()} ({number})"] = box
    return boxes


def assert_nothing_overlaps(boxes: dict[str, Bbox]) -> None:
    for (one, box), (other, other_box) in combinations(boxes.items(), 2):
        assert not box.overlaps(other_box), f"{one} overlaps {other}"


@pytest.mark.parametrize(
    ("name", "log_scale"),
    [*((name, False) for name in CURVES), ("tiny losses", True), ("huge losses", True)],
)
def test_the_story_of_a_run(name: str, *, log_scale: bool) -> None:
    losses, report = run_of(CURVES[name])
    figure = draw_run(losses, report, log_scale=log_scale)
    loss_axes, accuracy_axes = figure.axes

    assert figure.get_suptitle().replace("\n", " ") == what_happened(report)
    assert loss_axes.get_ylabel() == "cross-entropy loss"
    assert loss_axes.get_yscale() == ("log" if log_scale else "linear")
    assert (accuracy_axes.get_ylabel(), accuracy_axes.get_xlabel()) == ("accuracy", "epoch")
    for axes, measure in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for rows, linestyle in (("train", "-"), ("val", "--")):
            assert list(np.asarray(lines[rows].get_ydata())) == list(losses[f"{rows}_{measure}"])
            assert lines[rows].get_linestyle() == linestyle
        assert lines["train"].get_color() != lines["val"].get_color()
        # A line through one point or two needs markers to be seen.
        assert (lines["val"].get_marker() == "o") == (len(losses["epoch"]) < 20)
        for epoch in (report.best_epoch, report.epochs_run):
            assert any(
                list(np.asarray(line.get_xdata())) == [epoch, epoch] for line in axes.get_lines()
            )
        shaded = [
            patch.get_extents().transformed(axes.transData.inverted())
            for patch in axes.patches
            if to_hex(patch.get_facecolor()) == OVERFITTING.lower()
        ]
        if report.verdict == "overfitting":
            (box,) = shaded
            assert (box.x0, box.x1) == pytest.approx((report.best_epoch, report.epochs_run))
        else:
            assert shaded == []
    stars = [line for line in loss_axes.get_lines() if line.get_marker() == "*"]
    assert [np.asarray(star.get_xydata()).tolist() for star in stars] == [
        [[report.best_epoch, report.best_val_loss]]
    ]
    labels = [text.get_text() for text in loss_axes.texts]
    assert labels == (["overfitting"] if report.verdict == "overfitting" else [])
    (legend,) = figure.legends
    entries = [text.get_text() for text in legend.get_texts()]
    assert f"best: epoch {report.best_epoch}, val loss {report.best_val_loss:#.4g}" in entries
    assert f"end: epoch {report.epochs_run}, early stopping" in entries
    if report.verdict == "not_learning":
        assert "predicting class frequencies: 1.099" in entries

    boxes = text_boxes(figure)
    assert_nothing_overlaps(boxes)
    for axes in figure.axes:
        # Legend, title and label hide no data.
        data = axes.get_window_extent()
        assert not legend.get_window_extent().overlaps(data)
        for text in [*axes.texts, figure._suptitle]:  # type: ignore[attr-defined]  # noqa: SLF001
            assert not text.get_window_extent().overlaps(data)


def predictions_of(actual: ArrayLike, predicted: ArrayLike, classes: list[str]) -> pd.DataFrame:
    """Return a table as in predictions.csv; the probabilities have no part in the picture."""
    table = pd.DataFrame({"actual": actual, "predicted": predicted}, dtype="str")
    probabilities = pd.DataFrame(0.5, table.index, [f"probability_{name}" for name in classes])
    return pd.concat([table, probabilities], axis="columns")


def confusion(
    n_classes: int, n_rows: int, name: str
) -> tuple[Figure, npt.NDArray[np.int64], list[str]]:
    classes = [name.format(index) for index in range(n_classes)]
    generator = np.random.default_rng(n_classes)
    actual = generator.integers(0, n_classes, n_rows)
    predicted = np.where(
        generator.uniform(size=n_rows) < 0.7, actual, generator.integers(0, n_classes, n_rows)
    )
    counts = np.zeros((n_classes, n_classes), int)
    np.add.at(counts, (actual, predicted), 1)
    names = np.array(classes)
    figure = draw_confusion(predictions_of(names[actual], names[predicted], classes))
    return figure, counts, classes


@pytest.mark.parametrize(
    ("n_classes", "n_rows", "name"),
    [
        (2, 10, "{}"),
        (3, 30, "a long name, {}, of a class with $_ and ^$"),
        (10, 2000, "class {}"),
        (20, 200_000, "a long name, {}, of a class with $_ and ^$"),
    ],
)
def test_the_confusion_matrix(n_classes: int, n_rows: int, name: str) -> None:
    figure, counts, classes = confusion(n_classes, n_rows, name)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "actual class")
    # Rows are actual classes, from the top down; columns are predicted ones.
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {
        (column, row): f"{counts[row, column]:,}" for row, column in np.ndindex(counts.shape)
    }
    assert axes.yaxis_inverted()
    for axis in (axes.xaxis, axes.yaxis):
        names = [text.get_text() for text in axis.get_ticklabels()]
        assert names == [in_two_lines(name) for name in classes]
        assert len(set(names)) == n_classes
    boxes = text_boxes(figure)
    assert_nothing_overlaps(boxes)
    assert all(float(text.get_fontsize()) >= 8 for text in axes.texts)
    assert_counts_stand_out(axes)


def assert_counts_stand_out(axes: Axes) -> None:
    """Check that each count other than 0 has the contrast that WCAG 2 asks of large text."""
    (image,) = axes.images
    for text in axes.texts:
        column, row = text.get_position()
        if text.get_text() != "0":
            share = np.asarray(image.get_array())[int(row), int(column)]
            behind = luminance(np.asarray(image.cmap(image.norm(share))))
            front = luminance(np.asarray(to_rgba(text.get_color())))
            light, dark = max(behind, front), min(behind, front)
            assert (light + 0.05) / (dark + 0.05) >= 3


def luminance(rgba: npt.NDArray[np.float64]) -> float:
    rgb = rgba[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_a_great_many_classes_make_a_picture_of_bounded_size() -> None:
    figure, _, _ = confusion(MOST_CLASSES_WITH_TEXT + 300, 5000, "class {}")
    assert len(figure.axes[0].texts) == 0
    assert max(figure.get_size_inches()) < 20
    text_boxes(figure)


def test_long_names_keep_their_ends() -> None:
    name = "the first words of a very long name" + " and so on" * 9 + " \n and the last 17"
    first, second = in_two_lines(name).split("\n")
    assert first.startswith("the first")
    assert second.endswith("last 17")
    assert max(len(first), len(second)) <= LINE
    assert in_two_lines("short") == "short"
    assert in_two_lines("x" * 200).count("x") == 2 * LINE - 1
    assert in_two_lines("") == ""


def test_classes_that_occur_nowhere_and_odd_names_are_drawn() -> None:
    figure = draw_confusion(predictions_of(["NA"], ["NA"], ["NA", "1"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "0", "0", "0"]


def test_plot_writes_the_same_bytes_whatever_the_users_own_settings(project: Project) -> None:
    outputs = ("reports/*.png", "reports/report.html", "reports/model-card.md")
    before = project.contents(*outputs)
    assert len(before) == 8
    (project.path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\n")
    project.stage("plot")
    assert project.contents(*outputs) == before


@given(
    classes=st.lists(
        st.sampled_from(["NA", "1", "$x_", "a,b", 'q"', " ", "é", "\r", "\n", "a\0b", "#"])
        | st.text(st.characters(codec="utf-8"), min_size=1),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=25)
def test_plot_counts_what_evaluate_wrote_whatever_classes_are_called(
    classes: list[str], chance: Random
) -> None:
    pairs = [(chance.choice(classes), chance.choice(classes)) for _ in range(20)]
    index = {name: position for position, name in enumerate(classes)}
    target = np.array([index[actual] for actual, _ in pairs])
    probabilities = np.eye(len(classes))[[index[predicted] for _, predicted in pairs]]
    rows = np.arange(20)
    test = Split(rows, rows, np.zeros((20, 1), np.float32), target, np.full(20, -1))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.csv"
        with table_writer(file) as write:
            write(predictions_table(test, Answers(target, probabilities, Decision()), classes))
        counts, names = confusion_counts(read_csv(file))
    assert names == classes
    assert counts.tolist() == [[pairs.count((a, b)) for b in classes] for a in classes]


@pytest.mark.parametrize(
    ("n_classes", "kind"),
    [(0, "ROC"), (1, "precision-recall"), (2, "ROC"), (3, "precision-recall"), (5, "ROC")],
)
def test_curves_of_all_models_and_what_they_are_called(n_classes: int, kind: CurveKind) -> None:
    names = ["class", "model", "x", "y"]
    models = ["network", "logistic_regression", "gradient_boosting"]
    points = [
        (f"$a_{index} of a rather long name, longer than there is room", model, x, x)
        for index in range(n_classes)
        for model in models
        for x in (0.0, 0.5, 1.0)
    ]
    figure = draw_curves(pd.DataFrame(points, columns=names), kind)
    text_boxes(figure)
    curves = [line for axes in figure.axes for line in axes.lines if np.size(line.get_xdata()) == 3]
    assert len(curves) == 3 * n_classes
    if n_classes:
        (legend,) = figure.legends
        labels = [text.get_text() for text in legend.get_texts()]
        assert labels[:3] == ["network", "logistic regression", "gradient boosting"]


def test_importances_and_reliability() -> None:
    columns = [f"$column_{index} of a rather long name, too long" for index in range(40)]
    values = np.linspace(1, -0.1, 40)
    table = pd.DataFrame(
        {"column": columns, "importance": values, "low": values - 0.1, "high": values + 0.1}
    )
    figure = draw_importance(table)
    text_boxes(figure)
    (axes,) = figure.axes
    # The most important is on top.
    assert [bar.get_width() for bar in axes.containers[-1]][::-1] == values[:30].tolist()
    assert axes.get_title() == "the 30 most important of 40 columns"
    text_boxes(draw_importance(table[:1]))
    bins = pd.DataFrame(
        {"confidence": [0.6, 0.9], "accuracy": [0.0, 1.0], "low": [0, 0.7], "high": [0.4, 1]}
    )
    bins = bins.assign(of="predicted class", n_test=[3, 20])
    of_class = bins.assign(of="class $a_ of a rather long name, too long", accuracy=[0.1, 0.8])
    for diagrams in ([bins], [bins, of_class]):
        figure = draw_reliability(pd.concat(diagrams))
        text_boxes(figure)
        axes, _ = figure.axes
        drawn = [list(container[0].get_ydata()) for container in axes.containers]
        assert drawn == [one["accuracy"].tolist() for one in diagrams]
        legend = axes.get_legend()
        assert legend is not None
        assert len(legend.get_texts()) == 1 + len(diagrams)
        assert axes.bbox.x1 > legend.get_window_extent().x1


def test_plot_imports_neither_torch_nor_scikit_learn() -> None:
    python = [sys.executable, "-c", "import sys, stages.plot; print(*sys.modules)"]
    output = subprocess.run(python, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = output.stdout.split()
    assert {"torch", "sklearn", "scipy", "matplotlib.pyplot"}.isdisjoint(modules)
    assert "matplotlib.figure" in modules
