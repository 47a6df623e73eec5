"""What a masked network must know of the columns of a table: units, levels, knots, atoms and grids of its variables."""

from typing import NamedTuple

import numpy as np

from sklearn_dgm.columns._bulk import REACH, bulk_of, quantiles
from sklearn_dgm.nn.inputs import MAX_FEW_LEVELS, Variable

# Integer columns with at most so many values get a probability for each; beyond, a mixture cut into unit steps.
MAX_LEVELS = 64
# Pieces of the piecewise-linear encoding of a numeric column, and of all of them.
MAX_PIECES, MAX_ALL_PIECES = 32, 4096
# Whole numbers of a mixture with so much of the weight, and from so many rows, get a probability of their own.
MIN_ATOM_SHARE, MIN_ATOM_ROWS = 0.02, 10
# Most of the weight lies on a coarse grid of whole numbers, by so many standard deviations beyond chance.
MIN_EXCESS, MIN_SIGMAS, PRIMES = 0.5, 4.0, (2, 3, 5, 7)


def _location_and_scale(z, sample_weight):
    """Return the mean and standard deviation, or the bulk's median and spread where a few far out would set these."""
    location = np.average(z, weights=sample_weight)
    scale = np.sqrt(np.average((z - location) ** 2, weights=sample_weight))
    median, bulk = bulk_of(z, sample_weight)
    if 0 < 10 * bulk < scale:
        # Training in float32 cannot tell the values of a bulk apart that is much smaller than its distance from 0.
        location, scale = median, max(bulk, 1e-6 * abs(median))
    return float(location), float(scale)


def _frequent(z, sample_weight):
    """Return the whole numbers that hold more weight than a smooth mixture would give them."""
    values, place = np.unique(z, return_inverse=True)
    weight = np.bincount(place, weights=sample_weight)
    return values[(weight >= MIN_ATOM_SHARE * weight.sum()) & (weight >= MIN_ATOM_ROWS)]


def _coarse_grid(z, sample_weight):
    """Return step and offset of a grid on which most whole numbers lie, empty without one.

    People give numbers in tens or thousands. The grid is refined by primes as long as most of the weight remains on it,
    and by far more than chance would have there.
    """
    values, place = np.unique(z, return_inverse=True)
    weight = np.bincount(place, weights=sample_weight)
    # An atom, such as zero, lies on many grids.
    weight = np.minimum(weight, MIN_ATOM_SHARE * weight.sum())
    grid = ()
    while len(values):
        step = grid[0] if grid else 1
        excess, prime, offset = max(_residue(values, weight, step, prime) for prime in PRIMES)
        # A few values that are frequent lie on many grids.
        n_values = weight.sum() ** 2 / np.square(weight).sum()
        if excess < MIN_EXCESS or excess * np.sqrt((prime - 1) * n_values) < MIN_SIGMAS:
            break
        grid = step * prime, offset
        on = values % grid[0] == offset
        values, weight = values[on], weight[on]
    return grid


def _share_on_grid(z, sample_weight, step, offset):
    """Return the share that a mixture would have on a grid, beside what of a smooth one lies there."""
    values, place = np.unique(z, return_inverse=True)
    weight = np.bincount(place, weights=sample_weight)
    weight = np.minimum(weight, MIN_ATOM_SHARE * weight.sum())
    share = weight[values % step == offset].sum() / weight.sum()
    share = (share - 1 / step) / (1 - 1 / step)
    return float(np.clip(share, 0.01, 1 - 0.5 / (weight.sum() + 1)))


def _residue(values, weight, step, prime):
    """Return the excess of the heaviest residue over chance, as a share of its maximum; its prime, and the residue."""
    residues, place = np.unique(values % (step * prime), return_inverse=True)
    heaviest = np.bincount(place, weights=weight)
    share = heaviest.max() / weight.sum()
    return (share - 1 / prime) / (1 - 1 / prime), prime, residues[heaviest.argmax()]


def n_levels_of(column):
    """Count the codes or consecutive whole numbers of a column; None of one without."""
    if column.is_categorical:
        return len(column.categories)
    if column.is_whole:
        return round(column.encoded(column.high) - column.encoded(column.low)) + 1
    return None


