"""The contract that every generator and density of this package keeps, and the template that keeps it.

:class:`BaseGenerator` validates, encodes, and restores the user's table; :class:`BaseDensity` adds the log-Jacobian to
what a density says of encoded rows. A family of models adds two or three short hooks. Think twice before adding
anything here: these are the base classes of *all* families. A method that two of them need belongs to those.
"""

from abc import ABCMeta, abstractmethod
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._callbacks import CallbackSupportMixin, fit_task
from sklearn_dgm._continuation import ContinuationMixin
from sklearn_dgm._sklearn import StrOptions, check_parameters, fit_context
from sklearn_dgm._state import Stateful
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import (
    check_count,
    check_flag,
    check_generator,
    check_weights,
    restored_on_failure,
    validate_table,
)
from sklearn_dgm.chunks import (
    ChunkedDrawsMixin,
    ChunkedScoresMixin,
    EncodedChunks,
    TableSummary,
    check_in_memory,
    in_memory_alone,
)
from sklearn_dgm.columns import ColumnSchema, check_possible
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import (
    DensityTags,
    require_normalised,
    with_density_tags,
)

__all__ = ["BaseDensity", "BaseEstimatedDensity", "BaseGenerator", "LogLikelihoodMixin", "Stateful"]

# Parameters of a family, as far as it has them, that are parameters of the schema of its columns.
COLUMN_PARAMS = (
    "categorical_features",
    "integer_features",
    "column_kinds",
    "handle_unknown",
    "bounds",
    "given",
)


def _in_any_order(features):
    """Return columns that are listed as a set; a mask, or a word that stands for some, as it is."""
    if not isinstance(features, list | tuple | set | frozenset | np.ndarray):
        return features
    labels = features.tolist() if isinstance(features, np.ndarray) else features
    return features if any(isinstance(label, bool) for label in labels) else frozenset(labels)


