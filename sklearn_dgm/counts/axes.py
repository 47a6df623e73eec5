"""Columns as a finite number of cells: what a table counts, and where in its cell a value lies."""

import math
from typing import NamedTuple

import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._column import BEYOND, UNKNOWN
from sklearn_dgm.columns._column import codes as codes_of
from sklearn_dgm.counts.binning import bins_by_column, naming
from sklearn_dgm.counts.edges import NumbersToBin, edges_of, inner_edges_of

# Within a bin values count as so many rows more, spread evenly.
PIECE_ROWS = 2.0


def axes_of(columns, Z, sample_weight, bins):
    """Lay out the cells of each column.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of them.
    Z : ndarray of shape (n_samples, n_features)
        Encoded rows, NaN where a cell is missing.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    bins : int, str, array-like or dict
        How numbers are binned; see :class:`~sklearn_dgm.BayesianNetworkDensity`.

    Returns
    -------
    axes : list of {CategoryAxis, NumberAxis}
        One for each column.

    Raises
    ------
    ValueError
        If `bins` does not fit the columns.
    """
    takes = [not column.is_categorical for column in columns]
    each = bins_by_column(bins, [column.label for column in columns], takes, "quantiles")
    axes, numeric = [], []
    for j, (column, of_column) in enumerate(zip(columns, each, strict=True)):
        with naming(column):
            if column.is_categorical:
                axes.append(_category_axis(column, of_column))
            else:
                axes.append(None)
                numeric.append((j, NumbersToBin.of(column, of_column, Z[:, j], sample_weight)))
    numbers = [of_column for _, of_column in numeric]
    edges = edges_of(numbers)
    for (j, n), its_edges, inner in zip(
        numeric, edges, inner_edges_of(numbers, edges), strict=True
    ):
        atoms = n.column.encoded_atoms
        axes[j] = NumberAxis(its_edges, inner, n.z, n.weight, n.whole, atoms, n.column.support)
    return axes


def _category_axis(column, bins):
    if bins is not None and not column.constant:
        raise ValueError(f"it is categorical and takes no bins, got {bins!r}")
    return CategoryAxis(len(column.categories), column.unknown_share)


def merged_cells(axis, codes, sample_weight):
    """Return neighbouring bins of numbers merged into few of about equal weight, the sixth root of the rows but three.

    A search for a graph sees more with these: with finer cells, most dependences are not worth their parameters.

    Parameters
    ----------
    axis : {CategoryAxis, NumberAxis}
        Cells of a column; categories and atoms stay as they are.
    codes : ndarray of int of shape (n_samples,)
        Cells of the rows, -1 where missing.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.

    Returns
    -------
    of_cell : ndarray of int of shape (n_levels,)
        The merged cell of each cell.
    """
    if isinstance(axis, CategoryAxis):
        return np.arange(axis.n_levels)
    n_atoms = len(axis.atoms)
    seen = codes >= 0
    share = np.bincount(codes[seen], sample_weight[seen], axis.n_levels)[n_atoms:]
    middle = (np.cumsum(share) - share / 2) / max(share.sum(), np.finfo(np.float64).tiny)
    n_groups = max(round(len(codes) ** (1 / 6)), 3)
    group = np.unique(np.minimum(middle * n_groups, n_groups - 1).astype(int), return_inverse=True)[
        1
    ]
    return np.concatenate([np.arange(n_atoms), n_atoms + group])


class CategoryAxis(Stateful):
    """A cell for each category.

    Parameters
    ----------
    n_levels : int
        Number of categories.
    unknown_share : float
        Probability of a category that is none of them.
    """

    def __init__(self, n_levels, unknown_share=0.0):
        self.n_levels = n_levels
        self.unknown_share = unknown_share

    def encode(self, z):
        """Encode values as cells.

        Parameters
        ----------
        z : ndarray of shape (n,)
            Encoded values, NaN where one is missing.

        Returns
        -------
        codes : ndarray of int of shape (n,)
            Cells, -1 where a value is missing, or is an unknown category.
        log_within : ndarray of shape (n,)
            Log-density of the value given its cell, 0 where it is missing, `-inf` where it is impossible. Of categories
            it is the probability that they are known, or unknown.
        """
        missing = np.isnan(z)
        codes = np.where(missing, UNKNOWN, z).astype(np.intp)
        share = np.where(codes < 0, self.unknown_share, 1 - self.unknown_share)
        with np.errstate(divide="ignore"):
            log_within = np.log(np.where(codes == BEYOND, 0.0, share))
        return np.maximum(codes, UNKNOWN), np.where(missing, 0.0, log_within)

    def icdf_within(self, codes, uniforms):
        """Return values within cells by their uniforms.

        Parameters
        ----------
        codes : ndarray of int of shape (n,)
            Cells.
        uniforms : ndarray of shape (n,)
            Numbers between 0 and 1.

        Returns
        -------
        z : ndarray of shape (n,)
            Encoded values.
        """
        return codes.astype(np.float64)

    def cdf(self, p, points):
        """Return the probabilities below values.

        Parameters
        ----------
        p : ndarray of shape (n, n_levels)
            Probabilities of the cells in each row.
        points : ndarray of shape (n, m)
            For each row several values; midway between whole numbers and codes.

        Returns
        -------
        cdf : ndarray of shape (n, m)
            Probabilities of smaller values.
        """
        count = np.rint(points + 0.5).clip(0, self.n_levels).astype(np.intp)
        return np.take_along_axis(_sums_before(p), count, axis=1)

    def __eq__(self, other):
        return isinstance(other, CategoryAxis) and vars(self) == vars(other)


