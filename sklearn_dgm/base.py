"""The contract that every density of this package keeps, and the template that keeps it.

:class:`BaseDensity` validates, encodes, adds the log-Jacobian and restores the user's table; a family of models adds two
or three short hooks. Think twice before adding anything here: it is the base class of *all* densities. A method that two
families need belongs to those families.
"""

from abc import ABCMeta, abstractmethod
from contextlib import contextmanager
from copy import copy
from inspect import signature
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_dgm._callbacks import CallbackSupportMixin, fit_task
from sklearn_dgm._sklearn import (
    StrOptions,
    check_parameters,
    check_sample_weight,
    fit_context,
    is_search,
)
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm.columns import ColumnSchema, check_container, is_frame


def check_generator(random_state):
    """Turn a `random_state` into a NumPy generator that is nobody else's.

    Unlike :func:`sklearn.utils.check_random_state`, None gives a freshly seeded generator, so that the global one is
    left as it was.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        A seed, or a generator to draw one from.

    Returns
    -------
    rng : numpy.random.Generator
        The generator to draw from.

    Raises
    ------
    ValueError
        If `random_state` is none of these.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31, size=4))
    if random_state is None or isinstance(random_state, Integral):
        return np.random.default_rng(random_state)
    raise ValueError(
        f"random_state should be an int, a numpy RandomState or Generator, or None; got {random_state!r}."
    )


def unwrapped(estimator):
    """What a search has chosen (or searches over), or a frozen estimator holds.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator.

    Returns
    -------
    estimator : estimator instance
        The same if it is neither a search nor frozen.
    """
    from sklearn.frozen import FrozenEstimator

    if isinstance(estimator, FrozenEstimator) or is_search(estimator):
        return unwrapped(getattr(estimator, "best_estimator_", estimator.estimator))
    return estimator


def last_step(estimator):
    """The estimator at the end of pipelines and inside searches.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator.

    Returns
    -------
    estimator : estimator instance
        The one whose `score_samples` answers in the end.
    """
    from sklearn.pipeline import Pipeline

    estimator = unwrapped(estimator)
    return last_step(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def densities_within(estimator):
    """The density at the end of pipelines and searches, and those that it is built on.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator.

    Yields
    ------
    density : estimator instance
        The outermost first.
    """
    density = last_step(estimator)
    yield density
    inside = [member for _, member in getattr(density, "estimators", [])]
    inside += [density.estimator] if hasattr(density, "estimator") else []
    for member in inside:
        yield from densities_within(member)


def detects_ties(estimator):
    """Tell whether a density, or one that it is built on, looks for values that repeat.

    Parameters
    ----------
    estimator : estimator instance
        A density, or a pipeline or search that ends in one.

    Returns
    -------
    bool
        True of those that find the grid to which numbers were rounded.
    """
    return any(getattr(density, "_detect_ties", False) for density in densities_within(estimator))


def is_density(estimator: Any) -> bool:
    """Tell whether an estimator's `score_samples` is a log-density that it can also sample from.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator. Of a Pipeline, a search or a frozen estimator what stands at its end is asked.

    Returns
    -------
    bool
        True for the densities of this package, for `KernelDensity` and for `GaussianMixture`.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import is_density
    >>> is_density(KernelDensity()), is_density(IsolationForest())
    (True, False)
    """
    estimator = last_step(estimator)
    if estimator == "passthrough":
        return False
    if get_tags(estimator).estimator_type == "density_estimator":
        return True
    return hasattr(estimator, "score_samples") and hasattr(estimator, "sample")


@contextmanager
def restored_on_failure(estimator):
    """Leave an estimator as it was if anything in the block fails.

    Parameters
    ----------
    estimator : estimator instance
        The estimator whose `fit` it is.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException as error:
        # An interrupted warm start says that it keeps what it has learnt.
        if not getattr(error, "keeps_progress", False):
            vars(estimator).clear()
            vars(estimator).update(before)
        raise


