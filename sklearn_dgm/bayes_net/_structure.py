"""Graphs over the columns: as the user gives them, as a spanning forest, and learnt by a search.

The search is hill climbing with a tabu list (Bouckaert, "Bayesian Belief Networks: from Construction to Inference",
1995) on the Bayesian information criterion, a sum of one score per family, which is a column with its parents.
"""

from collections import deque

import networkx as nx
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import xlogy

from sklearn_dgm.columns._names import Position, position_of
from sklearn_dgm.counts.forests import maximum_spanning_forest

# Mixed-radix keys of rows may have so many values before they are renumbered.
MAX_KEYS = 2**16


def adjacency_of(structure, labels):
    """Return the adjacency matrix of a graph that is given in one of several forms.

    A node is a column's label or its position.

    Parameters
    ----------
    structure : networkx.DiGraph, iterable of pairs, or matrix of shape (d, d)
        A graph; its edges, as pairs of a parent and a child; or a matrix of zeros and ones, with one at [i, j] where
        column i is a parent of column j. NumPy arrays, sparse matrices and DataFrames are matrices, and the rows and
        columns of a DataFrame go by their labels. Nested lists are a matrix if they are square with more than two
        rows: two lists of two are two edges.
    labels : sequence of str or int
        Labels of the d columns.

    Returns
    -------
    adjacency : ndarray of bool, shape (d, d)
        True at [i, j] where column i is a parent of column j.

    Raises
    ------
    ValueError
        If the structure has none of these forms, names an unknown column, or has a cycle.
    """
    labels = list(labels)
    if isinstance(structure, nx.Graph):
        if not structure.is_directed():
            raise ValueError("structure should be a networkx.DiGraph, got an undirected graph.")
        located = dict(zip(structure, _locate(structure, labels), strict=True))
        structure = [(located[parent], located[child]) for parent, child in structure.edges()]
    if hasattr(structure, "shape"):
        adjacency = _from_matrix(structure, labels)
    else:
        try:
            edges = list(structure)
        except TypeError:
            raise ValueError(
                "structure should be a networkx.DiGraph, a list of edges or an adjacency matrix, got "
                f"{structure!r}."
            ) from None
        is_square = all(isinstance(e, list | tuple) and len(e) == len(edges) for e in edges)
        is_matrix = is_square and len(edges) > 2
        adjacency = (_from_matrix if is_matrix else _from_edges)(edges, labels)
    _check_acyclic(adjacency, labels)
    return adjacency


def _from_edges(edges, labels):
    adjacency = np.zeros((len(labels), len(labels)), dtype=bool)
    for edge in edges:
        if not isinstance(edge, tuple | list | np.ndarray) or len(edge) != 2:
            raise ValueError(
                f"The edges of structure should be pairs of a parent and a child, got {edge!r}."
            )
        parent, child = (position_of(node, labels, "structure") for node in edge)
        adjacency[parent, child] = True
    return adjacency


def _from_matrix(matrix, labels):
    d = len(labels)
    rows = columns = range(d)
    if np.shape(matrix) != (d, d):
        raise ValueError(
            f"structure should have the shape {(d, d)} as an adjacency matrix, got {np.shape(matrix)}; edges are a "
            "list of pairs."
        )
    if hasattr(matrix, "index") and hasattr(matrix, "columns"):
        axes = matrix.index, matrix.columns
        rows, columns = (_locate(axis, labels) for axis in axes)
        if min(len(set(rows)), len(set(columns))) < d:
            raise ValueError("structure has two rows or two columns with the same label.")
    values = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
    odd = ~np.isin(values, (0, 1))
    if odd.any():
        entry = values[odd].tolist()[0]
        raise ValueError(
            f"structure should have zeros and ones as an adjacency matrix, got {entry!r}."
        )
    adjacency = np.empty((d, d), dtype=bool)
    adjacency[np.ix_(rows, columns)] = values
    return adjacency


def _locate(nodes, labels):
    """Return the positions of the columns that nodes stand for."""
    nodes = list(nodes)
    if len(nodes) == len(labels) and set(nodes) == set(labels):  # nothing but labels can be meant
        return [Position(labels.index(node)) for node in nodes]
    return [Position(position_of(node, labels, "structure")) for node in nodes]


