"""Numbers as vectors, so that a network can learn steps and bumps of them.

Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning",
NeurIPS 2022, https://arxiv.org/abs/2203.05556.
"""

import math

import torch
from torch import Tensor, nn

N_BINS = 16
N_FREQUENCIES = 16
FREQUENCY_SCALE = 0.1
"""Standard deviation of the frequencies at the start, in periods per unit of a feature."""
WIDTH = 8
"""Of the vector that a number becomes."""


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
