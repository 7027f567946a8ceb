"""The network."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from classifier.io.params import Number, Params

Activation = Literal["relu", "tanh", "gelu"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class Architecture(Params):
    """The parameters of `train` that shape the network."""

    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        description="a list of whole numbers of at least 1, such as [10] or [64, 32]"
    )
    activation: Activation = Field(description="one of relu, tanh, gelu")
    dropout: Number = Field(ge=0, lt=1, description="a number of at least 0 and below 1")


class MLP(nn.Module):
    """A multilayer perceptron.

    Parameters
    ----------
    n_features, n_classes
        Widths of the input and the output.
    hidden
        Width of each hidden layer; empty for a linear model.
    activation
        After each hidden layer.
    dropout
        Probability of zeroing a hidden unit while training.

    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: Sequence[int] = (10,),
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        layers: list[nn.Module] = []
        width = n_features
        for hidden_width in hidden:
            layers += [nn.Linear(width, hidden_width), ACTIVATIONS[activation]()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = hidden_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_classes))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, shape (n, n_classes), of features, shape (n, n_features)."""
        logits: Tensor = self.layers(features)
        return logits
