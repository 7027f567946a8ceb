"""The page to hand on, opened in a real browser without a network, and the model card."""

import json
import re
import shutil
from contextlib import chdir
from functools import reduce
from html import unescape
from operator import getitem
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.image import imread

from classifier.io.user_error import UserError
from classifier.search.search_report import SearchReport
from stages import plot
from tests.browser import CHROMIUM, COLLECT_ERRORS, found_by
from tests.conftest import REPOSITORY, Project
from tests.in_process import DEFAULTS, run_all, run_prepare
from tests.test_evaluate import evaluate_networks, write_table

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


QUICK = {"train__max_epochs": 20, "train__eval_every": 10}
WITH_BASELINE = {"baseline__models": ["logistic_regression"]}


def open_page(page: Path, profile: Path, width: int) -> dict[str, Any]:
    text = page.read_text()
    # Nothing but what is in it.
    assert "url(" not in text
    for address in re.findall(r'(?:src|href)\s*=\s*"?([^"\s>]+)', text):
        assert address.startswith("data:image/png;base64,")
    # It forbids all scripts, and so those of this test.
    policy = re.compile('<meta http-equiv="Content-Security-Policy" content="default-src [^>]*>')
    assert len(policy.findall(text)) == 1
    text = policy.sub("", text)
    text = text.replace("<head>", f"<head>{COLLECT_ERRORS}", 1).replace(
        "</head>", f"{DESCRIBE}</head>", 1
    )
    copy = page.with_name("opened.html")
    copy.write_text(text)
    return found_by(
        copy, profile, "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},800"
    )


def check_page(folder: Path, profile: Path, width: int) -> tuple[dict[str, Any], set[str]]:
    """Open the page of a folder; return it, and the places of metrics.json that it shows."""
    page = open_page(folder / "reports/report.html", profile, width)
    assert page["errors"] == []
    assert page["window"] == width
    # Nobody has to scroll sideways.
    assert page["page"] <= width
    assert len(page["pictures"]) == 6
    assert all(0 < shown <= min(natural, width) for natural, shown in page["pictures"])
    metrics = json.loads((folder / "metrics.json").read_text())
    shown_places = set()
    for path, value, shown in page["numbers"]:
        expected = reduce(getitem, json.loads(path), metrics)
        assert json.loads(value) == expected, path
        if expected is None:
            assert shown == "-"
        elif isinstance(expected, int):
            assert int(shown.replace(",", "")) == expected, path
        else:
            # To 3 places or digits.
            assert float(shown) == pytest.approx(expected, rel=5e-3, abs=0), path
        shown_places.add(path)
    return page, shown_places


NO_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium; .ci/run installs it"
)


@NO_CHROMIUM
def test_the_page_in_a_browser(project: Project, tmp_path: Path) -> None:
    page, shown_places = check_page(project.path, tmp_path / "browser", 1200)
    for name in ("accuracy", "roc_auc", "log_loss", "majority_class_accuracy", "n_test"):
        assert json.dumps([name]) in shown_places
    assert json.dumps(["baselines", "gradient_boosting", "brier_score"]) in shown_places
    assert json.dumps(["classes", "setosa", "recall"]) in shown_places
    for heading in ("The data", "Where it errs", "What its answers depend on"):
        assert heading in page["text"]


def copy_what_is_no_output(folder: Path) -> None:
    """Copy the files that `plot` reads and no stage writes."""
    (folder / "reports").mkdir()
    for name in ("intended-use.md", "reports/search.json"):
        shutil.copy(REPOSITORY / name, folder / name)


@pytest.fixture
def folder(folder: Path) -> Path:
    """A folder, the current one, with what `plot` reads and no stage writes."""
    copy_what_is_no_output(folder)
    return folder


def plot_without_pictures() -> None:
    """Run `plot` in the current folder, but for what takes long."""
    with patch.object(plot, "png_of", return_value=b""):
        plot.main()


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a table of noise, with names that are no HTML."""
    folder = tmp_path_factory.mktemp("noise")
    copy_what_is_no_output(folder)
    # Of other noise, the baseline may be worse than guessing.
    generator = np.random.default_rng(4)
    table = pd.DataFrame(generator.standard_normal((300, 2)).round(2), columns=["<i>a", "b|c"])
    table["g"] = generator.choice(["<script>x", "y"], 300)
    table["<y>"] = generator.choice(["$1_", "<b>no", "NA-2"], 300)
    with chdir(folder):
        table.to_csv("t.csv", index=False)
        run_all(folder, "t.csv", "<y>", **QUICK, **WITH_BASELINE, evaluate__slices=["g"])
        plot_without_pictures()
    return folder


@pytest.fixture
def own_noise(noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, the current folder."""
    shutil.copytree(noise, tmp_path / "noise")
    monkeypatch.chdir(tmp_path / "noise")
    return tmp_path / "noise"


