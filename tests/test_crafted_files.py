"""Files that somebody made to do harm: each is refused in one line, and nothing in it is run."""

import ast
import hashlib
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from onnx import ModelProto, TensorProto, helper

from classifier.exported_model.seal import SEAL_LENGTH, sealed
from tests.conftest import REPOSITORY, Project
from tests.readme import PAGES, fenced, read


class Command:
    """What makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch pwned",)


PICKLE = pickle.dumps(Command())
NESTED = "[" * 100_000
YAML = "!!python/object/apply:os.system ['touch pwned']"


def refused(project: Project, *command: str) -> str:
    """Return the line with which a command refuses."""
    result = project.run(*command, status=1)
    assert not (project.path / "pwned").exists()
    (line,) = result.stderr.splitlines()
    assert "Traceback" not in result.stdout
    assert "EP Error" not in result.stdout
    return line


def predict(project: Project) -> str:
    command = ["-m", "commands.predict", "data/iris.csv", "-o", "out.csv", "--model", "bad.onnx"]
    line = refused(project, sys.executable, *command)
    assert not (project.path / "out.csv").exists()
    return line


@pytest.fixture(scope="module")
def _crafted(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return _trained.copy(tmp_path_factory.mktemp("crafted") / "project")


@pytest.fixture
def crafted(_crafted: Project) -> Project:
    """A project that each test leaves as it was."""
    return _crafted


def test_the_pickles_here_do_run_what_they_say(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        pickle.loads(PICKLE)  # noqa: S301
        torch.save(Command(), "file.pt")
        assert Path("pwned").exists()
        Path("pwned").unlink()
        torch.load("file.pt", weights_only=False)
        assert Path("pwned").exists()
    finally:
        os.chdir(before)


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
def test_a_model_that_is_none(crafted: Project, craft: Callable[[Path], None]) -> None:
    craft(crafted.path / "bad.onnx")
    assert "bad.onnx is not a model that this pipeline exports, or it is da" in predict(crafted)


def with_weights_elsewhere(model: ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="params.yaml")


def with_a_constant_elsewhere(model: ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["constant"], value=TensorProto())
    with_weights_elsewhere(model)
    constant.attribute[0].t.CopyFrom(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.load("models/model.onnx").graph.initializer[0])
    model.graph.node.append(constant)


def with_an_operator_of_the_runtime(model: ModelProto) -> None:
    model.graph.node.append(
        helper.make_node("EPContext", [], ["context"], domain="com.microsoft", embed_mode=0)
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def with_a_loop(model: ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go on"], ["still"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go on", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))


def with_a_function(model: ModelProto) -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [identity], opsets))


def with_another_input(model: ModelProto) -> None:
    model.graph.input[0].name = "password"


def with_texts_for_numbers(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def without_schema(model: ModelProto) -> None:
    del model.metadata_props[:]


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


CRAFTED: list[tuple[Callable[[ModelProto], None], str]] = [
    (with_weights_elsewhere, "asks for other files"),
    (with_a_constant_elsewhere, "asks for other files"),
    (with_an_operator_of_the_runtime, "asks for operators that no model has .*: 'EPContext'"),
    (with_a_loop, "asks for operators that no model has .*: 'Loop'"),
    (with_a_function, "asks for operators that no model has .*: 'Relu'"),
    (with_another_input, "does not take the columns of its schema"),
    (with_texts_for_numbers, "does not take the columns of its schema"),
    (without_schema, "is not a model that this pipeline exports"),
    (with_a_schema_that_is_none, "is not a model that this pipeline exports"),
    (with_a_class_more, "does not return the probabilities of its classes"),
    (with_an_unknown_operator, "cannot be run: .* System"),
    (with_a_shape_that_does_not_fit, "cannot be run: "),
    (without_an_end, "cannot be run: "),
    (with_a_name_that_is_no_text, "cannot be run: "),
]


@pytest.mark.parametrize(("change", "expected"), CRAFTED)
def test_a_model_that_asks_for_more_than_to_be_computed(
    crafted: Project,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[ModelProto], None],
    expected: str,
) -> None:
    monkeypatch.chdir(crafted.path)
    content = Path("models/model.onnx").read_bytes()[:-SEAL_LENGTH]
    model = onnx.load_model_from_string(content)
    change(model)
    # Whoever crafts a file can seal it as well.
    Path("bad.onnx").write_bytes(sealed(model.SerializeToString()))
    line = predict(crafted)
    assert line.startswith("predict: error: bad.onnx ")
    assert re.search(expected, line), line


@pytest.mark.parametrize("craft", NO_MODELS)
def test_weights_that_are_none(project: Project, craft: Callable[[Path], None]) -> None:
    craft(project.path / "models/weights.pt")
    line = refused(project, sys.executable, "-m", "stages.evaluate")
    assert line.startswith("evaluate: error: models/weights.pt does not hold the weights of this")
    # Through DVC, they are the right ones again.
    metrics = project.contents("metrics.json")
    project.repro()
    assert project.contents("metrics.json") == metrics


def test_a_saved_state_that_is_none(project: Project) -> None:
    (state,) = (project.path / ".training").glob("*.state")
    checkpoint = project.path / "checkpoint"
    about = state.read_bytes().split(b"\n")[1]
    project.set_params(train__max_epochs=80)
    for craft in NO_MODELS:
        craft(checkpoint)
        # With the checksum that it should have.
        content = about + b"\n" + checkpoint.read_bytes()
        state.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        line = refused(project, sys.executable, "-m", "stages.train")
        assert line == (
            "train: error: a state in .training/ is none that training has saved; to train from "
            "the start, remove that folder"
        )


@pytest.mark.parametrize(
    "about",
    [b"[]", b'{"version": 1}', NESTED.encode(), b"\xff"],
    ids=["list", "too little", "nested", "no text"],
)
def test_a_saved_state_about_nothing(project: Project, about: bytes) -> None:
    (state,) = (project.path / ".training").glob("*.state")
    content = about + b"\n" + PICKLE
    state.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    project.set_params(train__max_epochs=80)
    result = project.stage("train")
    assert f"{state.relative_to(project.path)} is not usable (it is none that" in result.stdout
    assert not (project.path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{}", YAML, NESTED, '{"target": 1}'],
    ids=["empty", "nothing", "YAML", "nested", "another type"],
)
@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_schema_that_is_none(crafted: Project, stage: str, content: str) -> None:
    path = crafted.path / "data/prepared/schema.json"
    before = path.read_bytes()
    path.write_text(content)
    line = refused(crafted, sys.executable, "-m", f"stages.{stage}")
    assert line == (
        f"{stage}: error: data/prepared/schema.json is not a schema that prepare has written; "
        "to make it anew: dvc repro"
    )
    path.write_bytes(before)


@pytest.mark.parametrize(
    ("content", "stages"),
    [
        (YAML, ["prepare", "train", "baseline", "evaluate", "plot"]),
        (f"train: {YAML}", ["train"]),
        (NESTED, ["prepare"]),
    ],
    ids=["YAML", "section", "nested"],
)
def test_parameters_that_are_code(crafted: Project, content: str, stages: list[str]) -> None:
    path = crafted.path / "params.yaml"
    before = path.read_bytes()
    path.write_text(content)
    for stage in stages:
        line = refused(crafted, sys.executable, "-m", f"stages.{stage}")
        assert line.startswith(f"{stage}: error: params.yaml"), line
    path.write_bytes(before)


SHELL = "$(touch pwned); touch pwned; `touch pwned` '"


def parameters() -> list[str]:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    names = [f"{section}.{key}" for section, values in params.items() for key in values]
    torchrun = [f"train.torchrun.{key}" for key in params["train"]["torchrun"]]
    return [name for name in names if name != "train.torchrun"] + torchrun


def test_dvc_runs_nothing_that_a_parameter_says(project: Project) -> None:
    project.set_params(**dict.fromkeys(parameters(), SHELL))
    project.dvc("repro", status=255)
    project.dvc("repro", "--single-item", "plot", status=255)
    assert not (project.path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    [
        YAML,
        f"schema: '2.0'\nstages:\n  train: {YAML}\n",
        "schema: '2.0'\nstages:\n  train:\n    cmd: touch pwned\n",
    ],
    ids=["whole", "stage", "command"],
)
def test_a_record_that_is_code(project: Project, content: str) -> None:
    (project.path / "dvc.lock").write_text(content)
    project.run("bash", "-c", "dvc repro || true")
    project.stage("train")
    assert not (project.path / "pwned").exists()


DANGEROUS = (
    *("pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"),
    *("torch.export.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load"),
    *("eval", "exec", "os.system", "os.popen"),
)
"""What can run code that a file or a parameter brings."""


def dangers(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [one.name for one in names if one.name in DANGEROUS]
            case ast.ImportFrom(module=module) if module in DANGEROUS:
                found.append(str(module))
            case ast.Call(func=function, keywords=keywords):
                name = ast.unparse(function)
                words = {one.arg: ast.unparse(one.value) for one in keywords}
                if name in DANGEROUS or name.endswith(".read_pickle"):
                    found.append(name)
                if name == "torch.load" and words.get("weights_only") != "True":
                    found.append("torch.load without weights_only=True")
                if words.get("allow_pickle", "False") != "False" or "shell" in words:
                    found.append(name)
    return found


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


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.export.load(path)",
        "pd.read_pickle(path)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_what_would_is_found(source: str) -> None:
    assert len(dangers(source)) == 1
