"""The histogram: the joint distribution of all columns, by counting."""

import functools
import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval
from sklearn_dgm._state import Stateful
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.columns import CONTINUOUS, LARGEST_INTEGER
from sklearn_dgm.counts.binning import EdgeAxis, LevelAxis, bins_by_column, edges_by_column
from sklearn_dgm.counts.cell_tree import CellTree
from sklearn_dgm.counts.cells import CellCounts
from sklearn_dgm.counts.sufficient import CountsMixin

# A grid of at most so many cells is scored from a table of all of them.
MAX_TABLE = 2**20
# Rows are binned in blocks that fit into the processor's cache, and so small that their memory is used again.
ROWS_AT_ONCE = 2**13
# Largest product of numbers of bins that one word of a key holds.
MAX_WORD = 2**62


class _Grid(Stateful):
    """The cells of a histogram, each with a sortable key.

    Keys number the cells, in row-major order, as far as 62 bits reach; beyond, they are several such words in
    big-endian bytes, which sort alike.

    Parameters
    ----------
    axes : list of EdgeAxis and LevelAxis
        One for each column.
    """

    def __init__(self, axes):
        self.axes = axes
        self.n_cells = math.prod(axis.n_bins for axis in axes)
        self.log_n_cells = sum(math.log(axis.n_bins) for axis in axes)
        self.words = [[]]
        size = 1
        for j, axis in enumerate(axes):
            if size * axis.n_bins > MAX_WORD and self.words[-1]:
                self.words.append([])
                size = 1
            self.words[-1].append(j)
            size *= axis.n_bins

    def blocks(self, Z):
        """Yield the keys of the rows' cells, for a bounded number of rows at once.

        Parameters
        ----------
        Z : ndarray of shape (n, d)
            Encoded rows.

        Yields
        ------
        block : slice
            Which rows.
        keys : ndarray of shape (n_block,)
            Keys, of type int64 or bytes; anything where a row is outside.
        inside : ndarray of bool of shape (n_block,)
            Whether a row lies in the grid.
        """
        for start in range(0, len(Z), ROWS_AT_ONCE):
            block = slice(start, start + ROWS_AT_ONCE)
            yield block, *self._keys(Z[block])

    def _keys(self, Z):
        words, inside = [], True
        with np.errstate(invalid="ignore", over="ignore"):  # bins of rows that lie far outside
            for columns in self.words:
                key = 0
                for j in columns:
                    index, within = self.axes[j].index(np.ascontiguousarray(Z[:, j]))
                    key = key * self.axes[j].n_bins + index
                    inside = inside & within
                words.append(key)
        return self._pack(words), inside

    @staticmethod
    def _pack(words):
        if len(words) == 1:
            return words[0]
        return np.stack(words, axis=1).astype(">u8").view(f"S{8 * len(words)}")[:, 0]

    def indices(self, keys):
        """Return the bins of cells along each axis.

        Parameters
        ----------
        keys : ndarray of shape (m,)
            Keys of cells.

        Returns
        -------
        indices : ndarray of int of shape (m, d)
            Bins.
        """
        indices = np.empty((len(keys), len(self.axes)), dtype=np.intp)
        for j, index in self._index_by_axis(keys):
            indices[:, j] = index
        return indices

    def log_volumes(self, keys):
        """Return the logarithm of the volumes of cells, of shape (m,)."""
        log_volumes = np.zeros(len(keys))
        for j, index in self._index_by_axis(keys):
            if isinstance(self.axes[j], EdgeAxis):
                log_volumes += self.axes[j].log_widths[index]
        return log_volumes

    def _index_by_axis(self, keys):
        """Yield each axis with the bins of cells along it."""
        words = keys[:, None]
        if keys.dtype.kind == "S":
            words = np.ascontiguousarray(keys).view(">u8").reshape(-1, len(self.words))
        for w, columns in enumerate(self.words):
            rest = words[:, w].astype(np.int64)
            for j in reversed(columns):
                rest, index = np.divmod(rest, self.axes[j].n_bins)
                yield j, index

    def log_volumes_of_all(self):
        """Return the logarithm of the volumes of all cells, by key, of shape (n_cells,)."""
        return functools.reduce(np.add.outer, [axis.log_widths for axis in self.axes]).ravel()


