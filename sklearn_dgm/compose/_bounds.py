"""Bounds of columns behind a change of variables: what X says, in the units of what the density sees.

Zero is anywhere behind a scaler, so that a density of scaled columns cannot find out that one of them is never
negative.
"""

import math

import numpy as np

from sklearn_dgm._nested.rows import fit_quietly
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.columns._building import with_added
from sklearn_dgm.columns._names import Position
from sklearn_dgm.columns._reading import raw_columns

# By how much bounds are set apart for rounding, and what that much beyond one is drawn as, both relative to the range.
MARGIN, CLOSE = 2.0**-40, 1e-6


def bounds_behind(bijection, estimator, X, Z, sample_weight, columns, grids):
    """Return the bounds to set in densities that would not find them behind a transformer, or find them wrongly.

    Parameters
    ----------
    bijection : Identity
        The change of variables, fitted.
    estimator : estimator
        The density of transformed rows. It, or a member of an ensemble, is told where it has a parameter `bounds` that
        is None.
    X, Z : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows of the fit, and what the density sees of them.
    sample_weight : ndarray of shape (n_samples,) or None
        Their weights.
    columns : list of Column
        What is known of X, with the bounds that its rows speak for.
    grids : dict
        Those of columns that are spread over their cells, by position.

    Returns
    -------
    params : dict
        Parameters of the estimator to set.
    """
    densities = {"bounds": estimator} | {
        f"{name}__bounds": member for name, member in getattr(estimator, "estimators", [])
    }
    densities = {
        name: density
        for name, density in densities.items()
        if isinstance(density, BaseDensity) and getattr(density, "bounds", False) is None
    }
    if not densities or not bijection.is_invertible:
        return {}
    images, params = _images(bijection, X, columns, grids), {}
    for name, density in densities.items():
        seen = fit_quietly(density._make_schema(), Z, sample_weight).columns_
        told = {
            Position(place): _widened(seen[place], pair)
            for place, pair in images.items()
            if not seen[place].is_counted and _differs(seen[place], pair)
        }
        if told:
            params[name] = told
    return params


def _images(bijection, X, columns, grids):
    """Return the bounds of columns that are transformed by themselves, by position in the transformed rows."""
    raw, by_row, bounds, ends, images = raw_columns(X), {}, {}, {}, {}
    source = bijection.track(np.arange(X.shape[1])).tolist()
    for place, j in enumerate(source):
        column = columns[j]
        if j >= 0 and not (column.is_categorical or column.clock):
            lower, upper = bounds[place] = _bounds_of(column, grids.get(j))
            low = column.low if math.isinf(lower) else lower
            high = column.high if math.isinf(upper) else upper
            ends[place] = np.array([low, high])
            by_row.setdefault(raw[j].row(np.ones(len(raw[j].values), bool)), []).append(place)
    for row, places in by_row.items():
        rows = safe_indexing(X, [row, row])
        values = raw_columns(rows)
        terms = {source[p]: ends[p] - values[source[p]].values.astype(np.float64) for p in places}
        try:
            Z = bijection.forward(with_added(rows, terms), np.zeros(rows.shape))[0]
        except ValueError:  # a transformer that refuses what is beyond its domain
            continue
        z = [of_z.spread(of_z.values) for of_z in raw_columns(Z)]
        back = bijection.inverse(z)
        for p in places:
            if (np.abs(back[source[p]] - ends[p]) <= CLOSE * np.ptp(ends[p])).all():
                images[p] = _in_order(bounds[p], *z[p].astype(np.float64).tolist())
    return images


def _bounds_of(column, grid):
    """Return the bounds of a column of X; of two values that are spread over their cells the borders of these."""
    if grid is None and math.isfinite(column.upper):
        # A density that sees two values finds that itself, or has been told that they are none.
        return (0.0 if column.low >= 0 else -math.inf), math.inf
    half = 0.0 if grid is None else grid.resolution / 2
    return column.lower - half, column.upper + half


def _in_order(bounds, z_low, z_high):
    """Return the ordered bounds behind a curve that rises or falls, infinite where that of X is."""
    rise = z_high - z_low
    lower = z_low if math.isfinite(bounds[0]) else math.copysign(math.inf, -rise)
    upper = z_high if math.isfinite(bounds[1]) else math.copysign(math.inf, rise)
    return min(lower, upper), max(lower, upper)


def _differs(column, pair):
    """Tell whether bounds differ from those that a density finds itself; two values of a column count as found."""
    found = column.lower, column.upper
    near = CLOSE * (column.high - column.low)
    return not (np.isfinite(found).all() or np.allclose(pair, found, rtol=0, atol=near))


def _widened(column, pair):
    """Widen bounds by some last bits, so that they hold all rows of the fit."""
    margin = MARGIN * max(abs(column.low), abs(column.high), *filter(math.isfinite, map(abs, pair)))
    return min(pair[0] - margin, column.low), max(pair[1] + margin, column.high)


def within_bounds(x, column):
    """Move numbers of a column of X that are beyond a bound by rounding alone to the bound."""
    near = CLOSE * (column.high - column.low)
    x = np.where((x < column.lower) & (x >= column.lower - near), column.lower, x)
    return np.where((x > column.upper) & (x <= column.upper + near), column.upper, x)
