"""The conditionals of a fitted network as NumPy sees them, which is what a codec needs."""

import math

import numpy as np
import torch

from sklearn_dgm._queries.factors import ColumnConditional, Factors
from sklearn_dgm._training.seeding import one_thread
from sklearn_dgm.nn.ancestral import FARTHEST


def _flat(module, log_weight=0.0):
    """List the members of mixtures within mixtures, with the logarithms of their weights."""
    members = getattr(module, "members", None)
    if members is None:
        return [(module, log_weight)]
    log_shares = getattr(module, "log_shares", [-math.log(len(members))] * len(members))
    pairs = zip(members, log_shares, strict=True)
    return [pair for member, share in pairs for pair in _flat(member, log_weight + share)]


class NetworkFactors(Factors):
    """The factors of a network, or of a mixture of some.

    All is computed in one thread and in memory that torch aligns, so that the same calls give the same bits.

    Parameters
    ----------
    module : nn.Module
        A fitted network or a mixture of some, in double precision; `members` that have no equal weights, with the
        logarithms of these as `log_shares`.
    device : torch.device
        Where it is.
    rows_at_once : int
        How many rows to ask of at most.
    others : list of ndarray
        What probabilities depend on that is in no state of the module.
    """

    def __init__(self, module, device, rows_at_once, others=()):
        self._members, log_weights = zip(*_flat(module), strict=True)
        self.log_weights = np.array(log_weights)
        self._device = device
        self.rows_at_once = rows_at_once
        self._others = others

    def parameters(self):
        """Yield the parameters of all probabilities; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        for member in self._members:
            state = member.state_dict()  # in its order, where a network has several
            yield repr(member.variables)
            yield member.adjacency
            for name, tensor in state.items():
                yield name
                yield tensor.cpu().numpy()
        yield from self._others

    def _tensor(self, array):
        z = torch.tensor(array, device=self._device)
        return torch.where(z.abs() >= FARTHEST, 0, z)

    def log_prob(self, member, Z):
        """Return the log-density of rows under one member; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        module, z = self._members[member], self._tensor(Z)
        with one_thread(), torch.no_grad():
            if np.isnan(Z).any():
                return module.fill(z, torch.full_like(z, 0.5))[1].cpu().numpy()
            return module.log_prob(z).cpu().numpy()

    def visit(self, member, Z):
        """Go through the columns, parents first; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        z = self._tensor(Z)
        steps = self._members[member].visit(z)
        while True:
            with one_thread(), torch.no_grad():
                j, conditional = next(steps, (None, None))
            if j is None:
                return
            yield j, NetworkConditional(conditional, z)
            z[:, j] = self._tensor(Z[:, j])


class NetworkConditional(ColumnConditional):
    """Conditional distributions of a column, one for each row.

    Parameters
    ----------
    conditional : Conditional or TableConditional
        With `cdf` and `sample`, of tensors.
    z : Tensor of shape (n, n_features)
        The rows.
    """

    def __init__(self, conditional, z):
        self._conditional, self._z = conditional, z

    def cdf(self, points):
        """Return the probabilities below values; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        x = torch.tensor(points, dtype=self._z.dtype, device=self._z.device)
        with one_thread(), torch.no_grad():
            return self._conditional.cdf(x).cpu().numpy()

    def stand_in(self):
        """Return the values of uniforms of 1/2; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        with one_thread(), torch.no_grad():
            half = self._z.new_full((len(self._z),), 0.5, dtype=torch.float64)
            return self._conditional.sample(half).cpu().numpy()
