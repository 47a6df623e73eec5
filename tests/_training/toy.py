"""The smallest density that trains: a network of two parameters, which needs milliseconds."""

import math

import torch
from torch import nn

from sklearn_dgm._training.base import BaseNeuralDensity
from sklearn_dgm._training.parameters import handed_on
from sklearn_dgm.nn.mixture import Mixture


class NormalCells(nn.Module):
    """All cells are independent draws of one normal distribution.

    Parameters
    ----------
    n_columns : int
        Number of cells of a row.
    mean, log_scale : float
        Where training starts.
    """

    width = 1

    def __init__(self, n_columns, mean, log_scale):
        super().__init__()
        self.n_columns = n_columns
        self.mean = nn.Parameter(torch.tensor(mean))
        self.log_scale = nn.Parameter(torch.tensor(log_scale))

    def log_prob(self, z):
        standard = (z - self.mean) / self.log_scale.exp()
        return -(standard**2 / 2 + self.log_scale + math.log(2 * math.pi) / 2).sum(dim=1)

    def forward(self, z):
        return -self.log_prob(z)

    def sample(self, n_samples, generator):
        shape = (n_samples, self.n_columns)
        noise = torch.randn(shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + self.log_scale.exp() * noise


class ToyDensity(BaseNeuralDensity):
    """An equal mixture of such networks.

    Parameters
    ----------
    n_members : int
        How many there are.
    starts : tuple of float
        Means that training may start from; if there are several, the first member tries them all. Rows are
        standardised, so that training goes towards 0.
    """

    _shape_params = (*BaseNeuralDensity._shape_params, "n_members")

    def __init__(
        self,
        n_members=1,
        starts=(1.0,),
        max_epochs=5,
        lr=3e-3,
        batch_size="auto",
        weight_decay=0.0,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=20,
        device="cpu",
        warm_start=False,
        verbose=0,
        callbacks=None,
        net_params=None,
        random_state=0,
    ):
        super().__init__(**handed_on(locals(), "n_members", "starts"))
        self.n_members = n_members
        self.starts = starts

    def _n_members(self):
        return self.n_members

    def _candidates(self, splits):
        return list(self.starts)

    def _builder(self, splits):
        def build(member, start):
            mean, log_scale = (0.1 * torch.randn(2)).tolist()
            return NormalCells(splits.Z.shape[1], start + mean, log_scale)

        return build

    def _combine(self, modules):
        return Mixture(modules)

    def _trained_modules(self):
        return list(self._module.members)