def _check_acyclic(adjacency, labels):
    loops = np.flatnonzero(adjacency.diagonal())
    if len(loops):
        raise ValueError(f"structure has an edge from column {labels[loops[0]]!r} to itself.")
    if connected_components(adjacency, connection="strong")[0] < len(labels):
        cycle = [parent for parent, _ in nx.find_cycle(nx.DiGraph(np.argwhere(adjacency).tolist()))]
        path = " -> ".join(str(labels[i]) for i in [*cycle, cycle[0]])
        raise ValueError(f"structure has a cycle: {path}.")


class FamilyScores:
    """Contribution of each column and its parents to an information criterion of a graph.

    It is the log-likelihood of the column given its parents, less a price for each free parameter of the table, in
    which each combination of the parents' levels counts, whether it occurs or not.

    Parameters
    ----------
    codes : ndarray of int, shape (n, d)
        Codes from 0 in each column.
    n_levels : sequence of int
        Number of codes of each column.
    sample_weight : ndarray of shape (n,), default=None
        Non-negative weights; their sum is the number of rows.
    criterion : {"bic", "aic"}
        The price of a parameter: half the logarithm of the number of rows (Schwarz), or one nat (Akaike).
    """

    def __init__(self, codes, n_levels, sample_weight=None, criterion="bic"):
        self.n_levels = np.asarray(n_levels, dtype=np.int64)
        codes, self.weight = _distinct_rows(codes, self.n_levels, sample_weight)
        self.total = self.weight.sum()
        # Fewer rows than one would turn the penalty into a prize.
        self.price = np.log(max(self.total, 1)) / 2 if criterion == "bic" else 1.0
        self.columns = np.ascontiguousarray(codes.T)
        self.column_of_level = np.repeat(np.arange(len(self.n_levels)), self.n_levels)
        self.by_column = _summation(self.column_of_level, len(self.n_levels)).T.tocsr()
        # A column's most frequent level is left out, since its counts follow from the others.
        usual = np.array([np.bincount(x, self.weight).argmax() for x in self.columns])
        row, column = np.nonzero(codes != usual)
        level = (np.cumsum(self.n_levels) - self.n_levels)[column] + codes[row, column]
        shape = len(codes), len(self.column_of_level)
        self.one_hot = sparse.csr_array((np.ones(len(row)), (row, level)), shape)

    def score(self, child, parents):
        """Score of one family, in nats."""
        _, of_parents, _, of_cells = self._tables(child, parents)
        log_likelihood = _xlogx(of_cells).sum() - _xlogx(of_parents).sum()
        return log_likelihood - self._penalty(child, parents)

    def gains(self, child, parents):
        """Return each column's gain as a further parent of a family; without meaning for the family's own columns."""
        parent_of_cell, of_parents, cells, of_cells = self._tables(child, parents)
        by_cell = _summation(cells, len(of_cells), self.weight) @ self.one_hot
        by_parents = _summation(parent_of_cell, len(of_parents)) @ by_cell
        gains = self._terms(by_cell, of_cells) - self._terms(by_parents, of_parents)
        return gains - self._penalty(child, parents) * (self.n_levels - 1)

    def _penalty(self, child, parents):
        n_combinations = np.prod([float(self.n_levels[i]) for i in parents])
        return self.price * (self.n_levels[child] - 1) * n_combinations

    def _tables(self, child, parents):
        """Count the parents' values, without and with the child's.

        Returns the position in the first table for each cell of the second, the first table, the cell that each row
        falls into, and the second table.
        """
        of_row, n_values = self._keys(0, 1, parents)
        cells, n_cells = self._keys(of_row, n_values, [child])
        parent_of_cell = np.zeros(n_cells, dtype=np.int64)
        parent_of_cell[cells] = of_row
        of_cells = np.bincount(cells, self.weight, n_cells)
        return parent_of_cell, np.bincount(parent_of_cell, of_cells, n_values), cells, of_cells

    def _keys(self, keys, n_keys, columns):
        """Return a number for the rows' values in some columns together, and how many numbers there are."""
        for j in columns:
            keys = keys * self.n_levels[j] + self.columns[j]
            n_keys = int(n_keys * self.n_levels[j])
            if n_keys > MAX_KEYS:
                found, keys = np.unique(keys, return_inverse=True)
                n_keys = len(found)
        return keys, n_keys

    def _terms(self, table, totals):
        """Change of the sum of n log n over cells of a table if they are cut by each column.

        `table` counts the levels that are in the one-hot matrix, `totals` all rows.
        """
        d = len(self.n_levels)
        cut = np.bincount(self.column_of_level[table.indices], _xlogx(table.data), d)
        rare = table @ self.by_column
        whole = totals[np.repeat(np.arange(len(totals)), np.diff(rare.indptr))]
        usual = np.maximum(whole - rare.data, 0)
        return cut + np.bincount(rare.indices, _xlogx(usual) - _xlogx(whole), d)


