"""Test the best weights on rows that no stage before has used."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from classifier.evaluation.answers import Answers, decide, find_positive
from classifier.evaluation.evaluated import Evaluated, OutOfFold, Uncalibrated
from classifier.evaluation.importance import permutation_importance
from classifier.evaluation.metrics import compare, measure, reliability, score
from classifier.evaluation.predictions import curves, most_wrong, predictions_table, with_cells
from classifier.evaluation.slices import groups, measure_slices
from classifier.evaluation.words import threshold_in_words, verdicts
from classifier.io.files import read_json, write_json
from classifier.io.later_params import MOST_PROBABLE, EvaluateParams
from classifier.io.params import read_params, read_section
from classifier.io.prepared import (
    BASELINE,
    CELLS,
    PREPARED,
    TEST_FILE,
    VAL_FILE,
    PreparedRows,
    Split,
    open_parquet,
    read_probabilities,
    read_split,
)
from classifier.io.schema import TextColumn, read_schema
from classifier.io.table_writer import table_writer
from classifier.io.user_error import user_errors_in_one_line
from classifier.network.model import Task, load_networks, predict_left_out, predict_probabilities
from classifier.network.temperature import with_temperature

REPORTS = Path("reports")


def main() -> None:
    params = read_params("evaluate", EvaluateParams)
    schema = read_schema(PREPARED / "schema.json")
    classes = schema.classes
    params.must_suit(classes)
    n_train = np.array(read_json(PREPARED / "rows.json", PreparedRows).class_counts.train)
    left_out, test = map(read_split, (VAL_FILE, TEST_FILE))
    with open_parquet(CELLS) as file:
        # By column, whether it holds numbers or texts.
        holds_values = {field.name: not pa.types.is_null(field.type) for field in file.schema_arrow}
    params.must_slice(holds_values, read_section("prepare")["data"])
    trained, temperature = load_networks(
        Path("models/weights.pt"), Task.of(schema), n=1 + int(left_out.fold.max())
    )
    networks = [with_temperature(network, temperature) for network in trained]
    positive = find_positive(params.positive_class, classes, n_train)

    of_left_out = {
        "network": predict_left_out(networks, left_out.features, left_out.fold),
        **read_probabilities(BASELINE / "val.parquet"),
    }
    of_test = {
        "network": predict_probabilities(networks, test.features),
        **read_probabilities(BASELINE / "test.parquet"),
    }
    models = {
        name: Answers(
            test.target,
            of_test[name],
            decide(params.threshold, positive, left_out.target, probabilities),
        )
        for name, probabilities in of_left_out.items()
    }
    answers = models["network"]
    threshold = answers.decision.threshold
    out_of_fold = replace(answers, target=left_out.target, probabilities=of_left_out["network"])

    def mean_loss(rows: Split) -> float:
        probabilities = predict_left_out(networks, rows.features, rows.fold)
        of_rows = replace(answers, target=rows.target, probabilities=probabilities)
        return float(of_rows.log_losses().mean())

    importance = permutation_importance(
        mean_loss,
        left_out,
        schema.feature_slices,
        repeats=params.importance_repeats,
        confidence=params.confidence,
    )
    roc, precision_recall = curves(models, classes)
    wrong = most_wrong(test, answers, classes)
    # What the answers depend on most comes first.
    columns = dict.fromkeys([*importance["column"], *holds_values])
    free_texts = {column.name for column in schema.columns if isinstance(column, TextColumn)}
    cells_of_wrong = read_cells([name for name in columns if name != schema.target], wrong.index)

    majority_class = int(n_train.argmax())
    how = classes, majority_class, params.confidence
    evaluated = Evaluated(
        **measure(answers, *how).model_dump(),
        positive_class=None if positive is None else classes[positive],
        threshold=threshold,
        temperature=temperature,
        uncalibrated=None,
        baselines={
            name: compare(answers, one, params.confidence)
            for name, one in models.items()
            if name != "network"
        },
        slices={
            name: measure_slices(answers, groups(cells), params.confidence)
            for name, cells in read_cells(params.slices).items()
        },
    )
    if temperature != 1:
        probabilities = predict_probabilities(trained, test.features)
        scores = score(replace(answers, probabilities=probabilities))
        evaluated.uncalibrated = Uncalibrated.model_validate(scores.model_dump())
    if len(networks) > 1:
        metrics = measure(out_of_fold, *how, rows="left-out")
        evaluated.out_of_fold = OutOfFold(
            **metrics.model_dump(), n_left_out=metrics.n_test, n_networks=len(networks)
        )

    for name, content in {
        "predictions": predictions_table(test, answers, classes),
        "out_of_fold": predictions_table(left_out, out_of_fold, classes).assign(fold=left_out.fold),
        "most_wrong": with_cells(wrong, cells_of_wrong, free_texts),
        "reliability": reliability(answers, classes, params.confidence),
        "importance": importance,
        "roc": roc,
        "precision_recall": precision_recall,
    }.items():
        with table_writer(REPORTS / f"{name}.csv") as write:
            write(content)
    write_json(Path("metrics.json"), evaluated)

    balanced = read_section("train").get("class_weights") == "balanced"
    said = verdicts(evaluated, classes[majority_class], params.confidence, balanced=balanced)
    print(*said, sep="\n")
    if positive is not None and threshold is not None and threshold != MOST_PROBABLE:
        print(threshold_in_words(classes[positive], threshold))


def read_cells(names: Iterable[str], rows: pd.Index | None = None) -> dict[str, pd.Series]:
    """Return columns of some test rows, or of all, as `prepare` has written them.

    These are numbers, or texts without blanks around them, NaN for gaps.
    """
    found = {}
    with open_parquet(CELLS) as file:
        for name in names:
            # With what else is selected: pyarrow takes a name before a dot for one with parts.
            column = file.read(columns=[name]).column(name)
            some = column if rows is None else column.take(pa.array(rows))
            found[name] = some.to_pandas().replace({None: np.nan})
    return found


if __name__ == "__main__":
    with user_errors_in_one_line("evaluate"):
        main()
