"""The network, and its file."""

import io
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from classifier.io.params import Params
from classifier.io.schema import Schema
from classifier.io.user_error import UserError
from classifier.network.layers import (
    WIDTH,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    SeparateLinear,
    SharedDropout,
    SharedLinear,
)

Embedding = Literal["none", "periodic", "piecewise_linear"]
Activation = Literal["relu", "tanh", "gelu"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}

NUMBERS_AT_A_TIME = 2**24
"""How many the widest layer of a forward pass without gradients holds: 64 MiB of memory."""


class Architecture(Params):
    """The parameters of `train` that shape the network."""

    embedding: Embedding
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        description="a list of whole numbers of at least 1, such as [10] or [64, 32]"
    )
    activation: Activation
    dropout: float = Field(ge=0, lt=1, description="a number of at least 0 and below 1")
    members: int = Field(ge=1, description="a whole number of at least 1")


@dataclass(frozen=True)
class Task:
    """What a network takes and returns."""

    n_features: int
    n_classes: int
    numbers: tuple[int, ...] = ()
    """Which features come of numbers, in ascending order; the others are 0 or 1."""

    @classmethod
    def of(cls, schema: Schema) -> "Task":
        return cls(schema.n_features, len(schema.classes), schema.numeric_features)


class MLP(nn.Module):
    """A multilayer perceptron, or several that train as one: `members`.

    `hidden` are the widths of the hidden layers, none for a linear model; `dropout` is the
    probability of zeroing a hidden unit while training. Before the first layer, the features that
    come of numbers, `numbers` in ascending order, become vectors by `embedding`.
    """

    numbers: Tensor
    others: Tensor

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: Sequence[int] = (10,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        *,
        embedding: Embedding = "none",
        numbers: Sequence[int] = (),
        members: int = 1,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.members = members
        self.embedding: PeriodicEmbedding | PiecewiseLinearEmbedding | None = None
        width = n_features
        self.widest = members * max(n_features, n_classes, *hidden)
        """How many numbers a row is at most at once."""
        if embedding != "none" and numbers:
            kind = PeriodicEmbedding if embedding == "periodic" else PiecewiseLinearEmbedding
            self.embedding = kind(len(numbers))
            width += len(numbers) * (WIDTH - 1)
            self.widest = max(self.widest, members * width, len(numbers) * self.embedding.widest)
            others = sorted(set(range(n_features)) - set(numbers))
            # Not in the state_dict: they are arguments, as n_features is.
            self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
            self.register_buffer("others", torch.tensor(others, dtype=torch.long), persistent=False)
        layers: list[nn.Module] = []
        for hidden_width in hidden:
            layers.append(
                nn.Linear(width, hidden_width)
                if members == 1
                else SharedLinear(members, width, hidden_width, is_first=not layers)
            )
            layers.append(ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(nn.Dropout(dropout) if members == 1 else SharedDropout(dropout))
            width = hidden_width
        last = (
            nn.Linear(width, n_classes)
            if members == 1
            else SeparateLinear(members, width, n_classes)
        )
        self.layers = nn.Sequential(*layers, last)

    def parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return rows in parts that are small enough for a forward pass without gradients."""
        return torch.split(rows, max(1, NUMBERS_AT_A_TIME // self.widest))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of features, shape (n, n_features).

        Their shape is (n, n_classes). Of several members it is that of the mean of their
        probabilities, and while training each member's own, shape (n, members, n_classes).
        """
        inputs = features
        if self.embedding is not None:
            embedded = self.embedding(features.index_select(1, self.numbers)).flatten(1)
            inputs = torch.cat([embedded, features.index_select(1, self.others)], dim=1)
        if self.members == 1:
            logits: Tensor = self.layers(inputs)
            return logits
        logits = self.layers(inputs.unsqueeze(1).expand(-1, self.members, -1))
        if self.training:
            return logits
        return torch.log_softmax(logits, dim=2).logsumexp(dim=1) - math.log(self.members)


def make_network(architecture: Architecture, task: Task) -> MLP:
    """Return a network with weights from torch's random generator."""
    return MLP(**_arguments(architecture, task))


def _arguments(architecture: Architecture, task: Task) -> dict[str, Any]:
    """Return the arguments of MLP."""
    return asdict(task) | architecture.model_dump(include=set(Architecture.model_fields))


def save_bytes(value: object) -> bytes:
    """Return what `torch.save` writes for nested dicts, lists and tensors.

    Equal values give equal bytes: `torch.save` alone also writes down which equal strings and
    tensors were one object, and that differs after a resume.
    """
    buffer = io.BytesIO()
    torch.save(canonical(value), buffer)
    return buffer.getvalue()


def canonical(value: object) -> Any:  # noqa: ANN401 (what came in)
    """Return a copy of nested dicts, lists and tensors, in memory of its own, on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {canonical(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(canonical(item) for item in value)
    return value


def networks_to_bytes(
    architecture: Architecture, task: Task, networks: Sequence[MLP], temperature: float
) -> bytes:
    """Return a file that says all of networks: the arguments of MLP, weights and temperature.

    The weights are a `state_dict`, of several networks a list of them.
    """
    weights = [network.state_dict() for network in networks]
    return save_bytes(
        {
            "architecture": _arguments(architecture, task),
            "weights": weights[0] if len(weights) == 1 else weights,
            "temperature": temperature,
        }
    )


def load_networks(path: Path, task: Task, n: int | None = None) -> tuple[list[MLP], float]:
    """Return what `networks_to_bytes` saved: networks, and the temperature to divide logits by.

    Raises `UserError` if there is no file, or it holds no network, or that for another task, or not
    `n` networks.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; to make it: dvc repro") from None
    try:
        with warnings.catch_warnings(action="ignore"):
            saved = torch.load(io.BytesIO(content), weights_only=True)
        arguments, weights = saved["architecture"], saved["weights"]
        if any(arguments[name] != canonical(value) for name, value in asdict(task).items()):
            raise ValueError("it is for another task")  # noqa: TRY301 (said below)
        networks = []
        for one in weights if isinstance(weights, list) else [weights]:
            networks.append(MLP(**arguments))
            networks[-1].load_state_dict(one)
        if n not in {None, len(networks)}:
            raise ValueError("other folds were dealt since")  # noqa: TRY301 (said below)
        return networks, float(saved["temperature"])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (what a file may hold has no end)
        raise UserError(
            f"{path} does not hold the weights of this network; to make it anew: dvc repro"
        ) from None


def widths(architecture: Architecture, task: Task) -> list[int]:
    """Return the widths of one member's layers: of the inputs, the hidden ones and the output."""
    n_inputs = task.n_features
    if architecture.embedding != "none":
        n_inputs += len(task.numbers) * (WIDTH - 1)
    return [n_inputs, *architecture.hidden, task.n_classes]


def predict_probabilities(
    networks: Sequence[MLP], features: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return class probabilities, shape (n, n_classes), of features, shape (n, n_features).

    They are the means of the networks'.
    """
    probabilities = _probabilities(networks[0], features)
    for network in networks[1:]:
        probabilities += _probabilities(network, features)
    return probabilities / len(networks)


def predict_left_out(
    networks: Sequence[MLP], features: npt.NDArray[np.float32], fold: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return class probabilities of rows, each by the one network that was not trained on it.

    Their shape is (n, n_classes). The rows have features, shape (n, n_features), and are left out
    by the networks of these numbers, shape (n,).
    """
    probabilities = np.empty((len(features), networks[0].n_classes))
    for number in np.unique(fold):
        is_left_out = fold == number
        probabilities[is_left_out] = _probabilities(networks[number], features[is_left_out])
    return probabilities


@torch.no_grad()
def _probabilities(network: MLP, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    # The number of threads decides how sums are rounded.
    torch.set_num_threads(1)
    network.eval()
    parts = network.parts(torch.from_numpy(features))
    logits = torch.cat([network(part) for part in parts]).double()
    probabilities: npt.NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
    return probabilities
