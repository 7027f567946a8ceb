"""The exported model in another language: JavaScript, with the runtime that browsers load."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier.exported_model.load import ExportedModel
from tests.conftest import REPOSITORY, Project
from tests.in_process import raw_of, run_all
from tests.readme import fenced, read
from tests.test_exported_model import QUICK
from tests.test_networks import table_of_all_kinds

NODE = shutil.which("node")
PACKAGES = REPOSITORY / "tests/node_modules"

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="there is no node; .ci/run installs it"),
    pytest.mark.skipif(
        not (PACKAGES / "onnxruntime-web").is_dir(),
        reason="onnxruntime-web is not in tests/node_modules; .ci/run installs it",
    ),
]


def run_javascript(folder: Path, program: str) -> str:
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "program.mjs").write_text(program)
    result = subprocess.run(
        [str(NODE), "program.mjs"], cwd=folder, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_the_program_on_the_page(project: Project) -> None:
    (program,) = fenced(read("docs/loading-a-model.md"), "js")
    printed = run_javascript(project.path, program)
    (python,) = [one for one in fenced(read("docs/loading-a-model.md"), "python") if "onnx" in one]
    expected = project.run("python", "-c", f"{python}\nprint(predicted[0], *probabilities[0])")
    name, *probabilities = expected.stdout.split()
    found, _, numbers = printed.replace(",", " ").partition("Float64Array(3) [")
    assert found.strip() == name == "setosa"
    # Single precision, added up in another order.
    ours = [float(number) for number in numbers.strip(" ]\n").split()]
    assert ours == pytest.approx([float(number) for number in probabilities], abs=1e-6)


PROGRAM = """
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const session = await ort.InferenceSession.create("models/model.onnx");
const table = JSON.parse(readFileSync("table.json"));
const inputs = {};
for (const [name, values] of Object.entries(table)) {
  if (name === "remark") {
    const longest = Math.max(...values.map((text) => text.length));
    const codes = new Int32Array(values.length * longest);
    values.forEach((text, row) => {
      codes.set(Int32Array.from(text, (character) => character.codePointAt(0)), row * longest);
    });
    inputs[name] = new ort.Tensor("int32", codes, [values.length, longest]);
    continue;
  }
  const isText = values.some((value) => typeof value === "string");
  const numbers = () => values.map((value) => value ?? NaN);
  inputs[name] = new ort.Tensor(
    isText ? "string" : "float64", isText ? values : numbers(), [values.length, 1]
  );
}
const { probabilities, predicted } = await session.run(inputs);
console.log(JSON.stringify({ probabilities: [...probabilities.data], predicted: predicted.data }));
"""


def test_texts_gaps_and_dates(folder: Path) -> None:
    table = table_of_all_kinds()
    table.loc[::7, "color"] = "NA"
    table.loc[:2, "color"] = ["blé", "RED", "?"]
    remarks = ["Ünique 🔻👽 ΣΑΣ", "", "some words", "other WORDS", "NA"]
    table["remark"] = [remarks[i % 5] + str(i // 5) * (i % 5 != 1) for i in range(len(table))]
    table.to_csv("t.csv", index=False)
    params = {"prepare__missing_indicator": True, "prepare__scaler": "squash"}
    params["prepare__text"] = ["remark"]
    run_all(folder, "t.csv", "y", **QUICK, **params, train__members=3)
    model = ExportedModel(folder / "models/model.onnx")
    raw = raw_of("t.csv", model.schema)
    columns = {name: pd.Series(values).tolist() for name, values in raw.items()}
    columns["color"] = table["color"].tolist()
    (folder / "table.json").write_text(json.dumps(columns).replace("NaN", "null"))
    found = json.loads(run_javascript(folder, PROGRAM))
    expected = model.probabilities(raw)
    np.testing.assert_allclose(np.reshape(found["probabilities"], (-1, 2)), expected, atol=1e-6)
    names = np.array(model.schema.classes)
    assert found["predicted"] == names[expected.argmax(axis=1)].tolist()
