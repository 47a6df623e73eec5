"""A Bayesian network of which a masked network computes some of the conditionals, and tables hold the others."""

import numpy as np
import torch

from sklearn_dgm.nn.ancestral import AncestralDensity
from sklearn_dgm.nn.completion import MADE_PARTICLES, log_marginal
from sklearn_dgm.nn.config import config_of, module_of, plain
from sklearn_dgm.nn.inputs import as_variables
from sklearn_dgm.nn.masks import topological_order


class TableConditional:
    """The conditional of a column that a table holds, for rows that are filled in.

    Parameters
    ----------
    table : Table
        With `log_prob(Z)`, `sample(Z, uniforms)` and `cdf(Z, points)` of arrays.
    z : Tensor of shape (n, d)
        Encoded rows, in which the parents are known.
    """

    def __init__(self, table, z):
        self.table = table
        self.z = z

    def log_prob(self, x):
        """Return the log-density of the column in each row, of shape (n,); `x` is what the rows hold there."""
        return _of_arrays(self.table.log_prob, self.z)

    def sample(self, uniforms):
        """Make values of numbers between 0 and 1, of shape (n,)."""
        return _of_arrays(lambda Z: self.table.sample(Z, uniforms.cpu().numpy()), self.z)

    def cdf(self, x):
        """Return the probabilities below several values of each row, of shape (n, m)."""
        points = x.cpu().numpy()
        return _of_arrays(lambda Z: self.table.cdf(Z, points), self.z)


def _of_arrays(function, z):
    """Apply a function of an array, which is where tables live, to a tensor."""
    return torch.as_tensor(function(z.detach().double().cpu().numpy())).to(z)


class BayesNet(AncestralDensity):
    """Bayesian network of a masked network and tables.

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns.
    adjacency : array-like of bool of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    network : MADE, or its config, or None
        The conditionals of its targets.
    tables : dict of int to Table, default=None
        The conditionals of all other columns. These are no part of its state: who made them keeps them, and sets them
        as `tables` of a module that is built anew.
    """

    def __init__(self, variables, adjacency, network, tables=None):
        super().__init__()
        self.variables = as_variables(variables)
        self.adjacency = np.asarray(adjacency, dtype=bool)
        self.network = None if network is None else module_of(network)
        self.tables = tables or {}
        # Tells the device and the dtype where there is no network.
        self.register_buffer("reference", torch.zeros(()))

    @property
    def config(self):
        """Plain values that build it anew, but for the tables; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return {
            "variables": tuple(map(tuple, self.variables)),
            "adjacency": plain(self.adjacency),
            "network": None if self.network is None else config_of(self.network),
        }

    @property
    def width(self):
        """Memory of a row in numbers, at most."""
        levels = max((table.log_p.shape[1] for table in self.tables.values()), default=0)
        return max(self.network.width if self.network else 0, len(self.variables), levels)

    def log_prob_features(self, z):
        """Return the log-density of each column given its parents, of shape (n, d)."""
        log_p = self.network.log_prob_features(z) if self.network else torch.zeros_like(z)
        return self.with_other_shares(log_p, z)

    def with_other_shares(self, shares, z):
        """Return all shares, those of tables too; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        if not self.tables:
            return shares
        of_tables = [_of_arrays(table.log_prob, z) for table in self.tables.values()]
        columns = torch.tensor(list(self.tables), device=shares.device)
        return shares.index_copy(1, columns, torch.stack(of_tables, dim=1))

    def log_prob(self, z):
        """Return the log-density of each row, of shape (n,); an estimate for the observed cells, where some are NaN."""
        if z.isnan().any():
            return log_marginal(self, z, MADE_PARTICLES, MADE_PARTICLES)
        return self.log_prob_features(z).sum(dim=1)

    def loss(self, z):
        """Return the negative log-likelihood of each row, of shape (n,); in training plus the network's penalty."""
        return -self.log_prob(z) + self.network.penalty()

    def visit(self, z):
        """Go through the columns in topological order; see :class:`~sklearn_dgm.nn.ancestral.AncestralDensity`."""
        if self.network:
            visited = self.network.visit(z)
        else:
            visited = ((j, None) for j in topological_order(self.adjacency))
        for j, conditional in visited:
            yield j, TableConditional(self.tables[j], z) if conditional is None else conditional