def validate_table(estimator, X, *, reset, dtype=None):
    """Check the shape and the columns of a table, whose cells may be of any kind.

    Parameters
    ----------
    estimator : estimator instance
        The one whose `n_features_in_` and `feature_names_in_` are meant.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows.
    reset : bool
        Whether the columns are learnt, as in `fit`, or should be those of `fit`.
    dtype : "numeric" or None, default=None
        What :func:`sklearn.utils.check_array` makes of arrays.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows; a DataFrame as it is.

    Raises
    ------
    ValueError
        If X has no rows or no columns, or not those of `fit`.
    TypeError
        If X is a table that cannot be read, such as one of Arrow, a lazy one, or a list of dicts.
    """
    check_container(X)
    if is_frame(X):
        for size, what in zip(X.shape, ("sample(s)", "feature(s)"), strict=True):
            if size == 0:
                raise ValueError(
                    f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required."
                )
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X
    if isinstance(X, np.ma.MaskedArray):
        missing = np.nan if X.dtype.kind == "f" else None
        X = np.where(np.ma.getmaskarray(X), missing, X.data) if np.ma.is_masked(X) else X.data
    if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
        X = np.asarray(X, dtype=object)  # or numbers beside strings would turn into strings
    return validate_data(estimator, X, reset=reset, dtype=dtype, ensure_all_finite=False)


def check_weights(X, sample_weight):
    """Check the weights of rows.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    sample_weight : array-like of shape (n_samples,)
        Their weights.

    Returns
    -------
    sample_weight : ndarray of shape (n_samples,)
        Float64 weights.

    Raises
    ------
    ValueError
        If they are negative, all zero, or too large.
    """
    sample_weight = check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if not sample_weight.any():
        raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    with np.errstate(over="ignore"):
        if not np.isfinite(sample_weight.sum()):
            raise ValueError("sample_weight sums to more than float64 can hold; scale it down.")
    return sample_weight


def check_count(count, name):
    """Refuse what is no positive integer."""
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"{name} should be a positive integer, got {count!r}.")


def draw_rows(density, n_samples, random_state=None):
    """Rows drawn from any fitted density.

    Parameters
    ----------
    density : estimator instance
        A density of this package or of scikit-learn, or a search over one.
    n_samples : int
        Number of rows.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the rows. It is used once, whatever number of rows is drawn.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows alone.

    Raises
    ------
    NotImplementedError
        If the density cannot draw, such as a `KernelDensity` with some kernels.
    """
    density, seed = unwrapped(density), int(check_generator(random_state).integers(2**31))
    try:
        if "random_state" in signature(density.sample).parameters:
            drawn = density.sample(n_samples, random_state=seed)
        else:  # GaussianMixture draws with the seed that it was fitted with
            drawn = copy(density).set_params(random_state=seed).sample(n_samples)
    except NotImplementedError as error:  # scikit-learn's, without a word, for some kernels
        raise NotImplementedError(f"{density!r} cannot draw rows.") from error
    return drawn[0] if isinstance(drawn, tuple) else drawn


def takes_tables(density):
    """Tell whether a density takes categories and times, and gives such back, or wants numbers alone.

    Parameters
    ----------
    density : estimator instance
        A density, or a pipeline or search that ends in one.

    Returns
    -------
    bool
        As its tags say.
    """
    tags = get_tags(last_step(density)).input_tags
    return tags.categorical or tags.string


def worst_score_kind(densities):
    """What the scores of several densities are together.

    Parameters
    ----------
    densities : list of estimator instances
        Fitted densities.

    Returns
    -------
    score_kind : {"exact", "lower bound", "estimate"}
        The one of theirs that says least.
    """
    kinds = [getattr(last_step(density), "score_kind_", "exact") for density in densities]
    return max(kinds, key=("exact", "lower bound", "estimate").index)


