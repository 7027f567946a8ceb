"""Do left-out rows say how good a network is? On simulated tables, of which the truth is known.

`python -m benchmarks.left_out` takes some minutes and prints how often the interval of the accuracy
on left-out rows holds that of the networks, and how far that of their mean is from it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from classifier.evaluation.metrics import wilson_interval
from classifier.io.params import read_params
from classifier.network.model import Task, predict_left_out, predict_probabilities
from classifier.starting.choice import training_params
from classifier.training.device import compute_deterministically
from classifier.training.folds import Fold
from classifier.training.loop import train
from classifier.training.run import seeds_of_networks, start_runs
from classifier.training.step import Rows
from classifier.training.train_params import TrainParams

N_TABLES, N_ROWS, N_FEATURES, N_FOLDS = 200, 300, 5, 5
N_TRUE = 20_000
"""Rows of the same kind on which the truth is measured: to about 0.003."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Found:
    """Accuracies on one table."""

    left_out: float
    is_covered: bool
    """Whether the interval of the left-out rows holds the networks' true accuracy."""
    of_networks: float
    """The mean of their true accuracies."""
    of_mean: float
    """The true accuracy of the mean of their probabilities."""


def main() -> None:
    compute_deterministically(threads=1)
    params = read_params("train", TrainParams).model_copy(
        update=training_params(N_ROWS) | {"hidden": [32], "device": "cpu"}
    )
    found = [one_table(number, params) for number in range(N_TABLES)]
    covered = np.mean([one.is_covered for one in found])
    above = np.array([one.left_out - one.of_networks for one in found])
    of_mean = np.array([one.of_mean - one.left_out for one in found])
    print(f"{N_TABLES} tables of {N_ROWS} rows, {N_FOLDS} folds")
    print(f"{CONFIDENCE:.0%} intervals that hold the networks' accuracy: {covered:.1%}")
    for what, values in {
        "left-out rows above the networks": above,
        "the mean above the left-out rows": of_mean,
    }.items():
        error = values.std(ddof=1) / np.sqrt(len(values))
        print(f"{what}: {values.mean():+.4f}, standard error {error:.4f}")


def one_table(number: int, params: TrainParams) -> Found:
    generator = np.random.default_rng(number)
    slopes, noise = generator.standard_normal((2, N_FEATURES)), generator.uniform(0.2, 2)

    def draw(n: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        features = generator.standard_normal((n, N_FEATURES)).astype(np.float32)
        score = features @ slopes[0] + np.abs(features) @ slopes[1]
        score += noise * generator.logistic(size=n)
        return features, (score > 0).astype(np.int64)

    features, target = draw(N_ROWS)
    fold = np.arange(N_ROWS) % N_FOLDS
    rows = Rows(torch.from_numpy(features), torch.from_numpy(target))
    folds = [
        Fold(rows.choose(torch.from_numpy(fold != one)), rows.choose(torch.from_numpy(fold == one)))
        for one in range(N_FOLDS)
    ]
    params = params.model_copy(update={"seed": number})
    seeds = seeds_of_networks(number, N_FOLDS)
    runs = start_runs(params, seeds, Task(N_FEATURES, 2), folds)
    for _ in train(runs, params):
        pass
    networks = [run.best_network() for run in runs]
    is_right = predict_left_out(networks, features, fold).argmax(axis=1) == target
    true_features, true_target = draw(N_TRUE)

    def accuracy(*networks_used: int) -> float:
        used = [networks[one] for one in networks_used]
        predicted = predict_probabilities(used, true_features).argmax(axis=1)
        return float(np.mean(predicted == true_target))

    of_networks = float(np.mean([accuracy(one) for one in range(N_FOLDS)]))
    interval = wilson_interval(int(is_right.sum()), N_ROWS, CONFIDENCE)
    return Found(
        float(is_right.mean()),
        interval.low <= of_networks <= interval.high,
        of_networks,
        accuracy(*range(N_FOLDS)),
    )


if __name__ == "__main__":
    main()