class BaseGenerator(
    ChunkedDrawsMixin,
    CallbackSupportMixin,
    ContinuationMixin,
    SaveMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base class of all that learns a distribution and draws from it, whether it can score a row or not.

    It turns two hooks over encoded rows, `_fit` and `_draw`, into an estimator with `fit` and `sample`. How to write
    them is said in :class:`BaseDensity`, which adds the third one and scores.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    column_kinds : dict, default=None
        Kinds of columns by name or index, which come before all else: "continuous", "rounded", "mixed", "integer" or
        "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import BaseGenerator, is_density, is_generator
    >>> class Bootstrap(BaseGenerator):
    ...     def _fit(self, Z, sample_weight):
    ...         self.rows_, self.weight_ = Z, np.ones(len(Z)) if sample_weight is None else sample_weight
    ...     def _draw(self, n_samples, rng):
    ...         return rng.choice(self.rows_, n_samples, p=self.weight_ / self.weight_.sum())
    >>> generator = Bootstrap().fit([["tea", 1.0], ["coffee", 2.0]])
    >>> generator.sample(3).shape, is_generator(generator), is_density(generator)
    ((3, 2), True, False)
    """

    _parameter_constraints: dict = {
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "integer_features": [StrOptions({"from_dtype"}), "array-like", None],
        "column_kinds": [dict, None],
    }
    _density_tags = DensityTags(score_kind="none")
    # What is learnt of a table that is read a chunk at a time, before its rows are.
    _summarise: Any = TableSummary
    # Parts of the fit that callbacks are told of, None if their number is not known beforehand.
    _n_subtasks: int | None = 0

    def __init__(
        self,
        *,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
    ) -> None:
        self.categorical_features = categorical_features
        self.integer_features = integer_features
        self.column_kinds = column_kinds

    @abstractmethod
    def _fit(self, Z, sample_weight):
        """Learn from encoded rows."""

    @abstractmethod
    def _draw(self, n_samples, rng):
        """Draw encoded rows, of shape (n_samples, n_features)."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit the model to rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from. Their missing cells, where the model takes such, are left out of what is learnt. Some
            families also take a table that is larger than memory, and read it a chunk at a time: a memmap of more than
            131,072 rows, a path to a Parquet file or a folder of these, a list of paths, a `pyarrow.dataset.Dataset`, a
            `polars.LazyFrame`, an object that gives arrays or DataFrames in a loop, the same ones each time, or a
            DataFrame or an array of Dask, of which `sample_weight` may be a column, too.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights: a weight of 2 counts as the row twice, 0 as its absence.
        schema : ColumnSchema, default=None
            What :meth:`learn_schema` has learnt from more rows than these, in place of what they say themselves of the
            kinds of columns, their categories and their ranges. Densities that are to be compared with each other, such
            as one for each class, need one schema, since their reference measures differ otherwise.

        Returns
        -------
        self : estimator
            The fitted model. If anything fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter is invalid, a value is infinite (or missing where the model takes no missing cells), a
            column is of a kind that the model does not take, or the weights are negative or all zero.
        TypeError
            If the model learns from rows in memory alone, and X is to be read a chunk at a time; or if X can be read
            but once.
        """
        with fit_task(self, X, y, sample_weight, n_subtasks=self._n_subtasks):
            return self._fit_or_restore(X, sample_weight, schema, y)

    def learn_schema(self, X: MatrixLike, sample_weight: ArrayLike | None = None) -> Any:
        """Learn what `fit` would learn of the columns, for models of several parts of these rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows of all parts.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        schema : ColumnSchema
            Kinds, categories, ranges and scales of the columns, for `fit` of models with the same parameters. This
            one is left as it is.
        """
        template = clone(self)
        check_parameters(template)
        start = template._start_chunks if template._fits_chunks(X) else template._start_fit
        start(X, sample_weight)
        return template.schema_

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        """Fit, and undo it if it fails; `y` is for families that learn from labels."""
        with restored_on_failure(self):
            if self._fits_chunks(X):
                self._fit_chunks(self._start_chunks(X, sample_weight, schema=schema))
            else:
                Z, sample_weight = self._start_fit(X, sample_weight, schema=schema)
                self._fit(Z, sample_weight)
        return self

    def _fit_chunks(self, rows):
        """Learn from a table that is read a chunk at a time, :class:`~sklearn_dgm.chunks.EncodedChunks`."""

    def _fits_chunks(self, X):
        """Tell whether `fit` reads X a chunk at a time; what has to be read so, but cannot, is refused."""
        if not self._is_chunked(X):
            return False
        try:
            self._check_takes_chunks()
        except (TypeError, ValueError):
            if isinstance(X, np.memmap):  # which is an array as well
                return False
            raise
        return True

    def _check_takes_chunks(self):
        """Refuse a table that is read a chunk at a time, unless the family has written `_fit_chunks`."""
        if type(self)._fit_chunks is BaseGenerator._fit_chunks:
            raise in_memory_alone(self)

    def _start_chunks(self, X, sample_weight, *, schema=None):
        """Check and encode a table that is read a chunk at a time, as :meth:`_start_fit` does one in memory."""
        self._keep_shape()
        chunks = self._chunks_of(X).map(partial(self._validate, reset=True))
        rows, self.schema_ = EncodedChunks.of(
            chunks, self._make_schema(), sample_weight, schema, self._summarise
        )
        # Chunks may have been read by other processes.
        self._validate(rows.sample_table, reset=True)
        return rows

    def _start_fit(self, X, sample_weight, *, reset=True, schema=None):
        """Validate and encode, after learning the schema if `reset` and none is given; rows of weight 0 are dropped."""
        if not reset:
            self._check_shape()
        self._keep_shape()
        X = self._validate(X, reset=reset)
        if sample_weight is not None:
            sample_weight = check_weights(X, sample_weight)
        if reset:
            own = self._make_schema()
            self.schema_ = (
                own.fit(X, sample_weight)
                if schema is None
                else own.check_alike(schema, X, sample_weight)
            )
        Z = self.schema_.encode(X)[0]
        if not reset:
            counted = np.ones(len(Z), bool) if sample_weight is None else sample_weight > 0
            self._check_further(Z, counted)
        if sample_weight is not None and not sample_weight.all():
            Z, sample_weight = Z[sample_weight > 0], sample_weight[sample_weight > 0]
        return Z, sample_weight

    def _check_further(self, Z, counted):
        """Refuse rows of `partial_fit` that have weight and are impossible, however many are counted."""
        check_possible(self.schema_.columns_, Z, counted, "Row {}".format)

    def _params_of_shape(self):
        # A schema is made in the first call.
        of_columns = [name for name in COLUMN_PARAMS if name in vars(self)]
        return (*of_columns, *super()._params_of_shape())

    def _is_unchanged(self, name, before, now):
        if name in ("categorical_features", "integer_features"):
            before, now = map(_in_any_order, (before, now))
        return super()._is_unchanged(name, before, now)

    def _make_schema(self):
        """Make the schema that `fit` fits: of a table, the columns of the kinds that the tags allow."""
        params, tags = vars(self), self._density_tags
        return ColumnSchema(
            **{name: params[name] for name in COLUMN_PARAMS if name in params},
            missing=tags.missing,
            detect_ties=tags.ties,
            allowed_kinds=tags.column_kinds,
        )

    def _validate(self, X, *, reset):
        """Check the shape of the rows, and in a table the columns, whatever the cells hold."""
        if self._density_tags.sequences:
            return X
        check_in_memory(self, X, reset=reset)
        return validate_table(self, X, reset=reset)

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> MatrixLike:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`. None of their cells is missing, but
            in columns that had no value in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer.
        """
        return self._sample(n_samples, random_state, self._draw)

    def _sample(self, n_samples, random_state, draw):
        """Decode the rows that `draw(n_samples, rng)` gives."""
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        return self.schema_.decode(draw(int(n_samples), check_generator(random_state)))

    def __sklearn_tags__(self):
        return with_density_tags(super().__sklearn_tags__(), self._density_tags)


class LogLikelihoodMixin(DensityMixin):
    """The score of a density: the total log-likelihood, which weights of rows multiply."""

    def score(self, X: MatrixLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Sum up the log-densities of rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights: a weight of 2 counts as the row twice, 0 as its absence.

        Returns
        -------
        log_likelihood : float
            The sum of `score_samples(X)`, in nats, as :meth:`sklearn.neighbors.KernelDensity.score` has it.

        Raises
        ------
        ValueError
            If scores are unnormalised: searches compare this number with that of other models.
        """
        require_normalised([self], f"{type(self).__name__}.score")
        log_density = np.asarray(self.score_samples(X))
        if sample_weight is not None:
            weight = check_weights(log_density, sample_weight)
            counted = weight > 0  # 0 times -inf would be no number
            log_density = weight[counted] * log_density[counted]
        return float(np.sum(log_density))


class BaseDensity(LogLikelihoodMixin, ChunkedScoresMixin, BaseGenerator):
    """Base class of all densities.

    It turns two or three hooks into an estimator that keeps the contract of :class:`sklearn.neighbors.KernelDensity`:
    `fit`, `score_samples`, `score` and `sample`, for arrays and DataFrames with continuous, integer and categorical
    columns, and for times. The reference measure is the Lebesgue measure on continuous and rounded columns, the
    counting measure on integer and categorical ones, and the sum of both on mixed columns, which are continuous but for
    single values that hold mass. Densities are in the units of the X handed in; those of dates are days, of other times
    seconds.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    column_kinds : dict, default=None
        Kinds of columns by name or index, which come before all else: "continuous", "rounded", "mixed", "integer" or
        "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "lower bound", "estimate", "unnormalised"}
        What `score_samples` returns of rows like those of `fit`; see :class:`~sklearn_dgm.DensityTags`. Where single
        rows can differ from them, `score_samples` has a parameter `return_std`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    Notes
    -----
    **Writing a density.** A family writes hooks over `Z`, the encoded float64 matrix: standardised values in continuous
    columns, counts from the smallest value in integer columns (from the median, if that value is far out), codes 0, 1,
    ... in categorical ones (-1 for a category that `fit` has not seen). `self.schema_.columns_` tells the kind of each
    column, and the way back to the units of X, in which users read fitted attributes: ``x = location + scale * z``. Z
    may hold any finite number: squares must not overflow, and a column of one value, all zeros, needs a smallest width.

    - `_fit(Z, sample_weight)` learns and sets attributes that end in an underscore: plain values, arrays, and objects
      of classes that are :class:`~sklearn_dgm.base.Stateful`; functions keep nothing. Rows of weight 0 are gone by
      then; `sample_weight` is None or an array of shape (n_samples,).
    - `_log_density(Z)` returns the natural-log density of each row, of shape (n_samples,); `-inf` for an impossible
      one. The log-Jacobian of the encoding is added by the base class.
    - `_draw(n_samples, rng)` returns encoded rows, of shape (n_samples, n_features), drawn with a NumPy generator.
    - `_fit_chunks(rows)`, if it is written, learns from a table larger than memory: from a sample,
      ``Z, sample_weight = rows.sample``, and from all rows, ``for Z, sample_weight in rows``, as often as it likes.

    `__init__` calls that of the base class, with those of its parameters that users are to have, if only one or two.
    What cannot score rows is a :class:`BaseGenerator`, which has no `_log_density`.

    **Tags.** The class attribute `_density_tags`, a :class:`~sklearn_dgm.DensityTags`, says what the family takes and
    what its scores are; everybody else asks :func:`~sklearn_dgm.get_density_tags`. Columns of kinds that are not among
    its `column_kinds` are refused; a density of continuous columns alone takes integers for continuous, as
    scikit-learn's checks ask, by ``super().__init__(integer_features=None)``. With `missing`, Z holds NaN where a cell
    is missing, and `_log_density` is that of the other cells, the marginal. With `ties` there are rounded columns too,
    of which Z has the number of the cell on a grid (0, 1, ...; the density of a cell is its probability), and mixed
    ones, whose `encoded_atoms` have probabilities rather than densities; and numbers or times that are all the same are
    a categorical column of one category: its score is 0 there and `-inf` elsewhere, unless `handle_unknown` gives new
    values a share. With a `score_kind` of "unnormalised", whatever averages or compares scores refuses the density.

    **Parameters of columns.** A density may have a parameter `handle_unknown`, and gives unknown categories the
    `unknown_share` of their column then; a parameter `bounds`, and keeps what it draws and scores to the `support` of
    each column; or a parameter `given`, see :class:`~sklearn_dgm.GivenMixin`, and is a density of the other columns
    given these. They reach the schema by their names.

    **Estimates.** A score depends on nothing but the row: not on those beside it, nor on any generator. Where it has to
    be estimated with random numbers, take fixed ones, the same for every row: those of
    :mod:`sklearn_dgm.nn.common_numbers`. A density that estimates scores extends
    :class:`~sklearn_dgm.BaseEstimatedDensity`, and tells their standard errors.

    **Other rows than those of tables.** Of Z the base classes ask `len(Z)` and `Z[rows]` with an array of indices or of
    booleans; of a schema four verbs: `fit(X, sample_weight)`, which returns it; `encode(X)`, which returns Z and
    log-Jacobians of shape (n_samples,); `decode(Z)`; and `check_alike(schema, X, sample_weight)`, which returns a
    fitted schema that can stand in for it, or raises. So a family may write `_make_schema()`, which by default makes a
    :class:`~sklearn_dgm.columns.ColumnSchema`; with the tag `sequences` nothing else looks into X.

    **Outside of this package** whatever is named here can be imported by a path without an underscore, which stays.
    The templates of networks, of counts and of what is built on densities are for this package, and may change with any
    release.

    At last run :func:`sklearn_dgm.utils.estimator_checks.check_density_estimator` on it: it checks what the tags
    promise.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import BaseDensity
    >>> class IndependentNormals(BaseDensity):
    ...     def _fit(self, Z, sample_weight):
    ...         self.mean_ = np.average(Z, axis=0, weights=sample_weight)
    ...         variance = np.average((Z - self.mean_) ** 2, axis=0, weights=sample_weight)
    ...         self.std_ = np.sqrt(variance + 1e-6)
    ...     def _log_density(self, Z):
    ...         U = (Z - self.mean_) / self.std_
    ...         return -(U**2 / 2 + np.log(self.std_ * np.sqrt(2 * np.pi))).sum(axis=1)
    ...     def _draw(self, n_samples, rng):
    ...         return rng.normal(self.mean_, self.std_, (n_samples, len(self.mean_)))
    >>> X = np.random.default_rng(0).normal(100, 5, (500, 2))
    >>> IndependentNormals().fit(X).score_samples([[100.0, 100.0]]).round(1)
    array([-5.])
    """

    _density_tags = DensityTags()

    @abstractmethod
    def _log_density(self, Z):
        """Return the log-density of encoded rows, of shape (n_samples,)."""

    def _start_fit(self, X, sample_weight, *, reset=True, schema=None):
        rows = super()._start_fit(X, sample_weight, reset=reset, schema=schema)
        self.score_kind_ = self._density_tags.score_kind
        return rows

    def _start_chunks(self, X, sample_weight, *, schema=None):
        rows = super()._start_chunks(X, sample_weight, schema=schema)
        self.score_kind_ = self._density_tags.score_kind
        return rows

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the log-density of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score; or a table larger than memory, as `fit` has it, of whatever density. :meth:`iter_scores`
            returns the scores of such a one a chunk at a time. Those of a table of Dask are an array of Dask, which is
            computed by partition once it is asked for.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Natural-log densities (nats), in the units of X; `-inf` for an impossible row, such as one with a
            number beyond the bounds of its column. Of a row with missing cells,
            where the density takes them (see its tag `allow_nan`), it is the marginal density of the other cells.

        Raises
        ------
        ValueError
            If a value is infinite, or missing where the density takes no missing cells, or the columns are not those of
            `fit`.
        """
        if self._is_chunked(X):
            return self._by_chunk(X, self.score_samples)
        Z, log_det = self._encode(X)
        return self._log_density(Z) + log_det

    def _encode(self, X):
        """Encode rows with the columns of `fit`; a log-Jacobian for each, of shape (n_samples,), comes with them."""
        check_is_fitted(self)
        return self.schema_.encode(self._validate(X, reset=False))


class BaseEstimatedDensity(BaseDensity):
    """Base class of densities whose scores, at least of some rows, are estimates.

    A family writes `_log_density_and_std(Z)`, which returns log-densities and their standard errors, both of shape
    (n_samples,), in place of `_log_density`; the standard error is 0 where the log-density is exact. What is built on
    such densities passes them on.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    column_kinds : dict, default=None
        Kinds of columns by name or index; see :class:`~sklearn_dgm.BaseDensity`.

    Attributes
    ----------
    schema_, score_kind_, n_features_in_, feature_names_in_
        See :class:`~sklearn_dgm.BaseDensity`.
    """

    @abstractmethod
    def _log_density_and_std(self, Z):
        """Return the log-densities of encoded rows, and their standard errors, both of shape (n_samples,)."""

    def _log_density(self, Z):
        return self._log_density_and_std(Z)[0]

    def score_samples(self, X: MatrixLike, return_std: bool = False) -> Any:
        """Compute the log-density of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.
        return_std : bool, default=False
            Whether to return the standard errors of estimates, too.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Natural-log densities (nats), in the units of X; `-inf` for an impossible row. Of a row with missing cells,
            where the density takes them, it is the marginal density of the other cells. The same row has the same score
            in every call, also where it is an estimate.
        std : ndarray of shape (n_samples,)
            Only with ``return_std=True``: standard errors of the log-densities in nats, over the numbers that the
            estimate might have been made with; 0 where the log-density is exact.

        Raises
        ------
        ValueError
            If a value is infinite, or missing where the density takes no missing cells, or the columns are not those of
            `fit`.
        """
        check_flag(return_std, "return_std")
        if self._is_chunked(X):
            score = partial(self.score_samples, return_std=return_std)
            return self._by_chunk(X, score, 1 + return_std)
        Z, log_det = self._encode(X)
        if not return_std:
            return self._log_density(Z) + log_det
        log_density, std = self._log_density_and_std(Z)
        return log_density + log_det, std