def _distinct_rows(codes, n_levels, sample_weight):
    """Return the distinct rows, sorted, and the sum of the weights (or the number) of each."""
    weight = np.ones(len(codes)) if sample_weight is None else np.asarray(sample_weight, float)
    smallest = np.min_scalar_type(int(n_levels.max()) - 1)
    codes = np.asarray(codes)[weight > 0]
    if codes.min(initial=0) < 0:
        # An unsigned number would be a cell that there is not.
        raise ValueError("codes hold -1; a search for a graph takes complete rows of known cells.")
    codes = np.ascontiguousarray(codes, dtype=smallest)
    # Rows as bytes are compared as a whole, which is much faster than number by number.
    as_bytes = codes.view(f"V{codes.itemsize * codes.shape[1]}")[:, 0]
    _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
    return codes[first], np.bincount(inverse, weight[weight > 0])


def _summation(group, n_groups, weight=None):
    """Return the matrix that sums the rows of each group."""
    weight = np.ones(len(group)) if weight is None else weight
    entries = weight, group, np.arange(len(group) + 1)
    return sparse.csr_array(entries, (len(group), n_groups)).T.tocsr()


def _xlogx(counts):
    return xlogy(counts, counts)


class _Climb:
    """A graph under search, and what each move from it would gain.

    Matrices have a row for each child and a column for each parent, unlike adjacency matrices, so that what changes
    with a family is a row.
    """

    def __init__(self, scores, max_parents, n_tabu):
        d = len(scores.n_levels)
        self.scores = scores
        self.max_parents = max_parents
        # With few columns, some pairs have to be left to choose from.
        self.recent = deque(maxlen=min(n_tabu, d - 1))
        self.is_tabu = np.zeros((d, d), dtype=bool)
        self.is_parent = np.zeros((d, d), dtype=bool)
        self.is_descendant = np.zeros((d, d), dtype=bool)
        # A column with one level has nothing to tell, nor to be told.
        constant = scores.n_levels == 1
        self.never = np.eye(d, dtype=bool) | constant | constant[:, None]
        self.family = np.zeros(d)
        self.addition = np.zeros((d, d))
        self.removal = np.zeros((d, d))
        # Smaller differences come from rounding.
        self.tolerance = 1e-9 * max(scores.total, 1)
        for j in range(d):
            self._evaluate(j)

    def _evaluate(self, child):
        """Renew the score of a family, and the gains of moves that change it."""
        parents = np.flatnonzero(self.is_parent[child])
        self.family[child] = self.scores.score(child, parents)
        for i in parents:
            without = self.scores.score(child, parents[parents != i])
            self.removal[child, i] = without - self.family[child]
        gains = -np.inf
        if len(parents) < self.max_parents:
            gains = self.scores.gains(child, parents)
        shut = self.never[child] | self.is_parent[child]
        self.addition[child] = np.where(shut, -np.inf, gains)

    def connect(self, parent, child):
        """Add an edge."""
        self.is_parent[child, parent] = True
        above = np.append(np.flatnonzero(self.is_descendant[:, parent]), parent)
        self.is_descendant[above] |= self.is_descendant[child]
        self.is_descendant[above, child] = True
        self._evaluate(child)

    def disconnect(self, parent, child):
        """Remove an edge."""
        self.is_parent[child, parent] = False
        above = np.append(np.flatnonzero(self.is_descendant[:, parent]), parent)
        # Those with fewer descendants are lower down, and first.
        for node in above[np.argsort(self.is_descendant[above].sum(axis=1), kind="stable")]:
            children = np.flatnonzero(self.is_parent[:, node])
            self.is_descendant[node] = self.is_descendant[children].any(axis=0)
            self.is_descendant[node, children] = True
        self._evaluate(child)

    def best_move(self, bar):
        """Return the best move: its gain, the edge to remove, the edge to add; None where there is none.

        Moves of recently changed pairs have to gain more than `bar`.
        """
        shut = self.is_descendant | (self.is_tabu & (self.addition <= bar))
        addition = np.where(shut, -np.inf, self.addition).ravel()
        e = self._first_largest(addition)
        child, parent = divmod(e, len(shut))
        move = addition[e], None, (parent, child)
        child, parent = np.divmod(np.flatnonzero(self.is_parent), len(shut))
        if len(child) == 0:
            return move
        held = self.is_tabu[child, parent]
        removal = self.removal[child, parent]
        reversal = removal + self.addition[parent, child]
        removal, reversal = (np.where(held & (g <= bar), -np.inf, g) for g in (removal, reversal))
        e = self._first_largest(removal)
        if removal[e] > move[0] + self.tolerance:
            move = removal[e], (parent[e], child[e]), None
        # A second path between the ends of an edge becomes a cycle with its reverse.
        hopes = np.flatnonzero(reversal > move[0] + self.tolerance)
        cyclic = (self.is_descendant[parent[hopes]] & self.is_parent[child[hopes]]).any(axis=1)
        hopes = hopes[~cyclic]
        if len(hopes):
            e = hopes[self._first_largest(reversal[hopes])]
            move = reversal[e], (parent[e], child[e]), (child[e], parent[e])
        return move

    def _first_largest(self, gains):
        """Return the first of the largest numbers, whatever order they were summed in."""
        return int(np.flatnonzero(gains >= gains.max() - self.tolerance)[0])

    def make(self, removed, added):
        """Carry out a move."""
        if removed is not None:
            self.disconnect(*removed)
        if added is not None:
            self.connect(*added)
        self.recent.append(added or removed)
        self.is_tabu[:] = False
        for i, j in self.recent:
            self.is_tabu[i, j] = self.is_tabu[j, i] = True


