"""Uniform samples of rows that come in chunks, which do not depend on how these are cut."""

import numpy as np

from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.columns import stacked

# A sample has so many rows, and so many cells, at most.
SAMPLE_ROWS, SAMPLE_CELLS = 2**17, 2**24
GOLDEN = 0x9E3779B97F4A7C15


def row_keys(positions, seed=0):
    """Return a random number between 0 and 1 for each row of a table, of its position alone.

    Rows with the smallest keys are a uniform sample, whatever the chunks are and the order in which they come. It is
    SplitMix64 [1]_, of a counter.

    Parameters
    ----------
    positions : ndarray of int of shape (n,)
        Positions of rows in the whole table.
    seed : int, default=0
        Not negative; another one gives other keys.

    Returns
    -------
    keys : ndarray of float64 of shape (n,)
        From 0 on, and below 1.

    References
    ----------
    .. [1] G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
       https://doi.org/10.1145/2660193.2660195
    """
    start = _mixed(np.array([seed], dtype=np.uint64) + np.uint64(1))
    z = _mixed(start + (np.asarray(positions).astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN))
    return (z >> np.uint64(11)) * 2.0**-53


def _mixed(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def sample_size(cells):
    """Return how many of some rows, the first ones, a sample has, given how many cells each has."""
    n_rows = np.searchsorted(np.cumsum(np.maximum(cells[:SAMPLE_ROWS], 1)), SAMPLE_CELLS, "right")
    return max(int(n_rows), 1)


def _n_of(n_cells):
    """Return how many rows of so many cells each a sample has at most."""
    return min(SAMPLE_ROWS, max(SAMPLE_CELLS // int(max(n_cells, 1)), 1))


class TableSample:
    """The rows of a table with the smallest keys, and some that are kept whatever theirs are.

    Parameters
    ----------
    n_rows : int, default=None
        Number of rows of the whole table, if it is known, so that a part of it keeps no rows that the sample of all
        will hardly have.

    Attributes
    ----------
    table : {ndarray, DataFrame} of shape (n_kept, n_features), or container of n_kept sequences
        The rows, in the order of the whole table.
    positions : ndarray of int of shape (n_kept,)
        Where they stand in it.
    weight, cells : ndarray of shape (n_kept,)
        Their weights, and how many cells each has.
    is_drawn : ndarray of bool of shape (n_kept,)
        Which of them are the sample.
    """

    def __init__(self, n_rows=None):
        self._n_rows, self.table, self._added = n_rows, None, []
        self.positions, self.weight = np.empty(0, dtype=np.int64), np.empty(0)
        self.cells = np.empty(0, dtype=np.int64)
        self.is_drawn, self._is_kept = np.empty(0, dtype=bool), np.empty(0, dtype=bool)
        self._largest_key = np.inf

    @classmethod
    def of(cls, chunks):
        """Return the sample of a table that is read a chunk at a time."""
        sample = cls()
        for positions, table in chunks:
            sample.add(table, positions, np.ones(len(positions)))
        sample.settle()
        return sample

    def add(self, table, positions, weight, kept=(), cells=None):
        """Look at further rows.

        Parameters
        ----------
        table : {ndarray, DataFrame} of shape (n, n_features)
            The rows.
        positions, weight : ndarray of shape (n,)
            Their positions in the whole table, and weights.
        kept : sequence of int
            Those that are kept whatever their keys are.
        cells : ndarray of int of shape (n,), default=None
            How many cells each has; by default one for each column.
        """
        is_kept = np.zeros(len(positions), dtype=bool)
        is_kept[list(kept)] = True
        cells = np.full(len(positions), table.shape[1]) if cells is None else cells
        size, limit = _n_of(cells.max(initial=1)), self._largest_key
        if self._n_rows is not None:
            # The number of keys below it is normal, and fewer than the size with a probability of 1e-23.
            limit = min(limit, (size + 10 * np.sqrt(size) + 50) / self._n_rows)
        rows = np.flatnonzero(is_kept | (row_keys(positions) <= limit))
        if len(rows):
            others = (of[rows] for of in (positions, weight, cells, is_kept))
            self._added.append((safe_indexing(table, rows), *others))
        n_added = sum(len(part[1]) for part in self._added)
        if n_added > size:  # so that rows are seldom sorted
            self.settle()

    def __add__(self, other):
        total = TableSample()
        for sample in (self, other):
            sample.settle()
            total._largest_key = min(total._largest_key, sample._largest_key)
            if sample.table is not None:
                total._added.append(sample._rows())
        return total

    def settle(self):
        """Drop the rows that do not belong to the sample of all that were added."""
        if not self._added:
            return
        own = [] if self.table is None else [self._rows()]
        tables, *others = zip(*own, *self._added, strict=True)
        positions, weight, cells, is_kept = map(np.concatenate, others)
        keys = row_keys(positions)
        by_key = np.lexsort((positions, keys))
        by_key = by_key[keys[by_key] <= self._largest_key]  # of larger ones some may be dropped
        n_drawn = sample_size(cells[by_key])
        if n_drawn < len(by_key):
            by_key = by_key[:n_drawn]
            self._largest_key = keys[by_key[-1]]
        is_drawn = np.zeros(len(keys), dtype=bool)
        is_drawn[by_key] = True
        rows = np.flatnonzero(is_drawn | is_kept)
        rows = rows[np.argsort(positions[rows])]
        self.table, self._added = stacked(list(tables), rows), []
        self.positions, self.weight, self.cells = positions[rows], weight[rows], cells[rows]
        self.is_drawn, self._is_kept = is_drawn[rows], is_kept[rows]

    def _rows(self):
        return self.table, self.positions, self.weight, self.cells, self._is_kept
