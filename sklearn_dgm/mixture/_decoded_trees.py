"""Components whose columns follow one tree, with tables that are decoded from points of a latent space."""

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm._state import Stateful
from sklearn_dgm.counts.axes import CategoryAxis
from sklearn_dgm.counts.forests import roots_first
from sklearn_dgm.counts.tables import choose
from sklearn_dgm.mixture._decoded import NUMBERS_AT_ONCE, DecodedTables
from sklearn_dgm.mixture._trees import ColumnTrees


class Edges(Stateful):
    """The conditional tables of the columns in each component, as a sequence of lists."""

    def __init__(self, cells, log_cells):
        self.cells, self.log_cells = cells, log_cells

    def __len__(self):
        return len(self.log_cells)

    def __getitem__(self, k):
        return [self.cells.of(j, self.log_cells[k]) for j in range(len(self.cells.n_levels))]


class DecodedTrees(DecodedTables, ColumnTrees):
    """Distributions of columns along a tree that all components share, each with tables of its own.

    Parameters
    ----------
    tables, cells, log_cells, reference
        See :class:`DecodedTables`.
    """

    @property
    def log_tables(self):
        """Log-probabilities of the cells of each column by itself in each component, side by side."""
        nothing = np.full((len(self.log_cells), len(self.n_levels)), -1)
        with np.errstate(divide="ignore"):
            return np.log(np.concatenate(self._marginals(nothing, self.log_cells), axis=1))

    def _beside_reference(self, codes):
        """Return 1 for each pair of cells that a row has beside frequent ones, -1 for those of them that it lacks."""
        places, expected = self.cells.places(codes), self._at_reference
        row, column = np.nonzero(places != expected)
        place = places[row, column]
        seen = place >= 0
        rows, columns = np.append(row[seen], row), np.append(place[seen], expected[column])
        values = np.append(np.ones(seen.sum()), -np.ones(len(row)))
        return self._compact(rows, columns, values, (len(codes), int(self.cells.starts[-1])))

    def count(self, prepared, responsibilities):
        """Return the weights of pairs of cells in each component, of shape (n_components, n_cells)."""
        counts = (prepared.one_hot.T @ responsibilities).T
        counts[:, self._at_reference] += responsibilities.sum(axis=0)[:, None]
        return counts

    @property
    def parents(self):
        """Parent of each column in the tree of each component, -1 for roots; a read-only view."""
        return np.broadcast_to(self.cells.parents, (len(self.log_cells), len(self.n_levels)))

    @property
    def log_edges(self):
        """For each component and column the log-probabilities of the cells given that of the parent."""
        return Edges(self.cells, self.log_cells)

    def log_prob(self, prepared):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        of_reference = self.log_cells[:, self._at_reference]
        log_p = self._log_products(prepared, self.log_cells, of_reference)
        # So far without the edges of missing cells.
        n_missing = (prepared.codes < 0).sum(axis=1)
        for block in self._blocks_of_gaps(np.flatnonzero(n_missing), n_missing):
            log_p[block] += self._log_sum_missing(prepared.codes[block]).T
        return log_p

    def _blocks_of_gaps(self, rows, n_missing):
        """Return rows in blocks whose missing cells take up so much in all components."""
        size = len(self.log_cells) * int(self.n_levels.max()) * n_missing[rows].max(initial=1)
        step = max(NUMBERS_AT_ONCE // int(size), 1)
        return [rows[start : start + step] for start in range(0, len(rows), step)]

    def _log_sum_missing(self, codes):
        """Return what missing cells between observed ones add to log-densities, of shape (n_components, n)."""
        seen = codes >= 0
        above_seen = np.zeros_like(seen)
        for j in reversed(roots_first(self.cells.parents)):
            if (i := self.cells.parents[j]) >= 0:
                above_seen[:, i] |= seen[:, j] | above_seen[:, j]
        # The others sum to one.
        return self._upward(codes, ~seen & above_seen)[0]

    def _upward(self, codes, wanted):
        """Sum missing cells out from leaves to roots; messages are passed along missing cells alone.

        Parameters
        ----------
        codes : ndarray of int of shape (n, n_columns)
            Cells of rows, -1 where missing.
        wanted : ndarray of bool of shape (n, n_columns)
            The missing cells, but for some without an observed one below.

        Returns
        -------
        log_p : ndarray of shape (n_components, n)
            What missing cells add to log-densities.
        beliefs : dict of ndarray of shape (n_components, n_missing, n_levels)
            For each column the log-probability of what is observed below, in the rows that lack its cell.
        """
        log_cells, cells = self.log_cells, self.cells
        log_p = np.zeros((len(log_cells), len(codes)), dtype=log_cells.dtype)
        beliefs, messages = {}, {}
        for j in reversed(roots_first(cells.parents)):
            (rows,) = np.nonzero(wanted[:, j])
            if not len(rows):
                continue
            belief = beliefs[j] = self._belief(j, rows, codes, messages)
            given, place = self._edges_given(j, rows, codes)
            log_p[:, rows[given]] += logsumexp(belief[:, given] + log_cells[:, place], axis=2)
            if not given.all():
                edge = np.exp(cells.of(j, log_cells))
                messages[j] = rows[~given], _log_products(belief[:, ~given], edge)
        return log_p, beliefs

    def _edges_given(self, j, rows, codes):
        """Return in which rows a column's parent is observed, or it has none, and where its cells stand there."""
        i, levels = self.cells.parents[j], np.arange(self.n_levels[j])
        parent = codes[rows, i] if i >= 0 else np.zeros(len(rows), dtype=int)
        given = parent >= 0
        return given, self.cells.starts[j] + parent[given, None] * len(levels) + levels

    def _belief(self, j, rows, codes, messages):
        """Return the log-probability of what is observed below a missing cell, of shape (n_components, n, n_levels)."""
        levels, log_cells = np.arange(self.n_levels[j]), self.log_cells
        belief = np.zeros((len(log_cells), len(rows), len(levels)), dtype=log_cells.dtype)
        for i in np.flatnonzero(self.cells.parents == j):
            code = codes[rows, i]
            known = code >= 0
            place = self.cells.starts[i] + levels * self.n_levels[i] + code[known, None]
            belief[:, known] += log_cells[:, place]
            if i in messages:
                of_rows, message = messages.pop(i)
                belief[:, np.searchsorted(rows, of_rows)] += message
        return belief

    def _messages(self, codes, log_cells):
        """Pass messages from leaves to roots.

        Parameters
        ----------
        codes : ndarray of int of shape (..., n_columns)
            Cells of rows, -1 where missing.
        log_cells : ndarray of shape (..., n_cells)
            Log-probabilities of cells, of axes that go together with those of the rows.

        Returns
        -------
        beliefs : list of ndarray of shape (..., n_levels)
            For each column the log-probability of what is observed below, given each of its cells, and of its own cell.
        log_p : ndarray of shape (...)
            Log-probability of the observed cells.
        """
        beliefs, log_p, parents = [], 0.0, self.cells.parents
        for j, size in enumerate(self.n_levels):
            agrees = (codes[..., j, None] == np.arange(size)) | (codes[..., j, None] < 0)
            beliefs.append(np.where(agrees, 0.0, -np.inf))
        for j in reversed(roots_first(parents)):
            message = logsumexp(self.cells.of(j, log_cells) + beliefs[j][..., None, :], axis=-1)
            if parents[j] < 0:
                log_p = log_p + message[..., 0]
            else:
                beliefs[parents[j]] = beliefs[parents[j]] + message
        return beliefs, log_p

    def fill(self, Z, component, uniforms):
        """Fill in missing cells in place given the observed ones; see :meth:`ColumnTables.fill`."""
        gaps = np.isnan(Z)
        of_nothing = gaps.all(axis=1)
        step = max(NUMBERS_AT_ONCE // int(self.cells.starts[-1]), 1)
        for rows in (np.flatnonzero(of_nothing), np.flatnonzero(gaps.any(axis=1) & ~of_nothing)):
            for start in range(0, len(rows), step):
                block = rows[start : start + step]
                Z[block] = self._filled(Z[block], component[block], uniforms[block])

    def _filled(self, Z, component, uniforms):
        """Draw from roots to leaves, after messages the other way unless nothing is observed."""
        gaps, codes, every = np.isnan(Z), self.prepare(Z).codes, np.arange(len(Z))
        log_cells = self.log_cells[component]
        beliefs = None if gaps.all() else self._messages(codes, log_cells)[0]
        for j in roots_first(self.cells.parents):
            i, edge = self.cells.parents[j], self.cells.of(j, log_cells)
            log_p = edge[every, codes[:, i] if i >= 0 else 0]
            if beliefs is not None:
                log_p = log_p + beliefs[j]
            codes[:, j], rest = choose(log_p, uniforms[:, j])
            drawn = self.axes[j].icdf_within(codes[:, j], rest)
            Z[:, j] = np.where(gaps[:, j], drawn, Z[:, j])
        return Z

    def fill_means(self, Z, posterior, beside):
        """Fill in expectations in place, or the most probable category; see :meth:`ColumnTables.fill_means`."""
        gaps = np.isnan(Z)
        of_nothing = gaps.all(axis=1)
        if of_nothing.any():  # which have all one table in each component
            alone = np.split(np.exp(self.log_tables), self.starts[1:-1], axis=1)
            for j, p in enumerate(alone):
                Z[of_nothing, j] = self._expected(j, posterior[of_nothing] @ p)
        (rows,) = np.nonzero(gaps.any(axis=1) & ~of_nothing)
        for block in self._blocks_of_gaps(rows, gaps.sum(axis=1)):
            codes = self.prepare(Z[block]).codes
            for j, p in self._marginals_of_gaps(codes, gaps[block]).items():
                own = block[gaps[block, j]]
                Z[own, j] = self._expected(j, np.einsum("nk,knc->nc", posterior[own], p))

    def _expected(self, j, p):
        """Return the means of a column's values, or the likeliest categories, given probabilities of its cells."""
        axis = self.axes[j]
        return p.argmax(axis=1) if isinstance(axis, CategoryAxis) else p @ axis.mean_within()

    def _marginals_of_gaps(self, codes, gaps):
        """Return for each column the probabilities of its cells in rows that lack it, (n_components, n, n_levels)."""
        beliefs, result = self._upward(codes, gaps)[1], {}
        for j in roots_first(self.cells.parents):
            (rows,), i = np.nonzero(gaps[:, j]), self.cells.parents[j]
            if not len(rows):
                continue
            belief = beliefs[j] - beliefs[j].max(axis=2, keepdims=True)
            given, place = self._edges_given(j, rows, codes)
            p = np.exp(belief)
            p[:, given] *= np.exp(self.log_cells[:, place])
            if not given.all():
                edge = np.exp(self.cells.of(j, self.log_cells))
                above = result[i][:, np.searchsorted(np.flatnonzero(gaps[:, i]), rows[~given])]
                total = p[:, ~given] @ np.swapaxes(edge, 1, 2)
                p[:, ~given] *= (above / total) @ edge
            result[j] = p / p.sum(axis=2, keepdims=True)
        return result

    def _marginals(self, codes, log_cells):
        """Return the probabilities of the cells of each column given the observed cells, each of (..., n_levels)."""
        beliefs, result = self._messages(codes, log_cells)[0], [np.empty(0)] * len(self.axes)
        for j in roots_first(self.cells.parents):
            i = self.cells.parents[j]
            log_p = self.cells.of(j, log_cells) + beliefs[j][..., None, :]
            p = np.exp(log_p - logsumexp(log_p, axis=-1, keepdims=True))
            above = result[i][..., None, :] if i >= 0 else np.ones((1, 1))
            result[j] = (above @ p)[..., 0, :]
        return result

    @property
    def n_parameters(self):
        """Number of free probabilities."""
        return len(self.log_cells) * (int(self.cells.starts[-1]) - len(self.cells.groups) + 1)


def _log_products(belief, edge):
    """Return logarithms of products of exponentials of beliefs, (k, n, c), with tables, (k, b, c), of (k, n, b)."""
    highest = belief.max(axis=2, keepdims=True)
    return np.log(np.exp(belief - highest) @ np.swapaxes(edge, 1, 2)) + highest
