"""Thresholds, temperature, importance, groups and curves: chosen and measured as they should be."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from torch import nn

from classifier.evaluation.answers import Answers, Decision, choose_threshold
from classifier.evaluation.evaluated import Interval, SliceMetrics
from classifier.evaluation.importance import MOST_ROWS, permutation_importance
from classifier.evaluation.predictions import MOST_POINTS, curves
from classifier.evaluation.slices import MOST_GROUPS, groups, measure_slices
from classifier.evaluation.words import slices_in_words
from classifier.exported_model.load import ExportedModel
from classifier.io.files import write_bytes
from classifier.io.later_params import EvaluateParams, ThresholdRule
from classifier.io.params import read_params
from classifier.io.prepared import Split, read_split
from classifier.io.schema import read_schema
from classifier.network.model import (
    MLP,
    Architecture,
    Task,
    make_network,
    networks_to_bytes,
    predict_probabilities,
)
from classifier.network.temperature import fit_temperature, with_temperature
from stages import baseline, evaluate
from tests.conftest import Project
from tests.in_process import refused, run_all, run_predict, run_prepare, write_params

TRAINING: dict[str, object] = {
    "train__hidden": [16],
    "train__optimizer": "adamw",
    "train__lr": 0.01,
    "train__batch_size": 64,
    "train__max_epochs": 40,
    "train__eval_every": 4,
}


def write_table(n: int = 800) -> None:
    """Write a table of two classes, one rare, that `a` and `sex` decide.

    What is known only afterwards is in `leak`; `noise` says nothing.
    """
    generator = np.random.default_rng(3)
    a, noise = generator.standard_normal((2, n)).round(3)
    sex = generator.choice(["f", "m"], n)
    # Of the women, nothing can be known.
    signal = np.where(sex == "m", 3 * a - 2, -1.0)
    is_yes = generator.random(n) < 1 / (1 + np.exp(-signal))
    table = pd.DataFrame({"a": a, "noise": noise, "sex": sex, "other_sex": sex})
    table["leak"] = (is_yes + 0.1 * generator.standard_normal(n)).round(3)
    table["y"] = np.where(is_yes, "yes", "no")
    table.to_csv("t.csv", index=False)


def run(folder: Path, **values: object) -> None:
    """Run the stages on the table of `write_table`, or another one of its name."""
    run_all(folder, "t.csv", "y", **TRAINING | values)


def metrics_of() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("metrics.json").read_text())
    return found


PROBABILITY = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.3, np.nextafter(0.3, 1), 0.5])


@given(
    rows=st.lists(st.tuples(st.booleans(), PROBABILITY), min_size=2, max_size=30),
    rule=st.sampled_from(["best_f1", "best_balanced_accuracy"]),
)
# Between these two there is no number: the middle is rounded to the lower one, or the upper one.
@example(rows=[(True, float(np.nextafter(0.3, 1))), (False, 0.3)], rule="best_f1")
@example(rows=[(True, 0.3), (False, float(np.nextafter(0.3, 0)))], rule="best_f1")
@settings(max_examples=40, deadline=None)
def test_no_threshold_is_better_on_the_rows_that_choose_it(
    rows: list[tuple[bool, float]], rule: ThresholdRule
) -> None:
    is_positive = np.array([one for one, _ in rows])
    probability = np.array([one for _, one in rows])
    threshold = choose_threshold(rule, is_positive, probability)
    if is_positive.all() or not is_positive.any():
        assert threshold == 0.5
        return
    metric = f1_score if rule == "best_f1" else balanced_accuracy_score

    def value(threshold: float) -> float:
        return float(metric(is_positive, probability >= threshold))

    best = max(map(value, [*probability, 0.0]))
    assert value(threshold) == pytest.approx(best)
    assert 0 <= threshold <= 1


def test_a_threshold_is_chosen_by_the_validation_rows(folder: Path) -> None:
    write_table()
    with_baseline = {"baseline__models": ["logistic_regression"]}
    run(folder, prepare__ignore=["leak"], **with_baseline, evaluate__threshold="best_f1")
    metrics = metrics_of()
    # The rarer class.
    assert metrics["positive_class"] == "yes"
    threshold = metrics["threshold"]
    assert 0 < threshold < 0.5
    predictions = pd.read_csv("reports/predictions.csv")
    expected = np.where(predictions["probability_yes"] >= threshold, "yes", "no")
    assert (predictions["predicted"] == expected).all()
    is_yes = predictions["actual"] == "yes"
    assert metrics["classes"]["yes"]["f1"] == f1_score(is_yes, expected == "yes")
    assert metrics["roc_auc"] == pytest.approx(
        roc_auc_score(is_yes, predictions["probability_yes"])
    )

    model = ExportedModel(Path("models/model.onnx"))
    val = pd.read_csv("t.csv").iloc[read_split(Path("data/prepared/val.parquet")).rows - 2]
    names = [column.name for column in model.schema.columns]
    out_of_fold = pd.read_csv("reports/out_of_fold.csv")
    assert set(out_of_fold["fold"]) == {0}
    probability = model.probabilities({name: val[name].to_numpy() for name in names})[:, 1]
    np.testing.assert_allclose(out_of_fold["probability_yes"], probability, atol=1e-6)
    chosen = f1_score(val["y"] == "yes", probability >= threshold)
    for other in np.linspace(0.05, 0.95, 19):
        assert chosen >= f1_score(val["y"] == "yes", probability >= other)
    # And `predict` goes by it.
    run_predict("t.csv", "-o", "p.csv", "--threshold", f"yes={threshold}")
    everywhere = pd.read_csv("p.csv").iloc[predictions["row"] - 2]
    assert everywhere["predicted"].tolist() == predictions["predicted"].tolist()
    for wrong in ("yes", "yes=", "maybe=0.3", "yes=1", "yes=nan", "0.3"):
        with refused(f"--threshold is '{wrong}', but must be one of two classes"):
            run_predict("t.csv", "--threshold", wrong)
    # The baseline has a threshold of its own: that of 0.5 would be worse here.
    at_half = metrics["baselines"]["logistic_regression"]
    Project(folder).set_params(evaluate__threshold=0.5)
    evaluate.main()
    assert metrics_of()["baselines"]["logistic_regression"]["macro_f1"] != at_half["macro_f1"]
    Project(folder).set_params(evaluate__slices=["age"])
    with refused("evaluate.slices names 'age', which t.csv lacks; its columns are 'a',"):
        evaluate.main()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("threshold", 1.5, "evaluate.threshold is 1.5, but must be a number between 0 and 1, best"),
        ("threshold", "best", "evaluate.threshold is 'best', but must be"),
        ("slices", "sex", "evaluate.slices is 'sex', but must be a list of different column names"),
        ("slices", ["sex", "sex"], "evaluate.slices is ['sex', 'sex'], but must be a list of diff"),
        ("importance_repeats", 1, "importance_repeats is 1, but must be 0 for none, or"),
    ],
)
def test_a_wrong_value(folder: Path, key: str, value: object, message: str) -> None:
    write_params(folder, **{f"evaluate__{key}": value})
    with refused(message):
        read_params("evaluate", EvaluateParams)


def test_logits_are_divided_by_the_temperature() -> None:
    torch.manual_seed(0)
    network, features = MLP(4, 3, [8, 8]).eval(), torch.randn(20, 4)
    logits = network(features)
    # By a power of 2, which rounds nothing.
    assert torch.equal(with_temperature(network, 4)(features), logits / 4)
    assert torch.equal(network(features), logits)


def left_out(features: npt.NDArray[np.float32], target: npt.NDArray[np.int64]) -> Split:
    rows = np.arange(len(target))
    return Split(rows, rows, features, target, np.zeros_like(rows))


@pytest.mark.parametrize("members", [1, 3])
def test_a_temperature_undoes_overconfidence(members: int) -> None:
    torch.manual_seed(0)
    network = with_temperature(MLP(4, 3, [8], members=members), 0.2)
    features = np.random.default_rng(0).standard_normal((4000, 4)).astype(np.float32)
    probabilities = predict_probabilities([network], features)
    chance = np.random.default_rng(1).random((4000, 1))
    target = (chance > probabilities.cumsum(axis=1)[:, :2]).sum(axis=1)
    # The probabilities are right as they are, so that of twice the logits half is right.
    doubled = with_temperature(network, 0.5)
    found = fit_temperature([doubled], left_out(features, target))
    # Within what 4,000 rows tell.
    assert found == pytest.approx(2, rel=0.1)
    for other in (0.9 * found, 1.1 * found):
        losses = []
        for temperature in (found, other):
            calibrated = with_temperature(doubled, temperature)
            losses.append(log_loss(target, predict_probabilities([calibrated], features)))
        assert losses[0] < losses[1]


def test_a_temperature_is_in_the_model_that_is_handed_on(folder: Path) -> None:
    write_table(300)
    values = {"train__lr": 0.05, "train__max_epochs": 100, "prepare__ignore": ["leak"]}
    run(folder, **values, train__patience=100)
    plain = pd.read_csv("reports/predictions.csv")
    assert metrics_of()["temperature"] == 1
    assert metrics_of()["uncalibrated"] is None
    before = metrics_of()
    run(folder, **values, train__patience=100, train__calibration="temperature")
    metrics = metrics_of()
    temperature = metrics["temperature"]
    assert temperature != 1
    assert temperature == json.loads(Path("reports/training.json").read_text())["temperature"]
    for name in ("expected_calibration_error", "log_loss"):
        assert metrics["uncalibrated"][name] == before[name]
    scaled = pd.read_csv("reports/predictions.csv")
    logit, logit_before = (
        np.log(one["probability_yes"] / one["probability_no"]) for one in (scaled, plain)
    )
    # In float32.
    np.testing.assert_allclose(logit, logit_before / temperature, rtol=1e-3, atol=1e-5)
    test = pd.read_csv("t.csv").iloc[scaled["row"] - 2]
    model = ExportedModel(Path("models/model.onnx"))
    names = [column.name for column in model.schema.columns]
    handed_on = model.probabilities({name: test[name].to_numpy() for name in names})
    np.testing.assert_allclose(handed_on[:, 1], scaled["probability_yes"], atol=1e-6)


def test_importance_shows_a_leak_and_ignores_noise(folder: Path) -> None:
    write_table()
    run(folder)
    importance = pd.read_csv("reports/importance.csv").set_index("column")
    assert importance.index[0] == "leak"
    assert importance["importance"]["leak"] > 5 * importance["importance"].drop("leak").max()
    assert set(importance.index) == {"a", "noise", "sex", "other_sex", "leak"}
    assert importance["low"]["leak"] > importance["high"].drop("leak").max()
    assert abs(importance["importance"]["noise"]) < importance["importance"]["leak"] / 50


def test_all_features_of_a_column_move_together() -> None:
    generator = np.random.default_rng(0)
    category = generator.integers(0, 3, 300)
    features = np.column_stack([np.eye(3)[category], generator.random(300)]).astype(np.float32)
    seen = []

    def mean_loss(rows: Split) -> float:
        seen.append(rows.features.copy())
        return float((rows.features[:, :3].argmax(axis=1) != rows.target).mean())

    found = permutation_importance(
        mean_loss,
        left_out(features, category),
        # The number is shuffled after the category, which is as it was by then.
        {"category": slice(0, 3), "number": slice(3, 4)},
        repeats=5,
        confidence=0.9,
    )
    assert found["column"].tolist() == ["category", "number"]
    # Two of three fall on another category.
    assert found["importance"][0] == pytest.approx(2 / 3, abs=0.1)
    assert found.iloc[1, 1:].tolist() == [0, 0, 0]
    for shuffled in seen:
        assert (shuffled[:, :3].sum(axis=1) == 1).all()
        assert sorted(shuffled[:, 3]) == sorted(features[:, 3])


def evaluate_networks(slopes: list[float], temperature: float = 1.0) -> None:
    """Run `baseline` and `evaluate` in the current folder: the logit of yes is a slope times `a`.

    One network has each of the slopes, and `a` is the first feature.
    """
    schema = read_schema(Path("data/prepared/schema.json"))
    architecture = Architecture(
        embedding="none", hidden=[], activation="relu", dropout=0, members=1
    )
    networks = []
    for slope in slopes:
        networks.append(make_network(architecture, Task.of(schema)))
        for parameter in networks[-1].parameters():
            nn.init.zeros_(parameter)
        nn.init.constant_(networks[-1].state_dict()["layers.0.weight"][1, 0], slope)
    content = networks_to_bytes(architecture, Task.of(schema), networks, temperature)
    write_bytes(Path("models/weights.pt"), content)
    baseline.main()
    evaluate.main()


def test_a_left_out_row_is_predicted_by_its_network_alone(folder: Path) -> None:
    """The first network guesses, the second is always right and sure of it, the third wrong."""
    generator = np.random.default_rng(0)
    a = generator.choice([-1, 1], 300) * (0.5 + generator.random(300).round(4))
    table = pd.DataFrame({"a": a, "b": generator.random(300), "y": np.where(a > 0, "yes", "no")})
    table.to_csv("t.csv", index=False)
    run_prepare(
        folder,
        "t.csv",
        "y",
        prepare__folds=3,
        prepare__scaler="none",
        baseline__models=[],
        evaluate__positive_class="yes",
        evaluate__threshold="best_f1",
    )
    slopes = np.array([0, 80, -2])
    evaluate_networks(slopes.tolist(), temperature=2)

    prepared = read_split(Path("data/prepared/val.parquet"))
    found, tested = (pd.read_csv(f"reports/{name}.csv") for name in ("out_of_fold", "predictions"))
    assert sorted([*found["row"], *tested["row"]]) == list(range(2, 302))
    assert list(found) == [*tested, "fold"]
    assert found["fold"].tolist() == prepared.fold.tolist()
    of_rows = table.iloc[found["row"] - 2].reset_index(drop=True)
    assert found["actual"].equals(of_rows["y"])
    expected = 1 / (1 + np.exp(-slopes[found["fold"]] * of_rows["a"] / 2))
    np.testing.assert_allclose(found["probability_yes"], expected, atol=1e-6)

    is_right, is_yes = found["actual"] == found["predicted"], found["actual"] == "yes"
    assert is_right.groupby(found["fold"]).mean()[1] == 1
    metrics = metrics_of()
    chosen = choose_threshold("best_f1", is_yes.to_numpy(), found["probability_yes"].to_numpy())
    assert metrics["threshold"] == chosen
    measured = metrics["out_of_fold"]
    assert (measured["n_left_out"], measured["n_networks"]) == (240, 3)
    assert measured["accuracy"] == is_right.mean()
    assert measured["log_loss"] == pytest.approx(
        log_loss(is_yes, found[["probability_no", "probability_yes"]])
    )
    assert measured["log_loss_interval"]["low"] < measured["log_loss"]
    importance = pd.read_csv("reports/importance.csv").set_index("column")["importance"]
    # A mean of the three is never so sure that it could be so wrong.
    assert importance["a"] > 4
    assert importance["b"] == 0


def test_rows_stay_in_their_fold_while_columns_are_shuffled() -> None:
    n = MOST_ROWS + 500
    fold = np.arange(n) % 7
    features = np.column_stack([fold, np.arange(n)]).astype(np.float32)
    rows = replace(left_out(features, np.zeros(n, np.int64)), fold=fold)
    found = permutation_importance(
        lambda some: float((some.features[:, 0] != some.fold).mean() + len(some.fold)),
        rows,
        {"row": slice(1, 2), "fold": slice(0, 1)},
        repeats=2,
        confidence=0.9,
    ).set_index("column")["importance"]
    assert list(found.index) == ["fold", "row"]
    assert found["row"] == 0
    assert found["fold"] == pytest.approx(6 / 7, abs=0.05)


def test_groups_that_a_good_average_hides_are_measured_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(1600)
    run(folder, prepare__ignore=["leak", "other_sex"], evaluate__slices=["other_sex", "a"])
    slices = metrics_of()["slices"]
    predictions = pd.read_csv("reports/predictions.csv")
    rows = pd.read_csv("t.csv").iloc[predictions["row"] - 2]
    is_right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    # A column that is no feature.
    for name in ("f", "m"):
        here = (rows["other_sex"] == name).to_numpy()
        assert slices["other_sex"][name]["n_test"] == here.sum()
        assert slices["other_sex"][name]["accuracy"] == is_right[here].mean()
    assert len(slices["a"]) == 4
    assert sum(one["n_test"] for one in slices["a"].values()) == len(predictions)
    said = [line for line in capsys.readouterr().out.splitlines() if "worse than on all" in line]
    assert any(line.startswith("of the rows with other_sex 'f', ") for line in said)
    assert not any("other_sex 'm'" in line for line in said)


def test_a_group_of_a_long_text_is_said_in_a_short_line() -> None:
    interval = Interval(low=0.1, high=0.3)
    found = SliceMetrics(
        n_test=9, accuracy=0.2, accuracy_interval=interval, log_loss=1, log_loss_interval=None
    )
    (line,) = slices_in_words({"remark": {"some words\n" * 50: found}}, 0.9)
    assert line.startswith("of the rows with remark 'some words some")
    assert "\n" not in line
    assert len(line) < 200


@given(
    cells=st.lists(
        st.one_of(st.none(), st.integers(0, 30), st.floats(-1e6, 1e6)), min_size=1, max_size=60
    )
)
@settings(max_examples=40)
def test_each_number_is_in_one_group(cells: list[float | None]) -> None:
    column = pd.Series(cells, dtype="float64")
    found = groups(column)
    assert found.notna().all()
    assert found.nunique() <= MOST_GROUPS + 1
    assert ((found == "(missing)") == column.isna()).all()


def test_the_rarest_texts_are_taken_together() -> None:
    texts = pd.Series(
        [name for index, name in enumerate("abcdefghijklm") for _ in range(20 - index)]
    )
    found = groups(pd.concat([texts, pd.Series([np.nan], dtype="str")], ignore_index=True))
    counts = found.value_counts(sort=False)
    assert list(counts.index) == [*"abcdefghi", "(4 others)", "(missing)"]
    assert counts["(4 others)"] == 11 + 10 + 9 + 8


def test_whole_numbers_that_differ_late_are_apart() -> None:
    found = groups(pd.Series([1234567, 1234568, 1234569, 0.1, 0.1 + 1e-15]))
    assert found.nunique() == 5
    assert {"1234567", "1234568", "1234569"} < set(found)


def test_a_value_that_most_rows_have_hides_no_others() -> None:
    found = groups(pd.Series([1] * 90 + list(range(2, 14))))
    assert found.value_counts().to_dict() == {"1": 90, "2 to 13": 12, "(missing)": 0}


def test_groups_are_read_as_the_table_was(folder: Path) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"a": generator.standard_normal(300)})
    table["code"] = generator.choice(["-999", "1", "2"], 300)
    table["zip"] = [f"0{1000 + index % 12}" for index in range(300)]
    table["y"] = np.where(table["a"] > 0, "yes", "no")
    table.to_csv("t.csv", index=False)
    columns = {"prepare__gaps": ["-999"], "prepare__categorical": ["zip"]}
    run(folder, train__max_epochs=4, **columns, evaluate__slices=["code", "zip"])
    slices = metrics_of()["slices"]
    assert set(slices["code"]) == {"1", "2", "(missing)"}
    assert len(slices["zip"]) == 10
    assert all(name.startswith("010") or name == "(3 others)" for name in slices["zip"])


def test_a_temperature_is_left_out_where_all_rows_are_right() -> None:
    torch.manual_seed(0)
    network = MLP(2, 2, [])
    features = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    target = predict_probabilities([network], features).argmax(axis=1)
    assert fit_temperature([network], left_out(features, target)) == 1
    target[0] = 1 - target[0]
    assert fit_temperature([network], left_out(features, target)) != 1


def test_a_positive_class_that_yaml_takes_for_a_number(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"a": np.random.default_rng(0).standard_normal(300)})
    table["y"] = np.where(table["a"] > 0.5, "-1", "1")
    table.to_csv("t.csv", index=False)
    run(folder, train__max_epochs=4, evaluate__threshold=0.4, evaluate__positive_class=-1)
    assert metrics_of()["positive_class"] == "-1"
    # What it says is what `predict` takes, though the class looks like an option.
    (option,) = re.findall(r"--threshold=\S+", capsys.readouterr().out)
    run_predict("t.csv", "-o", "p.csv", *shlex.split(option))
    assert Path("p.csv").exists()


def test_a_group_of_one_row_has_no_interval_of_its_loss() -> None:
    answers = Answers(np.array([0, 1, 1]), np.array([[0.8, 0.2]] * 3), Decision(1))
    found = measure_slices(answers, groups(pd.Series(["x", "y", "y"])), 0.95)
    assert found["x"].log_loss_interval is None
    assert found["x"].accuracy == 1
    assert found["y"].log_loss_interval is not None
    assert found["y"].accuracy == 0


def test_curves_enclose_the_areas_that_metrics_say() -> None:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, 5000)
    yes = 1 / (1 + np.exp(-(2 * target - 1 + generator.normal(size=5000))))
    answers = Answers(target, np.column_stack([1 - yes, yes]), Decision(1))
    roc, precision_recall = curves({"network": answers}, ["no", "yes"])
    assert set(roc["class"]) == {"yes"}
    assert len(roc) <= MOST_POINTS >= len(precision_recall)
    area = np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"])
    # Of so many points, with straight lines between them.
    assert area == pytest.approx(roc_auc_score(target, yes), abs=1e-3)
    assert precision_recall["recall"].is_monotonic_increasing
    assert precision_recall["recall"].iloc[-1] == 1
    assert precision_recall["precision"].iloc[-1] == pytest.approx(target.mean(), abs=0.01)
