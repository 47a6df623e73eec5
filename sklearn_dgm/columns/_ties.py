"""What repeated values say of a column of numbers: a grid that it was rounded to, or single values that hold mass.

NumPy only. Ties are counted among the distinct rows of a table, for rows that are repeated (by a bootstrap, or in place
of a weight) tie in every column and say nothing of any.
"""

from typing import NamedTuple

import numpy as np

from sklearn_dgm.columns._bulk import FAR_OUT, bulk_of

# With fewer rows nothing is concluded from ties; with more, so many of them are looked at.
MIN_ROWS, MAX_ROWS = 50, 50_000
# A rounded column repeats its values in more than this share of its rows, ...
MIN_TIED = 0.5
# ... all but this share of which lie on its grid, ...
MAX_OFF_GRID = 0.02
# ... and so many of the grid's cells are occupied where the rows are. A small grid needs no such proof, and for a
# well occupied one no row need lie off the grid.
MIN_OCCUPIED, WELL_OCCUPIED, SMALL_GRID = 0.01, 0.1, 64
# More cells than that are no rounding, but how floats are stored.
MAX_CELLS = 2**20
# An atom has this share of the rows, so that there are 50 at most, and is seen in so many rows.
ATOM_SHARE, ATOM_ROWS = 0.02, 10
# By how much, relative to the largest, values were moved: in float64, in float32, when printed with five digits.
NOISES = (2.0**-50, 2.0**-22, 2.0**-15)
MAX_DECIMALS = 15


class Grid(NamedTuple):
    """The grid of a rounded column.

    Attributes
    ----------
    low, resolution : float
        Its values are about ``low + k * resolution``.
    decimals : int or None
        The number of decimals that they have, where there is one.
    known : ndarray of shape (n_known,)
        Increasing values, one for each cell that occurs, just as they occur.
    """

    low: float
    resolution: float
    decimals: int | None
    known: np.ndarray

    def cells(self, x):
        """Return the number of each value's cell, as floats."""
        with np.errstate(over="ignore"):  # an infinite cell is an impossible point
            return np.rint((x - self.low) / self.resolution)

    def values(self, cells):
        """Return the value of each cell."""
        cells = np.rint(cells)
        x = self.low + cells * self.resolution
        if self.decimals is not None:
            x = np.round(x, self.decimals)
        known_cells = self.cells(self.known)
        position = np.searchsorted(known_cells, cells).clip(max=len(known_cells) - 1)
        return np.where(known_cells[position] == cells, self.known[position], x)


class DistinctRows:
    """Distinct rows of a table, among which the values of a column are counted.

    Parameters
    ----------
    codes : list of ndarray of shape (n_rows,)
        For each column whole numbers that are equal where its cells are.
    """

    def __init__(self, codes):
        # A sum of codes with random weights differs between rows that differ.
        weights = np.random.default_rng(0).integers(2**63, size=len(codes), dtype=np.uint64)
        self._terms = [code.astype(np.uint64) * w for code, w in zip(codes, weights, strict=True)]
        self._keys = np.sum(self._terms, axis=0, dtype=np.uint64)
        self._distinct = np.unique(self._keys, return_index=True)[1]

    def counts(self, x, j):
        """Count in how many distinct rows of the table each value of a column stands.

        Parameters
        ----------
        x : ndarray of shape (n_rows,)
            Values of the column, NaN where it has none.
        j : int
            Its position.

        Returns
        -------
        values, counts : ndarray of shape (n_values,)
            Increasing values, and in how many rows each of them stands.
        repeats : float
            How often a row is counted, on average.
        """
        kept, repeats = self._distinct, 1.0
        n_told_apart = len(np.unique((self._keys - self._terms[j])[kept]))
        if n_told_apart == 1 or 2 * n_told_apart < len(kept):
            # The other columns, if there are any, do not tell rows apart: those that are equal need not be repeated.
            kept, repeats = slice(None), len(x) / len(kept)
        x = x[kept]
        return *np.unique(x[~np.isnan(x)], return_counts=True), repeats


def has_ties(x):
    """Tell whether a number stands in two rows."""
    x = np.sort(x)
    return bool((x[1:] == x[:-1]).any())


def find_ties(values, counts, repeats=1.0):
    """Find the grid of a rounded column, or else the single values that hold mass.

    Parameters
    ----------
    values, counts, repeats
        What :meth:`DistinctRows.counts` gives.

    Returns
    -------
    grid : Grid or None
        The grid of a rounded column.
    atoms : ndarray or None
        The values that hold mass, of a column that is not rounded.
    """
    at_atom = _are_atoms(counts, ATOM_ROWS * repeats)
    atoms = values[at_atom] if at_atom.any() else None
    if counts[counts > 1].sum() > MIN_TIED * counts.sum():
        grid = find_grid(values, counts)
        if grid is not None and _is_worth_it(grid, values, counts, at_atom):
            return grid, None
    return None, atoms


