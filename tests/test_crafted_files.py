"""Files that somebody made to do harm: each is refused in one line, and nothing in it is run."""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import onnx
import pytest
import torch
import yaml
from google.protobuf import text_format
from onnx import ModelProto, TensorProto

from classifier.exported_model.format import CHECKSUM_LENGTH, with_checksum
from classifier.io.schema import read_schema
from classifier.io.user_error import UserError
from classifier.network.model import Task, load_networks
from classifier.resuming.saved_state import SavedStates
from stages import baseline, evaluate, plot, prepare, train
from tests.conftest import REPOSITORY, Project
from tests.in_process import refused, run_predict, run_start
from tests.mutations import forged
from tests.readme import PAGES, fenced, read


class Command:
    """What makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch pwned",)


PICKLE = pickle.dumps(Command())
NESTED = "[" * 10_000
YAML = "!!python/object/apply:os.system ['touch pwned']"


@pytest.fixture(scope="module")
def _crafted(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return _trained.copy(tmp_path_factory.mktemp("crafted") / "project")


@pytest.fixture
def crafted(_crafted: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a project that each test leaves as it was; it is the current one."""
    monkeypatch.chdir(_crafted.path)
    yield _crafted.path
    assert not Path("pwned").exists()


@pytest.mark.usefixtures("folder")
def test_the_pickles_here_do_run_what_they_say() -> None:
    pickle.loads(PICKLE)  # noqa: S301
    torch.save(Command(), "file.pt")
    assert Path("pwned").exists()
    Path("pwned").unlink()
    torch.load("file.pt", weights_only=False)
    assert Path("pwned").exists()


def pickled(path: Path) -> None:
    path.write_bytes(PICKLE)


