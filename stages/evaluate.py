"""Test the best weights on rows that no stage before has used."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import BaseModel, Field
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from stages.parts.atomic_write import atomic_write
from stages.parts.interval import wilson_interval
from stages.parts.model import MLP, Architecture
from stages.parts.params import Number, Params, read_params
from stages.parts.schema import Schema, read_schema
from stages.parts.split import Split, read_split
from stages.parts.user_error import user_errors_in_one_line


class EvaluateParams(Params):
    """The `evaluate` section of params.yaml."""

    confidence: Number = Field(gt=0, lt=1, description="a number between 0 and 1")


class Interval(BaseModel):
    low: float
    high: float


class ClassMetrics(BaseModel):
    precision: float
    recall: float
    f1: float
    n_test: int


class Metrics(BaseModel):
    """What metrics.json holds; log loss is in nats, the others lie between 0 and 1."""

    accuracy: float
    accuracy_interval: Interval
    log_loss: float
    macro_f1: float
    n_test: int
    classes: dict[str, ClassMetrics]


def main() -> None:
    params = read_params("evaluate", EvaluateParams)
    architecture = read_params("train", Architecture, only_its_keys=True)
    schema = read_schema(Path("data/prepared/schema.json"))
    test = read_split(Path("data/prepared/test.parquet"))
    model = MLP(
        schema.n_features,
        len(schema.classes),
        architecture.hidden,
        architecture.activation,
        architecture.dropout,
    )
    model.load_state_dict(torch.load("models/weights.pt", weights_only=True))

    probabilities = predict_probabilities(model, test.features)
    metrics = measure(test.target, probabilities, schema.classes, params.confidence)
    predictions = predictions_table(test, probabilities, schema)

    with atomic_write(Path("reports/predictions.csv")) as temporary:
        predictions.to_csv(temporary, index=False, lineterminator="\n")
    with atomic_write(Path("metrics.json")) as temporary:
        temporary.write_text(metrics.model_dump_json(indent=2) + "\n", encoding="utf-8")

    print(
        f"accuracy {metrics.accuracy:.3f} on {metrics.n_test} test rows; {params.confidence:.0%} "
        f"interval {metrics.accuracy_interval.low:.3f} to {metrics.accuracy_interval.high:.3f}"
    )


@torch.no_grad()
def predict_probabilities(model: MLP, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return class probabilities, shape (n, n_classes), of features, shape (n, n_features)."""
    # The number of threads decides how sums are rounded.
    torch.set_num_threads(1)
    model.eval()
    logits = model(torch.from_numpy(features)).double()
    probabilities: npt.NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
    return probabilities


def measure(
    target: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    classes: list[str],
    confidence: float,
) -> Metrics:
    """Compare class indices, shape (n,), with predicted probabilities, shape (n, n_classes)."""
    predicted = probabilities.argmax(axis=1)
    n_test = len(target)
    accuracy = accuracy_score(target, predicted)
    labels = range(len(classes))
    low, high = wilson_interval(int((predicted == target).sum()), n_test, confidence)
    precision, recall, f1, support = precision_recall_fscore_support(
        target, predicted, labels=labels, zero_division=0.0
    )
    return Metrics(
        accuracy=accuracy,
        accuracy_interval=Interval(low=low, high=high),
        log_loss=log_loss(target, probabilities, labels=labels),
        macro_f1=f1.mean(),
        n_test=n_test,
        classes={
            name: ClassMetrics(
                precision=precision[index],
                recall=recall[index],
                f1=f1[index],
                n_test=support[index],
            )
            for index, name in enumerate(classes)
        },
    )


def predictions_table(
    test: Split, probabilities: npt.NDArray[np.float64], schema: Schema
) -> pd.DataFrame:
    """Return a row for each test row: its place in the source table, its class, and the model's."""
    classes = np.array(schema.classes)
    table = pd.DataFrame(
        {
            "row": test.rows,
            "actual": classes[test.target],
            "predicted": classes[probabilities.argmax(axis=1)],
        }
    )
    for index, name in enumerate(schema.classes):
        table[f"probability_{name}"] = probabilities[:, index]
    return table


if __name__ == "__main__":
    with user_errors_in_one_line("evaluate"):
        main()
