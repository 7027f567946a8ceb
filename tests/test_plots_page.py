"""The page of `dvc plots show`, opened in a real browser."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.browser import CHROMIUM, COLLECT_ERRORS, found_by
from tests.conftest import REPOSITORY, Project
from tests.test_resume import start, wait_for_evaluations

PACKAGES = REPOSITORY / "tests/node_modules"
VERSIONS: dict[str, str] = json.loads((REPOSITORY / "tests/package.json").read_text())[
    "dependencies"
]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; .ci/run installs it"),
    pytest.mark.skipif(
        not PACKAGES.is_dir(),
        reason="the page's libraries are not in tests/node_modules; .ci/run installs them",
    ),
]

# After them: draw as SVG, whose parts can be looked at, and write down what was drawn.
DESCRIBE_DRAWINGS = """
<script>
const drawings = [], embed = vegaEmbed;
vegaEmbed = (target, spec) => drawings.push(embed(target, spec, {renderer: "svg"}));
addEventListener("load", async () => {
    await Promise.allSettled(drawings);
    const texts = (root, selector) =>
        [...root.querySelectorAll(selector)].map(element => element.textContent);
    const charts = [...document.querySelectorAll("svg.marks")].map(svg => ({
        title: texts(svg, ".role-title-text text").at(-1),
        labels: [...new Set(texts(svg, ".role-axis-title text"))],
        legend: texts(svg, ".role-legend-label text"),
        columns: texts(svg, ".role-column-header text"),
        cells: svg.querySelectorAll(".mark-rect.role-mark path").length,
        // Their heights in pixels.
        rules: [...svg.querySelectorAll(".mark-rule.role-mark line")]
            .map(line => Math.abs(line.getAttribute("y2"))),
        // How many points each has.
        lines: [...svg.querySelectorAll(".mark-line.role-mark path")]
            .map(line => line.getAttribute("d").match(/[ML]/g).length),
    }));
    const pictures = [...document.images].map(image => [image.src, image.naturalWidth]);
    const found = document.createElement("pre");
    found.id = "found";
    found.textContent = JSON.stringify({errors, charts, pictures});
    document.body.append(found);
});
</script>
"""


def open_in_browser(page: Path, profile: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Open the page with its libraries taken from disk; return all, and the charts by title."""
    text = page.read_text()
    libraries = re.findall(r'<script src="(https://[^"]+/npm/([\w-]+)@([\d.]+))"></script>', text)
    theirs = {name: version for name, version in VERSIONS.items() if name.startswith("vega")}
    assert {name: version for _, name, version in libraries} == theirs
    for address, name, _ in libraries:
        text = text.replace(address, (PACKAGES / f"{name}/build/{name}.min.js").as_uri())
    text = text.replace("<head>", f"<head>{COLLECT_ERRORS}", 1)
    text = text.replace("</head>", f"{DESCRIBE_DRAWINGS}</head>", 1)
    assert "https://" not in text.replace("https://vega.github.io/schema/", "")
    page.write_text(text)
    found = found_by(page, profile, "--allow-file-access-from-files")
    return found, {chart["title"]: chart for chart in found["charts"]}


TITLES = {
    "Loss of the training and the validation rows": {"epoch", "cross-entropy loss"},
    "Accuracy on the validation rows": {"epoch", "accuracy"},
    "Confusion matrix of the test rows": {"predicted class", "actual class"},
    "Reliability of the predicted probabilities on the test rows": {
        "probability that is said",
        "how often it is so, with its interval",
    },
    "How much the log loss rises when a column is shuffled": {
        "rise of the log loss on the validation rows, with its interval",
        "column",
    },
    "ROC curves on the test rows": {"false positive rate", "true positive rate"},
    "Precision-recall curves on the test rows": {"recall", "precision"},
}
LOSS, ACCURACY, CONFUSION, RELIABILITY, IMPORTANCE, ROC, PRECISION_RECALL = TITLES


def test_every_chart_is_drawn(project: Project, tmp_path: Path) -> None:
    project.dvc("plots", "show")
    page, charts = open_in_browser(project.path / "dvc_plots/index.html", tmp_path / "browser")
    assert page["errors"] == []
    assert {title: set(chart["labels"]) for title, chart in charts.items()} == TITLES
    # Six evaluations, of the training and of the validation rows.
    assert charts[LOSS]["lines"].count(6) >= 2
    assert {"train_loss", "val_loss"} <= set(charts[LOSS]["legend"])
    assert 6 in charts[ACCURACY]["lines"]
    assert charts[CONFUSION]["cells"] >= 9
    bins = pd.read_csv(project.path / "reports/reliability.csv")
    assert sorted(charts[RELIABILITY]["lines"]) == sorted([2, len(bins)])
    # The axis is 300 pixels high and goes from 0 to 1.
    assert charts[RELIABILITY]["rules"] == pytest.approx(300 * (bins["high"] - bins["low"]))
    # The bars' ends.
    assert charts[IMPORTANCE]["labels"]
    for title, name in ((ROC, "roc"), (PRECISION_RECALL, "precision_recall")):
        points = pd.read_csv(project.path / f"reports/{name}.csv").groupby(["class", "model"])
        assert sorted(charts[title]["lines"]) == sorted(points.size())
        assert {"network", "logistic_regression"} <= set(charts[title]["legend"])
    assert len(page["pictures"]) == 6
    assert all(width > 500 for _, width in page["pictures"])

    # And a chart that cannot be drawn is noticed.
    file = project.path / "dvc_plots/index.html"
    file.write_text(file.read_text().replace('"layer"', '"nonsense"'))
    assert found_by(file, tmp_path / "browser", "--allow-file-access-from-files")["errors"] != []


def test_two_runs_are_drawn_side_by_side(ahead_of_git: Project, tmp_path: Path) -> None:
    project = ahead_of_git
    project.commit("slower")
    project.dvc("plots", "diff", "HEAD~1")
    page, charts = open_in_browser(project.path / "dvc_plots/index.html", tmp_path / "browser")
    assert page["errors"] == []
    assert set(charts) == set(TITLES)
    assert charts[LOSS]["lines"].count(6) >= 4
    for title in (LOSS, ACCURACY, RELIABILITY, IMPORTANCE, ROC, PRECISION_RECALL):
        assert {"HEAD~1", "workspace"} <= set(charts[title]["legend"]), title
    assert set(charts[CONFUSION]["columns"]) == {"HEAD~1", "workspace"}
    assert charts[CONFUSION]["cells"] >= 18
    assert len(page["pictures"]) == 12

    changed = json.loads(project.run("dvc", "metrics", "diff", "--json", "HEAD~1").stdout)
    assert {"log_loss", "log_loss_interval.low", "macro_f1_interval.high"} <= set(
        changed["metrics.json"]
    )
    assert "generalisation_gap_at_end" in changed["reports/training.json"]


def test_losses_are_drawn_while_training_runs(project: Project, tmp_path: Path) -> None:
    project.set_params(train__max_epochs=10**7, train__patience=10**6, train__eval_every=100)
    process = start(project, "dvc", "repro")
    try:
        wait_for_evaluations(project, process, 20)
        project.dvc("plots", "show")
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
    page, charts = open_in_browser(project.path / "dvc_plots/index.html", tmp_path / "browser")
    assert page["errors"] == []
    assert max(charts[LOSS]["lines"]) >= 20
