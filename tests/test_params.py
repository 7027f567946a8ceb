"""A mistake in params.yaml gets one line that names the key, the value and what is allowed."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from classifier.io.later_params import BaselineParams, EvaluateParams, PlotParams
from classifier.io.params import Params, read_params
from classifier.search.search_params import SearchParams, space_of
from classifier.starting.choice import training_params
from classifier.tables.prepare_params import PrepareParams
from classifier.training.train_params import TrainParams
from stages import train
from tests.conftest import Project
from tests.in_process import DEFAULTS, refused, run_prepare, write_params

MODELS: dict[str, type[Params]] = {
    "prepare": PrepareParams,
    "train": TrainParams,
    "search": SearchParams,
    "baseline": BaselineParams,
    "evaluate": EvaluateParams,
    "plot": PlotParams,
}


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("train", "lr", 0, "train.lr is 0, but must be a number above 0"),
        ("train", "lr", float("nan"), "train.lr is nan, but must be a number above 0"),
        ("train", "lr", True, "train.lr is True, but must be a number above 0"),
        ("train", "hidden", [10, 0], "train.hidden[1] is 0, but must be a list of whole numbers"),
        ("train", "batch_size", 2.5, "train.batch_size is 2.5, but must be a whole number"),
        ("train", "optimizer", "lion", "train.optimizer is 'lion', but must be one of sgd, adam"),
        ("train", "dropout", 1, "train.dropout is 1, but must be a number of at least 0"),
        ("train", "max_grad_norm", 0, "train.max_grad_norm is 0, but must be a number above 0"),
        ("train", "learning_rate", 1, "train.learning_rate is not a parameter; those of train are"),
        ("prepare", "val_size", 0.8, "together they must be below 1"),
        ("prepare", "folds", 0, "prepare.folds is 0, but must be a whole number of at least 1"),
        ("prepare", "max_categories", 1, "prepare.max_categories is 1, but must be a whole"),
        ("prepare", "ignore", None, "prepare.ignore is None, but must be a list of column names"),
        ("prepare", "encoding", "cp9999", "prepare.encoding is 'cp9999', but must be auto, or the"),
        ("prepare", "encoding", "base64", "prepare.encoding is 'base64', but must be auto, or the"),
        ("prepare", "header", 1, "prepare.header is 1, but must be one of auto, true"),
        ("prepare", "gaps", [-9], "prepare.gaps[0] is -9, but must be a list of texts between"),
        ("prepare", "split", "group", "split is group, so group must be the name of a column"),
        ("prepare", "order_by", "date", "order_by is 'date', so split must be time, or order_by"),
        ("prepare", "data", "", "prepare.data is '', but must be the path of a table"),
        ("search", "seeds", [1, -1], "search.seeds[1] is -1, but must be a list of whole numbers"),
        ("search", "space", {}, "search.space is {}, but must be a section with at least one"),
        ("plot", "log_scale", "yes", "plot.log_scale is 'yes', but must be true or false"),
    ],
)
def test_a_wrong_value(folder: Path, section: str, key: str, value: object, expected: str) -> None:
    values = {**DEFAULTS[section], key: value}
    (folder / "params.yaml").write_text(yaml.safe_dump({**DEFAULTS, section: values}))
    with refused(expected) as error:
        read_params(section, MODELS[section])
    assert str(error.value).startswith(f"params.yaml: {section}")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", [0.1], "is not a parameter that can be searched; those are: embedding, "),
        ("lr", 0.1, "is 0.1, but must be a list of choices, or a range such as {low: 0.001"),
        ("lr", [], "is [], but must be a list of choices, or a range"),
        ("lr", {"low": 0.1}, "is {'low': 0.1}, but must be a list of choices, or a range"),
        ("lr", {"low": 0.1, "high": 1, "step": 2}, "but must be a list of choices, or a range"),
        ("hidden", {"low": 1, "high": 2}, "is {'high': 2, 'low': 1}, but must be a list of choi"),
        ("lr", {"low": 0.1, "high": 0.1}, "is empty: low is 0.1, but must be below high, 0.1"),
        ("lr", {"low": 0, "high": 0.1}, ".low is 0, but must be a number above 0"),
        ("lr", {"low": 0.001, "high": 0.1, "log": 1}, ".log is 1, but must be true or false"),
        ("dropout", {"low": 0, "high": 0.5, "log": True}, ".low is 0.0, but with log must be abo"),
        ("members", {"low": 1, "high": 8.5}, ".high is 8.5, but must be a whole number of at lea"),
        ("hidden", [[10], 10], "[1] is 10, but must be a list of whole numbers of at least 1"),
        ("activation", ["relu", "relu"], "but must have each choice once"),
        ("lr", {"low": 0.1, "high": 1.0}, "does not hold train.lr, which is 0.01: the search"),
        ("hidden", [[64], [128]], "does not hold train.hidden, which is [10]: the search begins"),
    ],
)
def test_a_wrong_space(folder: Path, name: str, value: object, expected: str) -> None:
    values = {**DEFAULTS["search"], "space": {name: value}}
    (folder / "params.yaml").write_text(yaml.safe_dump({**DEFAULTS, "search": values}))
    search, train = read_params("search", SearchParams), read_params("train", TrainParams)
    with refused(expected) as error:
        space_of(search, train)
    assert str(error.value).startswith(f"params.yaml: search.space.{name}")


@pytest.mark.parametrize("n_train", [100, 3_000, 50_000, 1_000_000])
def test_the_default_space_holds_what_start_writes(n_train: int) -> None:
    train = TrainParams.model_validate({**DEFAULTS["train"], **training_params(n_train)})
    assert space_of(SearchParams.model_validate(DEFAULTS["search"]), train)


@pytest.mark.parametrize(("section", "model"), MODELS.items())
def test_every_key_is_required_and_described(
    folder: Path, section: str, model: type[Params]
) -> None:
    assert sorted(DEFAULTS[section]) == sorted(model.model_fields)
    for key, field in model.model_fields.items():
        values = {name: value for name, value in DEFAULTS[section].items() if name != key}
        (folder / "params.yaml").write_text(yaml.safe_dump({section: values}))
        with refused(f"params.yaml: {section}.{key} is missing; it must be {field.description}"):
            read_params(section, model)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "params.yaml is missing"),
        ("train: {lr: 1", "params.yaml is not valid YAML"),
        ("", "the section 'train:' is missing"),
        ("- train", "the section 'train:' is missing"),
        ("train:", "train is None, but must be a section of keys"),
    ],
)
def test_a_broken_file(folder: Path, text: str | None, expected: str) -> None:
    if text is not None:
        (folder / "params.yaml").write_text(text)
    with refused(expected):
        read_params("train", TrainParams)


def test_a_misspelt_key_is_the_one_that_is_named(folder: Path) -> None:
    text = yaml.safe_dump(DEFAULTS).replace("scaler:", "scalar:")
    (folder / "params.yaml").write_text(text)
    with refused("prepare.scalar is not a parameter; those of prepare are: "):
        read_params("prepare", PrepareParams)


def test_a_stage_says_it_in_one_line_and_writes_nothing(project: Project) -> None:
    project.set_params(prepare__test_size=0.001)
    before = project.outputs()
    (line,) = project.stage("prepare", status=1).stderr.splitlines()
    assert line.startswith("prepare: error: params.yaml: prepare.test_size is 0.001")
    assert project.outputs() == before


def test_dvc_stops_at_a_wrong_value(project: Project) -> None:
    project.set_params(train__lr=-1)
    output = project.dvc("repro", status=255)
    assert "train: error: params.yaml: train.lr is -1, but must be a number above 0" in output
    assert "Traceback" not in output
    assert not list((project.path / "models").glob("*.pt"))


LATER = [
    ("plot__dpi", 10_000, "plot.dpi is 10000, but must be a whole number from 50 to 600"),
    ("plot__log_scle", True, "plot.log_scle is not a parameter; those of plot are: log_scale, dpi"),
    ("baseline__models", ["forest"], "baseline.models[0] is 'forest', but must be a list of"),
    ("evaluate__confidence", 95, "evaluate.confidence is 95, but must be a number between"),
    # YAML 1.1 reads yes as true.
    ("evaluate__positive_class", True, "is 'true', but must be null, or one of the two classes, b"),
    ("evaluate__positive_class", "maybe", "evaluate.positive_class is 'maybe', but must be null"),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *LATER,
        ("evaluate__slices", ["sex"], "evaluate.slices names 'sex', which t.parquet lacks; its c"),
        ("evaluate__slices", ["list"], "which is in evaluate.slices, holds neither numbers nor te"),
    ],
)
def test_what_later_stages_would_refuse_prepare_does(
    folder: Path, name: str, value: object, expected: str
) -> None:
    write_table(folder, ["no", "yes"])
    with refused(expected):
        run_prepare(folder, "t.parquet", "y", prepare__ignore=["list"], **{name: value})
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "t.parquet"}


def test_what_later_stages_would_refuse_train_does(folder: Path) -> None:
    write_table(folder, ["no", "yes"])
    run_prepare(folder, "t.parquet", "y", prepare__ignore=["list"])
    for name, value, expected in LATER:
        write_params(folder, train__lr=0.1, **{name: value})
        with refused(expected):
            train.main()
    assert not (folder / "models").exists()


def test_a_threshold_for_three_classes_is_refused_before_training(folder: Path) -> None:
    write_table(folder, ["no", "yes", "maybe"])
    ignored = {"prepare__ignore": ["list"]}
    with refused("evaluate.threshold is best_f1, but the table has 3 classes, and only of two"):
        run_prepare(folder, "t.parquet", "y", **ignored, evaluate__threshold="best_f1")


def write_table(folder: Path, classes: list[str]) -> None:
    table = pd.DataFrame(
        {"x": range(60), "list": [[1, 2]] * 60, "y": classes * (60 // len(classes))}
    )
    table.to_parquet(folder / "t.parquet")
