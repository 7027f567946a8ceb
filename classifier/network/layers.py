"""Layers: numbers as vectors, and several networks, the members of an ensemble, that run as one.

Numbers as vectors, so that a network can learn steps and bumps of them: Gorishniy, Rubachev,
Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022,
https://arxiv.org/abs/2203.05556. Members: Gorishniy, Kotelnikov, Babenko, "TabM: Advancing Tabular
Deep Learning with Parameter-Efficient Ensembling", ICLR 2025, https://arxiv.org/abs/2410.24210.
"""

import math

import torch
from torch import Tensor, nn

N_BINS = 16
N_FREQUENCIES = 16
FREQUENCY_SCALE = 0.1
"""Standard deviation of the frequencies at the start, in periods per unit of a feature."""
WIDTH = 8
"""How many numbers the vector has that a number becomes."""


class PiecewiseLinearEmbedding(nn.Module):
    """Each feature as a linear function of itself plus one that is linear between quantiles.

    The piecewise part is 0 at the start, and constant beyond the outermost quantiles: a value
    like none of the training rows' changes nothing but the linear part.
    """

    widest = N_BINS
    """Numbers that a feature is at once, at most."""
    left: Tensor
    width: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("left", torch.zeros(n_features, N_BINS))
        self.register_buffer("width", torch.ones(n_features, N_BINS))
        bound = WIDTH**-0.5
        self.linear = nn.Parameter(torch.empty(n_features, WIDTH).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_features, WIDTH).uniform_(-bound, bound))
        self.piecewise = nn.Parameter(torch.zeros(n_features, N_BINS, WIDTH))

    def set_edges(self, edges: Tensor) -> None:
        """Set the edges of the bins, ascending, shape (n_features, N_BINS + 1).

        A bin without a width, between equal quantiles, stays 0.
        """
        width = edges.diff(dim=1)
        self.left.copy_(edges[:, :-1])
        self.width.copy_(torch.where(width > 0, width, torch.inf))

    def forward(self, features: Tensor) -> Tensor:
        """Return vectors, shape (n, n_features, WIDTH), of features, shape (n, n_features)."""
        column = features.unsqueeze(2)
        bins = ((column - self.left) / self.width).clamp(0, 1)
        piecewise = torch.bmm(bins.transpose(0, 1), self.piecewise).transpose(0, 1)
        return column * self.linear + self.bias + piecewise


class PeriodicEmbedding(nn.Module):
    """Each feature as sines and cosines of it, their frequencies learnt, and a layer on these.

    The layer is the same for all features ("lite" in the authors' package).
    """

    widest = 2 * N_FREQUENCIES
    """Numbers that a feature is at once, at most."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        frequencies = torch.empty(n_features, N_FREQUENCIES)
        nn.init.trunc_normal_(
            frequencies, 0, FREQUENCY_SCALE, -3 * FREQUENCY_SCALE, 3 * FREQUENCY_SCALE
        )
        self.frequencies = nn.Parameter(frequencies)
        self.layer = nn.Linear(2 * N_FREQUENCIES, WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        """Return vectors, shape (n, n_features, WIDTH), of features, shape (n, n_features)."""
        angles = 2 * math.pi * self.frequencies * features.unsqueeze(2)
        waves = torch.cat([angles.cos(), angles.sin()], dim=2)
        return torch.relu(self.layer(waves))


class SharedLinear(nn.Module):
    """A linear layer of each member; they share the weight, up to scales of its rows and columns.

    Those of the first layer begin with random scales of the inputs, by which they come to differ.
    Wen, Tran, Ba, "BatchEnsemble", ICLR 2020, https://arxiv.org/abs/2002.06715.
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
