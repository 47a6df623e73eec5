"""Numbers of rows, sorted by what is missing, and their moments in each component."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

# Numbers that a block of matrices takes up; patterns with fewer rows are multiplied all at once.
NUMBERS_AT_ONCE, FEW_ROWS = 2**22, 8


class Incomplete(NamedTuple):
    """Some rows in which equally many numbers are missing.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Which rows.
    place : ndarray of int of shape (n,)
        The pattern of each, increasing.
    missing : ndarray of int of shape (n_patterns, m)
        Which numbers are missing in each pattern.
    """

    rows: np.ndarray
    place: np.ndarray
    missing: np.ndarray

    @property
    def cells(self):
        """Index of the missing cells in the numbers of all rows, of shape (n, m)."""
        return self.rows[:, None], self.missing[self.place]

    def blocks(self, square):
        """Return the entries of missing numbers of a matrix in each pattern, of shape (n_patterns, m, m)."""
        return square[self.missing[:, :, None], self.missing[:, None]]

    def times(self, values, matrices):
        """Return the products of rows of values, (n, m), with the matrix of their pattern, of shape (n, m)."""
        if len(matrices) * FEW_ROWS > len(values):
            return np.matmul(values[:, None], matrices[self.place])[:, 0]
        ends = np.cumsum(np.bincount(self.place))[:-1]
        parts = zip(np.split(values, ends), matrices, strict=True)
        return np.concatenate([part @ matrix for part, matrix in parts])

    def sum(self, weight, blocks, d):
        """Return the sum of the rows' blocks, times their weights, as a matrix of shape (d, d)."""
        of_pattern = np.bincount(self.place, weight, len(blocks))
        place = self.missing[:, :, None] * d + self.missing[:, None]
        values = of_pattern[:, None, None] * blocks
        return np.bincount(place.ravel(), values.ravel(), d * d).reshape(d, d)

    def of(self, chosen):
        """Return some of the rows, given by flags."""
        patterns, place = np.unique(self.place[chosen], return_inverse=True)
        return Incomplete(self.rows[chosen], place, self.missing[patterns])


class Numbers:
    """The numbers of rows, in standard deviations.

    Parameters
    ----------
    U : ndarray of shape (n, d)
        Numbers, NaN where a cell is missing, or an atom.

    Attributes
    ----------
    is_impossible : ndarray of bool of shape (n,)
        Which rows hold what no count is.
    """

    def __init__(self, U):
        self.U = U
        self.is_impossible = np.zeros(len(U), dtype=bool)
        # What components have said of missing numbers, and under which means.
        self.memory = None

    def of(self, rows):
        """Return the numbers of some rows."""
        return Numbers(self.U[rows])

    @cached_property
    def is_complete(self):
        """Whether no number is missing."""
        return not np.isnan(self.U).any()

    @cached_property
    def seen(self):
        """1 for observed numbers, 0 for others, of shape (n, d)."""
        return (~np.isnan(self.U)).astype(np.float64)

    @cached_property
    def filled(self):
        """Numbers, 0 where one is missing, of shape (n, d)."""
        return self.U if self.is_complete else np.nan_to_num(self.U)

    @cached_property
    def squares(self):
        """Squares of the numbers, 0 where one is missing, of shape (n, d)."""
        return np.square(self.filled)

    @cached_property
    def incomplete(self):
        """List of :class:`Incomplete` rows, with equal patterns beside each other."""
        missing = np.isnan(self.U)
        (rows,) = np.nonzero(missing.any(axis=1))
        if not len(rows):
            return []
        packed = np.packbits(missing[rows], axis=1)
        keys = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
        _, place = np.unique(keys, return_inverse=True)
        n_missing = missing[rows].sum(axis=1)
        order = np.lexsort([place, n_missing])
        rows, place, n_missing = rows[order], place[order], n_missing[order]
        parts = []
        for m in np.unique(n_missing):
            start, stop = np.searchsorted(n_missing, [m, m + 1])
            step = max(NUMBERS_AT_ONCE // int(m) ** 2, 1)
            for first in range(start, stop, step):
                block = slice(first, min(first + step, stop))
                _, of, own = np.unique(place[block], return_index=True, return_inverse=True)
                patterns = np.nonzero(missing[rows[block][of]])[1].reshape(len(of), -1)
                parts.append(Incomplete(rows[block], own, patterns))
        return parts


class Moments(NamedTuple):
    """Weights, means and scatter of the components; those of parts of the rows add up.

    Attributes
    ----------
    weight : ndarray of shape (n_components,)
        Sums of the weights.
    mean : ndarray of shape (n_components, d)
        Means of the numbers.
    scatter : ndarray of shape (n_components, d, d) or (n_components, d)
        Sums of products of deviations from the means, or of squares.
    """

    weight: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray

    def plus(self, other):
        """Return the moments of the rows of both (Chan, Golub and LeVeque, 1979)."""
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros_like(total), where=total > 0)
        step = other.mean - self.mean
        squares = step[:, :, None] * step[:, None] if self.scatter.ndim == 3 else step**2
        factor = (self.weight * share).reshape((-1,) + (1,) * (squares.ndim - 1))
        mean = self.mean + share[:, None] * step
        return Moments(total, mean, self.scatter + other.scatter + factor * squares)
