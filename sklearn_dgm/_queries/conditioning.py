"""Questions to a joint density: draws given some cells, the distribution of one column, marginals.

:class:`ConditionalMixin` answers them for every density that can weight completions of rows with missing cells.
"""

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.completed_rows import with_given_cells
from sklearn_dgm._queries.prediction import ColumnPrediction, resample
from sklearn_dgm._queries.quadrature import integrate
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_flag, check_generator
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.chunks import with_progress
from sklearn_dgm.columns._building import TableSpec
from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.columns._names import position_of
from sklearn_dgm.tags import DensityTags

# Completions of a row, for a few draws and for the distribution of a number.
N_PARTICLES, N_PREDICTION_PARTICLES = 128, 512
# Draws of a row that share completions, and how many completions stand behind each of many.
MAX_DRAWS_TOGETHER, PARTICLES_PER_DRAW = 64, 8
# Whole numbers of a range of at most so many are enumerated.
MAX_LEVELS = N_PREDICTION_PARTICLES
# Cells that are scored at once, and nodes of an integral over the whole range of a column.
CELLS_AT_ONCE, N_OVERALL = 2**17, 32


class Completions(NamedTuple):
    """Weighted completions of some rows, all with as many; see :class:`ConditionalMixin`.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Which rows these are.
    z : ndarray of shape (n, m, n_features)
        Their completions.
    log_weight : ndarray of shape (n, m)
        Their log-weights.
    effective_sample_size : ndarray of shape (n,)
        How many independent draws they are worth.
    """

    rows: np.ndarray
    z: np.ndarray
    log_weight: np.ndarray
    effective_sample_size: np.ndarray


