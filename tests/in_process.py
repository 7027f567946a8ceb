"""The stages run here, in a folder of their own, where starting processes would take long."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import yaml

from classifier.exported_model.format import IR_VERSION, OPSETS, Graph
from classifier.io.files import read_json
from classifier.io.prepared import Split, read_split
from classifier.io.profile import Profile
from classifier.io.schema import Schema, read_schema
from classifier.io.user_error import UserError
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import AS_THE_FILE_SAYS
from classifier.tables.values import raw_values
from commands import check, predict, start
from stages import baseline, evaluate, prepare, train
from tests.conftest import REPOSITORY

DEFAULTS: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())


def write_params(folder: Path, **values: object) -> None:
    """Write params.yaml; `train__lr=0.1` sets train.lr."""
    params = {section: dict(keys) for section, keys in DEFAULTS.items()}
    for name, value in values.items():
        section, key = name.split("__")
        params[section][key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def run_prepare(folder: Path, table: str, target: str, **values: object) -> None:
    """Run `prepare` in the current folder, which is `folder`."""
    write_params(folder, prepare__data=table, prepare__target=target, **values)
    prepare.main()


def prepared(part: str) -> Split:
    """Return the train, val or test rows as `prepare` has left them in the current folder."""
    return read_split(Path(f"data/prepared/{part}.parquet"))


def prepared_schema() -> Schema:
    return read_schema(Path("data/prepared/schema.json"))


def prepared_profile() -> Profile:
    return read_json(Path("data/prepared/profile.json"), Profile)


def prepared_bytes() -> dict[str, bytes]:
    """Return all that `prepare` has written for the stages after it, by name."""
    return {path.name: path.read_bytes() for path in Path("data/prepared").iterdir()}


def table_report() -> dict[str, Any]:
    report: dict[str, Any] = json.loads(Path("reports/table.json").read_text())
    return report


def refused(expected: str) -> pytest.RaisesExc[UserError]:
    """Expect a `UserError` in whose message this occurs."""
    return pytest.raises(UserError, match=re.escape(expected))


def raw_of(name: str, schema: Schema) -> dict[str, npt.NDArray[Any]]:
    """Return what `predict` gives to the model for the rows of a file."""
    file = open_table(Path(name), name, AS_THE_FILE_SAYS)
    (cells,) = file.chunks()
    return {
        column.name: raw_values(column, cells[column.name], file.spelling, name)
        for column in schema.columns
    }


def run_all(folder: Path, table: str, target: str, **values: object) -> None:
    """Run the stages but for `plot` in the current folder, which is `folder`.

    Without baselines, if `values` do not name them.
    """
    run_prepare(folder, table, target, **{"baseline__models": [], **values})
    train.main()
    baseline.main()
    evaluate.main()


def run_stages(folder: Path, *names: str) -> str:
    """Run stages in a folder that has their parameters; return what they print.

    A process of its own takes long to import torch and what exports the model.
    """
    stages = {"prepare": prepare, "train": train, "baseline": baseline, "evaluate": evaluate}
    printed = StringIO()
    with chdir(folder), redirect_stdout(printed):
        for name in names:
            stages[name].main()
    return printed.getvalue()


def run_predict(*arguments: str) -> None:
    """Run `python -m commands.predict` with these arguments in the current folder."""
    with patch.object(sys, "argv", ["predict", *arguments]):
        predict.main()


def run_check(*arguments: str) -> int:
    """Run `python -m commands.check` in the current folder; return the exit status."""
    with patch.object(sys, "argv", ["check", *arguments]):
        return check.main()


def run_start(*arguments: str) -> None:
    """Run `python -m commands.start` with these arguments in the current folder."""
    with patch.object(sys, "argv", ["start", *arguments]):
        start.main()


def run_graph(
    graph: Graph, inputs: Mapping[str, npt.NDArray[Any]], outputs: Iterable[str]
) -> list[npt.NDArray[Any]]:
    """Return what a part of an exported model computes of these inputs."""
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(one.dtype) for name, one in inputs.items()}
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "part",
            [onnx.helper.make_tensor_value_info(name, kinds[name], None) for name in inputs],
            [onnx.helper.make_empty_tensor_value_info(name) for name in outputs],
            graph.constants,
        ),
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid(*opset) for opset in OPSETS.items()],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[npt.NDArray[Any]] = session.run(list(outputs), dict(inputs))
    return found
