"""Where bins of numbers end, and the pieces within them."""

from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm.columns import Column
from sklearn_dgm.columns._dtypes import times_for
from sklearn_dgm.counts.binning import distinct_numbers, edges_by_column, naming
from sklearn_dgm.counts.blocks import best_partitions, cells_between, merged_cells

# Whole numbers of so few values have a cell each.
MAX_LEVELS = 20
# What cells without rows have in place of no weight, of which there is no logarithm.
NO_ROWS = 1e-9
# Distinct values of a bin among which edges of pieces are looked for, at most.
MAX_PIECE_VALUES = 500


class NumbersToBin(NamedTuple):
    """Observed values of a column of numbers, beside atoms, and its bins: what its cells are made from."""

    column: Column
    z: np.ndarray
    weight: np.ndarray
    low: float
    high: float
    bins: Any
    is_given: bool

    @classmethod
    def of(cls, column, bins, z, weight):
        """Take the encoded values of a column that are there, and beside its atoms."""
        counted = ~np.isnan(z)
        if column.atoms is not None:
            counted &= ~np.isin(z, column.encoded_atoms)
        z, weight = z[counted], weight[counted]
        low, high = column.encoded(np.array([column.low, column.high]))
        if not column.is_whole:
            # All values may be atoms.
            low, high, bins = (z.min(), z.max(), bins) if len(z) else (low, high, 1)
        is_given = not isinstance(bins, Integral | str | None)
        if is_given and column.clock:
            bins = _numbers_of(bins, column)
        return cls(column, z, weight, low, high, bins, is_given)

    @property
    def whole(self):
        """Whether all values are whole numbers."""
        return self.column.is_whole


def edges_of(numbers):
    """Return the edges of the bins of each column."""
    asked = [(n.z, n.low, n.high, None if n.is_given else n.weight) for n in numbers]
    edges = edges_by_column([n.column for n in numbers], asked, [n.bins for n in numbers])
    for j, n in enumerate(numbers):
        if n.is_given:
            edges[j] = (edges[j] - n.column.location) / n.column.scale
        if n.whole and not n.is_given and n.high - n.low < MAX_LEVELS:
            edges[j] = np.arange(n.low, n.high + 2) - 0.5
        elif n.whole:
            with naming(n.column):
                edges[j] = _between(edges[j])
        if n.column.support is not None:
            with naming(n.column):
                edges[j] = _within_bounds(edges[j], n.column.support, n.whole)
    return edges


def inner_edges_of(numbers, edges):
    """Find edges within the bins of each column, by Bayesian blocks of all of them at once."""
    samples, bins = [], []
    for n, its_edges in zip(numbers, edges, strict=True):
        cells_of = _whole_cells_by_bin if n.whole else _cells_by_bin
        found = cells_of(its_edges, n.z, n.weight)
        samples.extend(cells for _, cells in found)
        bins.append([i for i, _ in found])
    blocks, inner = iter(best_partitions(samples)), []
    for n, its_edges, occupied in zip(numbers, edges, bins, strict=True):
        of_bins = [next(blocks)[1:-1] for _ in occupied]
        bin_of = [i for i, of_bin in zip(occupied, of_bins, strict=True) for _ in of_bin]
        if not bin_of:
            inner.append(np.empty(0))
            continue
        bin_of = np.array(bin_of)
        found = np.concatenate(of_bins)
        found = np.ceil(found) - 0.5 if n.whole else found
        is_within = (found > its_edges[bin_of]) & (found < its_edges[bin_of + 1])
        inner.append(np.unique(found[is_within]) if n.whole else found[is_within])
    return inner


def _cells_by_bin(edges, z, weight):
    """Yield the bins that hold several values, each with the cells among which edges of pieces are looked for."""
    values, counts = distinct_numbers(z, weight)
    bounds = [0, *np.searchsorted(values, edges[1:-1]).tolist(), len(values)]
    parts = [(i, a, b) for i, (a, b) in enumerate(pairwise(bounds)) if b - a > 1]
    cells = cells_between(values, counts, [(a, b) for _, a, b in parts])
    return [
        (i, merged_cells(*of_bin, MAX_PIECE_VALUES))
        for (i, _, _), of_bin in zip(parts, cells, strict=True)
    ]


def _whole_cells_by_bin(edges, z, weight):
    """Yield the bins of several whole numbers, each with the cells among which edges of pieces are looked for.

    A value that several rows share has a cell of one number, so that a piece may hold it alone, such as a multiple of
    ten that many have been rounded to; others reach halfway to the next ones, since a single row tells of no peak.
    """
    values, counts = distinct_numbers(z, weight)
    bounds = [0, *np.searchsorted(values, edges[1:-1]).tolist(), len(values)]
    found = []
    for i, (a, b) in enumerate(pairwise(bounds)):
        if edges[i + 1] - edges[i] < 2 or a == b:
            continue
        own, shared = values[a:b], counts[a:b] > 1
        halfway = np.ceil(own[:-1] / 2 + own[1:] / 2) - 0.5
        halfway = halfway[~shared[:-1] & ~shared[1:]]
        around = [own[shared] - 0.5, own[shared] + 0.5]
        # Given edges may leave values outside.
        ends = [min(edges[i], own[0] - 0.5), max(edges[i + 1], own[-1] + 0.5)]
        inner = np.unique(np.concatenate([ends, halfway, *around]))
        cells = np.bincount(np.searchsorted(inner, own) - 1, counts[a:b], len(inner) - 1)
        found.append((i, merged_cells(inner, cells.clip(NO_ROWS), MAX_PIECE_VALUES)))
    return found


def _within_bounds(edges, support, whole):
    """Move edges beyond the bounds to the bounds."""
    margin = 0.5 if whole else 0.0
    edges = np.unique(edges.clip(support.lower - margin, support.upper + margin))
    if len(edges) < 2:
        raise ValueError("the edges of bins leave nothing between the bounds")
    return edges


def _numbers_of(edges, column):
    """Return edges of a column of times as numbers; they have a zone where its cells have one."""
    try:
        return column.clock.numbers(times_for(column, edges))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"bins={list(map(str, edges))!r}; expected edges that are {column.content}, as the column holds"
        ) from error


def _between(edges):
    """Move edges between whole numbers; the last bin is closed, as that of numbers is."""
    # What lies on a grid does so but for rounding.
    nearest = np.rint(edges)
    edges = np.where(np.abs(edges - nearest) < 1e-6, nearest, edges)
    between = np.unique(np.append(np.ceil(edges[:-1]), np.floor(edges[-1]) + 1) - 0.5)
    if len(between) < 2:
        raise ValueError("no value that the column can take lies within the edges of bins")
    return between
