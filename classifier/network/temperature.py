"""Temperature scaling: logits divided by a number, for probabilities that are right as often.

Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. Q. (2017), "On calibration of modern neural
networks", ICML 34, https://arxiv.org/abs/1706.04599.
"""

import copy
import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from torch import Tensor

from classifier.network.model import MLP, predict_probabilities

LARGEST = 20.0
"""Of temperatures, and 1 over it is the smallest."""


def fit_temperature(
    network: MLP,
    weights: dict[str, Tensor],
    features: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
) -> float:
    """Return the temperature with which a network's log loss is lowest.

    It is 1 where all rows are right: the lower the temperature, the better for these, down to
    probabilities of 0 and 1, which says nothing about others.

    Parameters
    ----------
    network
        On any device.
    weights
        Its `state_dict`.
    features, target
        Of rows that it was not fitted to, shapes (n, n_features) and (n,).

    """
    trial = copy.deepcopy(network).cpu()
    trial.load_state_dict(weights)
    if (predict_probabilities(trial, features).argmax(axis=1) == target).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        trial.load_state_dict(with_temperature(trial, weights, math.exp(log_temperature)))
        of_target = predict_probabilities(trial, features)[np.arange(len(target)), target]
        return -float(np.log(np.maximum(of_target, np.finfo(np.float64).tiny)).mean())

    limit = math.log(LARGEST)
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return math.exp(found.x)


def with_temperature(
    network: MLP, weights: dict[str, Tensor], temperature: float
) -> dict[str, Tensor]:
    """Return the weights of the same network with its logits divided by `temperature`.

    Those of several members are each divided, before their probabilities are averaged.
    """
    last_layer = f"layers.{len(network.layers) - 1}."
    return {
        name: weight / temperature if name.startswith(last_layer) else weight
        for name, weight in weights.items()
    }