def test_what_it_must_not_be_used_for_is_filled_in(own_noise: Path) -> None:
    file = own_noise / "intended-use.md"
    file.write_text("Not for **children**.\n\n<b>x</b> [a](javascript:1) ![y](http://z/y.png)")
    plot_without_pictures()
    page = (own_noise / "reports/report.html").read_text()
    assert "<p>Not for <strong>children</strong>.</p>" in page
    assert "&lt;b&gt;x" in page
    # Nothing that runs or loads; a link is one only when it is followed.
    assert 'href="javascript' not in page
    assert 'src="http' not in page
    assert "Not for **children**." in (own_noise / "reports/model-card.md").read_text()

    file.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"^intended-use.md must be UTF-8 text: .*$"):
        plot.main()
    file.unlink()
    restore = "^intended-use.md is missing; restore it with: git checkout intended-use.md$"
    with pytest.raises(UserError, match=restore):
        plot.main()


@pytest.mark.parametrize(
    ("params", "are_these_rows", "is_told"),
    [
        ({"lr": DEFAULTS["train"]["lr"], "hidden": DEFAULTS["train"]["hidden"]}, True, True),
        ({"lr": 0.4}, True, False),
        ({"lr": DEFAULTS["train"]["lr"]}, False, False),
    ],
)
def test_a_search_is_told_of_if_it_found_these_parameters_with_these_rows(
    own_noise: Path, params: dict[str, Any], *, are_these_rows: bool, is_told: bool
) -> None:
    prepared = json.loads((own_noise / "data/prepared/rows.json").read_text())
    report = SearchReport(
        n_tries=77,
        n_finished=50,
        n_stopped=27,
        n_failed=0,
        seeds=[1],
        n_folds=1,
        best_try=3,
        best_loss=0.4,
        luck=0.0123,
        first_loss=0.5,
        params=params,
        prepared_rows=prepared["hash_of_train_and_val"] if are_these_rows else "others",
    )
    (own_noise / "reports/search.json").write_text(report.model_dump_json())
    plot_without_pictures()
    for name in ("report.html", "model-card.md"):
        text = (own_noise / "reports" / name).read_text()
        assert ("the best of 77 tries" in text) == is_told
        assert ("about 0.0123 of the loss of 0.4000 is likely luck" in text) == is_told


def test_damaged_files_get_one_line(own_noise: Path) -> None:
    search = own_noise / "reports/search.json"
    (own_noise / "reports/out_of_fold.csv").unlink()  # The only one that it does not read.
    files = [*own_noise.glob("reports/*.csv"), *own_noise.glob("reports/*.json")]
    for file in (own_noise / "metrics.json", *files):
        whole, name = file.read_bytes(), file.relative_to(own_noise)
        anew = "make search, or git checkout reports/search.json" if file == search else "dvc repro"
        for content in (b"", b"\xff\n", b"[1]\n", b'{"a": {"left": 1}}', b"a,b\n1\n"):
            file.write_bytes(content)
            what = f"{name} is not what a stage has written; to make it anew: {anew}"
            with pytest.raises(UserError, match=f"^{what}"):
                plot.main()
        file.unlink()
        with pytest.raises(UserError, match=f"^{name} is missing; to"):
            plot.main()
        file.write_bytes(whole)


def test_the_page_of_noise_says_that_nobody_beats_the_commonest_class(noise: Path) -> None:
    page = (noise / "reports/report.html").read_text()
    assert "on these rows the model cannot be told from that." in page
    assert "the network is not to be told apart from it." in page
    # Nothing is weighted here.
    assert "every class is as frequent" not in page
    # Names are text, whatever they look like.
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;no" in page
    assert "By g</h3>" in page
    # There is one fold.
    assert "left-out" not in page
    assert "<th>train</th><th>val</th><th>test</th>" in page
    assert "out_of_fold" not in (noise / "metrics.json").read_text()


def test_wrong_rows_are_shown_with_their_cells(folder: Path) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({f"n{index}": generator.integers(0, 9, 600) for index in range(9)})
    # The name of a column of ours, and texts: neither HTML nor short, and no number but a version.
    table["row"] = generator.choice(["<b>" + "x" * 100, "NA", "a,b", "1.10"], 600)
    table["row_"] = generator.standard_normal(600)
    is_yes = (table["row"] == "a,b") ^ (generator.random(600) < 0.3)
    table["y"] = np.where(is_yes, "yes", "no")
    table.to_csv("t.csv", index=False)
    run_all(folder, "t.csv", "y", **QUICK | {"train__max_epochs": 50}, train__optimizer="adamw")
    plot_without_pictures()
    wrong = pd.read_csv("reports/most_wrong.csv", dtype=str, keep_default_na=False)
    assert len(wrong) == 20
    important = pd.read_csv("reports/importance.csv")["column"].tolist()
    names = {"row": "row__"}
    assert list(wrong)[4:] == [names.get(name, name) for name in important]
    source = pd.read_csv("t.csv", dtype=str, keep_default_na=False)
    source = source.iloc[wrong["row"].astype(int) - 2].reset_index(drop=True)
    assert (wrong["actual"] == source["y"]).all()
    for name in important:
        gaps_are_empty = source[name].replace("NA", "")
        assert wrong[names.get(name, name)].tolist() == gaps_are_empty.tolist(), name
    page = Path("reports/report.html").read_text()
    (head,) = re.findall("<tr><th>row</th>.*", page)
    shown = re.findall("<th>(.*?)</th>", head)[4:]
    assert shown == list(wrong)[4:12]
    assert "Of the 11 other columns, the first 8 are shown" in page
    lines = re.findall(r"<tr><td>\d+</td><td>(?:no|yes)</td><td>(?:no|yes)</td>.*", page)
    cells = [re.findall("<td>(.*?)</td>", line)[4:] for line in lines]
    long = "<b>" + "x" * 100
    short = "&lt;b&gt;" + "x" * 36 + "…"
    assert cells == wrong[shown].replace(long, short).to_numpy().tolist()
    assert short in page
    assert long not in page


