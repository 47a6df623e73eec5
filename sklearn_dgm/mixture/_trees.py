"""Columns that follow a tree of each component, of whose edges each has a table (Meila and Jordan, 2000)."""

import numpy as np
from scipy import sparse
from scipy.special import logsumexp

from sklearn_dgm.counts.axes import CategoryAxis
from sklearn_dgm.counts.forests import maximum_spanning_forest, roots_first
from sklearn_dgm.counts.pairs import blocks_of, check_number_of_pairs, mutual_information
from sklearn_dgm.counts.tables import choose, smoothed
from sklearn_dgm.mixture._tables import ColumnTables, pooled_alpha

# Rows of independent columns that the pairs of cells of all rows are mixed with, for each cell of a column.
PRIOR_ROWS = 5.0
# Smaller shares of a component's weight are what is left of differences.
ROUNDING = 1e-13
# Numbers that a block of rows takes up.
NUMBERS_AT_ONCE = 2**22
LOWEST = np.finfo(np.float64).min


class ColumnTrees(ColumnTables):
    """Distributions of columns along trees of the highest likelihood, one of each component.

    The table of each two columns is drawn towards that of all rows, which counts as `alpha` of the component's rows.
    Rows that lack a cell of a pair are left out of its counts: with expected counts in their place, given the observed
    cells, the objective would not fall, but rows held out have a lower density.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of all columns; all of them have tables.
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.
    n_components : int
        Number of components.

    Attributes
    ----------
    parents : ndarray of int of shape (n_components, n_columns)
        Parent of each column in the tree of each component, -1 for roots.
    log_edges : list of list of ndarray of shape (n_levels_of_parent or 1, n_levels)
        For each component and column the log-probabilities of the cells given that of the parent.
    """

    def __init__(self, columns, Z, weight, n_components):
        super().__init__(columns, range(len(columns)), False, Z, weight, n_components)
        check_number_of_pairs(columns, self.n_levels, n_components)
        self.parents = np.full((n_components, len(columns)), -1)

    @property
    def n_levels(self):
        """Number of cells of each column."""
        return np.diff(self.starts)

    def count(self, prepared, responsibilities):
        """Return the weights of pairs of cells in each component, of shape (n_components, n_cells, n_cells)."""
        complete = (prepared.codes >= 0).all(axis=1)
        one_hot, shares = prepared.one_hot[complete], responsibilities[complete]
        firsts, n_cells = self.starts[:-1], int(self.starts[-1])
        # In complete rows a column has its first cell where it has none of the others, which leaves fewer products.
        others = np.setdiff1d(np.arange(n_cells), firsts)
        one_of_all = sparse.csr_array(np.ones((len(shares), 1)))
        pairs = self._pair_weights(sparse.hstack([one_of_all, one_hot[:, others]], "csr"), shares)
        to_cells = np.zeros((1 + len(others), n_cells))
        to_cells[0, firsts] = 1
        places = np.arange(1, 1 + len(others))
        to_cells[places, others] = 1
        to_cells[places, firsts[np.searchsorted(firsts, others) - 1]] = -1
        counts = np.stack([to_cells.T @ of_component @ to_cells for of_component in pairs])
        counts[counts < ROUNDING * shares.sum(axis=0)[:, None, None]] = 0
        return counts + self._pair_weights(prepared.one_hot[~complete], responsibilities[~complete])

    def _pair_weights(self, one_hot, responsibilities):
        """Return the weights of pairs of columns of a sparse matrix that are both one, in each component."""
        weights = np.zeros((responsibilities.shape[1], one_hot.shape[1], one_hot.shape[1]))
        for block in self._row_blocks(len(responsibilities)):
            dense = one_hot[block].toarray()
            for k, r in enumerate(responsibilities[block].T):
                weights[k] += dense.T @ (r[:, None] * dense)
        return weights

    def _row_blocks(self, n):
        step = max(NUMBERS_AT_ONCE // int(self.starts[-1]), 1)
        return [slice(start, start + step) for start in range(0, n, step)]

    def learn(self, counts):
        """Learn trees and tables from the weights of pairs of cells."""
        self._pooled = self._smoothed_pairs(counts.sum(axis=0))
        self.log_edges, self.parents = [], self.parents.copy()
        log_tables = []
        for k, of_component in enumerate(counts):
            rows = self._per_pair(self._sums(of_component)) + self.alpha
            drawn = of_component + self.alpha * self._pooled
            joint = np.divide(drawn, rows, out=self._pooled.copy(), where=rows > 0)
            self.parents[k] = maximum_spanning_forest(self._information(joint))
            with np.errstate(divide="ignore"):
                log_tables.append(np.log(np.diag(joint)))
                self.log_edges.append(
                    [self._log_edge(joint, i, j) for j, i in enumerate(self.parents[k])]
                )
        self.log_tables = np.stack(log_tables)

    def _smoothed_pairs(self, counts):
        """Return the probabilities of pairs of cells in all rows, of shape (n_cells, n_cells), with equal margins."""
        cells = np.diag(counts)
        singles = self._by_column(lambda of: np.exp(smoothed(of, pooled_alpha(of))), cells)
        # Smoothing keeps a row's cell with this probability, and draws it evenly else: dependences are left of both.
        kept = self._by_column(
            lambda of: np.full(of.shape, of.sum() / (of.sum() + pooled_alpha(of))), cells
        )
        shares = self._by_column(lambda of: of / max(of.sum(), np.finfo(np.float64).tiny), cells)
        rows = self._per_pair(self._sums(counts))
        extra = self._per_pair(PRIOR_ROWS * np.sqrt(np.outer(self.n_levels, self.n_levels)))
        excess = (counts - rows * np.outer(shares, shares)) / (rows + extra)
        pairs = np.outer(singles, singles) + np.outer(kept, kept) * excess
        for j in range(len(self.axes)):
            own = self._of(j)
            pairs[own, own] = np.diag(singles[own])
        return pairs

    def _sums(self, pairs):
        """Sum up the cells of each two columns, to shape (n_columns, n_columns)."""
        return np.add.reduceat(np.add.reduceat(pairs, self.starts[:-1]), self.starts[:-1], axis=1)

    def _per_pair(self, values):
        """Repeat values of each two columns for all of their cells."""
        return np.repeat(np.repeat(values, self.n_levels, axis=0), self.n_levels, axis=1)

    def _of(self, j):
        return slice(*self.starts[j : j + 2])

    def _information(self, joint):
        blocks, starts = blocks_of(self.n_levels), self.starts
        parts = (joint[starts[b.start] : starts[b.stop], starts[b.start] :] for b in blocks)
        return mutual_information(parts, self.n_levels)

    def _log_edge(self, joint, i, j):
        if i < 0:
            return np.log(np.diag(joint)[None, self._of(j)])
        pair = joint[self._of(i), self._of(j)]
        total = pair.sum(axis=1, keepdims=True)
        # A cell of the parent that is impossible says nothing.
        p = np.divide(
            pair, total, out=np.tile(np.diag(joint)[self._of(j)], (len(pair), 1)), where=total > 0
        )
        return np.log(p)

    def log_prior(self):
        """Return the log-density of the prior of the tables, up to a constant."""
        if not self.alpha:
            return 0.0
        total = 0.0
        for parents, edges in zip(self.parents, self.log_edges, strict=True):
            for j, (i, log_edge) in enumerate(zip(parents, edges, strict=True)):
                own = self._of(j)
                pooled = (
                    np.diag(self._pooled)[None, own] if i < 0 else self._pooled[self._of(i), own]
                )
                total += np.sum(pooled * log_edge)
        return self.alpha * total

    def log_prob(self, prepared):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        codes = prepared.codes
        log_p = np.empty((len(codes), len(self.parents)))
        complete = (codes >= 0).all(axis=1)
        (rows,), columns = np.nonzero(~complete), np.ascontiguousarray(codes[complete].T)
        for k, (parents, edges) in enumerate(zip(self.parents, self.log_edges, strict=True)):
            log_p[complete, k] = sum(
                edge.ravel().take(columns[j] if i < 0 else columns[i] * edge.shape[1] + columns[j])
                for j, (i, edge) in enumerate(zip(parents, edges, strict=True))
            )
            for block in self._row_blocks(len(rows)):
                log_p[rows[block], k] = self._messages(codes[rows[block]], k)[1]
        return log_p + prepared.log_within[:, None]

    def _messages(self, codes, k):
        """Pass messages from leaves to roots.

        Returns
        -------
        beliefs : list of ndarray of shape (n, n_levels)
            For each column the log-probability of what is observed below, given each of its cells, and of its own cell.
        log_p : ndarray of shape (n,)
            Log-probability of the observed cells.
        """
        parents, edges = self.parents[k], self.log_edges[k]
        beliefs, log_p = [], np.zeros(len(codes))
        for j, size in enumerate(self.n_levels):
            agrees = (codes[:, j, None] == np.arange(size)) | (codes[:, j, None] < 0)
            beliefs.append(np.where(agrees, 0.0, -np.inf))
        for j in reversed(roots_first(parents)):
            highest = beliefs[j].max(axis=1, keepdims=True).clip(LOWEST)
            with np.errstate(divide="ignore"):
                message = np.log(np.exp(beliefs[j] - highest) @ np.exp(edges[j]).T) + highest
            if parents[j] < 0:
                log_p += message[:, 0]
            else:
                beliefs[parents[j]] = beliefs[parents[j]] + message
        return beliefs, log_p

    def fill(self, Z, component, uniforms):
        """Fill in missing cells in place given the observed ones; see :meth:`ColumnTables.fill`."""
        codes = self.prepare(Z).codes
        for k in np.unique(component):
            (of_component,) = np.nonzero((component == k) & np.isnan(Z).any(axis=1))
            for block in self._row_blocks(len(of_component)):
                rows = of_component[block]
                own, beliefs = codes[rows], self._messages(codes[rows], k)[0]
                for j in roots_first(self.parents[k]):
                    i, edge = self.parents[k, j], self.log_edges[k][j]
                    log_p = edge[own[:, i] if i >= 0 else np.zeros(len(rows), int)] + beliefs[j]
                    own[:, j], rest = choose(log_p, uniforms[rows, j])
                    drawn = self.axes[j].icdf_within(own[:, j], rest)
                    Z[rows, j] = np.where(np.isnan(Z[rows, j]), drawn, Z[rows, j])

    def fill_means(self, Z, posterior, beside):
        """Fill in expectations in place, or the most probable category; see :meth:`ColumnTables.fill_means`."""
        codes, gaps = self.prepare(Z).codes, np.isnan(Z)
        p = [np.zeros((len(Z), size)) for size in self.n_levels]
        for k in range(len(self.parents)):
            for total, of_component in zip(p, self._marginals(codes, k), strict=True):
                total += posterior[:, k, None] * of_component
        for j, axis in enumerate(self.axes):
            if isinstance(axis, CategoryAxis):
                means = p[j].argmax(axis=1)
            else:
                means = p[j] @ axis.mean_within()
            Z[gaps[:, j], j] = means[gaps[:, j]]

    def _marginals(self, codes, k):
        """Return the probabilities of the cells of each column given the observed cells, each of (n, n_levels)."""
        beliefs, result = self._messages(codes, k)[0], [np.empty(0)] * len(self.axes)
        for j in roots_first(self.parents[k]):
            i, edge = self.parents[k, j], np.exp(self.log_edges[k][j])
            below = np.exp(beliefs[j] - logsumexp(beliefs[j], axis=1, keepdims=True))
            above = result[i] if i >= 0 else np.ones((len(codes), 1))
            total = below @ edge.T
            above = np.divide(above, total, out=np.zeros_like(above), where=total > 0)
            result[j] = (above @ edge) * below
        return result

    @property
    def n_parameters(self):
        """Number of free probabilities."""
        of_edges = sum(
            len(edge) * (edge.shape[1] - 1) for edges in self.log_edges for edge in edges
        )
        return int(of_edges)