class HistogramDensity(CountsMixin, BaseDensity):
    """Joint distribution of all columns, by counting rows in the cells of a grid.

    A cell is one bin in every continuous column, one value in every integer column and one category in every
    categorical column. The density of a row is ``count / (total * volume of its cell)``; outside the grid it is 0. Only
    occupied cells are stored.

    Training is counting, scoring is a look-up, and both are exact. The limit is the number of cells: with more of them
    than rows, almost every new row meets an empty cell.

    Parameters
    ----------
    bins : int, str, array-like, dict, default=10
        How continuous columns are cut. The same for all of them: a number of equal bins between the smallest and the
        largest value; a rule of :func:`numpy.histogram_bin_edges` ("auto", "fd", "doane", "scott", "stone", "rice",
        "sturges", "sqrt"); "blocks", bins of unequal width [1]_; "knuth" [2]_; "quantiles", bins of equal weight, as
        many as the cube root of the rows; or an array of edges. Or one of these for each column: a list or tuple of
        `n_features` entries (never taken for edges then), or a dict by column name or index (columns that it leaves out
        get 10 bins). The entry of an integer column is None or the `range` of its values, that of a categorical column
        None.
    alpha : float, default=0.0
        Dirichlet pseudo-count, added to every cell of the finite grid. With 0, an empty cell scores `-inf`.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
        A category dtype also brings in the categories that no row has.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form. Their grid is the range from the smallest to the largest value.

    Attributes
    ----------
    edges_ : list of ndarray or None
        Bin edges of each continuous column, None for the others.
    n_cells_ : int
        Number of cells of the whole grid.
    counts_ : ndarray of shape (n_occupied,)
        Rows, or weights, in each occupied cell.
    cells_ : ndarray of shape (n_occupied, n_features)
        The bins of each occupied cell.
    total_ : float
        Number of rows, or sum of their weights.
    schema_ : ColumnSchema
        Kinds of the columns.
    score_kind_ : {"exact"}
        `score_samples` returns exact log-densities.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    AutoregressiveDensity : Generalises to cells that no row has met.
    sklearn.neighbors.KernelDensity : A smooth density for few continuous columns.

    Notes
    -----
    The reference measure is the Lebesgue measure on continuous columns and the counting measure on integer and
    categorical ones. "blocks" takes time quadratic in the number of distinct values, and looks for edges among 10,000
    of them at most; "knuth" tries up to 1000 bins. Rules of NumPy that take no weights are computed on rows repeated by
    their weights, which must be whole numbers; equal bins, edges, "blocks", "knuth" and "quantiles" take any.

    The first `partial_fit` fixes the grid, so that continuous columns must have explicit edges. Integer columns have
    the `range` given in `bins`, or that of the first rows; categorical columns the categories of their dtype, or those
    of the first rows. A row outside the grid is an error, and then nothing of the call is counted.

    A table larger than memory is read a chunk at a time. Its counts are those of one fit to all rows; rules that look
    at more of a column than its range see 131,072 rows, as if there were no others.

    A value far from all others leaves these in one of several equal bins, and `fit` warns of it; "blocks" and
    "quantiles" do not mind.

    References
    ----------
    .. [1] J. D. Scargle et al., "Studies in Astronomical Time Series Analysis. VI. Bayesian Block Representations",
       The Astrophysical Journal 764 (2013), https://arxiv.org/abs/1207.5578
    .. [2] K. H. Knuth, "Optimal data-based binning for histograms", 2006, https://arxiv.org/abs/physics/0605197

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import HistogramDensity
    >>> X = np.array([["tea", 1.0], ["tea", 1.5], ["coffee", 1.5], ["tea", 3.0]], dtype=object)
    >>> density = HistogramDensity(bins=2).fit(X)
    >>> np.exp(density.score_samples(X)).round(2)
    array([0.5 , 0.5 , 0.25, 0.25])
    >>> HistogramDensity(bins=2, alpha=1).fit(X).score_samples([["coffee", 2.5]]).round(2)
    array([-2.08])
    """

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "bins": [Interval(Integral, 1, None, closed="left"), str, "array-like", dict],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }
    del _parameter_constraints["column_kinds"]  # its bins say what a column is
    _shape_params = ("bins",)

    def __init__(
        self,
        bins: Any = 10,
        *,
        alpha: float = 0.0,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
    ) -> None:
        super().__init__(
            categorical_features=categorical_features, integer_features=integer_features
        )
        self.bins = bins
        self.alpha = alpha

    def _make_schema(self):
        schema = super()._make_schema()
        schema.standardize = False  # edges are in the units of X
        return schema

    def _bins_by_column(self):
        """Return the entry of `bins` for each column."""
        columns = self.schema_.columns_
        takes = [column.kind == CONTINUOUS for column in columns]
        return bins_by_column(self.bins, [column.label for column in columns], takes, 10)

    def _axes(self, Z, sample_weight):
        columns, bins = self.schema_.columns_, self._bins_by_column()
        axes = [
            None if column.kind == CONTINUOUS else self._level_axis(column, of_column)
            for column, of_column in zip(columns, bins, strict=True)
        ]
        continuous = [j for j, axis in enumerate(axes) if axis is None]
        for j in continuous:
            if bins[j] is None:
                raise ValueError(f"bins is None for {columns[j].where}, which is continuous.")
        edges = edges_by_column(
            [columns[j] for j in continuous],
            [(Z[:, j], columns[j].low, columns[j].high, sample_weight) for j in continuous],
            [bins[j] for j in continuous],
        )
        for j, of_column in zip(continuous, edges, strict=True):
            # In a bin beside, to which a cast would round, there may be nothing.
            axes[j] = EdgeAxis(of_column, whole=columns[j].holds_integers)
        return axes

    def _level_axis(self, column, bins):
        if column.is_categorical:
            if bins is not None:
                raise ValueError(f"{column.where} is categorical and takes no bins, got {bins!r}.")
            return LevelAxis(0, len(column.categories))
        if bins is None:
            return LevelAxis(int(column.low), int(column.high - column.low) + 1)
        is_range = isinstance(bins, range) and bins.step == 1 and bins.start < bins.stop
        if not is_range or max(-bins.start, bins.stop) > LARGEST_INTEGER:
            raise ValueError(
                f"{column.where} holds integers; its bins should be None or a range, got {bins!r}."
            )
        return LevelAxis(bins.start, len(bins))

    def _settle(self, Z, sample_weight):
        self._grid = _Grid(self._axes(Z, sample_weight))
        self.edges_ = [getattr(axis, "edges", None) for axis in self._grid.axes]
        self.n_cells_ = self._grid.n_cells

    def _count(self, Z, sample_weight):
        blocks = self._blocks_inside(Z)
        if self.n_cells_ > max(MAX_TABLE, len(Z)):
            keys = np.concatenate([keys for _, keys in blocks])
            return CellCounts.of(keys, sample_weight)
        if self.n_cells_ > 2 * ROWS_AT_ONCE:
            keys = np.empty(len(Z), dtype=np.int64)
            for block, keys_of_block in blocks:
                keys[block] = keys_of_block
            blocks = [(slice(None), keys)]
        counts = np.zeros(self.n_cells_)
        for block, keys in blocks:
            weight = None if sample_weight is None else sample_weight[block]
            counts += np.bincount(keys, weight, minlength=self.n_cells_)
        occupied = np.flatnonzero(counts)
        return CellCounts(occupied, counts[occupied])

    def _blocks_inside(self, Z):
        for block, keys, inside in self._grid.blocks(Z):
            if not inside.all():
                self._raise_outside(Z)
            yield block, keys

    def _raise_outside(self, Z):
        for column, axis, z in zip(self.schema_.columns_, self._grid.axes, Z.T, strict=True):
            with np.errstate(invalid="ignore", over="ignore"):
                _, inside = axis.index(z)
            if not inside.all():
                row = int(np.flatnonzero(~inside)[0])
                raise ValueError(
                    f"X lies outside {axis.describe()} in {column.where}, row {row}; widen the grid or leave "
                    "the row out."
                )

    @property
    def _counts(self):
        return CellCounts(self._keys, self.counts_)

    def _set_counts(self, counts):
        """Take over counts, and what queries need of them and of `alpha`."""
        self._keys, self.counts_ = keys, counts = counts.keys, counts.counts
        self.total_ = float(counts.sum())
        with np.errstate(divide="ignore"):
            log_smoothing = np.log(self.alpha) + self._grid.log_n_cells
            log_total = np.logaddexp(np.log(self.total_), log_smoothing)
            # The model is a mixture of the counts and of the uniform distribution over the cells.
            self._uniform_share = float(np.exp(log_smoothing - log_total))
            self._log_mass_of_empty = float(np.log(self.alpha) - log_total)
        log_mass = np.log(counts + self.alpha) - log_total
        self._log_density_of_cell = log_mass - self._grid.log_volumes(keys)
        self._table = None
        if self.n_cells_ <= MAX_TABLE:
            self._table = self._log_mass_of_empty - self._grid.log_volumes_of_all()
            self._table[keys] = self._log_density_of_cell

    @property
    def cells_(self):
        """The bins of each occupied cell, of shape (n_occupied, n_features)."""
        check_is_fitted(self)
        return self._grid.indices(self._keys)

    def _check_cells_are_given(self):
        for column, bins in zip(self.schema_.columns_, self._bins_by_column(), strict=True):
            if column.kind == CONTINUOUS and (isinstance(bins, Integral | str) or bins is None):
                raise ValueError(
                    f"partial_fit needs the edges of {column.where} in bins, got {bins!r}: the grid cannot depend on "
                    "rows to come."
                )

    def _cells(self):
        return self._grid.axes

    def _log_density(self, Z):
        log_density = np.empty(len(Z))
        for block, keys, inside in self._grid.blocks(Z):
            log_density[block] = self._log_density_of_keys(keys, inside)
        return log_density

    def _log_density_of_keys(self, keys, inside):
        if self._table is not None:
            found = self._table.take(keys, mode="clip")
        else:
            position = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
            found = self._log_density_of_cell[position]
            empty = inside & (self._keys[position] != keys)
            found[empty] = self._log_mass_of_empty - self._grid.log_volumes(keys[empty])
        found[~inside] = -np.inf
        return found

    def _factors(self):
        """Return the conditionals of the columns, as :class:`~sklearn_dgm._queries.factors.Factors`."""
        return CellTree(self._grid.axes, self.cells_, self.counts_, self.alpha)

    def _draw(self, n_samples, rng):
        n_uniform = rng.binomial(n_samples, self._uniform_share)
        draws = rng.multinomial(n_samples - n_uniform, self.counts_ / self.total_)
        # Position of each row's cell among the occupied ones, -1 for a row that may lie in any cell.
        positions = np.arange(-1, len(draws), dtype=np.int32)
        cell = np.repeat(positions, np.concatenate([[n_uniform], draws]))
        rng.shuffle(cell)
        occupied = self.cells_
        is_whole = all(isinstance(axis, LevelAxis) for axis in self._grid.axes)
        Z = np.empty((n_samples, len(self._grid.axes)), dtype=np.int64 if is_whole else np.float64)
        for start in range(0, n_samples, ROWS_AT_ONCE):
            block = slice(start, start + ROWS_AT_ONCE)
            bins = occupied.take(cell[block], axis=0)
            anywhere = np.flatnonzero(cell[block] < 0)
            for j, axis in enumerate(self._grid.axes):
                bins[anywhere, j] = rng.integers(axis.n_bins, size=len(anywhere))
                Z[block, j] = axis.draw(bins[:, j], rng)
        return Z