def saved_by_torch(path: Path) -> None:
    torch.save({"layers.0.weight": Command()}, path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", PICKLE)
        archive.writestr("model/extra/schema.json", "{}")


NO_MODELS: list[Callable[[Path], None]] = [pickled, saved_by_torch, zipped]


@pytest.mark.parametrize("craft", NO_MODELS)
def test_a_model_and_weights_that_are_none(crafted: Path, craft: Callable[[Path], None]) -> None:
    craft(crafted / "bad")
    with refused("bad is not a model that this pipeline exports, or it is damaged"):
        run_predict("data/iris.csv", "-o", "out.csv", "--model", "bad")
    assert not Path("out.csv").exists()
    with refused("does not hold the weights of this network"):
        load_networks(crafted / "bad", Task(4, 3))


def with_texts_for_numbers(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def with_a_schema_that_is_none(model: ModelProto) -> None:
    model.metadata_props[0].value = YAML


def with_a_class_more(model: ModelProto) -> None:
    schema = model.metadata_props[0].value
    model.metadata_props[0].value = schema.replace('"setosa"', '"setosa", "more"')


def with_an_unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "System"


def with_a_name_that_is_no_text(model: ModelProto) -> None:
    content = model.SerializeToString().replace(b"Gather", b"\xffather")
    model.ParseFromString(content)


def with_a_shape_that_does_not_fit(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def without_an_end(model: ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.output[0].name


CRAFTED: list[tuple[str | Callable[[ModelProto], object], str]] = [
    ("graph { initializer { data_location: EXTERNAL } }", "asks for other files"),
    (
        'graph { node { attribute { name: "value" t { data_location: EXTERNAL } } } }',
        "asks for other files",
    ),
    (
        'graph { node { op_type: "EPContext" domain: "com.microsoft" } }',
        "asks for more than operators of ONNX, .*: 'EPContext'",
    ),
    (
        'graph { node { op_type: "Loop" attribute { name: "body" g {} } } }',
        "asks for more than operators of ONNX, .*: 'Loop'",
    ),
    ('functions { name: "Relu" }', "asks for more than operators of ONNX, .*: 'Relu'"),
    ("graph { output {} }", "does not return probabilities and a class"),
    (with_texts_for_numbers, "does not take the columns of its schema"),
    (lambda model: model.ClearField("metadata_props"), "is not a model that this pipeline exports"),
    (with_a_schema_that_is_none, "is not a model that this pipeline exports"),
    (with_a_class_more, "does not return the probabilities of its classes"),
    (with_an_unknown_operator, "cannot be run: .* System"),
    (with_a_shape_that_does_not_fit, "cannot be run: "),
    (without_an_end, "cannot be run: "),
    (with_a_name_that_is_no_text, "cannot be run: "),
]
"""What is added to a model, as protobuf's text, or changed in it."""


@pytest.mark.parametrize(("change", "expected"), CRAFTED)
@pytest.mark.usefixtures("crafted")
def test_a_model_that_asks_for_more_than_to_be_computed(
    capfd: pytest.CaptureFixture[str],
    change: str | Callable[[ModelProto], object],
    expected: str,
) -> None:
    content = Path("models/model.onnx").read_bytes()[:-CHECKSUM_LENGTH]
    model = onnx.load_model_from_string(content)
    text_format.Merge(change, model) if isinstance(change, str) else change(model)
    # Who crafts a file can put its checksum right.
    Path("bad.onnx").write_bytes(with_checksum(model.SerializeToString()))
    with pytest.raises(UserError, match=f"bad.onnx {expected}"):
        run_predict("data/iris.csv", "-o", "out.csv", "--model", "bad.onnx")
    assert not Path("out.csv").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("crafted")
def test_the_model_that_was_checked_is_the_one_that_runs() -> None:
    """Bytes 4 to 7 tell onnxruntime's own format, to which the rest of a file can belong."""
    content = Path("models/model.onnx").read_bytes()[:-CHECKSUM_LENGTH]
    # Two fields that ONNX does not know: a number, and the text ORTM.
    Path("both.onnx").write_bytes(with_checksum(b"\x48\x00\x4a\x04ORTM" + content))
    for model in ("both.onnx", "models/model.onnx"):
        run_predict("data/iris.csv", "-o", f"{model}.csv", "--model", model)
    assert Path("both.onnx.csv").read_bytes() == Path("models/model.onnx.csv").read_bytes()
    Path("models/model.onnx.csv").unlink()


@pytest.mark.usefixtures("folder")
def test_a_model_that_is_no_file() -> None:
    os.mkfifo("model")
    with refused("the model model is not a file"):
        run_predict("t.csv", "--model", "model")


def test_weights_are_the_right_ones_again_through_dvc(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    pickled(Path("models/weights.pt"))
    with refused("models/weights.pt does not hold the weights of this network"):
        evaluate.main()
    assert not Path("pwned").exists()
    metrics = Path("metrics.json").read_bytes()
    project.repro()
    assert Path("metrics.json").read_bytes() == metrics


def test_a_saved_state_that_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (state,) = (project.path / ".training").glob("*.state")
    checkpoint = project.path / "checkpoint"
    about = state.read_bytes().split(b"\n")[1]
    project.set_params(train__max_epochs=80)
    monkeypatch.chdir(project.path)
    for craft in NO_MODELS:
        craft(checkpoint)
        state.write_bytes(forged("state", about + b"\n" + checkpoint.read_bytes()))
        with refused(
            "a state in .training/ is none that training has saved; to train from the start, "
            "remove that folder"
        ):
            train.main()
        assert not Path("pwned").exists()


@pytest.mark.parametrize(
    "about", [b'{"version": 1}', b"\xff", NESTED.encode()], ids=["version", "no text", "nested"]
)
def test_a_saved_state_about_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], about: bytes
) -> None:
    path = tmp_path / "run.state"
    path.write_bytes(forged("state", about + b"\n" + PICKLE))
    assert SavedStates("run", tmp_path).load() is None
    assert "is not usable (it is none that training has saved)" in capsys.readouterr().out
    assert not path.exists()


SCHEMA = """{
    "target": "y", "label_kind": "text", "classes": ["a", "b"], "scaler": "none", "gaps": [],
    "columns": [
        {
            "kind": "numeric", "name": "x", "unit": "", "median": 0, "offset": 0, "scale": 1,
            "missing_indicator": false
        },
        {
            "kind": "datetime", "name": "date", "format": "ISO8601", "first": 0, "parts": [],
            "missing_indicator": true
        }
    ]
}"""


@pytest.mark.parametrize(
    "values",
    [
        {"columns": []},
        {"classes": ["a", "a"]},
        {"label_kind": "integer"},
        {"label_kind": "integer", "classes": ["1", "99999999999999999999"]},
        {"label_kind": "boolean"},
        "%Q",
        "%",
        "%d%d",
        "%Y-%m-%d %z %Z",
    ],
    ids=str,
)
def test_a_schema_without_sense(tmp_path: Path, values: dict[str, object] | str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(SCHEMA)
    assert read_schema(path).n_features == 2
    if isinstance(values, str):
        path.write_text(SCHEMA.replace("ISO8601", values))
    else:
        path.write_text(json.dumps(json.loads(SCHEMA) | values))
    with refused("is not what a stage has written"):
        read_schema(path)


def test_prepared_files_that_are_none(crafted: Path) -> None:
    """A schema for all its readers, and what one of them says."""
    schema, test = (crafted / f"data/prepared/{name}" for name in ("schema.json", "test.parquet"))
    before = schema.read_bytes(), test.read_bytes()
    for content in ("", YAML, NESTED, '{"target": 1}'):
        schema.write_text(content)
        with refused("is not what a stage has written"):
            read_schema(schema)
    for stage in (train, baseline, evaluate):
        with refused(
            "data/prepared/schema.json is not what a stage has written; to make it anew: dvc repro"
        ):
            stage.main()
    schema.write_bytes(before[0])
    test.write_bytes(before[1][:-100])
    with refused("data/prepared/test.parquet cannot be read; to make it anew"):
        evaluate.main()
    test.write_bytes(before[1])


@pytest.mark.parametrize(
    ("content", "stages"),
    [
        (YAML, [prepare, train, baseline, evaluate, plot]),
        (f"train: {YAML}", [train]),
        (NESTED, [prepare]),
    ],
    ids=["YAML", "section", "nested"],
)
def test_parameters_that_are_code(crafted: Path, content: str, stages: list[ModuleType]) -> None:
    path = crafted / "params.yaml"
    before = path.read_bytes()
    path.write_text(content)
    for stage in stages:
        with refused("params.yaml"):
            stage.main()
    with refused("params.yaml"):
        run_start("data/iris.csv", "species", "--force")
    if prepare in stages and train in stages:
        # It reads them before its main function as well.
        (line,) = Project(crafted).stage("train", status=1).stderr.splitlines()
        assert line.startswith("train: error: params.yaml")
    path.write_bytes(before)


SHELL = "$(touch pwned); touch pwned; `touch pwned` '"


def parameters() -> list[str]:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    names = [f"{section}.{key}" for section, values in params.items() for key in values]
    torchrun = [f"train.torchrun.{key}" for key in params["train"]["torchrun"]]
    return [name for name in names if name != "train.torchrun"] + torchrun


def test_dvc_runs_nothing_that_a_parameter_says(project: Project) -> None:
    stages = yaml.safe_load((project.path / "dvc.yaml").read_text())["stages"]
    assert {name: stage["cmd"] for name, stage in stages.items()} == {
        name: f"python -m stages.{name}" for name in stages
    }
    project.set_params(**dict.fromkeys(parameters(), SHELL))
    project.dvc("repro", "--single-item", "train", status=255)
    assert not (project.path / "pwned").exists()


def test_a_record_that_is_code(project: Project) -> None:
    for content in (YAML, "schema: '2.0'\nstages:\n  evaluate:\n    cmd: touch pwned\n"):
        (project.path / "dvc.lock").write_text(content)
        project.run("bash", "-c", "dvc repro --single-item evaluate || true")
        assert not (project.path / "pwned").exists()
    (project.path / "dvc.lock").write_text(YAML)
    project.set_params(train__max_epochs=80)
    assert "going on from epoch 60" in project.stage("train").stdout
    assert not (project.path / "pwned").exists()


UNSAFE = re.compile(
    r"\b(_?pickle|cPickle|joblib|dill|cloudpickle|marshal|shelve|read_pickle|allow_pickle)\b"
    r"|\bload\(|import load\b|\b(full|unsafe)_load\b|(?<![.\w])(eval|exec)\(|shell=True"
    r"|\b(os\.system|import system|popen|getoutput|getstatusoutput)\b|typ=.unsafe"
)
SAFE = re.compile(r"weights_only=True|typ=\"safe\"|\.load\(\)|def load\(")


def dangers(source: str) -> list[str]:
    """Return the lines that can run code that a file or a parameter brings."""
    lines = source.splitlines()
    return [line for line in lines if UNSAFE.search(line) and not SAFE.search(line)]


def test_nothing_here_loads_what_may_hold_code() -> None:
    files = [
        file
        for folder in ("benchmarks", "classifier", "commands", "stages")
        for file in (REPOSITORY / folder).rglob("*.py")
    ]
    assert len(files) > 60
    assert {str(file): found for file in files if (found := dangers(file.read_text()))} == {}
    for page in PAGES:
        for example in fenced(read(page), "python"):
            assert dangers(example) == [], page


def test_what_would_is_found() -> None:
    examples = """import pickle
from joblib import load
torch.load(path)
from torch import load
pd.read_pickle(path)
yaml.load(text)
from yaml import full_load
YAML(typ='unsafe')
np.load(path, allow_pickle=True)
np.load(path, None, True)
eval(text)
from os import system
subprocess.run(text, shell=True)"""
    assert dangers(examples) == examples.splitlines()
