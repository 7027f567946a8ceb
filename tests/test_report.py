"""The page to hand on, opened in a real browser without a network, and the model card."""

import html
import json
import re
import shutil
import subprocess
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from classifier.report.page import rounded
from stages import plot
from tests.conftest import Project
from tests.in_process import run_all
from tests.test_plots_page import CHROMIUM, COLLECT_ERRORS

DESCRIBE = """
<script>
addEventListener("load", () => {
    const found = document.createElement("pre");
    found.id = "found";
    found.textContent = JSON.stringify({
        errors,
        window: innerWidth,
        page: document.documentElement.scrollWidth,
        pictures: [...document.images].map(image => [image.naturalWidth, image.clientWidth]),
        numbers: [...document.querySelectorAll("data")].map(
            one => [one.dataset.path, one.value, one.textContent]
        ),
        text: document.body.innerText,
    });
    document.body.append(found);
});
</script>
"""


def open_page(page: Path, profile: Path, width: int) -> dict[str, Any]:
    text = page.read_text()
    # Nothing but what is in it.
    assert "url(" not in text
    for address in re.findall(r'(?:src|href)\s*=\s*"?([^"\s>]+)', text):
        assert address.startswith("data:image/png;base64,")
    text = text.replace("<head>", f"<head>{COLLECT_ERRORS}", 1).replace(
        "</head>", f"{DESCRIBE}</head>", 1
    )
    copy = page.with_name("opened.html")
    copy.write_text(text)
    dom = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--window-size={width},800",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            copy.as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    values: dict[str, Any] = json.loads(html.unescape(found[1]))
    return values


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; .ci/run installs it")
@pytest.mark.parametrize("width", [500, 1200])
def test_the_page_in_a_browser(project: Project, tmp_path: Path, width: int) -> None:
    page = open_page(project.path / "reports/report.html", tmp_path / "browser", width)
    assert page["errors"] == []
    assert page["window"] == width
    # Nobody has to scroll sideways.
    assert page["page"] <= width
    assert len(page["pictures"]) == 6
    assert all(0 < shown <= min(natural, width) for natural, shown in page["pictures"])
    metrics = json.loads((project.path / "metrics.json").read_text())
    shown_places = set()
    for path, value, shown in page["numbers"]:
        expected = reduce(getitem, json.loads(path), metrics)
        assert json.loads(value) == expected, path
        assert shown == rounded(expected), path
        shown_places.add(path)
    for name in ("accuracy", "roc_auc", "log_loss", "majority_class_accuracy", "n_test"):
        assert json.dumps([name]) in shown_places
    assert json.dumps(["baselines", "gradient_boosting", "brier_score"]) in shown_places
    assert json.dumps(["classes", "setosa", "recall"]) in shown_places
    for heading in ("The data", "Where it errs", "What its answers depend on"):
        assert heading in page["text"]


def test_its_bytes_repeat(project: Project) -> None:
    before = project.contents("reports/report.html", "reports/model-card.md")
    assert len(before) == 2
    project.stage("plot")
    assert project.contents("reports/report.html", "reports/model-card.md") == before


def test_what_it_must_not_be_used_for_is_filled_in(project: Project) -> None:
    (project.path / "intended-use.md").write_text(
        "Not for **children**.\n\n<b>x</b> [a](javascript:1)"
    )
    assert project.repro() == ["plot"]
    page = (project.path / "reports/report.html").read_text()
    assert "<p>Not for <strong>children</strong>.</p>" in page
    assert "&lt;b&gt;x" in page
    assert "href" not in page
    assert "Not for **children**." in (project.path / "reports/model-card.md").read_text()


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page of a table of noise, with names that are no HTML."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parent.parent / "intended-use.md", tmp_path)
    generator = np.random.default_rng(1)
    table = pd.DataFrame(generator.standard_normal((300, 2)).round(2), columns=["<i>a", "b|c"])
    table["g"] = generator.choice(["<script>x", "y"], 300)
    table["<y>"] = generator.choice(["$1_", "<b>no", "NA-2"], 300)
    table.to_csv("t.csv", index=False)
    run_all(
        tmp_path,
        "t.csv",
        "<y>",
        train__max_epochs=20,
        train__eval_every=10,
        baseline__models=["logistic_regression"],
        evaluate__slices=["g"],
    )
    plot.main()
    return tmp_path


def test_the_page_of_noise_says_that_nobody_beats_the_commonest_class(noise: Path) -> None:
    page = (noise / "reports/report.html").read_text()
    assert "on these rows the model cannot be told from that." in page
    assert "the network is not to be told apart from it." in page
    # Names are text, whatever they look like.
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;no" in page
    assert "By g</h3>" in page


def test_the_model_card_begins_with_metadata_that_a_program_reads(noise: Path) -> None:
    card = (noise / "reports/model-card.md").read_text()
    _, metadata, text = card.split("---\n", 2)
    (model,) = yaml.safe_load(metadata)["model-index"]
    (result,) = model["results"]
    metrics = json.loads((noise / "metrics.json").read_text())
    found = {one["type"]: one["value"] for one in result["metrics"]}
    assert found == {
        "accuracy": metrics["accuracy"],
        "f1": metrics["macro_f1"],
        "roc_auc": metrics["roc_auc"],
    }
    assert result["task"]["type"] == "tabular-classification"
    assert f"| log loss | {metrics['log_loss']:.3f} (" in text
    # Each row of a table has as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "b\\|c: the log loss rises by" in text
