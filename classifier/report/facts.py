"""What the page and the model card say, apart from the words around it."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from classifier.evaluation.evaluated import Evaluated
from classifier.evaluation.words import verdicts
from classifier.io.schema import Schema, TableReport
from classifier.search.search_report import SearchReport
from classifier.verdict.advice import what_happened, what_to_do
from classifier.verdict.diagnosis import TrainingReport

PACKAGES = ("torch", "scikit-learn", "pandas", "numpy", "scipy", "skrub")
"""Those that numbers come from."""

MOST_LISTED = 30
"""That are listed each."""


@dataclass(frozen=True)
class Facts:
    """What the stages have found."""

    metrics: Evaluated
    training: TrainingReport
    table: TableReport
    schema: Schema
    rows: dict[str, list[int]]
    """How many rows of each class there are in each part."""
    params: dict[str, dict[str, Any]]
    """By section, but for those that say where and how fast it runs."""
    left_out: list[str]
    """Why simple models are no baselines."""
    search: SearchReport | None
    """That has found the parameters; None if none has."""
    importance: pd.DataFrame
    most_wrong: pd.DataFrame

    @property
    def data(self) -> str:
        return str(self.params["prepare"]["data"])

    @property
    def confidence(self) -> float:
        return float(self.params["evaluate"]["confidence"])

    @property
    def n_wrong(self) -> int:
        return round(self.metrics.n_test * (1 - self.metrics.accuracy))

    def verdicts(self) -> list[str]:
        """Return what `evaluate` has said: whether it is any good."""
        said = verdicts(
            self.metrics,
            self.schema.classes,
            self.rows["train"],
            self.confidence,
            balanced=self.params["train"]["class_weights"] == "balanced",
        )
        return [*said, *self.left_out]

    def about_training(self) -> str:
        return f"{what_happened(self.training)} {what_to_do(self.training)}"

    def about_search(self) -> str:
        """Say among how many tries the parameters were chosen, and how much of it is luck."""
        if self.search is None:
            return ""
        luck = "how much of that is luck, they are too few to say"
        if self.search.luck is not None:
            luck = (
                f"about {self.search.luck:.4f} of the loss of {self.search.best_loss:.4f} is "
                "likely luck of choosing"
            )
        return (
            f"Its parameters are the best of {self.search.n_tries} tries by the validation rows: "
            f"{luck}. The test rows had no part in it."
        )

    def versions(self) -> dict[str, str]:
        """Return the versions of packages, without what says which build it is."""
        return {name: version(name).partition("+")[0] for name in PACKAGES}
