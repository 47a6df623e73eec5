"""Axes of a histogram's grid, and the rules that choose bin edges from data."""

import math
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from scipy.special import gammaln

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._dtypes import warn_of
from sklearn_dgm.columns._names import by_position
from sklearn_dgm.counts.blocks import best_partitions, cells_between, merged_cells

NUMPY_RULES = {"auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt"}
RULES = NUMPY_RULES | {"blocks", "knuth", "quantiles"}

# Bayesian blocks takes time quadratic in the number of distinct values; more are thinned out.
MAX_BLOCK_VALUES = 10_000
MAX_KNUTH_BINS = 1000
MAX_RULE_BINS = 2**24
# Equal bins tell nothing of values if nearly all lie within so much of one of them, of so many distinct ones at least.
MIN_OF_BIN, MIN_DISTINCT, MAX_LOOKED_AT = 0.1, 10, 50_000


@contextmanager
def naming(column):
    """Name the column in the messages of errors."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{column.where}: {error}.") from error


def _range_of(low, high):
    """Return the smallest and the largest value, set apart if they are equal, as NumPy does."""
    if low == high:
        half = 0.5 if abs(low) < 1e15 else abs(low) * 1e-3
        low, high = low - half, high + half
    if not math.isfinite(float(high) - float(low)):
        raise ValueError("the values span more than float64 can hold; rescale them")
    return low, high


def _repeated(x, sample_weight, rule):
    """Repeat rows by their weights, for rules that know no weights."""
    if sample_weight is None:
        return x
    repeats = sample_weight.astype(np.int64)
    if (repeats != sample_weight).any():
        raise ValueError(
            f"bins={rule!r} takes whole sample weights only; use a number of bins, explicit edges, "
            "'blocks', 'knuth' or 'quantiles'"
        )
    return np.repeat(x, repeats)


def knuth_edges(x, sample_weight=None):
    """Return the edges of the most probable number of equal bins (Knuth, 2006).

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        Values.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights; one of 2 counts as the value twice.

    Returns
    -------
    edges : ndarray of shape (n_bins + 1,)
        Bin edges.

    References
    ----------
    .. [1] K. H. Knuth, "Optimal data-based binning for histograms", 2006, https://arxiv.org/abs/physics/0605197
    """
    total = len(x) if sample_weight is None else sample_weight.sum()
    low, high = _range_of(x.min(), x.max())

    def log_posterior(n_bins):
        counts, _ = np.histogram(x, n_bins, (low, high), weights=sample_weight)
        return (
            total * math.log(n_bins)
            + gammaln(n_bins / 2)
            - gammaln(total + n_bins / 2)
            - n_bins * gammaln(0.5)
            + gammaln(counts + 0.5).sum()
        )

    most = int(min(MAX_KNUTH_BINS, 4 * math.sqrt(total) + 1))
    coarse = np.unique(np.geomspace(1, most, 100).round().astype(int))
    best = int(np.argmax([log_posterior(m) for m in coarse]))
    fine = range(coarse[max(best - 1, 0)], coarse[min(best + 1, len(coarse) - 1)] + 1)
    return np.linspace(low, high, max(fine, key=log_posterior) + 1)


def block_cells(x, sample_weight=None):
    """Return the cells of the distinct values, of which Bayesian blocks consist (Scargle et al., 2013).

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        Values.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights; one of 2 counts as the value twice.

    Returns
    -------
    edges : ndarray of shape (n_cells + 1,)
        From the smallest value to the largest; those of a single value stand apart from it, as equal bins do.
    counts : ndarray of shape (n_cells,)
        Weights of the cells; what :func:`~sklearn_dgm.counts.blocks.best_partitions` takes.

    References
    ----------
    .. [1] J. D. Scargle et al., "Studies in Astronomical Time Series Analysis. VI. Bayesian Block Representations",
       The Astrophysical Journal 764 (2013), https://arxiv.org/abs/1207.5578
    """
    values, counts = distinct_numbers(x, sample_weight)
    low, high = _range_of(values[0], values[-1])
    if len(values) == 1:
        return np.array([low, high]), counts
    ((edges, of_cells),) = cells_between(values, counts, [(0, len(values))])
    if len(of_cells) < len(values):
        raise ValueError("bins='blocks' finds values that are too close together for float64")
    return merged_cells(edges, of_cells, MAX_BLOCK_VALUES)


def quantile_edges(x, sample_weight=None):
    """Return the edges of bins of about equal weight, as many as the cube root of the number of rows.

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        Values.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights; one of 2 counts as the value twice.

    Returns
    -------
    edges : ndarray of shape (n_bins + 1,)
        Bin edges, midway between neighbouring values but for the outer two.
    """
    values, counts = distinct_numbers(x, sample_weight)
    low, high = _range_of(values[0], values[-1])
    if len(values) == 1:
        return np.array([low, high])
    share = np.cumsum(counts)
    n_bins = max(round(np.cbrt(share[-1])), 1)
    last = np.searchsorted(share, share[-1] * np.arange(1, n_bins) / n_bins)
    last = last[last < len(values) - 1]
    between = values[last] / 2 + values[last + 1] / 2
    edges = np.concatenate([values[:1], between, values[-1:]])
    return edges[np.append(True, edges[1:] > edges[:-1])]


def distinct_numbers(x, sample_weight=None):
    """Return the distinct values, increasing, and the sum of the weights (or the number) of each."""
    order = np.argsort(x)
    x = x[order]
    is_first = np.ones(len(x), dtype=bool)
    np.not_equal(x[1:], x[:-1], out=is_first[1:])
    (first,) = np.nonzero(is_first)
    weight = np.ones(len(x)) if sample_weight is None else sample_weight[order]
    return x[first], np.add.reduceat(weight, first) if len(x) else weight


def _check_number_of_bins(x, low, high, rule):
    """Refuse more bins than memory holds: the rule of Freedman and Diaconis has no limit with values far out."""
    if rule in ("auto", "fd"):
        width = 2 * np.subtract(*np.quantile(x, [0.75, 0.25])) / np.cbrt(len(x))
        with np.errstate(over="ignore"):
            n_bins = (high - low) / width if width > 0 else 0
        if n_bins > MAX_RULE_BINS:
            raise ValueError(
                f"bins={rule!r} asks for {n_bins:.2g} bins, because of values far from the others; use "
                "'blocks', or edges"
            )


def _warn_of_one_bin(column, x, edges):
    """Warn if values far from all others set the width of equal bins, and most rows fall into one."""
    values = np.unique(x[:: max(-(-len(x) // MAX_LOOKED_AT), 1)])
    if len(edges) == 2 or len(values) < MIN_DISTINCT:
        return
    rest = max(len(values) // 20, 1)  # a twentieth on either side
    if values[-1 - rest] - values[rest] < MIN_OF_BIN * (edges[1] - edges[0]):
        warn_of(
            (column.label, "bins"),
            f"nearly all values of {column.where} lie within {MIN_OF_BIN:.0%} of one of its {len(edges) - 1} equal "
            "bins, since others are far away; use bins='blocks' or 'quantiles', or edges, or correct these if they "
            "are errors.",
            UserWarning,
        )


def bins_by_column(bins, labels, takes, default):
    """Return the entry of a parameter `bins` for each column.

    Parameters
    ----------
    bins : int, str, array-like or dict
        One for all columns, or a list or a dict of those of single columns.
    labels : list of str or int
        Names of the columns.
    takes : list of bool
        Which columns have bins where none are given for them in particular.
    default : int or str
        The bins of columns that a dict leaves out.

    Returns
    -------
    bins : list
        For each column, None where it has none.

    Raises
    ------
    ValueError
        If there are too many or too few entries, or one is of no column.
    """
    if isinstance(bins, dict):
        given = by_position(bins, labels, "bins")
        return [given.get(j, default if takes_it else None) for j, takes_it in enumerate(takes)]
    if isinstance(bins, list | tuple) and len(bins) == len(labels):
        return list(bins)
    if isinstance(bins, list | tuple) and not all(isinstance(b, Real) for b in bins):
        raise ValueError(f"bins has {len(bins)} entries, but X has {len(labels)} columns.")
    return [bins if takes_it else None for takes_it in takes]


def bin_edges(x, low, high, bins, sample_weight=None):
    """Return the edges of the bins of one column.

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        Values.
    low, high : float
        The smallest and the largest of them.
    bins : int, str or array-like
        A number of equal bins, a rule other than "blocks", or the edges themselves.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the values.

    Returns
    -------
    edges : ndarray of shape (n_bins + 1,)
        Strictly increasing.

    Raises
    ------
    ValueError
        If `bins` is none of these, or does not give increasing, finite edges.
    """
    if isinstance(bins, str):
        if bins not in RULES:
            raise ValueError(f"bins={bins!r} is no rule; expected one of {sorted(RULES)}")
        if bins == "knuth":
            edges = knuth_edges(x, sample_weight)
        elif bins == "quantiles":
            edges = quantile_edges(x, sample_weight)
        else:
            x = _repeated(x, sample_weight, bins)
            _check_number_of_bins(x, low, high, bins)
            try:
                edges = np.histogram_bin_edges(x, bins, _range_of(low, high))
            except (MemoryError, ValueError, OverflowError) as error:
                raise ValueError(f"bins={bins!r} asks for too many bins: {error}") from error
    elif isinstance(bins, Integral) and not isinstance(bins, bool):
        if bins < 1:
            raise ValueError(f"bins={bins!r}, but at least one bin is needed")
        edges = np.linspace(*_range_of(low, high), bins + 1)
    else:
        edges = _given_edges(bins)
    if not (np.diff(edges) > 0).all():
        raise ValueError(f"bins={bins!r} gives bins that are too narrow for float64")
    return edges


def edges_by_column(columns, numbers, bins):
    """Return the edges of the bins of several columns; see :func:`bin_edges`.

    Bayesian blocks of all columns are found at once.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    numbers : list of (x, low, high, sample_weight)
        For each column its values, the smallest and the largest of them, and their weights or None.
    bins : list of {int, str, array-like}
        The entry of each column.

    Returns
    -------
    edges : list of ndarray
        For each column.

    Raises
    ------
    ValueError
        As that of :func:`bin_edges`; the message names the column.

    Warns
    -----
    UserWarning
        If a few values far from the others leave nearly all of these in one of several equal bins.
    """
    edges, cells = [None] * len(columns), {}
    for j, (column, (x, low, high, weight), of_column) in enumerate(
        zip(columns, numbers, bins, strict=True)
    ):
        with naming(column):
            if isinstance(of_column, str) and of_column == "blocks":
                cells[j] = block_cells(x, weight)
            else:
                edges[j] = bin_edges(x, low, high, of_column, weight)
                if isinstance(of_column, str | Integral) and of_column != "quantiles":
                    _warn_of_one_bin(column, x, edges[j])
    for j, blocks in zip(cells, best_partitions(list(cells.values())), strict=True):
        edges[j] = blocks
    return edges


def _given_edges(bins):
    try:
        edges = np.asarray(bins, dtype=np.float64)
    except (TypeError, ValueError):
        edges = np.array([])
    if (
        edges.ndim != 1
        or len(edges) < 2
        or not np.isfinite(edges).all()
        or (np.diff(edges) <= 0).any()
    ):
        raise ValueError(
            f"bins={bins!r}; expected a positive number of bins, a rule ({', '.join(sorted(RULES))}), or at "
            "least two finite, increasing edges"
        )
    return edges


class EdgeAxis(Stateful):
    """Bins of a continuous column; all but the last are open on the right.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Strictly increasing.
    whole : bool, default=False
        Whether draws are whole numbers, in bins that have some.
    """

    def __init__(self, edges, whole=False):
        self.edges, self._whole = edges, whole
        self.n_bins = len(edges) - 1
        self.log_widths = np.log(np.diff(edges))
        # The last bin is closed, so nothing within the range lies beyond its upper edge.
        self._upper = np.append(edges[1:-1], np.inf)
        # Near to equal edges, a multiplication finds the bin or one next to it.
        equal = np.linspace(edges[0], edges[-1], len(edges))
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # subnormal ranges are left to the search
            self._per_unit = self.n_bins / (edges[-1] - edges[0])
            self._is_near_equal = bool((np.abs(edges - equal) * self._per_unit < 0.25).all())

    def index(self, z):
        """Return the bin of each value.

        Parameters
        ----------
        z : ndarray of shape (n,)
            Values.

        Returns
        -------
        index : ndarray of int of shape (n,)
            Bins; anything where a value is outside.
        inside : ndarray of bool of shape (n,)
            Whether a value lies within the edges.
        """
        inside = (z >= self.edges[0]) & (z <= self.edges[-1])
        if not self._is_near_equal:
            return np.searchsorted(self._upper, z, side="right"), inside
        index = ((z - self.edges[0]) * self._per_unit).astype(np.intp)
        np.clip(index, 0, self.n_bins - 1, out=index)
        below, above = z < self.edges[index], z >= self._upper[index]
        index -= below
        index += above
        return index, inside

    def draw(self, index, rng):
        """Draw values uniform within bins.

        Parameters
        ----------
        index : ndarray of int of shape (n,)
            Bins.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        z : ndarray of shape (n,)
            Values.
        """
        low, high = self.edges[index], self.edges[index + 1]
        share = rng.random(len(index))
        z = low + share * (high - low)
        if not self._whole:
            return z
        first, end = np.ceil(low), np.ceil(high)
        end += (index == self.n_bins - 1) & (end == high)  # for that bin is closed
        return np.where(first < end, first + np.floor(share * (end - first)), z)

    def describe(self):
        """Describe the grid for messages."""
        return f"the edges from {self.edges[0]:g} to {self.edges[-1]:g}"

    def __eq__(self, other):
        return isinstance(other, EdgeAxis) and np.array_equal(self.edges, other.edges)


class LevelAxis(Stateful):
    """One cell for each of the whole numbers from `start` on: counts, or codes of categories.

    Parameters
    ----------
    start : int
        The first value.
    n_bins : int
        Number of values.
    """

    def __init__(self, start, n_bins):
        self.start = start
        self.n_bins = n_bins

    @property
    def log_widths(self):
        """Logarithm of the counting measure of each cell, of shape (n_bins,)."""
        return np.zeros(self.n_bins)

    def index(self, z):
        """Return the cell of each value; see :meth:`EdgeAxis.index`."""
        index = z - self.start
        inside = (index >= 0) & (index < self.n_bins) & (index == np.floor(index))
        return np.where(inside, index, 0).astype(np.intp), inside

    def draw(self, index, rng):
        """Draw values of cells; see :meth:`EdgeAxis.draw`."""
        return index + self.start

    def describe(self):
        """Describe the grid for messages."""
        return "the values that make up the grid"

    def __eq__(self, other):
        return isinstance(other, LevelAxis) and vars(self) == vars(other)
