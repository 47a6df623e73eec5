"""Kernel densities of tables of any kind, the members of the default committee."""

from numbers import Integral

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator
from sklearn.covariance import ledoit_wolf
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._state import Stateful
from sklearn_dgm._validation import check_generator, check_weights, validate_table
from sklearn_dgm.columns import ColumnSchema, like_frame
from sklearn_dgm.columns._bulk import standard_deviation

# Of a normal, the middle nine tenths are as wide as this, in standard deviations.
WIDTH_OF_NINE_TENTHS = 3.29
# What lies farther than so many standard deviations sets no covariance.
FAR = 4.0
# Squares of larger numbers lose what tells rows apart, and overflow in the end.
FARTHEST = 1e8
MAX_SHARE_LEFT_OUT = 0.1
# Fitted rows that tell what is usual.
ENOUGH_FOR_MEAN = 256
# More rows are drawn from, so that time is linear in them.
MOST_ROWS = 10_000
# Kernels of a single column, each for as many of the rows.
MOST_KERNELS = 256
BLOCK_BYTES = 2**25


class StandardisedColumns(Stateful, BaseEstimator):
    """Base class of densities of a table as numbers of a like spread, an indicator for each category.

    Attributes
    ----------
    schema_ : ColumnSchema
        What the columns are.
    levels_ : list of ndarray or None
        For each column the codes of the categories that occur; None for numbers.
    owner_ : ndarray of shape (n_numbers,)
        The column that each number belongs to.
    location_, scale_ : ndarray of shape (n_numbers,)
        Where the numbers are, and how wide.
    """

    # As members of a default they are nobody's to configure.
    __metadata_request__fit = {"sample_weight": True}

    def _fit_columns(self, X, sample_weight):
        """Learn how columns become numbers; of rows of positive weight these, and weights that sum to 1."""
        X = validate_table(self, X, reset=True)
        weight = np.ones(X.shape[0]) if sample_weight is None else check_weights(X, sample_weight)
        self.schema_ = ColumnSchema(missing=True, standardize=False).fit(X)
        kept = weight > 0
        codes = self.schema_.encode(X)[0][kept]
        self.levels_ = [
            _levels(z) if column.is_categorical else None
            for z, column in zip(codes.T, self.schema_.columns_, strict=True)
        ]
        widths = [1 if levels is None else len(levels) for levels in self.levels_]
        self.owner_ = np.repeat(np.arange(len(widths)), widths)
        values = self._of_codes(codes)
        self.location_, self.scale_ = _location_and_scale(values)
        return self._standardised(values), weight[kept] / weight.sum()

    def _numbers(self, X):
        """Return the numbers of rows, of shape (n_samples, n_numbers); NaN in gaps."""
        X = validate_table(self, X, reset=False)
        return self._standardised(self._of_codes(self.schema_.encode(X)[0]))

    def _of_codes(self, codes):
        """Return a number as it is, and a category as an indicator for each that occurs; NaN in gaps."""
        blocks = []
        for z, levels in zip(codes.T, self.levels_, strict=True):
            block = z[:, None]
            if levels is not None:
                block = (block == levels).astype(np.float64)
                block[np.isnan(z)] = np.nan
            blocks.append(block)
        return np.concatenate(blocks, axis=1)

    def _standardised(self, values):
        with np.errstate(over="ignore"):
            z = (values - self.location_) / self.scale_
        return np.clip(z, -FARTHEST, FARTHEST) + 0.0  # no zero has a sign

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags


