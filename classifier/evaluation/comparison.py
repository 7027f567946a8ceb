"""The network beside the baselines, on the same test rows."""

import numpy as np
from scipy.stats import binomtest

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
    one_is_right = differences["accuracy_difference"][differences["accuracy_difference"] != 0]
    intervals = bootstrap_intervals(
        lambda counts: {name: counts @ values / n for name, values in differences.items()},
        n,
        confidence,
    )
    return Comparison.model_validate(
        {
            **score(baseline).model_dump(),
            "threshold": baseline.decision.threshold_of_positive,
            **{name: values.mean() for name, values in differences.items()},
            "accuracy_difference_interval": None,
            "accuracy_p_value": binomtest(int((one_is_right > 0).sum()), len(one_is_right)).pvalue
            if len(one_is_right)
            else 1.0,
            "log_loss_difference_interval": None,
            **{f"{name}_interval": interval for name, interval in intervals.items()},
        }
    )
