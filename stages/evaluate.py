"""Test the best weights on rows that no stage before has used."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import Field

from classifier.evaluation.calibration import reliability
from classifier.evaluation.comparison import MetricsAndComparisons, compare, comparison_in_words
from classifier.evaluation.metrics import in_words, measure
from classifier.io.atomic_write import write_json
from classifier.io.params import Number, Params, read_params
from classifier.io.prepared import Split, read_split, read_target
from classifier.io.probabilities import read_probabilities
from classifier.io.schema import Schema, read_schema
from classifier.io.table_writer import table_writer
from classifier.io.user_error import user_errors_in_one_line
from classifier.model import MLP, Architecture, Task, load_weights, make_network


class EvaluateParams(Params):
    """The `evaluate` section of params.yaml."""

    confidence: Number = Field(gt=0, lt=1, description="a number between 0 and 1")


def main() -> None:
    params = read_params("evaluate", EvaluateParams)
    architecture = read_params("train", Architecture, only_its_keys=True)
    schema = read_schema(Path("data/prepared/schema.json"))
    test = read_split(Path("data/prepared/test.parquet"))
    train_target = read_target(Path("data/prepared/train.parquet"))
    task = Task.of(schema)
    model = make_network(architecture, task)
    load_weights(model, Path("models/weights.pt"))

    probabilities = predict_probabilities(model, test.features)
    majority_class = int(np.bincount(train_target).argmax())
    metrics = measure(test.target, probabilities, schema.classes, majority_class, params.confidence)
    comparisons = {
        name: compare(test.target, probabilities, of_baseline, params.confidence)
        for name, of_baseline in read_probabilities(Path("data/baseline/test.parquet")).items()
    }
    predictions = predictions_table(test, probabilities, schema)
    bins = reliability(test.target, probabilities, params.confidence)

    with table_writer(Path("reports/predictions.csv")) as write:
        write(predictions)
    with table_writer(Path("reports/reliability.csv")) as write:
        write(bins)
    write_json(
        Path("metrics.json"),
        MetricsAndComparisons(**metrics.model_dump(), baselines=comparisons),
    )

    print(in_words(metrics, schema.classes[majority_class], params.confidence))
    for name, comparison in comparisons.items():
        print(comparison_in_words(name, comparison, len(test.target)))


@torch.no_grad()
def predict_probabilities(model: MLP, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return class probabilities, shape (n, n_classes), of features, shape (n, n_features)."""
    # The number of threads decides how sums are rounded.
    torch.set_num_threads(1)
    model.eval()
    logits = torch.cat([model(part) for part in model.parts(torch.from_numpy(features))]).double()
    probabilities: npt.NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
    return probabilities


def predictions_table(
    test: Split, probabilities: npt.NDArray[np.float64], schema: Schema
) -> pd.DataFrame:
    """Return a row for each test row: its place in the source table, its class, and the model's."""
    columns = {
        "row": test.rows,
        "actual": pd.Categorical.from_codes(test.target, schema.classes),
        "predicted": pd.Categorical.from_codes(probabilities.argmax(axis=1), schema.classes),
    }
    for index, name in enumerate(schema.classes):
        columns[f"probability_{name}"] = probabilities[:, index]
    return pd.DataFrame(columns)


if __name__ == "__main__":
    with user_errors_in_one_line("evaluate"):
        main()
