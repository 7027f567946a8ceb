"""Layers of several networks, the members of an ensemble, that run and train as one.

Gorishniy, Kotelnikov, Babenko, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
Ensembling", ICLR 2025, https://arxiv.org/abs/2410.24210.
"""

import torch
from torch import Tensor, nn


class SharedLinear(nn.Module):
    """A linear layer of each member; they share the weight, up to scales of its rows and columns.

    Wen, Tran, Ba, "BatchEnsemble", ICLR 2020, https://arxiv.org/abs/2002.06715.

    Parameters
    ----------
    members
        How many.
    n_in, n_out
        Widths of the input and the output.
    is_first
        Whether the members begin with random scales of the inputs, by which they come to differ.

    """

    def __init__(self, members: int, n_in: int, n_out: int, *, is_first: bool) -> None:
        super().__init__()
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(n_out, n_in).uniform_(-bound, bound))
        scale_in = torch.randn(members, n_in) if is_first else torch.ones(members, n_in)
        self.scale_in = nn.Parameter(scale_in)
        self.scale_out = nn.Parameter(torch.ones(members, n_out))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound).repeat(members, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return shape (n, members, n_out), of shape (n, members, n_in)."""
        return (
            nn.functional.linear(inputs * self.scale_in, self.weight) * self.scale_out + self.bias
        )


class SeparateLinear(nn.Module):
    """A linear layer of each member, with a weight of its own."""

    def __init__(self, members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, n_out).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return shape (n, members, n_out), of shape (n, members, n_in)."""
        return torch.bmm(inputs.transpose(0, 1), self.weight).transpose(0, 1) + self.bias


class SharedDropout(nn.Module):
    """Dropout that zeroes the same units of a row in all members.

    For each its own is no better, and takes several times as many random numbers, which are most
    of the time of a training step on a CPU (benchmarks/QUALITY.md).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """Return shape (n, members, width), of the same."""
        if not self.training:
            return inputs
        kept = inputs.new_ones(inputs.shape[0], 1, inputs.shape[2])
        return inputs * nn.functional.dropout(kept, self.probability)