def has_few_values(column):
    """Tell whether the network takes a column for one of categories, be it one of whole numbers."""
    return column.is_categorical or 1 < (n_levels_of(column) or 0) <= MAX_FEW_LEVELS


def is_constant(column):
    """Tell whether a column has one value, so that there is nothing to learn of it."""
    return n_levels_of(column) == 1


class Outline(NamedTuple):
    """What is no secret of a column, so that also rows that validate may tell: the form of its distribution.

    Attributes
    ----------
    low, high : float
        The smallest and the largest encoded value.
    atoms : tuple of float
        Encoded values that have a probability of their own.
    grid : tuple of float
        Step and offset of a coarse grid on which most whole numbers lie; empty without one.
    """

    low: float
    high: float
    atoms: tuple
    grid: tuple


def outline_of(column, z, sample_weight):
    """Return the outline of a column.

    Parameters
    ----------
    column : Column
        What the schema knows of it.
    z : ndarray of shape (n_samples,)
        Encoded values, NaN where a cell is missing.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.

    Returns
    -------
    outline : Outline
        Its outline.
    """
    observed = ~np.isnan(z)
    z, sample_weight = z[observed], sample_weight[observed]
    low, high = z.min(), z.max()
    atoms, grid, n_levels = column.encoded_atoms, (), n_levels_of(column)
    if not column.is_categorical and (n_levels or 0) > MAX_LEVELS:
        z = z.clip(-REACH, REACH)
        atoms = _frequent(z, sample_weight)
        grid = _coarse_grid(z[sample_weight > 0], sample_weight[sample_weight > 0])
    return Outline(float(low), float(high), tuple(atoms), tuple(map(float, grid)))


def _variable(column, z, sample_weight, outline, n_pieces):
    """Describe a column to the network."""
    observed = ~np.isnan(z)
    z, sample_weight = z[observed].clip(-REACH, REACH), sample_weight[observed]
    n_levels = n_levels_of(column)
    if column.is_categorical:
        return Variable(n_levels, whole=False, unknown_share=column.unknown_share)
    support = () if column.support is None else tuple(column.support)
    if n_levels == 2 and support[:4] in ((), (0, 0, 1, 1)):
        # Two values that are all that is possible are two categories, whatever their dtype.
        return Variable(n_levels, whole=False)
    location, scale = _location_and_scale(z, sample_weight)
    whole, atoms, grid = n_levels is not None, outline.atoms, outline.grid
    if whole:
        scale = max(scale, 0.1)  # one apart, however few rows leave the most frequent number
        if n_levels > MAX_LEVELS:
            n_levels = None
            if grid:
                is_seen = sample_weight > 0
                grid = *grid, _share_on_grid(z[is_seen], sample_weight[is_seen], *grid)
    elif scale < 1e-8:
        scale = 1.0  # constant, but for rows with hardly any weight
    knots = quantiles(z, sample_weight, np.linspace(0, 1, n_pieces + 1))
    knots = (knots - location) / scale
    knots = knots[np.append(np.diff(knots) > 1e-6, True)]
    seen = np.r_[z, outline.low, outline.high]
    farthest = np.abs((seen[~np.isin(seen, atoms)] - location) / scale).max(initial=0.0)
    return Variable(
        n_levels,
        whole,
        location,
        scale,
        tuple(knots),
        tuple(atoms),
        grid=grid,
        farthest=float(farthest),
        support=support,
    )


def variables_of(columns, Z, sample_weight, outlines):
    """Describe columns for a :class:`~sklearn_dgm.nn.made.MADE`.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of them.
    Z : ndarray of shape (n_samples, n_features)
        Encoded rows, NaN where a cell is missing.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    outlines : list of Outline
        The outline of each column, which may be that of more rows.

    Returns
    -------
    variables : list of Variable
        One for each column.
    """
    # In wide tables fewer, or they would outweigh all else.
    n_pieces = min(MAX_PIECES, MAX_ALL_PIECES // len(columns))
    return [
        _variable(column, z, sample_weight, outline, n_pieces)
        for column, z, outline in zip(columns, Z.T, outlines, strict=True)
    ]