class NumberAxis(Stateful):
    """Cells of numbers: the atoms, then bins, of which the outer two reach to infinity.

    Within a bin a value is distributed as it is in all rows, whatever a table says: evenly in pieces that Bayesian
    blocks find. The next value lies beyond the farthest of n with a probability of about 1 / n, so that the outer bins
    have a little of their mass beyond the last edge, where it falls off exponentially.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Edges of the bins, increasing.
    inner : ndarray of shape (n_inner,)
        Edges of pieces within the bins, increasing.
    z : ndarray of shape (n,)
        Encoded values, which say what the bins look like inside.
    weight : ndarray of shape (n,)
        Their weights.
    whole : bool
        Whether the values are whole numbers; edges lie between them then.
    atoms : ndarray of shape (n_atoms,)
        Single values that hold mass.
    support : Support or None
        Bounds, within which the edges lie, and how much lies beyond some range within them at most.
    """

    def __init__(self, edges, inner, z, weight, whole, atoms, support=None):
        self.edges, self.whole, self.atoms = edges, whole, atoms
        self.support = support
        lower = np.sort(np.concatenate([edges[:-1], inner]))
        self._piece_edges = np.append(lower, edges[-1])
        self._widths = np.diff(self._piece_edges)
        first_pieces = np.searchsorted(lower, edges[:-1])
        self._bin_of_piece = np.searchsorted(first_pieces, np.arange(len(lower)), side="right") - 1
        piece = np.searchsorted(lower[1:], z, side="right")
        counts = np.bincount(piece, weight, len(lower))
        in_bin = np.add.reduceat(counts, first_pieces)[self._bin_of_piece]
        of_bin = np.diff(edges)[self._bin_of_piece]
        self._shares = (counts + PIECE_ROWS * (self._widths / of_bin)) / (in_bin + PIECE_ROWS)
        bins = self._bin_of_piece[piece]
        first, last = bins == 0, bins == len(edges) - 2
        outer = [_outer_width(of, whole) for of in self._outer_widths()]
        self._lower = _tail(edges[0] - z[first], weight[first], outer[0])
        self._upper = _tail(z[last] - edges[-1], weight[last], outer[1])
        if support is not None:
            margin, n_tails = (0.5 if whole else 0.0), (2 if len(edges) == 2 else 1)
            below, above = edges[0] + margin, edges[-1] - margin
            for tail, room, free in (
                ("_lower", below - support.lower, below - support.low),
                ("_upper", support.upper - above, support.high - above),
            ):
                limited = _limited(getattr(self, tail), room, free, support.share / n_tails, whole)
                setattr(self, tail, limited)
        beyond = np.where(self._bin_of_piece == 0, self._lower.share, 0.0)
        beyond[self._bin_of_piece == len(edges) - 2] += self._upper.share
        self._log_density = np.log1p(-beyond) + np.log(self._shares / self._widths)

    def __eq__(self, other):
        if not isinstance(other, NumberAxis):
            return False
        return all(np.array_equal(part, vars(other)[name]) for name, part in vars(self).items())

    def _outer_widths(self):
        """Return the widths of the pieces of the first and of the last bin, from outside in."""
        bins = self._bin_of_piece
        return self._widths[bins == 0], self._widths[bins == bins[-1]][::-1]

    @property
    def n_levels(self):
        """Number of cells."""
        return len(self.atoms) + len(self.edges) - 1

    @property
    def is_one_each(self):
        """Whether every whole number between the outer edges has a cell to itself."""
        return self.whole and bool((np.diff(self.edges) == 1).all())

    def encode(self, z):
        """Encode values as cells; see :meth:`CategoryAxis.encode`."""
        missing = np.isnan(z)
        piece = np.searchsorted(self._piece_edges[1:-1], z, side="right")
        codes, log_within = self._bin_of_piece[piece], self._log_density[piece]
        for tail, distance in (
            (self._lower, self.edges[0] - z),
            (self._upper, z - self.edges[-1]),
        ):
            (beyond,) = np.nonzero(distance > 0)
            if len(beyond):
                log_within[beyond] = self._log_beyond(tail, distance[beyond])
        if self.whole:
            log_within[(z != np.floor(z)) & ~missing] = -np.inf
        if len(self.atoms):
            atom = codes_of(z, self.atoms)
            codes = np.where(atom >= 0, atom, codes + len(self.atoms))
            log_within[atom >= 0] = 0.0
        if self.support is not None:
            # As a category that fit has not seen.
            codes = np.where((z < self.support.lower) | (z > self.support.upper), -1, codes)
        codes[missing] = -1
        log_within[missing] = 0.0
        return codes, log_within

    def _log_beyond(self, tail, distance):
        with np.errstate(divide="ignore"):
            log_share = np.log(tail.share / tail.mass)
        log_share = np.where(distance > tail.room, -np.inf, log_share)
        if not self.whole:
            with np.errstate(over="ignore"):  # so far out, nothing is possible
                return log_share - math.log(tail.reach) - distance / tail.reach
        # Geometric: of the steps beyond the last number, half of one is up to the edge.
        ratio = tail.reach / (1 + tail.reach)
        return log_share + math.log(1 - ratio) + (distance - 0.5) * math.log(ratio)

    def cdf(self, p, points):
        """Return the probabilities below values; see :meth:`CategoryAxis.cdf`."""
        of_atoms, of_bins = np.split(p, [len(self.atoms)], axis=1)
        bins, within = self._within(points)
        n_below = np.searchsorted(self.atoms, points)
        return (
            np.take_along_axis(_sums_before(of_atoms), n_below, axis=1)
            + np.take_along_axis(_sums_before(of_bins), bins, axis=1)
            + np.take_along_axis(of_bins, bins, axis=1) * within
        )

    def _within(self, z):
        """Return the bin of each value, and the share of the bin's mass below it."""
        piece = np.searchsorted(self._piece_edges[1:-1], z, side="right")
        bins = self._bin_of_piece[piece]
        along = (z - self._piece_edges[piece]) / self._widths[piece]
        # The shares of each bin sum to one.
        before = (np.cumsum(self._shares) - self._shares)[piece] - bins
        inside = before + self._shares[piece] * along.clip(0, 1)
        lower = np.where(bins == 0, self._lower.share, 0.0)
        upper = np.where(bins == len(self.edges) - 2, self._upper.share, 0.0)
        within = lower + (1 - lower - upper) * inside
        below, above = z < self.edges[0], z > self.edges[-1]
        within[below] = self._share_beyond(self._lower, self.edges[0] - z[below])
        within[above] = 1 - self._share_beyond(self._upper, z[above] - self.edges[-1])
        return bins, within

    def _share_beyond(self, tail, distance):
        """Return the share of an outer bin's mass that lies farther beyond its edge than a distance."""
        rate = _rate(tail.reach, self.whole)
        with np.errstate(over="ignore"):
            farther = np.exp(-rate * distance) - (1 - tail.mass)
        return tail.share / tail.mass * farther.clip(0)

    def icdf_within(self, codes, uniforms):
        """Return values within cells by their uniforms; see :meth:`CategoryAxis.icdf_within`."""
        bins = np.maximum(codes - len(self.atoms), 0)
        lower = np.where(bins == 0, self._lower.share, 0.0)
        upper = np.where(bins == len(self.edges) - 2, self._upper.share, 0.0)
        below, above = uniforms < lower, 1 - uniforms < upper
        # The shares of each bin sum to one, so that numbers of bins and what follows the point make one scale.
        u = bins + ((uniforms - lower) / (1 - lower - upper)).clip(0, 1)
        reached = np.cumsum(self._shares)
        first, last = (
            np.searchsorted(self._bin_of_piece, bins, side) for side in ("left", "right")
        )
        piece = np.searchsorted(reached, u, side="right").clip(first, last - 1)
        along = ((u - reached[piece]) / self._shares[piece] + 1).clip(0, 1)
        low, high = self._piece_edges[piece], self._piece_edges[piece + 1]
        z = low + along * self._widths[piece]
        # Rounding must not lead into the next bin.
        z = (
            np.clip(np.rint(z), low + 0.5, high - 0.5)
            if self.whole
            else np.clip(z, low, _below(high))
        )
        with np.errstate(over="ignore"):
            z[below] = self.edges[0] - self._beyond(self._lower, uniforms[below])
            z[above] = self.edges[-1] + self._beyond(self._upper, 1 - uniforms[above])
        if len(self.atoms):
            is_atom = codes < len(self.atoms)
            z[is_atom] = self.atoms[codes[is_atom]]
        return z

    def mean_within(self):
        """Return the mean of the values within each cell, of shape (n_levels,)."""
        middles = (self._piece_edges[:-1] + self._piece_edges[1:]) / 2
        inside = np.bincount(self._bin_of_piece, self._shares * middles)
        means, rest = inside.copy(), 0.5 if self.whole else 0.0
        for tail, cell, edge, sign in (
            (self._lower, 0, self.edges[0], -1),
            (self._upper, -1, self.edges[-1], 1),
        ):
            if tail.share:
                beyond = edge + sign * (tail.mean_distance() + rest)
                means[cell] += tail.share * (beyond - inside[cell])
        return np.concatenate([self.atoms, means])

    def _beyond(self, tail, uniforms):
        """Return distances beyond the last edge; uniforms up to the share of the tail say where in it."""
        if not len(uniforms):
            return uniforms
        u = 1 - tail.mass + tail.mass * uniforms / tail.share
        log_u = np.log(np.maximum(u, np.finfo(np.float64).tiny))
        if not self.whole:
            return np.minimum(-tail.reach * log_u, tail.room)
        steps = np.floor(log_u / math.log(tail.reach / (1 + tail.reach)))
        return np.minimum(steps + 0.5, tail.room - 0.5)


