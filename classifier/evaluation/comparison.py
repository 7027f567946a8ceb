"""The network beside the baselines, on the same test rows."""

import numpy as np

from classifier.evaluation.answers import Answers
from classifier.evaluation.bootstrap import bootstrap_intervals
from classifier.evaluation.evaluated import Comparison
from classifier.evaluation.metrics import score


def compare(network: Answers, baseline: Answers, confidence: float) -> Comparison:
    """Compare two models' answers to the same rows."""
    differences = {
        "accuracy_difference": (network.predicted == network.target).astype(np.float64)
        - (baseline.predicted == baseline.target),
        "log_loss_difference": network.log_losses() - baseline.log_losses(),
    }
    n = len(network.target)
    intervals = bootstrap_intervals(
        lambda counts: {name: counts @ values / n for name, values in differences.items()},
        n,
        confidence,
    )
    return Comparison.model_validate(
        {
            **score(baseline).model_dump(),
            **{name: values.mean() for name, values in differences.items()},
            **{f"{name}_interval": interval for name, interval in intervals.items()},
        }
    )
