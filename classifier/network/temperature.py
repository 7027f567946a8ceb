"""Temperature scaling: logits divided by a number, for probabilities that are right as often.

Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. Q. (2017), "On calibration of modern neural
networks", ICML 34, https://arxiv.org/abs/1706.04599.
"""

import copy
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from classifier.io.prepared import Split
from classifier.network.model import MLP, predict_left_out

LARGEST = 20.0
"""The largest temperature that is tried; the smallest is 1 over it."""


def fit_temperature(networks: Sequence[MLP], left_out: Split) -> float:
    """Return the temperature with which the log loss is lowest, of each row by its network.

    It is 1 where all rows are right: the lower the temperature, the better for these, down to
    probabilities of 0 and 1, which says nothing about others. Each row has the number of the
    network that was not fitted to it. The networks are on the CPU, and stay as they are.
    """
    # Here, since SciPy takes a while to import.
    from scipy.optimize import minimize_scalar  # noqa: PLC0415

    target = left_out.target

    def predict(networks: Sequence[MLP]) -> npt.NDArray[np.float64]:
        return predict_left_out(networks, left_out.features, left_out.fold)

    if (predict(networks).argmax(axis=1) == target).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        of_target = predict([with_temperature(network, temperature) for network in networks])[
            np.arange(len(target)), target
        ]
        return -float(np.log(np.maximum(of_target, np.finfo(np.float64).tiny)).mean())

    limit = math.log(LARGEST)
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return math.exp(found.x)


@torch.no_grad()
def with_temperature(network: MLP, temperature: float) -> MLP:
    """Return a copy of a network, the logits of which are divided by `temperature`.

    Those of several members are each divided, before their probabilities are averaged.
    """
    calibrated = copy.deepcopy(network)
    for parameter in calibrated.layers[-1].parameters():
        parameter.div_(temperature)
    return calibrated
