"""The conditionals of a histogram: its occupied cells as a tree, with a level for each column."""

from typing import NamedTuple

import numpy as np

from sklearn_dgm._queries.factors import ColumnConditional, Factors
from sklearn_dgm.counts.binning import EdgeAxis

# By how much of its width the last bin of a column is made wider.
CLOSED = 1e-9


class CellTree(Factors):
    """A histogram as a product of conditionals, in the order of the columns.

    A node stands for the bins of the first columns. Its children are the bins of the next one that occur with them.

    Parameters
    ----------
    axes : list of {EdgeAxis, LevelAxis}
        One for each column.
    cells : ndarray of int of shape (n_occupied, n_features)
        Bins of the occupied cells.
    counts : ndarray of shape (n_occupied,)
        Weights in them.
    alpha : float
        Pseudo-count of each cell of the grid.
    """

    log_weights, rows_at_once = np.zeros(1), 2**13

    def __init__(self, axes, cells, counts, alpha):
        self._axes, self._alpha = axes, alpha
        self._cells, self._counts = cells, counts
        n_bins = np.array([axis.n_bins for axis in axes], dtype=np.float64)
        # What the pseudo-counts of all cells below a bin come to; beyond any count it makes no difference by how much.
        with np.errstate(divide="ignore"):
            log_cells = np.cumsum(np.append(0.0, np.log(n_bins[:0:-1])))[::-1]
            self._spread = np.exp((np.log(alpha) + log_cells).clip(max=600))
        self._levels, node = [], np.zeros(len(cells), dtype=np.int64)
        for cell in cells.T:
            bins, rank = np.unique(cell, return_inverse=True)
            keys, node = np.unique(node * (len(bins) + 1) + rank, return_inverse=True)
            sums = np.append(0.0, np.cumsum(np.bincount(node, counts, len(keys))))
            self._levels.append(Level(bins, keys, sums))

    def parameters(self):
        """Yield the parameters of all probabilities; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        yield np.array([self._alpha])
        for axis in self._axes:
            is_edges = isinstance(axis, EdgeAxis)
            yield axis.edges if is_edges else np.array([axis.start, axis.n_bins])
        yield self._cells
        yield self._counts

    def log_prob(self, member, Z):
        """Return zeros, the log-weights of the single member."""
        return np.zeros(len(Z))

    def visit(self, member, Z):
        """Go through the columns; see :class:`~sklearn_dgm._queries.factors.Factors`."""
        node = np.zeros(len(Z), dtype=np.int64)
        for j, axis in enumerate(self._axes):
            level = self._levels[j]
            yield j, BinConditional(axis, node, level, self._spread[j])
            with np.errstate(invalid="ignore", over="ignore"):
                index, inside = axis.index(np.ascontiguousarray(Z[:, j]))
            first, after = level.position(node, index), level.position(node, index + 1)
            node = np.where(inside & (node >= 0) & (after > first), first, -1)


class Level(NamedTuple):
    """The nodes of the tree that stand for the bins of the columns up to one.

    Attributes
    ----------
    bins : ndarray of int of shape (n_bins,)
        Bins of that column that occur.
    keys : ndarray of int of shape (n_nodes,)
        Numbers of the nodes' parents and bins, increasing.
    sums : ndarray of shape (n_nodes + 1,)
        Weights before each node.
    """

    bins: np.ndarray
    keys: np.ndarray
    sums: np.ndarray

    def position(self, parent, index):
        """Return the number of nodes before a bin of a parent."""
        rank = np.searchsorted(self.bins, index)
        return np.searchsorted(self.keys, parent * (len(self.bins) + 1) + rank)


class BinConditional(ColumnConditional):
    """Conditional distributions of a column of a histogram, one for each row.

    Parameters
    ----------
    axis : {EdgeAxis, LevelAxis}
        Bins of the column.
    node : ndarray of int of shape (n,)
        For each row what its earlier columns are, -1 where no fitted row has that.
    level : Level
        The nodes that they lead to.
    spread : float
        What smoothing adds to each bin.
    """

    def __init__(self, axis, node, level, spread):
        self._axis, self._node, self._level, self._spread = axis, node[:, None], level, spread

    def _before(self, index):
        """Return the weight of the bins before one, of shape (n, m)."""
        sums, first = self._level.sums, self._level.position(self._node, 0)
        counted = sums[self._level.position(self._node, index)] - sums[first]
        return np.where(self._node >= 0, counted, 0.0) + self._spread * index

    def cdf(self, points):
        """Return the probabilities below values; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        n_bins = self._axis.n_bins
        total = self._before(np.full((len(points), 1), n_bins))
        if isinstance(self._axis, EdgeAxis):
            edges = self._axis.edges.copy()
            # The last bin is closed: what is no smaller than its upper edge has a little of its mass.
            edges[-1] += CLOSED * (edges[-1] - edges[-2])
            points = points.clip(edges[0], edges[-1])
            index = np.searchsorted(edges[1:-1], points, side="right")
            along = (points - edges[index]) / np.diff(edges)[index]
            before = self._before(index)
            before = before + along * (self._before(index + 1) - before)
        else:
            before = self._before(
                np.rint(points + 0.5 - self._axis.start).clip(0, n_bins).astype(np.int64)
            )
        # Without any count and smoothing nothing is known.
        return np.divide(before, total, out=np.zeros_like(before), where=total > 0)