def chosen_atoms(values, counts):
    """Return the values that hold mass in a column said to have some, however few its rows are."""
    return values[_are_atoms(counts, 2)]


def _are_atoms(counts, min_rows):
    """Flag the values that hold mass."""
    return (counts >= ATOM_SHARE * counts.sum()) & (counts >= min_rows)


def _is_worth_it(grid, values, counts, at_atom):
    cells = grid.cells(values)
    if cells[-1] - cells[0] < SMALL_GRID:
        return True
    rest = counts[~at_atom]
    tied = rest[rest > 1].sum() > MIN_TIED * rest.sum()
    return tied and _occupied(cells, counts) >= MIN_OCCUPIED


def _occupied(cells, counts):
    """Return the share of the grid's cells that occur, between the first and the last hundredth of the rows."""
    share = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(share, [0.01, 0.99])
    return len(np.unique(cells[first : last + 1])) / (cells[last] - cells[first] + 1)


def find_grid(values, counts):
    """Return the grid through all values of a column, or through those of nearly all rows.

    Parameters
    ----------
    values, counts : ndarray of shape (n_values,)
        Increasing values, and in how many rows each of them stands.

    Returns
    -------
    grid : Grid or None
        None if there is none.
    """
    near, counts_near = _without_far_out(values, counts)
    # A few values off the grid, such as means among readings, would make it all too fine.
    order = np.argsort(-counts_near, kind="stable")
    most = np.cumsum(counts_near[order]) <= (1 - MAX_OFF_GRID) * counts.sum()
    best, most_occupied = None, 0.0
    for some in (near, np.sort(near[order[most]])):
        for noise in NOISES:
            grid = _grid_through(some, noise, values, counts)
            if grid is not None:
                occupied = _occupied(grid.cells(values), counts)
                if occupied >= WELL_OCCUPIED:
                    return grid
                if occupied > most_occupied:
                    best, most_occupied = grid, occupied
    return best


def _without_far_out(values, counts):
    """Return the values that are not far out and their counts; all of them, if more than a few are far out."""
    unit = np.abs(values).max(initial=1.0)  # or differences might overflow
    u = values / unit
    median, spread = bulk_of(u, counts)
    near = np.abs(u - median) <= FAR_OUT * spread
    if spread == 0 or counts[~near].sum() > MAX_OFF_GRID * counts.sum():
        return values, counts
    return values[near], counts[near]


def _grid_through(some, relative, values, counts):
    """Return the coarsest grid through some of the values, or None; it starts at the lowest value not far out."""
    if len(some) < 2:
        return None
    noise = relative * np.abs(some).max()
    step = _common_step(some, noise)
    if step is None:
        return None
    decimals = _decimals(some, step, noise)
    grid = Grid(float(some[0]), step if decimals is None else round(step, decimals), decimals, some)
    first = grid.cells(values[:1])
    if first[0] > -MAX_CELLS:  # or float32 could not tell cells apart
        grid = grid._replace(low=float(grid.values(first)[0]))
    return grid._replace(known=_most_frequent(grid.cells(values), values, counts))


def _most_frequent(cells, values, counts):
    """Return for each occupied cell the value that most rows have."""
    order = np.lexsort((-counts, cells))
    return values[order[np.unique(cells[order], return_index=True)[1]]] + 0.0  # no negative zero


def _common_step(values, noise):
    """Return the greatest common divisor of the gaps between increasing values, up to noise, or None."""
    gaps = np.diff(values)
    gaps = gaps[gaps > noise]
    span = values[-1] - values[0]
    step = gaps.min(initial=np.inf)
    while max(20 * noise, span / MAX_CELLS) < step < np.inf:
        multiples = np.rint(gaps / step)
        off = np.abs(gaps - multiples * step)
        is_off = off > noise * (1 + multiples)
        if not is_off.any():
            step = span / multiples.sum()
            off = (values - values[0]) / step
            return float(step) if (np.abs(off - np.rint(off)) * step < 4 * noise).all() else None
        step = off[is_off].min()  # Euclid's algorithm, of all gaps at once
    return None


def _decimals(values, step, noise):
    """Return the number of decimals of values and their step; None if they have no such number."""
    for decimals in range(MAX_DECIMALS + 1):
        if 10.0**-decimals < 4 * noise:
            return None
        if (
            round(step, decimals) > 0
            and (np.abs(values - np.round(values, decimals)) <= noise).all()
        ):
            return decimals
    return None
