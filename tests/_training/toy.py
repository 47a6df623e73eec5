"""The smallest density that trains: a network of two parameters, which needs milliseconds."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sklearn_dgm._training.base import BaseNeuralDensity


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
        self.variables = [SimpleNamespace(n_levels=None)] * n_columns
        self.mean = nn.Parameter(torch.tensor(mean))
        self.log_scale = nn.Parameter(torch.tensor(log_scale))

    def log_prob(self, z):
        standard = (z - self.mean) / self.log_scale.exp()
        return -(standard**2 / 2 + self.log_scale + math.log(2 * math.pi) / 2).sum(dim=1)

    def forward(self, z):
        return -self.log_prob(z)

    def sample(self, n_samples, generator):
        shape = (n_samples, len(self.variables))
        noise = torch.randn(shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + self.log_scale.exp() * noise


class ToyDensity(BaseNeuralDensity):
    """An equal mixture of such networks.

    Parameters
    ----------
    n_members : int
        How many there are.
    starts : tuple of float
        Means that training may start from; if there are several, the first member tries them all. Rows are standardised,
        so that training goes towards 0.
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
        super().__init__()
        self.n_members = n_members
        self.starts = starts
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.warm_start = warm_start
        self.verbose = verbose
        self.callbacks = callbacks
        self.net_params = net_params
        self.random_state = random_state

    def _n_members(self):
        return self.n_members

    def _settings(self, n_samples):
        return list(self.starts)

    def _builder(self, parts):
        def build(member, start):
            mean, log_scale = (0.1 * torch.randn(2)).tolist()
            return NormalCells(parts.Z.shape[1], start + mean, log_scale)

        return build


class Interrupted(torch.optim.AdamW):
    """An optimizer that is interrupted at a certain step."""

    steps, at = 0, 40

    def step(self, closure=None):
        type(self).steps += 1
        if self.steps == self.at:
            raise KeyboardInterrupt
        return super().step(closure)


def interrupt(density, X, at):
    """Fit a density until Ctrl-C at a step."""
    Interrupted.steps, Interrupted.at = 0, at
    density.set_params(net_params={"optimizer": Interrupted})
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    return density.set_params(net_params=None)
