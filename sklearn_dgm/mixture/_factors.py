"""The conditionals of a mixture for a codec.

Its encoder and its decoder have to compute the same bits, wherever their arrays lie in memory. So there is no product
of matrices here, whose kernels may add up in another order, but sums of columns.
"""

import numpy as np
from scipy.special import ndtr

from sklearn_dgm._queries.factors import ColumnConditional, Factors
from sklearn_dgm.counts.forests import roots_first
from sklearn_dgm.counts.tables import choose
from sklearn_dgm.mixture._tables import AtomAxis
from sklearn_dgm.mixture._trees import ColumnTrees

# Least share of its variance that a number keeps given others: more would be lost in rounding.
LEAST_LEFT = 1e-12
# A normal density at the middle of a cell is about that of the cell under a normal with so much less of a variance.
VARIANCE_OF_CELL = 1 / 12


class MixtureFactors(Factors):
    """The factors of a mixture: components as members.

    Parameters
    ----------
    mixture : FiniteMixture
        The fitted mixture.
    """

    rows_at_once = 2**12

    def __init__(self, mixture):
        self._tables, self._normals = mixture.tables, mixture.normals
        self._weights, self.log_weights = mixture.weights, mixture.log_weights

    def parameters(self):
        """Yield the parameters of all probabilities; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        yield self._weights
        if self._tables is not None:
            yield from self._edges()
            yield from (part for axis in self._tables.axes for part in vars(axis).values())
        if self._normals is not None:
            yield from (self._normals.means, self._normals.center, self._normals.scale)
            covariances = vars(self._normals.covariances)
            yield from (value for value in covariances.values() if isinstance(value, np.ndarray))

    def _edges(self):
        if isinstance(self._tables, ColumnTrees):
            yield self._tables.parents
            yield from (edge for edges in self._tables.log_edges for edge in edges)
        else:
            yield self._tables.log_tables

    def log_prob(self, member, Z):
        """Return the log-density of rows under one member; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        log_p, filled = np.zeros(len(Z)), Z.copy()
        for j, conditional in self.visit(member, filled):
            seen = ~np.isnan(Z[:, j])
            log_p += np.where(seen, conditional.log_prob(Z[:, j]), 0.0)
            if not seen.all():
                filled[~seen, j] = conditional.stand_in()[~seen]
        return log_p

    def visit(self, member, Z):
        """Go through the columns, parents first; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        cells = {}
        if self._tables is not None:
            for j, conditional in self._visit_tables(member, Z):
                if isinstance(conditional.axis, AtomAxis):
                    cells[j] = conditional  # which the numbers wait for
                else:
                    yield j, conditional
        if self._normals is not None:
            yield from self._visit_numbers(member, Z, cells)

    def _visit_tables(self, member, Z):
        tables = self._tables
        if not isinstance(tables, ColumnTrees):
            for position, j in enumerate(tables.features):
                log_p = tables.log_tables[member, slice(*tables.starts[position : position + 2])]
                yield j, CellConditional(tables.axes[position], np.tile(log_p, (len(Z), 1)))
            return
        for j in roots_first(tables.parents[member]):
            i, edge = tables.parents[member, j], tables.log_edges[member][j]
            # What the parent cannot be, such as an unknown category, is its last cell.
            parent = tables.axes[i].encode(Z[:, i])[0] if i >= 0 else np.zeros(len(Z), dtype=int)
            yield j, CellConditional(tables.axes[j], edge[parent])

    def _visit_numbers(self, member, Z, cells):
        """Yield normal conditionals, and learn from each number that is filled in what it says of the others."""
        normals = self._normals
        mean = np.tile(normals.means[member], (len(Z), 1))
        # Rows of a group have the same numbers missing so far.
        group, left = np.zeros(len(Z), dtype=int), normals.covariances.dense(member)[None]
        for i, j in enumerate(normals.features.tolist()):
            variance = np.maximum(left[:, i, i], LEAST_LEFT)
            yield j, NormalConditional(normals, i, mean[:, i], variance[group], cells.get(j))
            u = normals.standardized(Z)[:, i]
            missing = np.isnan(u)
            keys, group = np.unique(2 * group + missing, return_inverse=True)
            left, known = left[keys // 2].copy(), keys % 2 == 0
            slopes = np.where(known[:, None], left[:, i] / variance[keys // 2, None], 0.0)
            mean = mean + slopes[group] * np.where(missing, 0.0, u - mean[:, i])[:, None]
            left -= slopes[:, :, None] * left[:, i, None]


class CellConditional(ColumnConditional):
    """Distributions of a column with a table, one for each row.

    Parameters
    ----------
    axis : {CategoryAxis, NumberAxis, AtomAxis}
        Its cells.
    log_p : ndarray of shape (n, n_levels)
        Log-probabilities of these.
    """

    def __init__(self, axis, log_p):
        self.axis, self._log_p = axis, log_p

    def log_prob(self, z):
        """Return the log-probabilities of the cells of values, of shape (n,); 0 of an unknown category."""
        code = self.axis.encode(z)[0]
        return np.where(code < 0, 0.0, self._log_p[np.arange(len(z)), code])

    def cdf(self, points, *beside_atoms):
        """Return the probabilities below values; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        return self.axis.cdf(np.exp(self._log_p), points, *beside_atoms)

    def stand_in(self):
        """Return medians; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        return self.axis.icdf_within(*choose(self._log_p, np.full(len(self._log_p), 0.5)))


class NormalConditional(ColumnConditional):
    """Normal distributions of a column, one for each row, maybe beside atoms.

    Parameters
    ----------
    normals : Normals
        Units, and what is rounded.
    position : int
        Which of its columns.
    mean, variance : ndarray of shape (n,)
        In standard deviations of the column.
    cells : CellConditional or None
        Atoms and their probabilities, and last that of all other numbers.
    """

    def __init__(self, normals, position, mean, variance, cells):
        self._normals, self._position, self._cells = normals, position, cells
        self._mean, self._variance = mean, variance

    def _standardized(self, z):
        return (z - self._normals.center[self._position]) / self._normals.scale[self._position]

    def log_prob(self, z):
        """Return the log-densities of values, up to a constant, of shape (n,)."""
        log_p = -0.5 * (self._standardized(z) - self._mean) ** 2 / self._variance
        log_p -= 0.5 * np.log(self._variance)
        if self._cells is None:
            return log_p
        is_atom = np.isin(z, self._cells.axis.atoms)
        return self._cells.log_prob(z) + np.where(is_atom, 0.0, log_p)

    def cdf(self, points):
        """Return the probabilities below values; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        variance = self._variance - VARIANCE_OF_CELL * self._normals.cell[self._position] ** 2
        distance = self._standardized(points) - self._mean[:, None]
        below = ndtr(distance / np.sqrt(variance)[:, None])
        return below if self._cells is None else self._cells.cdf(points, below)

    def stand_in(self):
        """Return NaN: what is missing says nothing of other numbers."""
        return np.full(len(self._mean), np.nan)