class TableKernelDensity(StandardisedColumns):
    """Gaussian kernels with Scott's bandwidth on the standardised columns of a table.

    A category is one indicator. A gap counts for as much as a usual cell; those of fitted rows are filled from other
    rows. The scores are log-densities of these numbers, for comparison with each other alone: a row that was fitted is
    scored by the others, so that it looks no more usual than a new one.

    Parameters
    ----------
    covariance : {"diagonal", "full"}, default="diagonal"
        The form of the kernels: round in the standardised columns, or that of the rows as a whole, with their
        covariance as Ledoit and Wolf shrink it.
    n_left_out : int or float, default=0
        A row is scored without so many of the fitted rows, at most a tenth, that are nearest to it; or without that
        share of them. Outliers that are alike then do not vouch for each other, as with the distance to the fifth
        neighbour.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the filled gaps, and of the choice of rows where they are more than 10,000.

    References
    ----------
    .. [1] D. W. Scott, "Multivariate Density Estimation", Wiley 1992, section 6.3
    .. [2] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
       Multivariate Analysis 88 (2004), https://doi.org/10.1016/S0047-259X(03)00096-4
    """

    def __init__(self, covariance="diagonal", n_left_out=0, random_state=None):
        self.covariance = covariance
        self.n_left_out = n_left_out
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None):
        """Keep the rows, and find the scales and the covariance of their columns."""
        points, weight = self._fit_columns(X, sample_weight)
        rng = check_generator(self.random_state)
        if len(points) > MOST_ROWS:
            kept = rng.permutation(len(points))[:MOST_ROWS]
            points, weight = points[kept], weight[kept] / weight[kept].sum()
        self.points_, self.weight_ = _filled(points, self.owner_, rng), weight
        # Fitted rows as they were, and as they are filled.
        self._own = {key: i for kept in (self.points_, points) for i, key in enumerate(_keys(kept))}
        n_columns = self.points_.shape[1]
        self.bandwidth_ = scott_factor(self.weight_, n_columns)
        self.covariance_ = np.eye(n_columns)
        if self.covariance == "full":
            near = np.clip(self.points_, -FAR, FAR)
            near -= self.weight_ @ near
            scaled = near * np.sqrt(self.weight_ * len(near))[:, None]
            if len(scaled) > 1:
                shrunk = ledoit_wolf(scaled, assume_centered=True)[0]
                self.covariance_ = shrunk + 1e-6 * self.covariance_
        return self

    def score_samples(self, X):
        """Return the log-density of each row; a gap counts for as much as a usual cell."""
        check_is_fitted(self)
        rows = self._numbers(X)
        log_density = np.empty(len(rows))
        for alike, columns in self._patterns(rows):
            log_norm = np.sum(log_norms(self._factor(columns)))
            of_gaps = self._mean_share_of_gaps(columns)
            for block, exponent in self._exponents(rows, alike, columns):
                log_density[block] = log_mean(exponent, self.weight_) + log_norm + of_gaps
        return log_density

    def score_features(self, X):
        """Return the share of each column: its log-density given those before it, and those behind it, on average."""
        check_is_fitted(self)
        rows = self._numbers(X)
        shares = np.zeros((len(rows), self.n_features_in_))
        for alike, columns in self._patterns(rows):
            gaps = np.setdiff1d(self.owner_, self.owner_[columns])
            shares[np.ix_(alike, gaps)] = self._mean_share_of_gaps(columns) / max(1, len(gaps))
            for block, exponent in self._exponents(rows, alike, columns):
                start = np.where(np.isneginf(exponent), -np.inf, 0.0)
                for order in (columns, columns[::-1]):
                    shares[block] += self._shares(rows[block], start.copy(), order) / 2
        return like_frame(shares, X)

    def _mean_share_of_gaps(self, columns):
        """Return the mean share of all other columns in the log-density of a fitted row."""
        every = np.arange(self.points_.shape[1])
        if len(columns) == len(every):
            return 0.0
        some, means = np.arange(min(ENOUGH_FOR_MEAN, len(self.points_))), []
        for order in (every, columns):
            (_, exponent), *_ = self._exponents(self.points_, some, order)
            log_norm = np.sum(log_norms(self._factor(order)))
            means.append(np.mean(log_mean(exponent, self.weight_)) + log_norm)
        return means[0] - means[1]

    def _shares(self, rows, exponent, order):
        """Return shares in a product of conditionals, the columns in this order."""
        owner, factor = self.owner_[order], self._factor(order)
        rows, points = whitened(factor, rows[:, order]), whitened(factor, self.points_[:, order])
        shares, before = np.zeros((len(rows), self.n_features_in_)), np.zeros(len(rows))
        for k, column in enumerate(owner):
            exponent -= 0.5 * (rows[:, k, None] - points[:, k]) ** 2
            so_far = log_mean(exponent, self.weight_)
            shares[:, column] += so_far - before + log_norms(factor)[k]
            before = so_far
        return shares

    def _patterns(self, rows):
        """Yield the indices of rows that have the same gaps, and the columns that they have."""
        patterns, pattern = np.unique(~np.isnan(rows), axis=0, return_inverse=True)
        for i, columns in enumerate(map(np.flatnonzero, patterns)):
            yield np.flatnonzero(pattern.ravel() == i), columns

    def _exponents(self, rows, alike, columns):
        """Yield the exponents of the kernels in some columns, a block of rows at a time; -inf where one is left out."""
        factor = self._factor(columns)
        points = whitened(factor, self.points_[:, columns])
        own = np.array([self._own.get(key, -1) for key in _keys(rows[alike])])
        for batch in gen_batches(len(alike), max(1, BLOCK_BYTES // (8 * len(points)))):
            block = alike[batch]
            exponent = _log_kernels(whitened(factor, rows[np.ix_(block, columns)]), points)
            self._leave_out(exponent, own[batch])
            yield block, exponent

    def _leave_out(self, exponent, own):
        """Leave out a row's own kernel, and those nearest to it, from its density."""
        n_points = len(self.points_)
        if n_points > 1:
            known = np.flatnonzero(own >= 0)
            exponent[known, own[known]] = -np.inf
        if isinstance(self.n_left_out, Integral):
            n_left_out = min(self.n_left_out, int(MAX_SHARE_LEFT_OUT * n_points))
        else:
            n_left_out = min(int(np.ceil(self.n_left_out * n_points)), max(0, n_points - 2))
        if n_left_out:
            nearest = np.argpartition(exponent, -n_left_out, axis=1)[:, -n_left_out:]
            np.put_along_axis(exponent, nearest, -np.inf, axis=1)

    def _factor(self, order):
        return np.linalg.cholesky(self.covariance_[np.ix_(order, order)]) * self.bandwidth_


class ColumnKernelDensity(StandardisedColumns):
    """Independent columns, each with Gaussian kernels of Scott's bandwidth; it sees few things at a time.

    As :class:`TableKernelDensity` it standardises columns, and takes a category as indicators, which stay together.
    """

    def fit(self, X, y=None, sample_weight=None):
        """Keep what there is in each column, of many values some hundred quantiles."""
        values, weight = self._fit_columns(X, sample_weight)
        blocks = [values[:, self.owner_ == j] for j in range(self.n_features_in_)]
        self.kernels_ = [_kernels_of(block, weight) for block in blocks]
        self.usual_shares_ = np.zeros(self.n_features_in_)
        for j, (points, share, _) in enumerate(self.kernels_):
            self.usual_shares_[j] = share @ self._log_density(j, points)
        return self

    def score_samples(self, X):
        """Return the log-density of each row."""
        return np.asarray(self.score_features(X)).sum(axis=1)

    def score_features(self, X):
        """Return the log-density of each cell."""
        check_is_fitted(self)
        rows = self._numbers(X)
        shares = np.empty((len(rows), self.n_features_in_))
        for j, usual in enumerate(self.usual_shares_):
            cells = rows[:, self.owner_ == j]
            gaps = np.isnan(cells[:, 0])
            shares[:, j] = np.where(gaps, usual, self._log_density(j, np.nan_to_num(cells)))
        return like_frame(shares, X)

    def _log_density(self, j, cells):
        points, weight, bandwidth = self.kernels_[j]
        log_density = np.empty(len(cells))
        for block in gen_batches(len(cells), max(1, BLOCK_BYTES // (8 * points.size))):
            squares = np.sum((cells[block, None] - points) ** 2, axis=2)
            log_density[block] = log_mean(-0.5 * squares / bandwidth**2, weight)
        return log_density - points.shape[1] * np.log(bandwidth * np.sqrt(2 * np.pi))


def _kernels_of(values, weight):
    """Return the centres of the kernels of a column, their weights, and the bandwidth."""
    observed = ~np.isnan(values[:, 0])
    if not observed.any():
        return np.zeros((1, values.shape[1])), np.ones(1), 1.0
    values, weight = values[observed], weight[observed] / weight[observed].sum()
    bandwidth = scott_factor(weight, values.shape[1])
    points, group = np.unique(values, axis=0, return_inverse=True)
    shares = np.bincount(group.ravel(), weight, minlength=len(points))
    if len(points) > MOST_KERNELS and values.shape[1] == 1:
        middles = (np.arange(MOST_KERNELS) + 0.5) / MOST_KERNELS
        places = np.searchsorted(np.cumsum(shares), middles * shares.sum())
        points, shares = points[places], np.full(MOST_KERNELS, 1 / MOST_KERNELS)
    return points, shares, bandwidth


def _levels(codes):
    """Return the codes of the categories that occur; one at least, for gaps to stand in."""
    levels = np.unique(codes[~np.isnan(codes)])
    return levels if len(levels) else np.zeros(1)


def _location_and_scale(values):
    """Return the median and spread of each column, which a few corrupt cells do not set."""
    location, scale = np.zeros((2, values.shape[1]))
    for j, column in enumerate(values.T):
        column = column[np.isfinite(column)]
        if len(column):
            shares = [0.005, 0.05, 0.5, 0.95, 0.995]
            least, low, location[j], high, most = np.quantile(column, shares, method="nearest")
            scale[j] = (high - low) / WIDTH_OF_NINE_TENTHS
            if location[j] in (low, high):  # of a value that most cells have, quantiles say little
                scale[j] = standard_deviation(np.clip(column, least, most)) or standard_deviation(
                    column
                )
    return location, np.where(scale > 0, scale, 1.0)


def _filled(values, owner, rng):
    """Fill gaps with what other rows have there."""
    values = values.copy()
    for column in np.unique(owner):
        of_column = np.flatnonzero(owner == column)
        gap = np.isnan(values[:, of_column[0]])
        if gap.all():
            values[:, of_column] = 0.0
        elif gap.any():
            donors = rng.choice(np.flatnonzero(~gap), gap.sum())
            values[np.ix_(gap, of_column)] = values[np.ix_(donors, of_column)]
    return values


def _keys(rows):
    """Return a key of each row, the same for every NaN."""
    return [row.tobytes() for row in np.nan_to_num(rows, nan=2 * FARTHEST)]


def _log_kernels(rows, points):
    squares = np.sum(rows**2, axis=1)[:, None] + np.sum(points**2, axis=1) - 2 * rows @ points.T
    return -0.5 * np.maximum(squares, 0, out=squares)


def scott_factor(weight, n_columns):
    """Return the bandwidth of Scott's rule in standard deviations, by the effective number of rows."""
    return np.sum(weight**2) ** (1 / (n_columns + 4))


def log_mean(exponent, weight):
    """Return the logarithm of the weighted sum of exponentials in each row, of which one at least is not zero."""
    peak = exponent.max(axis=1, keepdims=True)
    return np.log(np.exp(exponent - peak) @ weight) + peak[:, 0]


def whitened(factor, rows):
    if not factor.size:  # which older releases of SciPy cannot solve
        return rows
    return solve_triangular(factor, rows.T, lower=True).T


def log_norms(factor):
    """Return the share of each column in a kernel's log-normaliser."""
    return -np.log(np.diag(factor)) - 0.5 * np.log(2 * np.pi)
