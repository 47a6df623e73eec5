"""Rounded numbers behind curves.

Numbers that were rounded to a grid repeat, and a density that knows the grid has no more to say of them than how
probable each of its cells is. Behind a curve there is no such grid: a density would make peaks of what repeats. So rows
are spread over their cells before it is fitted; and since a curve may be steepest at just the value that many rows
share, as QuantileTransformer is at the ends, it becomes a straight line in each cell that has rows.
"""

import numpy as np

from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.columns._building import with_added
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._ties import Grid
from sklearn_dgm.compose._leaves import SEVERAL, Identity

# By how much the log-slope of a straight line may vary.
STRAIGHT = 1e-6
# Seed of where in its cell a row is, which no user's rows are made with.
SEED = 0x5EED_0F_CE11
FLAGS = Grid(low=0.0, resolution=1.0, decimals=0, known=np.array([0.0, 1.0]))


def lost_grids(bijection, X, columns):
    """Return the grids of rounded columns, and of flags, that are none behind a change of variables.

    Parameters
    ----------
    bijection : Identity
        The change of variables, fitted.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows of the fit.
    columns : list of Column
        What is known of them.

    Returns
    -------
    grids : dict
        By position of the column. Integers are counted behind it, and on a straight line there still is a grid.
    """
    grids = all_grids(X, columns)
    if not grids:
        return {}
    Z, log_det = bijection.forward(X, np.zeros(X.shape))
    raw, of_z = raw_columns(X), raw_columns(Z)
    source = bijection.track(np.arange(X.shape[1]))
    is_float = np.array([column.values.dtype.kind not in "iub" for column in of_z])
    if not is_float[source == SEVERAL].any():
        grids = {j: grid for j, grid in grids.items() if j in source}
    for place, j in enumerate(source):
        if j in grids:
            slopes = log_det[raw[j].observed_or_all, place]
            if not is_float[place] or _is_straight(_numbers(raw[j]), of_z[place].values, slopes):
                del grids[j]
    return grids


def all_grids(X, columns):
    """Return the grids of rounded columns of numbers, and of flags, by position; those of times are left out."""
    grids = {j: column.grid for j, column in enumerate(columns) if column.grid and not column.clock}
    flags = [j for j, raw in enumerate(raw_columns(X)) if raw.values.dtype.kind == "b"]
    return grids | dict.fromkeys(flags, FLAGS)


def _is_straight(x, z, log_slopes):
    with np.errstate(divide="ignore", invalid="ignore"):
        chord = np.log(np.ptp(z.astype(np.float64)) / np.ptp(x))
    return bool((np.abs(log_slopes - chord) <= STRAIGHT).all())


def _numbers(raw):
    return raw.values.astype(np.float64)


def spread_over_cells(X, grids, bijection):
    """Spread rounded numbers evenly over their cells, and transform the rows.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    grids : dict
        What :func:`lost_grids` gave.
    bijection : Identity
        The change of variables.

    Returns
    -------
    Z : {ndarray, DataFrame} of shape (n_samples, n_features)
        The same for the same rows.
    """
    n_samples = X.shape[0]
    noise = {}
    for j, grid in grids.items():
        place = np.random.default_rng([SEED, j]).permutation(n_samples)
        noise[j] = grid.resolution * ((place + 0.5) / n_samples - 0.5)
    for instead in (-1, 0):
        log_det = bijection.forward(with_added(X, noise), np.zeros(X.shape))[1]
        impossible = np.isneginf(log_det).any(axis=1)
        if not impossible.any():
            break
        # At the end of a domain, as of square roots, the other side of the cell has to do, or the value itself.
        noise = {j: np.where(impossible, instead * term, term) for j, term in noise.items()}
    return bijection.forward(with_added(X, noise), np.zeros(X.shape))[0]


class StraightInCells(Identity):
    """A change of variables with curves that are straight in each cell of a grid that has rows of the fit.

    Parameters
    ----------
    bijection : Identity
        The change of variables, fitted.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows of the fit.
    grids : dict
        What :func:`lost_grids` gave, of columns that become columns by themselves.
    """

    def __init__(self, bijection, X, grids):
        self.bijection = bijection
        self.is_invertible, self.reaches_all = bijection.is_invertible, bijection.reaches_all
        self._source = bijection.track(np.arange(X.shape[1]))
        self._cells = {j: self._tabulate(X, j, grid) for j, grid in grids.items()}

    def _tabulate(self, X, j, grid):
        """Tabulate the lower and upper borders of cells, and their images, of shape (n_cells, 2) each."""
        raw = raw_columns(X)[j]
        x = _numbers(raw)
        cells = np.unique(grid.cells(x))
        borders = grid.low + grid.resolution * (cells[:, None] + np.array([-0.5, 0.5]))
        first = raw.row(np.ones(len(x), dtype=bool))
        rows = safe_indexing(X, np.full(borders.size, first))
        Z, log_det = self.bijection.forward(
            with_added(rows, {j: borders.ravel() - x[0]}), np.zeros(rows.shape)
        )
        z = _numbers(raw_columns(Z)[self._place(j)]).reshape(borders.shape)
        is_inside = ~np.isneginf(log_det).any(axis=1).reshape(borders.shape).any(axis=1)
        return borders[is_inside], z[is_inside]

    def _place(self, j):
        return int(np.flatnonzero(self._source == j)[0])

    def track(self, columns):
        """Track each output column to the input column it is a function of, `SEVERAL` where it is of several."""
        return self.bijection.track(columns)

    def forward(self, X, log_det):
        """Transform rows and shares; see :meth:`Identity.forward`."""
        Z, log_slopes = self.bijection.forward(X, log_det)
        raw, of_z, terms = raw_columns(X), raw_columns(Z), {}
        for j, (borders, images) in self._cells.items():
            place, x = self._place(j), raw[j].spread(_numbers(raw[j]))
            cell, inside = _cells_of(x, borders)
            inside &= ~np.isneginf(log_slopes[:, place])
            slopes = np.diff(images, axis=1)[:, 0] / np.diff(borders, axis=1)[:, 0]
            straight = images[cell, 0] + slopes[cell] * (x - borders[cell, 0])
            log_slopes[inside, place] = (log_det[:, j] + np.log(np.abs(slopes))[cell])[inside]
            z = of_z[place].spread(_numbers(of_z[place]))
            terms[place] = np.where(inside, straight - z, 0.0)
        return with_added(Z, terms), log_slopes

    def inverse(self, columns):
        """Invert a list of columns of Z to those of X."""
        found = self.bijection.inverse(columns)
        for j, (borders, images) in self._cells.items():
            z = np.asarray(columns[self._place(j)], dtype=np.float64)
            order = np.argsort(images.min(axis=1))
            borders, images = borders[order], images[order]
            cell, inside = _cells_of(z, np.sort(images, axis=1))
            share = (z - images[cell, 0]) / np.diff(images, axis=1)[cell, 0]
            straight = borders[cell, 0] + share * np.diff(borders, axis=1)[cell, 0]
            found[j] = np.where(inside, straight, found[j])
        return found


def _cells_of(x, borders):
    """Return the interval that each number lies in, if it lies in one; these increase, and do not overlap."""
    if not len(borders):
        return np.zeros(len(x), dtype=int), np.zeros(len(x), dtype=bool)
    cell = np.searchsorted(borders[:, 0], x, side="right").clip(1) - 1
    return cell, (x >= borders[cell, 0]) & (x <= borders[cell, 1])
