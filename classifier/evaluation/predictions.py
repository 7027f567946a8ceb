"""The test rows, each with what the model says of it."""

import numpy as np
import pandas as pd

from classifier.evaluation.answers import Answers
from classifier.io.prepared import Split

MOST_WRONG = 20
"""As many rows as a person may look at."""


def predictions_table(test: Split, answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Return a row for each test row: its place in the source table, its class, and the model's."""
    columns = {
        "row": test.rows,
        "actual": pd.Categorical.from_codes(test.target, classes),
        "predicted": pd.Categorical.from_codes(answers.predicted, classes),
    }
    for index, name in enumerate(classes):
        columns[f"probability_{name}"] = answers.probabilities[:, index]
    return pd.DataFrame(columns)


def most_wrong(test: Split, answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Return the rows that are wrong, the surest first, at most `MOST_WRONG` of them.

    Labels that are wrong in the table are often among them.
    """
    of_actual = answers.probabilities[np.arange(len(test.target)), test.target]
    order = np.argsort(of_actual, kind="stable")
    chosen = order[(answers.predicted != test.target)[order]][:MOST_WRONG]
    return pd.DataFrame(
        {
            "row": test.rows[chosen],
            "actual": pd.Categorical.from_codes(test.target[chosen], classes),
            "predicted": pd.Categorical.from_codes(answers.predicted[chosen], classes),
            "probability_of_actual": of_actual[chosen],
        }
    )
