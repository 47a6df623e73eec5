"""Components whose columns follow one tree, with tables that are decoded from points of a latent space."""

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm._state import Stateful
from sklearn_dgm.counts.axes import CategoryAxis
from sklearn_dgm.counts.forests import roots_first
from sklearn_dgm.counts.tables import choose
from sklearn_dgm.mixture._decoded import NUMBERS_AT_ONCE, DecodedTables
from sklearn_dgm.mixture._trees import ColumnTrees

# A component with a smaller share of a row says nothing of its missing cells.
LEAST_SHARE = 1e-12


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
        (rows,) = np.nonzero(n_missing)
        size = len(self.log_cells) * int(self.n_levels.max()) * n_missing.max(initial=1)
        step = max(NUMBERS_AT_ONCE // int(size), 1)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            log_p[block] += self._log_sum_missing(prepared.codes[block]).T
        return log_p

    def _log_sum_missing(self, codes):
        """Return what missing cells between observed ones add to log-densities, summed out from leaves to roots.

        A missing cell without an observed one below sums to one. Messages are passed along missing cells alone.

        Parameters
        ----------
        codes : ndarray of int of shape (n, n_columns)
            Cells of rows, -1 where missing.

        Returns
        -------
        log_p : ndarray of shape (n_components, n)
            In nats.
        """
        log_cells, cells, seen = self.log_cells, self.cells, codes >= 0
        order = roots_first(cells.parents)
        above_seen = np.zeros_like(seen)
        for j in reversed(order):
            if (i := cells.parents[j]) >= 0:
                above_seen[:, i] |= seen[:, j] | above_seen[:, j]
        log_p = np.zeros((len(log_cells), len(codes)), dtype=log_cells.dtype)
        messages = {}
        for j in reversed(order):
            (rows,) = np.nonzero(~seen[:, j] & above_seen[:, j])
            if not len(rows):
                continue
            belief = self._beliefs(j, rows, codes, messages)
            i, levels = cells.parents[j], np.arange(self.n_levels[j])
            parent = codes[rows, i] if i >= 0 else np.zeros(len(rows), dtype=int)
            given = parent >= 0
            place = cells.starts[j] + parent[given, None] * len(levels) + levels
            log_p[:, rows[given]] += logsumexp(belief[:, given] + log_cells[:, place], axis=2)
            if not given.all():
                edge = np.exp(cells.of(j, log_cells))
                messages[j] = rows[~given], _log_products(belief[:, ~given], edge)
        return log_p

    def _beliefs(self, j, rows, codes, messages):
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
        codes, gaps = self.prepare(Z).codes, np.isnan(Z)
        p = [np.zeros((len(Z), size)) for size in self.n_levels]
        row, component = np.nonzero((posterior > LEAST_SHARE) & gaps.any(axis=1)[:, None])
        step = max(NUMBERS_AT_ONCE // int(self.cells.starts[-1]), 1)
        for start in range(0, len(row), step):
            rows, k = row[start : start + step], component[start : start + step]
            shares = posterior[rows, k, None]
            marginals = self._marginals(codes[rows], self.log_cells[k])
            for total, of_pairs in zip(p, marginals, strict=True):
                np.add.at(total, rows, shares * of_pairs)
        for j, axis in enumerate(self.axes):
            own = p[j][gaps[:, j]]
            is_category = isinstance(axis, CategoryAxis)
            Z[gaps[:, j], j] = own.argmax(axis=1) if is_category else own @ axis.mean_within()

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
