"""Exact marginals of Bayesian networks: what rows with missing cells score, and draws of what is missing."""

import networkx as nx
import numpy as np

from sklearn_dgm.bayes_net._elimination import draw, eliminate, plan
from sklearn_dgm.counts.axes import CategoryAxis

# Cells of a table on the way to a marginal, of one row and of all at once; numbers that a network is asked at once.
MAX_CELLS, CELLS_AT_ONCE, NUMBERS_AT_ONCE = 2**16, 2**20, 2**23
# Whole numbers beyond the fitted range that still count; what lies farther has hardly any mass.
N_BEYOND = 100


class NotExactError(ValueError):
    """A marginal has no closed form, or too large a one."""


class Inference:
    """Exact marginals of a Bayesian network of tables and of a network.

    Missing cells of which nothing observed descends play no part. The others are summed over: those that tables alone
    ask for cell by cell; of those that a network asks for, categories and whole numbers of few values, value by value.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    axes : list of {CategoryAxis, NumberAxis}
        Cells of the columns.
    tables : dict of int to Table
        The conditionals that tables hold.
    log_prob_features : callable
        For encoded rows the log-density of each column given its parents.
    """

    def __init__(self, columns, adjacency, axes, tables, log_prob_features):
        self.columns = columns
        self.axes = axes
        self.tables = tables
        self.log_prob_features = log_prob_features
        self.families = [[j, *np.flatnonzero(adjacency[:, j])] for j in range(len(columns))]
        self.descends = _descendants(adjacency)

    def log_marginal(self, Z, places=None):
        """Return the log-density of the observed cells of each row.

        Parameters
        ----------
        Z : ndarray of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        places : ndarray of int of shape (n,), default=None
            What errors call the rows; None for their places in Z.

        Returns
        -------
        log_marginal : ndarray of shape (n,)
            In nats.

        Raises
        ------
        ValueError
            If a missing cell cannot be summed over exactly.
        """
        result = np.empty(len(Z))
        for rows, total, _, _ in self._eliminations(Z, places):
            result[rows] = total
        return result

    def draw(self, Z, uniforms):
        """Draw the missing cells that something observed descends from, given the observed ones.

        Parameters
        ----------
        Z : ndarray of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        uniforms : ndarray of shape (n, d)
            Numbers between 0 and 1.

        Returns
        -------
        Z : ndarray of shape (n, d)
            The rows. What is missing still is to be drawn column by column, given its parents.
        log_marginal : ndarray of shape (n,)
            See :meth:`log_marginal`.
        """
        Z, result = Z.copy(), np.empty(len(Z))
        for rows, total, trail, states in self._eliminations(Z):
            result[rows] = total
            order = [v for v, _ in reversed(trail)]
            drawn = draw(trail, uniforms[np.ix_(rows, order)])
            for v, (level, rest) in drawn.items():
                Z[rows, v] = states[v].values(level, rest)
        return Z, result

    def is_exact(self, Z):
        """Tell for each row whether its missing cells can be summed over exactly, of shape (n,)."""
        result = np.ones(len(Z), dtype=bool)
        for rows, is_needed, is_missing in self._patterns(Z):
            try:
                self._prepare(is_needed, is_missing, rows[0])
            except NotExactError:
                result[rows] = False
        return result

    def _patterns(self, Z):
        """Group the rows of which the same cells are needed and missing."""
        observed = ~np.isnan(Z)
        needed = observed | (observed @ self.descends.T)
        kinds, which = np.unique(
            np.stack([needed, needed & ~observed], axis=1), axis=0, return_inverse=True
        )
        for k, (is_needed, is_missing) in enumerate(kinds):
            yield np.flatnonzero(which == k), is_needed, is_missing

    def _eliminations(self, Z, places=None):
        """Yield for parts of the rows their numbers, log-marginals, and the trail and states of the elimination."""
        filled = np.nan_to_num(Z, posinf=np.inf, neginf=-np.inf)
        scores = self.log_prob_features(filled)
        encoded = self._encode(Z) if np.isnan(Z).any() else None
        places = np.arange(len(Z)) if places is None else places
        for rows, is_needed, is_missing in self._patterns(Z):
            whole = [f[0] for f in self.families if is_needed[f[0]] and not is_missing[f].any()]
            score = scores[np.ix_(rows, whole)].sum(axis=1)
            if not is_missing.any():
                yield rows, score, [], {}
                continue
            families, states, order, n_cells = self._prepare(is_needed, is_missing, places[rows[0]])
            n_parts = -(-len(rows) * int(n_cells) // CELLS_AT_ONCE)
            for part in np.array_split(np.arange(len(rows)), n_parts):
                of_rows = [x[rows[part]] for x in (filled, *encoded)]
                log_total, trail = eliminate(self._factors(families, states, *of_rows), order)
                yield rows[part], score[part] + log_total, trail, states

    def _prepare(self, is_needed, is_missing, row):
        """Return the conditionals that depend on missing cells, the states of these, and an elimination order."""
        families = [f for f in self.families if is_needed[f[0]] and is_missing[f].any()]
        states = {v: self._states(v, families, row) for v in np.flatnonzero(is_missing).tolist()}
        return families, states, *self._plan(families, states, row)

    def _encode(self, Z):
        pairs = [axis.encode(z) for axis, z in zip(self.axes, Z.T, strict=True)]
        codes, log_within = zip(*pairs, strict=True)
        return np.stack(codes, axis=1), np.stack(log_within, axis=1)

    def _states(self, v, families, row):
        """Return the states of a missing cell, as all conditionals that depend on it see them."""
        column, axis = self.columns[v], self.axes[v]
        networks = [f[0] for f in families if v in f and f[0] not in self.tables]
        if not networks:
            return Cells(axis)
        if isinstance(axis, CategoryAxis):
            return Values(axis, np.arange(axis.n_levels, dtype=np.float64))
        if axis.is_one_each:
            low, high = axis.edges[[0, -1]] + [0.5 - N_BEYOND, N_BEYOND - 0.5]
            if axis.support is not None:
                low, high = max(low, axis.support.lower), min(high, axis.support.upper)
            return Values(axis, np.arange(low, high + 1))
        asks = "it has one" if v in networks else f"that of {self.columns[networks[0]].where} does"
        raise NotExactError(
            f"Row {row}: {column.where} is missing, and a network asks for its value ({asks}), so that there is no "
            "exact marginal. Set conditional='table', or draw the missing cells with conditional_sample."
        )

    def _plan(self, families, states, row):
        scopes = [tuple(v for v in f if v in states) for f in families]
        order, n_cells = plan(scopes, {v: state.n_levels for v, state in states.items()})
        if n_cells > MAX_CELLS:
            names = ", ".join(repr(self.columns[v].label) for v in states)
            raise NotExactError(
                f"Row {row}: an exact marginal needs a table of {n_cells:.3g} cells, for the missing cells of {names}. "
                "It is smaller with fewer parents or bins; conditional_sample draws the missing cells without it."
            )
        return order, n_cells

    def _factors(self, families, states, Z, codes, log_within):
        """Return the factors of conditionals with missing cells, for rows that lack the same ones."""
        factors, of_networks = [], {}
        for child, *parents in families:
            scope = tuple(v for v in sorted((child, *parents)) if v in states)
            if child not in self.tables:
                of_networks.setdefault(scope, []).append(child)
                continue

            def along(v, of_rows, of_state, scope=scope):
                """Return the numbers of a column, with the axes of the missing cells behind the rows."""
                if v not in states:
                    return of_rows[:, v].reshape(-1, *(1 for _ in scope))
                shape = (1, *(-1 if u == v else 1 for u in scope))
                return getattr(states[v], of_state).reshape(shape)

            table = self.tables[child]
            log_p = table.log_mass(*(along(v, codes, "codes") for v in (child, *table.parents)))
            factors.append((scope, log_p + along(child, log_within, "log_within")))
        for scope, children in of_networks.items():
            factors.append((scope, self.network_factor(scope, children, states, Z)))
        return factors

    def network_factor(self, scope, children, states, Z):
        """Return the joint log-probabilities of some columns, for all states of a scope.

        Parameters
        ----------
        scope : tuple of int
            The cells, sorted.
        children : list of int
            Columns, all of whose parents are in the scope or in the rows.
        states : dict of int to Values
            What the cells can be.
        Z : ndarray of shape (n, d)
            Encoded rows, which have any number in the cells of the scope.

        Returns
        -------
        log_p : ndarray of shape (n, n_levels of each cell)
            In nats.
        """
        sizes = [states[v].n_levels for v in scope]
        outcomes = np.indices(sizes).reshape(len(scope), -1)
        step = max(NUMBERS_AT_ONCE // (outcomes.shape[1] * Z.shape[1]), 1)
        parts = []
        for start in range(0, len(Z), step):
            rows = np.repeat(Z[start : start + step], outcomes.shape[1], axis=0)
            for v, levels in zip(scope, outcomes, strict=True):
                rows[:, v] = np.tile(states[v].z[levels], len(rows) // len(levels))
            parts.append(self.log_prob_features(rows)[:, children].sum(axis=1))
        # A missing category is taken for one of the known ones.
        shares = [getattr(self.axes[j], "unknown_share", 0.0) for j in children if j in scope]
        return np.concatenate(parts).reshape(-1, *sizes) - np.log1p(-np.array(shares)).sum()


class Cells:
    """A missing cell of which only its cell on the axis matters.

    Parameters
    ----------
    axis : {CategoryAxis, NumberAxis}
        The cells.
    """

    def __init__(self, axis):
        self.axis = axis
        self.n_levels = axis.n_levels
        self.codes = np.arange(axis.n_levels)
        self.log_within = np.zeros(axis.n_levels)

    def values(self, levels, uniforms):
        """Return the encoded values of levels."""
        return self.axis.icdf_within(levels, uniforms)


class Values:
    """A missing cell of which every value is told from the others.

    Parameters
    ----------
    axis : {CategoryAxis, NumberAxis}
        The cells.
    z : ndarray of shape (n_levels,)
        Encoded values.
    """

    def __init__(self, axis, z):
        self.z = z
        self.n_levels = len(z)
        self.codes, self.log_within = axis.encode(z)
        if isinstance(axis, CategoryAxis):  # which is taken for one of the known ones
            self.log_within = np.zeros(len(z))

    def values(self, levels, uniforms):
        """Return the encoded values of levels."""
        return self.z[levels]


def _descendants(adjacency):
    """Return a matrix that is True at [i, j] where column j is a descendant of column i."""
    descends = np.zeros_like(adjacency)
    for j in reversed(list(nx.topological_sort(nx.DiGraph(adjacency)))):
        children = np.flatnonzero(adjacency[j])
        descends[j, children] = True
        descends[j] |= descends[children].any(axis=0)
    return descends
