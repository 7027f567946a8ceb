"""The page to hand on, report.html, and the model card: the same facts in two templates.

A third is for the page of `check`.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from importlib.metadata import version
from operator import getitem
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from pydantic import BaseModel

from classifier.evaluation.evaluated import Evaluated
from classifier.evaluation.words import verdicts
from classifier.io.schema import Schema, TableReport
from classifier.io.yaml_text import in_yaml
from classifier.search.search_report import SearchReport
from classifier.verdict import TrainingReport, what_happened, what_to_do

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "matthews_correlation": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier_score": "Brier score",
    "expected_calibration_error": "calibration error",
    "classwise_calibration_error": "classwise calibration error",
}

SMALL = 0.1
"""Numbers below it have 3 digits, however small: 0.000 would say nothing."""

PACKAGES = ("torch", "scikit-learn", "pandas", "numpy", "scipy", "skrub")
"""The packages that numbers come from."""

MOST_LISTED = 30
"""A table of classes has no more of them."""

MOST_COLUMNS = 8
"""Of rows of the source table, no more columns are shown."""


@dataclass(frozen=True)
class Facts:
    """What the stages have found."""

    metrics: Evaluated
    training: TrainingReport
    table: TableReport
    schema: Schema
    rows: dict[str, list[int]]
    """How many rows of each class there are in each part, as in `ClassCounts`."""
    params: dict[str, dict[str, Any]]
    """The parameters by section, but for those that say where and how fast it runs."""
    left_out: list[str]
    """Sentences that say why simple models are no baselines."""
    search: SearchReport | None
    """The search that has found the parameters; None if none has."""
    importance: pd.DataFrame
    """What importance.csv holds."""
    most_wrong: pd.DataFrame
    """What most_wrong.csv holds: behind four columns of ours, those of the table."""

    @property
    def data(self) -> str:
        return str(self.params["prepare"]["data"])

    @property
    def parts(self) -> dict[str, list[int]]:
        """The same with each row once: with several folds, validation rows train other networks."""
        if self.metrics.out_of_fold is None:
            return self.rows
        name = f"train (in {self.metrics.out_of_fold.n_networks} folds)"
        return {name: self.rows["train"], "test": self.rows["test"]}

    def verdicts(self) -> list[str]:
        """Return what `evaluate` has said: whether it is any good."""
        n_train = self.rows["train"]
        said = verdicts(
            self.metrics,
            self.schema.classes[n_train.index(max(n_train))],
            self.params["evaluate"]["confidence"],
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


def write_page(facts: Facts, intended_use: str, pictures: Mapping[str, bytes]) -> str:
    """Return one HTML file that needs nothing else.

    The intended use is Markdown, in which HTML stays text; the pictures are PNG files, by name.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
    return filled_in(
        "page.html",
        facts.metrics,
        facts=facts,
        # It lets no HTML through.
        intended_use=Markup(markdown.render(intended_use)),  # noqa: S704
        pictures={
            name: f"data:image/png;base64,{base64.b64encode(picture).decode()}"
            for name, picture in pictures.items()
        },
    )


def write_card(facts: Facts, intended_use: str) -> str:
    """Return a model card in Markdown, with the metadata that model hubs read.

    Their form: https://huggingface.co/docs/hub/model-cards#model-card-metadata
    """
    return filled_in("card.md", facts.metrics, facts=facts, intended_use=intended_use.strip())


def filled_in(template: str, numbers: BaseModel, **parts: object) -> str:
    """Return a template with its parts, and numbers, which it shows by their place in JSON."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    content = numbers.model_dump(mode="json")

    def number(*path: str) -> Markup:
        """Show the number at a place of the JSON file, and which."""
        value: Any = reduce(getitem, path, content)
        place = Markup.escape(json.dumps(path))
        return Markup('<data value="{}" data-path="{}">{}</data>').format(
            json.dumps(value), place, rounded(value)
        )

    environment.globals["number"] = number
    environment.filters |= {"rounded": rounded, "cell": cell, "in_yaml": in_yaml}
    return environment.get_template(template).render(
        metric_names=METRICS,
        most_classes=MOST_LISTED,
        most_columns=MOST_COLUMNS,
        **parts,
    )


def rounded(value: float | None) -> str:
    """Return a number as people read it: counts whole, others to 3 places or digits."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if value == 0 or abs(value) >= SMALL else f"{value:#.3g}"


def cell(text: str) -> str:
    """Return a text for a line of Markdown, in which nothing of it has a meaning."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", " ".join(text.split()))
