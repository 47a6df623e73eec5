"""Layers of which some connections are removed for good, and layers beside a linear path."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


def squash(features):
    """Squash the inputs of the linear path: as they are up to 100 units, their logarithm beyond."""
    size = features.abs().clamp_min(100)
    return torch.where(size > 100, features.sign() * 100 * (1 + torch.log(size / 100)), features)


class ExactBuffers(nn.Module):
    """Base class of modules with buffers that stay in double precision, whatever the module is cast to.

    A pass through single precision would cost the equality with values of the table.
    """

    def __init__(self):
        super().__init__()
        self._exact = []

    def register_exact(self, name, array, persistent=True):
        """Add such a buffer; None is kept as None."""
        tensor = None if array is None else torch.tensor(array, dtype=torch.float64)
        self.register_buffer(name, tensor, persistent)
        if tensor is not None:
            self._exact.append(name)

    def _apply(self, fn, recurse=True):
        exact = {name: self._buffers[name] for name in self._exact}
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            self._buffers[name] = buffer.to(self._buffers[name].device)
        return self


class MaskedLinear(nn.Linear):
    """A linear layer with some connections removed for good.

    Parameters
    ----------
    mask : ndarray of shape (n_out, n_in)
        True where there is a connection.
    bias : bool
        Whether the layer has a bias.
    """

    def __init__(self, mask, bias=True):
        super().__init__(mask.shape[1], mask.shape[0], bias)
        # Numbers, not booleans, or each step would convert them.
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32))
        # A unit with few connections would start too small under the default, which counts all.
        with torch.no_grad():
            self.weight.mul_((mask.shape[1] / self.mask.sum(1, keepdim=True).clamp_min(1)).sqrt())

    def __getstate__(self):
        """Return the state with the mask as booleans, or a pickle would be twice as large."""
        state = super().__getstate__()
        return {**state, "_buffers": {**state["_buffers"], "mask": self.mask.bool()}}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.mask = self.mask.to(self.weight.dtype)

    def reset_parameters(self):
        """Initialise the weights, if there are any (torch warns of an empty layer)."""
        if self.weight.numel():
            super().reset_parameters()

    @torch.no_grad()
    def reorder(self, rows):
        """Put the outputs into another order."""
        self.weight.copy_(self.weight[rows])
        self.mask = self.mask[rows]

    def masked_weight(self, rows=slice(None)):
        """Return the weights of the connections that there are, of all rows or of some."""
        return self.weight[rows] * self.mask[rows]

    def forward(self, x, rows=slice(None)):
        """Apply the layer, or some rows of it."""
        bias = None if self.bias is None else self.bias[rows]
        return F.linear(x, self.masked_weight(rows), bias)


class LinearPath(MaskedLinear):
    """The linear path from the parents: where training starts, and what it changes there.

    The start is no parameter: weight decay and sparsity pull towards it, not towards zero.

    Parameters
    ----------
    mask : ndarray of shape (n_out, n_in)
        True where there is a connection.
    """

    def __init__(self, mask):
        super().__init__(mask, bias=False)
        self.register_buffer("start", torch.zeros_like(self.weight))
        torch.nn.init.zeros_(self.weight)

    def masked_weight(self, rows=slice(None)):
        """Return the effective weights: the start, and the change of the connections that there are."""
        return self.start[rows] + super().masked_weight(rows)

    def size(self, rows):
        """Sum of the absolute changes in some rows."""
        return (self.weight[rows] * self.mask[rows]).abs().sum()


class SkipPerceptron(nn.Module):
    """Multilayer perceptron beside a linear path, which is all there is without hidden layers.

    Parameters
    ----------
    n_linear, n_inputs : int
        Numbers that the linear path sees, and that the hidden layers see.
    hidden_sizes : tuple of int
        Units of the hidden layers.
    n_outputs : int
        Numbers that come out.
    """

    def __init__(self, n_linear, n_inputs, hidden_sizes, n_outputs):
        super().__init__()
        self.skip = nn.Linear(n_linear, n_outputs)
        sizes = (n_inputs, *hidden_sizes)
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.out = nn.Linear(sizes[-1], n_outputs, bias=False) if hidden_sizes else None

    @torch.no_grad()
    def start_from(self, weight, bias):
        """Start from a linear map, beside which the hidden layers say little.

        Parameters
        ----------
        weight : Tensor of shape (n_outputs, n_linear)
            Its weights.
        bias : Tensor of shape (n_outputs,)
            Its constants.
        """
        self.skip.weight.copy_(weight)
        self.skip.bias.copy_(bias)
        if self.out is not None:
            self.out.weight.mul_(0.1)

    def forward(self, linear, x):
        """Return the outputs, of shape (..., n_outputs)."""
        y = self.skip(linear)
        if self.out is None:
            return y
        for layer in self.hidden:
            x = F.silu(layer(x))
        return y + self.out(x)