class ConditionalMixin:
    """Mixin of densities that can answer any question about some columns given others.

    Notes
    -----
    It goes before :class:`~sklearn_dgm.BaseDensity` and asks for the tag `missing` and one more hook,
    `_completions(Z, n_particles, rng=None)`: it yields, for parts of the encoded rows, `rows` (their numbers),
    completed rows `z` of shape (n, m, n_features), `log_weight` of shape (n, m), of which the sum of the exponentials
    estimates the marginal density of a row's observed cells, and `effective_sample_size` of shape (n,), infinity where
    these are all completions that there are. Without `rng` nothing may be random. Where `_marginals_are_exact`, and are
    quickly told, `predict_column` integrates over numbers though other cells are missing, too.
    """

    _marginals_are_exact = False

    def _is_estimated(self, Z):
        """Flag the encoded rows with missing cells whose scores are estimates, of shape (n_samples,)."""
        return np.zeros(len(Z), dtype=bool)

    def conditional_sample(
        self,
        X: MatrixLike,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        return_ess: bool = False,
    ) -> MatrixLike:
        """Draw the missing cells of rows given their observed cells.

        Cells of a column that had no value in `fit` stay missing. Missing categories with few joint outcomes (256) are
        drawn from their exact distribution; others by sampling importance resampling [1]_ from at least 128 weighted
        completions.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features)
            Rows with missing cells (NaN, None, NA, NaT, null). Complete rows come back as they are, and rows without
            any cell become those of :meth:`sample`.
        n_samples : int, default=1
            Number of draws of each row.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.
        return_ess : bool, default=False
            Whether to return the effective sample sizes, too.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_rows * n_samples, n_features)
            The draws of the first row, then those of the second, ..., in the container, with the column names and
            dtypes seen in `fit`, and the index of X, if it has one. Observed cells are as given.
        ess : ndarray of shape (n_rows,)
            Only with ``return_ess=True``: how many independent draws the weighted completions behind a row are worth
            [2]_, infinity where the distribution is exact. Where it is not well above `n_samples`, draws repeat and may
            be some way from the distribution.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, the columns are not those of `fit`, or the observed cells of a row
            have density 0.

        References
        ----------
        .. [1] D. B. Rubin, "The calculation of posterior distributions by data augmentation: comment", Journal of the
           American Statistical Association 82 (1987), https://doi.org/10.1080/01621459.1987.10478461
        .. [2] A. Kong, J. S. Liu, W. H. Wong, "Sequential imputations and Bayesian missing data problems", Journal of
           the American Statistical Association 89 (1994), https://doi.org/10.1080/01621459.1994.10476469

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_dgm import AutoregressiveDensity
        >>> x = np.random.default_rng(0).normal(size=300)
        >>> X = np.column_stack([x, 10 * x])
        >>> density = AutoregressiveDensity((16,), n_orders=2, max_epochs=3, random_state=0).fit(X)
        >>> drawn = density.conditional_sample([[np.nan, 12.0]], n_samples=50, random_state=0)
        >>> drawn.shape, bool(abs(drawn[:, 0].mean() - 1.2) < 0.1), set(drawn[:, 1].tolist())
        ((50, 2), True, {12.0})
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        check_flag(return_ess, "return_ess")
        X = self._validate(X, reset=False)
        Z, _ = self.schema_.encode(X)
        draws, ess = self._conditional_draws(Z, int(n_samples), check_generator(random_state))
        completed = with_given_cells(self.schema_, draws.reshape(-1, Z.shape[1]), X)
        return (completed, ess) if return_ess else completed

    def _conditional_draws(self, Z, n_samples, rng, rows=None):
        """Return completed rows, of shape (n_rows, n_samples, n_features), and effective sample sizes.

        Errors name rows by their numbers, `rows`, where these are some of those in question.
        """
        rows = np.arange(len(Z)) if rows is None else rows
        together = min(n_samples, MAX_DRAWS_TOGETHER)
        n_rounds = -(-n_samples // together)
        draws = np.empty((len(Z) * n_rounds, together, Z.shape[1]))
        ess = np.empty(len(Z) * n_rounds)
        n_particles = max(N_PARTICLES, PARTICLES_PER_DRAW * together)
        parts = self._completions(np.repeat(Z, n_rounds, axis=0), n_particles, rng)
        for part in self._with_progress(parts, len(ess)):
            weight = _normalised(part.log_weight, rows[part.rows // n_rounds])
            chosen = resample(weight, together, rng)
            draws[part.rows] = np.take_along_axis(part.z, chosen[..., None], axis=1)
            ess[part.rows] = part.effective_sample_size
        draws = draws.reshape(len(Z), -1, Z.shape[1])[:, :n_samples]
        return draws, ess.reshape(len(Z), n_rounds).sum(axis=1)

    def conditional_mean(self, X: MatrixLike) -> MatrixLike:
        """Fill in the missing cells of rows with their expectation given the observed cells.

        Cells of a column that had no value in `fit` stay missing.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features)
            Rows with missing cells.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_rows, n_features)
            The rows in the container, with the column names and dtypes seen in `fit`, and the index of X. Numbers are
            expectations, rounded where the column is of whole or of rounded numbers; categories are the most probable
            ones. Observed cells are as given. Nothing is random.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, or the observed cells of a row have density 0.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_dgm import AutoregressiveDensity
        >>> x = np.random.default_rng(0).normal(size=300)
        >>> X = np.column_stack([x, 10 * x])
        >>> density = AutoregressiveDensity((16,), n_orders=2, max_epochs=3, random_state=0).fit(X)
        >>> density.conditional_mean([[np.nan, 12.0]]).round(1)
        array([[ 1.2, 12. ]])
        """
        return self._completed(X, self._conditional_means)

    def _conditional_means(self, Z):
        """Return encoded rows with expectations, or the most probable categories, in their missing cells."""

        def expected(part):
            weight = _normalised(part.log_weight, part.rows)
            columns = enumerate(self.schema_.columns_)
            return np.column_stack(
                [expected_cells(column, part.z[..., j], weight) for j, column in columns]
            )

        return self._completed_by(Z, expected)

    def conditional_mode(self, X: MatrixLike) -> MatrixLike:
        """Fill in the missing cells of rows with the most probable of their completions.

        Cells of a column that had no value in `fit` stay missing.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features)
            Rows with missing cells.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_rows, n_features)
            The rows in the container, with the column names and dtypes seen in `fit`, and the index of X. Of few joint
            outcomes of categories the most probable one, else the one of at least 128 draws where the density of the
            completed row is highest. Observed cells are as given. Nothing is random.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, or the observed cells of a row have density 0.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn_dgm import AutoregressiveDensity
        >>> table = pd.DataFrame({"sky": ["clear", "grey", "grey"] * 60, "warm": [True, False, False] * 60})
        >>> density = AutoregressiveDensity((8,), n_orders=2, max_epochs=3, random_state=0).fit(table)
        >>> density.conditional_mode(pd.DataFrame({"sky": [None], "warm": [None]}))
            sky   warm
        0  grey  False
        """

        def most_probable(part):
            _normalised(part.log_weight, part.rows)  # which refuses impossible rows
            n_rows, n_particles, n_features = part.z.shape
            log_p = self._log_density(part.z.reshape(-1, n_features)).reshape(n_rows, n_particles)
            return part.z[np.arange(n_rows), log_p.argmax(axis=1)]

        return self._completed(X, lambda Z: self._completed_by(Z, most_probable))

    def _completed(self, X, complete):
        """Fill in the missing cells of rows by a function of the encoded rows."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z, _ = self.schema_.encode(X)
        return with_given_cells(self.schema_, complete(Z), X)

    def _completed_by(self, Z, complete):
        """Fill in the missing cells of encoded rows by a function of the completions of some of them."""
        completed = Z.copy()
        for part in self._with_progress(self._completions(Z, N_PARTICLES), len(Z)):
            completed[part.rows] = complete(part)
        return completed

    def predict_column(self, X: MatrixLike, column: Any) -> Any:
        """Predict the distribution of one column given the other observed cells of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features) or (n_rows, n_features - 1)
            Rows; other cells may be missing. What they hold in the column itself is ignored, and it may be left out.
        column : str or int
            Name or index of the column.

        Returns
        -------
        prediction : ColumnPrediction
            Of a categorical column, and of whole or rounded numbers of a range of at most 512, the probability of each
            value: exact if the other cells are observed, or categories with few joint outcomes (256); else the average
            of its probabilities given each of some draws of them. Of other numbers 512 values and their weights: the
            nodes of a numerical integral where the column is not of whole numbers and the other cells are observed,
            else draws. Nothing is random.

        Raises
        ------
        ValueError
            If there is no such column, the others are not those of `fit`, or the other cells of a row have density 0.

        Notes
        -----
        Whole numbers beyond the range of those in `fit`, which have a small probability, are left out.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn_dgm import AutoregressiveDensity
        >>> table = pd.DataFrame({"sky": ["clear", "grey"] * 100, "warm": [True, False] * 100})
        >>> density = AutoregressiveDensity((8,), n_orders=2, max_epochs=3, random_state=0).fit(table)
        >>> prediction = density.predict_column(table[["sky"]].head(2), "warm")
        >>> prediction.categories, prediction.probabilities.argmax(axis=1)
        (array([False,  True]), array([1, 0]))
        """
        check_is_fitted(self)
        j = position_of(column, [c.label for c in self.schema_.columns_], "column")
        Z = self._encode_without(X, j)
        described = self.schema_.columns_[j]
        outcomes = _outcomes(described)
        if outcomes is not None:
            n, k = len(Z), len(outcomes)
            chunks = [(rows,) for rows in np.array_split(np.arange(n), -(-n * k // CELLS_AT_ONCE))]
            log_p = [
                self._log_density_at(np.tile(outcomes, (len(rows), 1)), Z[rows], j)
                for (rows,) in self._with_progress(chunks, n)
            ]
            p = _normalised(np.concatenate(log_p), np.arange(n))
            return ColumnPrediction(described, outcomes, p)
        parts = list(self._with_progress(self._values(Z, j), len(Z)))
        values = np.zeros((len(Z), max(z.shape[1] for _, z, _, _ in parts)))
        weights, ess = np.zeros_like(values), np.empty(len(Z))
        for rows, z, log_weight, ess[rows] in parts:
            # Rows with fewer values than others have the last one again, with no weight.
            values[rows] = np.pad(z, ((0, 0), (0, values.shape[1] - z.shape[1])), "edge")
            weights[rows, : z.shape[1]] = _normalised(log_weight, rows)
        return ColumnPrediction(described, values, weights, ess)

    def _with_progress(self, parts, n_rows):
        """Pass on parts, of which the first item are rows; with `verbose`, tell now and then how many are done."""
        return with_progress(parts, "answered", n_rows, getattr(self, "verbose", 0))

    def _values(self, Z, j):
        """Yield for parts of the rows a column's values, their log-weights, and effective sample sizes."""
        column = self.schema_.columns_[j]
        n_values = N_PREDICTION_PARTICLES + len(column.encoded_atoms)
        is_drawn = np.isnan(Z).sum(axis=1) > 1
        if self._marginals_are_exact:
            is_drawn[:] = False
        if column.is_categorical or column.is_whole:
            is_drawn[:] = True
        (drawn,), (others,) = np.nonzero(is_drawn), np.nonzero(~is_drawn)
        for part in self._completions(Z[drawn], n_values):
            yield drawn[part.rows], part.z[..., j], part.log_weight, part.effective_sample_size
        step = max(CELLS_AT_ONCE // n_values, 1)
        for start in range(0, len(others), step):
            rows = others[start : start + step]
            yield rows, *self._integrated(Z[rows], j, n_values), np.full(len(rows), np.inf)

    def _integrated(self, Z, j, n_values):
        """Return values of a column whose other cells are all observed, and the log-weights of an integration rule."""
        column, n = self.schema_.columns_[j], len(Z)
        atoms, support = column.encoded_atoms, column.support
        lower, upper = (support.lower, support.upper) if support else (-np.inf, np.inf)

        def log_density_beside_atoms(z):
            beside = np.nextafter(z, np.where(z < upper, np.inf, -np.inf))
            z = np.where(np.isin(z, atoms), beside, z)
            return self._log_density_at(z, Z, j)

        overall = np.linspace(*column.encoded(np.array([column.low, column.high])), N_OVERALL)
        first = np.empty((n, N_PARTICLES + N_OVERALL))
        first[:, N_PARTICLES:] = overall
        for part in self._completions(Z, N_PARTICLES):
            first[part.rows, :N_PARTICLES] = part.z[:, :N_PARTICLES, j]
        z, log_weight = integrate(
            log_density_beside_atoms, first, n_values - len(atoms), (lower, upper)
        )
        atoms = np.tile(atoms, (n, 1))
        if atoms.shape[1] == 0:
            return z, log_weight
        return np.hstack([z, atoms]), np.hstack([log_weight, self._log_density_at(atoms, Z, j)])

    def _log_density_at(self, z, Z, j):
        """Return the log-density, of shape (n, m), of each row with each of its m values in a column."""
        rows = np.repeat(Z, z.shape[1], axis=0)
        rows[:, j] = z.ravel()
        return self._log_density(rows).reshape(z.shape)

    def _encode_without(self, X, j):
        """Encode rows with one column missing, which X may lack."""
        others = [i for i in range(self.n_features_in_) if i != j]
        shape = np.shape(X)
        if len(shape) != 2 or shape[1] != len(others) or not others:
            X = self._validate(X, reset=False)
            if not others:
                return np.full((len(X), 1), np.nan)
            # What the column holds may be anything.
            X = nw.from_native(X)[:, others].to_native() if is_frame(X) else X[:, others]
        part = _MarginalDensity._of(self, others)
        return part._embed(part.schema_.encode(part._validate(X, reset=False))[0])

    def marginal(self, columns: Any) -> Any:
        """Return the density of some of the columns.

        Parameters
        ----------
        columns : array-like of str or int
            Names or indices, in the order in which the marginal is to have them.

        Returns
        -------
        density : estimator
            A fitted density with `score_samples`, `score`, `sample`, `conditional_sample`, `predict_column` and
            `marginal` of tables with these columns. It shares the network of this one.

        Raises
        ------
        ValueError
            If `columns` is empty, holds a column twice or one that is none of `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_dgm import AutoregressiveDensity
        >>> iris = load_iris(as_frame=True).data
        >>> density = AutoregressiveDensity((16,), n_orders=2, max_epochs=3, random_state=0).fit(iris)
        >>> lengths = ["petal length (cm)", "sepal length (cm)"]
        >>> marginal = density.marginal(lengths)
        >>> marginal.score_samples(iris[lengths]).shape, list(marginal.sample(2).columns) == lengths
        ((150,), True)
        """
        check_is_fitted(self)
        labels = [c.label for c in self.schema_.columns_]
        if (
            isinstance(columns, str)
            or not hasattr(columns, "__len__")
            or len(columns) == 0
            or any(isinstance(column, bool | np.bool_) for column in columns)
        ):
            raise ValueError(f"columns should be a list of names or indices, got {columns!r}.")
        positions = [position_of(label, labels, "columns") for label in columns]
        if len(set(positions)) < len(positions):
            raise ValueError(f"columns names a column twice: {list(columns)}.")
        part = _MarginalDensity._of(self, positions)
        if isinstance(
            self.schema_._template, np.dtype
        ):  # columns of an array go by their positions in it
            part.schema_.columns_ = [
                replace(column, label=k) for k, column in enumerate(part.schema_.columns_)
            ]
        return part


def expected_cells(column, z, weight):
    """Return the weighted mean of numbers, or the heaviest category, of each row, given values of shape (n, m)."""
    if not column.is_categorical:
        mean = np.sum(weight * z, axis=1)
        return np.rint(mean) if column.is_whole else mean
    n, k = len(z), len(column.categories)
    place = np.arange(n)[:, None] * k + z.clip(0).astype(np.intp)
    return np.bincount(place.ravel(), weight.ravel(), n * k).reshape(n, k).argmax(axis=1)


def _outcomes(column):
    """Return the encoded values of a column of few; whole numbers beyond the fitted range are left out."""
    if column.is_categorical:
        return np.arange(len(column.categories), dtype=np.float64)
    if column.is_whole:
        low, high = column.encoded(np.array([column.low, column.high]))
        if high - low < MAX_LEVELS:
            return np.arange(low, high + 1)
    return None


def _normalised(log_weight, rows):
    """Normalise the weights of each row to sum to one; 1 for rows without missing cells."""
    best = log_weight.max(axis=1, keepdims=True)
    if log_weight.shape[1] > 1:
        check_possible(best[:, 0], rows)
    weight = np.exp(log_weight - np.where(np.isneginf(best), 0, best))
    if log_weight.shape[1] == 1:
        return np.ones_like(weight)
    return weight / weight.sum(axis=1, keepdims=True)


def check_possible(log_density, rows):
    """Refuse rows whose observed cells have density 0, and name the first one."""
    impossible = np.isneginf(log_density)
    if impossible.any():
        raise ValueError(
            f"Row {rows[impossible][0]}: its observed cells have density 0, so that nothing follows from them. One may "
            "be far out, beyond the bounds of its column, no whole number where all are, or a category that fit has not "
            "seen; for such set handle_unknown='rare'."
        )


class _MarginalDensity(ConditionalMixin, BaseEstimatedDensity):
    """Density of some columns of another density, as :meth:`ConditionalMixin.marginal` gives it.

    Parameters
    ----------
    density : estimator
        A fitted density that can condition.
    columns : list of int
        Indices of the columns.

    Attributes
    ----------
    schema_ : ColumnSchema
        Kinds and scales of these columns.
    score_kind_ : {"exact", "estimate"}
        What `score_samples` returns of rows without missing cells; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    """

    _density_tags = DensityTags(missing=True)
    _parameter_constraints: dict = {}

    def __init__(self, density, columns):
        self.density = density
        self.columns = columns

    @classmethod
    def _of(cls, density, positions):
        part = cls(density, positions)
        part.schema_ = copy.copy(density.schema_)
        part.schema_.columns_ = [density.schema_.columns_[j] for j in positions]
        part.schema_.given_ = density.schema_.given_[positions]
        template = density.schema_._template
        if isinstance(template, TableSpec):
            part.schema_._template = template.take(positions)
        part.n_features_in_ = len(positions)
        if hasattr(density, "feature_names_in_"):
            part.feature_names_in_ = density.feature_names_in_[positions]
        is_estimated = part._is_estimated(np.zeros((1, len(positions)))).any()
        part.score_kind_ = "estimate" if is_estimated else density.score_kind_
        return part

    def _embed(self, Z):
        """Widen rows to all columns, the others missing."""
        whole = np.full((len(Z), self.density.n_features_in_), np.nan)
        whole[:, self.columns] = Z
        return whole

    def fit(self, X, y=None, sample_weight=None):
        """Refuse to fit: a marginal comes fitted."""
        raise TypeError("Fit the density that the marginal is of, and call its method marginal.")

    def _fit(self, Z, sample_weight):
        self.fit(Z)

    def _is_estimated(self, Z):
        return self.density._is_estimated(self._embed(Z))

    def _log_density_and_std(self, Z):
        whole = self._embed(Z)
        if isinstance(self.density, BaseEstimatedDensity):
            return self.density._log_density_and_std(whole)
        return self.density._log_density(whole), np.zeros(len(Z))

    def _log_density_at(self, z, Z, j):
        return self.density._log_density_at(z, self._embed(Z), self.columns[j])

    def _draw(self, n_samples, rng):
        return self.density._draw(n_samples, rng)[:, self.columns]

    @property
    def _marginals_are_exact(self):
        return self.density._marginals_are_exact

    def _conditional_draws(self, Z, n_samples, rng):
        draws, ess = self.density._conditional_draws(self._embed(Z), n_samples, rng)
        return draws[..., self.columns], ess

    def _conditional_means(self, Z):
        return self.density._conditional_means(self._embed(Z))[:, self.columns]

    def _completions(self, Z, n_particles, rng=None):
        for part in self.density._completions(self._embed(Z), n_particles, rng):
            yield part._replace(z=part.z[..., self.columns])
