"""An energy that tilts a density, and what trains it."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.inputs import TableInputs

# The logarithm of the ratio of the tilted density to the one that is tilted stays between this and its negative.
MAX_TILT = 8.0


def self_normalised_loss(tilt, of_noise, log_partition):
    """Return the self-normalised loss of each row.

    The mean of its negative, ``f - b - exp(-b) Z + 1``, is a lower bound of the log-likelihood beyond that of the
    density that is tilted, and equal to it where b is log Z (Senetaire, Jeha, Mattei and Frellsen, 2025).

    Parameters
    ----------
    tilt : Tensor of shape (n,)
        Tilts f of rows.
    of_noise : Tensor of shape (n, m)
        Tilts of draws from the density that is tilted, over which the mean of ``exp(f)`` is Z.
    log_partition : Tensor of shape ()
        The number b.

    Returns
    -------
    loss : Tensor of shape (n,)
        In nats.
    """
    return log_partition - tilt + (of_noise - log_partition).exp().mean(dim=1) - 1


def contrastive_loss(tilt, of_noise, log_partition):
    """Return the loss of each row in telling rows and noise apart (Gutmann and Hyvärinen, 2010).

    Parameters
    ----------
    tilt, of_noise, log_partition
        See :func:`self_normalised_loss`; the logarithm of the ratio of model and noise is ``f - b``.

    Returns
    -------
    loss : Tensor of shape (n,)
        Minus the log-likelihood of a row being one, and of its noise being noise.
    """
    n_noise = of_noise.shape[1]
    shift = log_partition + math.log(n_noise)
    return F.softplus(shift - tilt) + F.softplus(of_noise - shift).sum(dim=1)


LOSSES = {"self-normalised": self_normalised_loss, "nce": contrastive_loss}


class Tilt(nn.Module):
    """A bounded function of the rows of a table, by which another density is tilted: ``q(x) exp(f(x)) / Z``.

    It starts as zero.

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns.
    hidden_layer_sizes : tuple of int
        Units of each hidden layer.
    objective : {"self-normalised", "nce", "score-matching"}
        What it is trained by.

    Attributes
    ----------
    log_partition : Parameter of shape ()
        What training takes for log Z.
    """

    def __init__(self, variables, hidden_layer_sizes, objective):
        super().__init__()
        self.inputs = TableInputs(variables)
        sizes = (self.inputs.n_inputs, *hidden_layer_sizes)
        self.hidden = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self.out = nn.Linear(sizes[-1], 1, bias=False)  # a constant is Z's matter
        self.vanish()
        self.log_partition = nn.Parameter(torch.zeros(()))
        self.objective = objective

    def vanish(self):
        """Make it zero, as it is before training."""
        nn.init.zeros_(self.out.weight)

    @property
    def config(self):
        """Plain values that build it anew."""
        sizes = plain(tuple(layer.out_features for layer in self.hidden))
        return {**self.inputs.config, "hidden_layer_sizes": sizes, "objective": self.objective}

    @property
    def width(self):
        """Memory of a row in numbers, at most."""
        return max(self.inputs.n_inputs, *(layer.out_features for layer in self.hidden), 1)

    def tilt(self, z):
        """Return the tilt of encoded rows, of shape (...,) for rows of shape (..., d)."""
        h = self.inputs(z)
        for layer in self.hidden:
            h = F.silu(layer(h))
        return MAX_TILT * torch.tanh(self.out(h).squeeze(-1) / MAX_TILT)

    def forward(self, rows):
        """Return the training loss of each row.

        Parameters
        ----------
        rows : Tensor of shape (n, 1 + m, d)
            Encoded rows, each with rows of noise after it; for score matching, see :meth:`sliced_loss`.

        Returns
        -------
        loss : Tensor of shape (n,)
            As the objective has it.
        """
        if self.objective == "score-matching":
            return self.sliced_loss(rows)
        tilts = self.tilt(rows)
        return LOSSES[self.objective](tilts[:, 0], tilts[:, 1:], self.log_partition)

    def sliced_loss(self, rows):
        """Return the loss of sliced score matching (Song, Garg, Shi and Ermon, 2019), less what the tilt cannot change.

        Parameters
        ----------
        rows : Tensor of shape (n, 2 + m, d)
            Encoded rows of numbers, the gradients there of the log-density that is tilted, and directions.

        Returns
        -------
        loss : Tensor of shape (n,)
            The mean over the directions of the second derivative of f along each, half the square of the first one, and
            its product with that of the log-density that is tilted.
        """
        z, gradient, directions = rows[:, :1], rows[:, 1:2], rows[:, 2:]
        with torch.enable_grad():
            steps = torch.zeros_like(directions[..., 0], requires_grad=True)
            tilt = self.tilt(z + steps[..., None] * directions)
            (first,) = torch.autograd.grad(tilt.sum(), steps, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), steps, create_graph=True)
        of_other = (gradient * directions).sum(dim=-1)
        loss = (second + first**2 / 2 + first * of_other).mean(dim=1)
        return loss if torch.is_grad_enabled() else loss.detach()