class BaseDensity(CallbackSupportMixin, DensityMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of all densities.

    It turns two or three hooks into an estimator that keeps the contract of :class:`sklearn.neighbors.KernelDensity`:
    `fit`, `score_samples`, `score` and `sample`, for arrays and DataFrames with continuous, integer and categorical
    columns, and for times. The reference measure is the Lebesgue measure on continuous and rounded columns, the counting
    measure on integer and categorical ones, and the sum of both on mixed columns, which are continuous but for single
    values that hold mass. Densities are in the units of the X handed in; those of dates are days, of other times seconds.

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
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    Notes
    -----
    **Writing a density.** A family writes hooks over `Z`, the encoded float64 matrix: standardised values in continuous
    columns, counts from the smallest value in integer columns (from the median, if that value is far out), codes 0, 1, ...
    in categorical ones (-1 for a category that `fit` has not seen; `self.schema_.columns_` tells which column is what).

    - `_fit(Z, sample_weight)` learns and sets attributes that end in an underscore. Rows of weight 0 are gone by then;
      `sample_weight` is None or an array of shape (n_samples,).
    - `_log_density(Z)` returns the natural-log density of each row, of shape (n_samples,); `-inf` for an impossible
      one. The log-Jacobian of the encoding is added by the base class.
    - `_draw(n_samples, rng)` returns encoded rows, of shape (n_samples, n_features), drawn with a NumPy generator.

    Set `_standardize = False` in the class body to get numbers in their own units, and `_score_kind` if the score is not
    exact. With `_takes_missing = True` Z holds NaN where a cell is missing, and `_log_density` is that of the other
    cells, the marginal. With `_detect_ties = True` there are rounded columns too, of which Z has the number of the cell
    on a grid (0, 1, ...; the density of a cell is its probability), and mixed ones, whose `encoded_atoms` have
    probabilities rather than densities; and numbers or times that are all the same are a categorical column of one
    category: its score is 0 there and `-inf` elsewhere, unless `handle_unknown` gives new values a share. A density may have
    a parameter `handle_unknown`, and gives unknown categories the `unknown_share` of their column then; or a parameter
    `bounds`, and keeps what it draws and scores to the `support` of each column. After that run
    :func:`sklearn_dgm.utils.estimator_checks.check_density_estimator` on it.

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

    _parameter_constraints: dict = {
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "integer_features": [StrOptions({"from_dtype"}), "array-like", None],
        "column_kinds": [dict, None],
    }
    _standardize = True
    _takes_missing = False
    _detect_ties = False
    _score_kind = "exact"

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
    def _log_density(self, Z):
        """Log-density of encoded rows, of shape (n_samples,)."""

    @abstractmethod
    def _draw(self, n_samples, rng):
        """Encoded rows drawn from the model, of shape (n_samples, n_features)."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit the density to rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from. Their missing cells, where the density takes such, are left out of what is learnt.
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
            The fitted density. If anything fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter is invalid, a value is infinite (or missing where the density takes no missing cells), or the
            weights are negative or all zero.
        """
        with fit_task(self, X, y, sample_weight):
            return self._fit_or_restore(X, sample_weight, schema)

    def learn_schema(self, X: MatrixLike, sample_weight: ArrayLike | None = None) -> Any:
        """What `fit` would learn of the columns, for densities of several parts of these rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows of all parts.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        schema : ColumnSchema
            Kinds, categories, ranges and scales of the columns, for `fit` of densities with the same parameters. This
            one is left as it is.
        """
        template = clone(self)
        check_parameters(template)
        template._start_fit(X, sample_weight)
        return template.schema_

    def _fit_or_restore(self, X, sample_weight, schema):
        with restored_on_failure(self):
            Z, sample_weight = self._start_fit(X, sample_weight, schema=schema)
            self._fit(Z, sample_weight)
        return self

    def _start_fit(self, X, sample_weight, *, reset=True, schema=None):
        """Validate and encode, after learning the schema if `reset` and none is given; rows of weight 0 are dropped."""
        X = self._validate(X, reset=reset)
        if sample_weight is not None:
            sample_weight = check_weights(X, sample_weight)
        if reset:
            own = self._unfitted_schema()
            self.schema_ = (
                own.fit(X, sample_weight) if schema is None else own.check_alike(schema, X)
            )
            self.score_kind_ = self._score_kind
        Z = self.schema_.encode(X)[0]
        if reset:  # what a density makes of unknown categories is meant for rows to come
            self.schema_.check_known(Z, sample_weight)
        if sample_weight is not None and not sample_weight.all():
            Z, sample_weight = Z[sample_weight > 0], sample_weight[sample_weight > 0]
        return Z, sample_weight

    def _unfitted_schema(self):
        return ColumnSchema(
            self.categorical_features,
            self.integer_features,
            standardize=self._standardize,
            missing=self._takes_missing,
            detect_ties=self._detect_ties,
            # Not every density has these parameters.
            column_kinds=getattr(self, "column_kinds", None),
            handle_unknown=getattr(self, "handle_unknown", "impossible"),
            bounds=getattr(self, "bounds", False),
        )

    def _validate(self, X, *, reset):
        return validate_table(self, X, reset=reset)

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Log-density of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

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
        check_is_fitted(self)
        Z, log_det = self.schema_.encode(self._validate(X, reset=False))
        return self._log_density(Z) + log_det.sum(axis=-1)

    def score(self, X: MatrixLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Total log-likelihood of the rows.

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
        """
        log_density = self.score_samples(X)
        if sample_weight is not None:
            weight = check_weights(X, sample_weight)
            counted = weight > 0  # 0 times -inf would be no number
            log_density = weight[counted] * log_density[counted]
        return float(np.sum(log_density))

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
        """Rows that `draw(n_samples, rng)` gives in encoded form."""
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        return self.schema_.decode(draw(int(n_samples), check_generator(random_state)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self._takes_missing
        return tags
