"""Weights of the cells that rows have, of which there may be any number."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CellCounts:
    """Weights of the occupied cells.

    Attributes
    ----------
    keys : ndarray of int of shape (n_occupied,)
        Keys of the cells, sorted.
    counts : ndarray of shape (n_occupied,)
        Rows, or weights, in them.
    """

    keys: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, keys, weight):
        """Sum the weights, or count the rows, of each key."""
        keys, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        if weight is not None:
            counts = np.bincount(inverse, weight)
        return cls(keys, counts.astype(np.float64))

    def __add__(self, other):
        if len(other.keys) > len(self.keys):
            return other + self
        place = np.searchsorted(self.keys, other.keys)
        is_new = place == len(self.keys)
        is_new[~is_new] = self.keys[place[~is_new]] != other.keys[~is_new]
        counts = self.counts.copy()
        counts[place[~is_new]] += other.counts[~is_new]
        # Keys are sorted already: to sort them again takes several times the memory.
        place = place[is_new]
        return CellCounts(
            np.insert(self.keys, place, other.keys[is_new]),
            np.insert(counts, place, other.counts[is_new]),
        )
