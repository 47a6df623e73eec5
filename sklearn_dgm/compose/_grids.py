"""Rounded numbers behind curves.

Numbers that were rounded to a grid repeat, and a density that knows the grid has no more to say of them than how probable
each of its cells is. Behind a curve there is no such grid: a density would make peaks of what repeats. So rows are
spread over their cells before it is fitted; and since a curve may be steepest at just the value that many rows share, as
QuantileTransformer is at the ends, it becomes a straight line in each cell.
"""

import numpy as np
from sklearn.utils import _safe_indexing

from sklearn_dgm._frames import raw_columns, with_added
from sklearn_dgm.compose._leaves import SEVERAL, Identity

# By how much the log-slope of a straight line may vary.
STRAIGHT = 1e-6


def bent_columns(bijection, X):
    """Flags of the columns that become neither integers, which are counted, nor lie on a straight line in themselves."""
    Z, log_det = bijection.forward(X, np.zeros(X.shape))
    raw, of_z = raw_columns(X), raw_columns(Z)
    is_float = np.array([column.values.dtype.kind not in "iub" for column in of_z])
    source = bijection.track(np.arange(X.shape[1]))
    is_bent = np.full(X.shape[1], is_float[source == SEVERAL].any())
    for place, j in enumerate(source):
        if j != SEVERAL and raw[j].values.dtype.kind in "iuf":
            log_slope = log_det[raw[j].observed_or_all, place]
            with np.errstate(divide="ignore", invalid="ignore"):
                chord = np.log(np.ptp(of_z[place].values) / np.ptp(raw[j].values))
            is_bent[j] = is_float[place] and (np.abs(log_slope - chord) > STRAIGHT).any()
    return is_bent


def spread_over_cells(X, resolutions, bijection):
    """Transformed rows in which rounded numbers are anywhere in their cells.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    resolutions : dict
        Width of the cells, by position of the column.
    bijection : Identity
        The change of variables.

    Returns
    -------
    Z : {ndarray, DataFrame} of shape (n_samples, n_features)
        The same for the same rows.
    """
    rng = np.random.default_rng(0)
    noise = {j: step * rng.uniform(-0.5, 0.5, X.shape[0]) for j, step in resolutions.items()}
    for instead in (-1, 0, 0):
        Z, log_det = bijection.forward(with_added(X, noise), np.zeros(X.shape))
        impossible = np.isneginf(log_det).any(axis=1)
        if not impossible.any():
            break
        # At the end of a domain, as of square roots, the other side of the cell has to do, or the value itself.
        noise = {j: np.where(impossible, instead * term, term) for j, term in noise.items()}
    return Z


class StraightInCells(Identity):
    """A change of variables with curves that are straight in each cell of the grids that columns were rounded to.

    Parameters
    ----------
    bijection : Identity
        The change of variables, fitted.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows of the fit. Beyond them it stays as it is.
    grids : dict
        The :class:`~sklearn_dgm._ties.Grid` by position of the column, each of which becomes a column by itself.
    """

    def __init__(self, bijection, X, grids):
        self.bijection = bijection
        self.is_invertible, self.reaches_all = bijection.is_invertible, bijection.reaches_all
        self._source = bijection.track(np.arange(X.shape[1]))
        self._knots = {j: self._tabulate(X, j, grid) for j, grid in grids.items()}

    def _tabulate(self, X, j, grid):
        """Borders of the cells and what becomes of them, increasing."""
        raw = raw_columns(X)[j]
        cells = grid.cells(np.array([raw.values.min(), raw.values.max()]))
        borders = grid.low + grid.resolution * (np.arange(cells[0], cells[1] + 2) - 0.5)
        row = raw.row(np.ones(len(raw.values), dtype=bool))
        rows = _safe_indexing(X, np.full(len(borders), row))
        rows = with_added(rows, {j: borders - float(raw.values[0])})
        Z, log_det = self.bijection.forward(rows, np.zeros(rows.shape))
        z = raw_columns(Z)[self._place(j)].values.astype(np.float64)
        kept = ~np.isneginf(log_det).any(axis=1)
        return borders[kept], z[kept]

    def _place(self, j):
        return int(np.flatnonzero(self._source == j)[0])

    def track(self, columns):
        """Which column each output column is a function of, `SEVERAL` where it is of several."""
        return self.bijection.track(columns)

    def forward(self, X, log_det):
        """Rows and shares, taken further; see `Identity`."""
        Z, log_slopes = self.bijection.forward(X, log_det)
        raw, of_z, terms = raw_columns(X), raw_columns(Z), {}
        for j, (x_knots, z_knots) in self._knots.items():
            place, x = self._place(j), raw[j].spread(raw[j].values.astype(np.float64))
            inside = (x >= x_knots[0]) & (x <= x_knots[-1]) & ~np.isneginf(log_slopes[:, place])
            cell = np.searchsorted(x_knots, x[inside], side="right").clip(1, len(x_knots) - 1)
            log_slope = np.log(np.abs(np.diff(z_knots)) / np.diff(x_knots))[cell - 1]
            log_slopes[inside, place] = log_det[inside, j] + log_slope
            z = of_z[place].spread(of_z[place].values.astype(np.float64))
            straight = np.interp(x, x_knots, z_knots)
            terms[place] = np.where(inside, straight - z, 0.0)
        return with_added(Z, terms), log_slopes

    def inverse(self, columns):
        """A list of columns of Z as those of X."""
        found = self.bijection.inverse(columns)
        for j, (x_knots, z_knots) in self._knots.items():
            z = np.asarray(columns[self._place(j)], dtype=np.float64)
            order = slice(None, None, 1 if z_knots[-1] > z_knots[0] else -1)
            straight = np.interp(z, z_knots[order], x_knots[order])
            inside = (z >= z_knots.min()) & (z <= z_knots.max())
            found[j] = np.where(inside, straight, found[j])
        return found