def search(
    codes,
    n_levels,
    max_parents,
    sample_weight=None,
    criterion="bic",
    n_tabu=100,
    max_no_improvement=200,
):
    """Learn a graph from complete rows: hill climbing with a tabu list.

    It starts from the forest of Chow and Liu in which each edge improves the criterion. Each move adds, removes or
    reverses an edge, and the best one is made, also for the worse, until the best score so far has stood for
    `max_no_improvement` moves.

    Parameters
    ----------
    codes : ndarray of int, shape (n, d)
        Codes from 0 in each column.
    n_levels : sequence of int
        Number of codes of each column.
    max_parents : int
        Largest number of parents of a column.
    sample_weight : ndarray of shape (n,), default=None
        Non-negative weights; a row of weight two counts as two rows.
    criterion : {"bic", "aic"}, default="bic"
        What is to be high; see :class:`FamilyScores`.
    n_tabu : int, default=100
        So many pairs of columns that were changed last are left alone, unless a change leads to the best graph so far;
        fewer than there are columns.
    max_no_improvement : int, default=200
        Moves without a better graph before the search ends; 0 is plain hill climbing.

    Returns
    -------
    adjacency : ndarray of bool, shape (d, d)
        True at [i, j] where column i is a parent of column j.
    """
    scores = FamilyScores(codes, n_levels, sample_weight, criterion)
    climb = _Climb(scores, max_parents, n_tabu)
    for child, parent in enumerate(maximum_spanning_forest(climb.addition)):
        if parent >= 0:
            climb.connect(parent, child)
    best, graph, waited = climb.family.sum(), climb.is_parent.copy(), 0
    while True:
        score = climb.family.sum()
        bar = best - score + climb.tolerance
        gain, removed, added = climb.best_move(bar)
        waited = 0 if gain > bar else waited + 1
        if waited > max_no_improvement or np.isneginf(gain):
            return graph.T
        climb.make(removed, added)
        if gain > bar:
            best, graph = score + gain, climb.is_parent.copy()
