"""Test the best weights on rows that no stage before has used."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier.evaluation.answers import Answers, log_losses
from classifier.evaluation.calibration import reliability
from classifier.evaluation.evaluated import Evaluated, Uncalibrated
from classifier.evaluation.importance import permutation_importance
from classifier.evaluation.metrics import compare, measure, score
from classifier.evaluation.predictions import curves, most_wrong, predictions_table
from classifier.evaluation.slices import groups, measure_slices, read_cells
from classifier.evaluation.threshold import decide, find_positive
from classifier.evaluation.words import (
    threshold_in_words,
    verdicts,
)
from classifier.io.files import write_json
from classifier.io.later_params import MOST_PROBABLE, EvaluateParams
from classifier.io.params import read_params, read_section
from classifier.io.prepared import read_probabilities, read_split, read_target
from classifier.io.schema import read_schema
from classifier.io.table_writer import table_writer
from classifier.io.user_error import user_errors_in_one_line
from classifier.network.model import Task, load_network, predict_probabilities
from classifier.network.temperature import with_temperature

PREPARED, BASELINE, REPORTS = Path("data/prepared"), Path("data/baseline"), Path("reports")
CELLS = Path("data/cells/test.parquet")


def main() -> None:
    params = read_params("evaluate", EvaluateParams)
    schema = read_schema(PREPARED / "schema.json")
    classes = schema.classes
    params.must_suit(classes)
    train_target = read_target(PREPARED / "train.parquet")
    val, test = (read_split(PREPARED / f"{part}.parquet") for part in ("val", "test"))
    source = read_section("prepare")["data"]
    cells = read_cells(CELLS, params, source)
    trained, temperature = load_network(Path("models/weights.pt"), Task.of(schema))
    network = with_temperature(trained, temperature)
    positive = find_positive(params.positive_class, classes, train_target)

    def answers_of(of_val: npt.NDArray[np.float64], of_test: npt.NDArray[np.float64]) -> Answers:
        """Take the validation rows alone for what is chosen."""
        decision = decide(params.threshold, positive, val.target, of_val)
        return Answers(test.target, of_test, decision)

    answers = answers_of(*(predict_probabilities(network, one.features) for one in (val, test)))
    val_of_baselines, test_of_baselines = (
        read_probabilities(BASELINE / f"{part}.parquet") for part in ("val", "test")
    )
    baselines = {
        name: answers_of(of_val, test_of_baselines[name])
        for name, of_val in val_of_baselines.items()
    }
    majority_class = int(np.bincount(train_target).argmax())
    metrics = measure(answers, classes, majority_class, params.confidence)
    comparisons = {
        name: compare(answers, of_baseline, params.confidence)
        for name, of_baseline in baselines.items()
    }
    slices = {
        column: measure_slices(answers, groups(cells[column]), params.confidence)
        for column in params.slices
    }
    importance = permutation_importance(
        lambda features, target: log_losses(
            target, predict_probabilities(network, features)
        ).mean(),
        val.features,
        val.target,
        schema.feature_slices,
        repeats=params.importance_repeats,
        confidence=params.confidence,
    )
    roc, precision_recall = curves({"network": answers, **baselines}, classes)
    uncalibrated = None
    if temperature != 1:
        probabilities = predict_probabilities(trained, test.features)
        scores = score(Answers(test.target, probabilities, answers.decision))
        uncalibrated = Uncalibrated.model_validate(scores.model_dump())

    evaluated = Evaluated(
        **metrics.model_dump(),
        positive_class=None if positive is None else classes[positive],
        threshold=answers.decision.threshold_of_positive,
        temperature=temperature,
        uncalibrated=uncalibrated,
        baselines=comparisons,
        slices=slices,
    )

    for name, content in {
        "predictions": predictions_table(test, answers, classes),
        "most_wrong": most_wrong(test, answers, classes),
        "reliability": reliability(answers, classes, params.confidence),
        "importance": importance,
        "roc": roc,
        "precision_recall": precision_recall,
    }.items():
        with table_writer(REPORTS / f"{name}.csv") as write:
            write(content)
    write_json(Path("metrics.json"), evaluated)

    balanced = read_section("train").get("class_weights") == "balanced"
    for sentence in verdicts(
        evaluated, classes[majority_class], params.confidence, balanced=balanced
    ):
        print(sentence)
    if positive is not None and answers.decision.threshold != MOST_PROBABLE:
        print(threshold_in_words(classes[positive], answers.decision.threshold))


if __name__ == "__main__":
    with user_errors_in_one_line("evaluate"):
        main()