def _sums_before(p):
    """Return the sums of the probabilities before each cell, and of all, of shape (n, n_levels + 1)."""
    return np.cumsum(np.pad(p, ((0, 0), (1, 0))), axis=1)


class Tail(NamedTuple):
    """Mass beyond the last edge on one side.

    Attributes
    ----------
    share : float
        Share of the outer bin.
    reach : float
        How far it reaches on average, without bounds.
    room : float
        How far it is to the bound.
    mass : float
        How much there would be up to the bound of a tail without bounds.
    """

    share: float
    reach: float
    room: float = math.inf
    mass: float = 1.0

    def mean_distance(self):
        """Return the mean distance beyond the edge; of whole numbers half a step less."""
        if math.isinf(self.room):
            return self.reach
        return self.reach - self.room * (1 - self.mass) / self.mass


def _limited(tail, room, free, share, whole):
    """Return a tail that ends at a bound, with little of its mass beyond a range.

    Parameters
    ----------
    tail : Tail
        The tail.
    room, free : float
        How far the bound and the end of the range are from the edge.
    share : float
        How much lies beyond the range at most.
    whole : bool
        Whether the values are whole numbers.
    """
    if room <= 0:
        return Tail(0.0, tail.reach, 0.0)
    reach = tail.reach
    if free <= 0:
        tail = tail._replace(share=min(tail.share, share))
    elif free < room and tail.share * math.exp(-_rate(reach, whole) * free) > share:
        rate = math.log(tail.share / share) / free
        reach = 1 / math.expm1(rate) if whole else 1 / rate
    return Tail(tail.share, reach, room, -math.expm1(-_rate(reach, whole) * room))


def _rate(reach, whole):
    """Return the rate at which a tail falls off, geometrically or exponentially."""
    return math.log1p(1 / reach) if whole else 1 / reach


def _outer_width(widths, whole):
    """Return how far inwards the numbers reach that tell the tail beyond an outer bin: over a piece, by its widths.

    A whole number that has a piece to itself says nothing of it, so that the next piece counts, too.
    """
    if not whole:
        return widths[0]
    wide = np.flatnonzero(widths > 1)
    return widths[: wide[0] + 1].sum() if len(wide) else widths.sum()


def _tail(beyond, weight, width):
    """Return the share of an outer bin beyond its edge, and the mean distance there.

    Distances are counted from the inner edge of the last piece: an exponential distribution is the same from any point
    on.
    """
    total = weight.sum()
    # In a single bin, the two shares are less than one together.
    share = (weight[beyond > 0].sum() + 1) / (total + 3)
    in_piece = beyond > -width
    distance, weight = beyond[in_piece] + width, weight[in_piece]
    weight = weight / (weight.sum() + 1)  # before the sum, which might overflow
    return Tail(float(share), float(weight @ distance + width * (1 - weight.sum())))


def _below(x):
    return np.nextafter(x, -np.inf)