def test_what_left_out_rows_say_is_told_with_several_folds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(300)
    run_all(folder, "t.csv", "y", **QUICK)
    run_prepare(folder, "t.csv", "y", prepare__folds=3, baseline__models=[])
    capsys.readouterr()
    evaluate_networks([0, 1, 2])
    plot_without_pictures()
    found = json.loads(Path("metrics.json").read_text())["out_of_fold"]
    said = "the 240 left-out rows, each predicted by the one of 3 networks that was not trained on"
    printed = capsys.readouterr().out
    page, card = (Path(f"reports/{name}").read_text() for name in ("report.html", "model-card.md"))
    for text in (printed, page, card):
        assert said in text
        assert f"accuracy is {found['accuracy']:.3f}, 95% interval" in text
        assert "the mean of the 3 networks, is mostly somewhat better than one of them" in text
    assert "each of <data" in page
    assert "the network learnt from the training rows" not in page
    assert "<th>train (in 3 folds)</th><th>test</th>" in page
    assert "| train (in 3 folds) | test |" in card
    counts = re.findall("<tr><th>all 2 classes</th><td>(.*)</td><td>(.*)</td></tr>", page)
    assert counts == [("240", "60")]
    shown = re.findall('<data value="(.*?)" data-path="(.*?)">', page)
    value_of = {tuple(json.loads(unescape(place))): json.loads(value) for value, place in shown}
    assert value_of["out_of_fold", "log_loss"] == found["log_loss"]
    assert value_of["out_of_fold", "log_loss_interval", "low"] == found["log_loss_interval"]["low"]


def test_probabilities_of_weighted_classes_are_said_to_be_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one class there are 6%, and its probability is 0.4: the predicted class hides that."""
    generator = np.random.default_rng(0)
    a = generator.standard_normal(3000).round(3)
    is_yes = generator.random(3000) < 1 / (1 + np.exp(3 - 0.7 * a))
    pd.DataFrame({"a": a, "y": np.where(is_yes, "$yes", "no")}).to_csv("t.csv", index=False)
    training = {"train__optimizer": "adamw", "train__lr": 0.05, "train__batch_size": 100}
    run_all(folder, "t.csv", "y", **QUICK, **training, train__class_weights="balanced")
    plot_without_pictures()
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["expected_calibration_error"] < 0.1
    predictions = pd.read_csv("reports/predictions.csv")
    share = (predictions["actual"] == "$yes").mean()
    off_by = predictions["probability_$yes"].mean() - share
    assert off_by > 0.3
    assert metrics["classwise_calibration_error"] == pytest.approx(off_by)
    said = "they are no probabilities of this table's rows, and a lower log loss on these need not"
    assert said in capsys.readouterr().out
    assert said.replace("'", "&#39;") in Path("reports/report.html").read_text()
    assert said in Path("reports/model-card.md").read_text()


@NO_CHROMIUM
def test_the_page_with_all_there_can_be(folder: Path) -> None:
    """Threshold, temperature, groups, names as long as a line, and a class that no row tests."""
    generator = np.random.default_rng(1)
    table = pd.DataFrame(generator.standard_normal((300, 2)).round(2), columns=["a", "b" * 90])
    table["time"] = range(300)
    table["$" + "c" * 90] = generator.choice(["d" * 90, "e"], 300)
    names = np.array(["no", "yes"])
    table["y"] = names[(table["a"] + generator.standard_normal(300) > 1).astype(int)]
    # The last rows, which test, have no yes.
    table.loc[240:, "y"] = "no"
    table.to_csv("t.csv", index=False)
    run_all(
        folder,
        "t.csv",
        "y",
        prepare__split="time",
        prepare__order_by="time",
        **QUICK,
        **WITH_BASELINE,
        train__calibration="temperature",
        evaluate__slices=["$" + "c" * 90, "time"],
        evaluate__threshold="best_f1",
        plot__dpi=75,
    )
    plot.main()
    assert imread("reports/loss.png").shape[:2] == (487, 600)
    page, shown_places = check_page(folder, folder / "browser", 500)
    assert json.dumps(["threshold"]) in shown_places
    assert json.dumps(["uncalibrated", "log_loss"]) in shown_places
    assert json.dumps(["slices", "$" + "c" * 90, "e", "accuracy"]) in shown_places
    assert "There is no ROC AUC: no test row is of class 'yes'." in page["text"]


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
    assert re.search(r"(?<!\\)<", text) is None
