"""The page to hand on, report.html, and the model card: the same facts."""

import base64
import json
import re
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup

from classifier.io.yaml_text import to_yaml
from classifier.report.facts import MOST_LISTED, Facts

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

HUB_METRICS = {"accuracy": "accuracy", "f1": "macro_f1", "roc_auc": "roc_auc"}
"""What the model hub calls the metrics that it knows."""


def write_page(facts: Facts, intended_use: str, pictures: Mapping[str, bytes]) -> str:
    """Return one HTML file that needs nothing else.

    Parameters
    ----------
    facts
        What the stages have found.
    intended_use
        Markdown; HTML in it stays text.
    pictures
        PNG files, by name.

    """
    markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
    embedded = {
        name: f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        for name, picture in pictures.items()
    }
    return _template("page.html", facts).render(
        facts=facts,
        metric_names=METRICS,
        most_classes=MOST_LISTED,
        # It lets no HTML through.
        intended_use=Markup(markdown.render(intended_use)),  # noqa: S704
        pictures=embedded,
    )


def write_card(facts: Facts, intended_use: str) -> str:
    """Return a model card in Markdown, with the metadata that model hubs read.

    Their form: https://huggingface.co/docs/hub/model-cards#model-card-metadata
    """
    metrics = facts.metrics.model_dump()
    metadata = {
        "library_name": "onnx",
        "pipeline_tag": "tabular-classification",
        "tags": ["tabular-classification"],
        "model-index": [
            {
                "name": f"{facts.schema.target} classifier",
                "results": [
                    {
                        "task": {"type": "tabular-classification"},
                        "dataset": {
                            "name": facts.data,
                            "type": Path(facts.data).name,
                            "split": "test",
                        },
                        "metrics": [
                            {"type": name, "value": metrics[key], "name": METRICS[key]}
                            for name, key in HUB_METRICS.items()
                            if metrics[key] is not None
                        ],
                    }
                ],
            }
        ],
    }
    return _template("card.md", facts).render(
        facts=facts,
        metric_names=METRICS,
        most_classes=MOST_LISTED,
        metadata=to_yaml(metadata),
        intended_use=intended_use.strip(),
    )


def _template(name: str, facts: Facts) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    metrics = facts.metrics.model_dump(mode="json")

    def number(*path: str) -> Markup:
        """Show the number at a place of metrics.json, and which."""
        value: Any = reduce(getitem, path, metrics)
        place = Markup.escape(json.dumps(path))
        return Markup('<data value="{}" data-path="{}">{}</data>').format(
            json.dumps(value), place, rounded(value)
        )

    environment.globals["number"] = number
    environment.filters["rounded"] = rounded
    environment.filters["cell"] = cell
    return environment.get_template(name)


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
