"""The template of densities that are built on other densities."""

from abc import ABCMeta, abstractmethod
from functools import partial
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._nested.fitting import learn_schema, meta_fit_task, warning_once, weighted_rows
from sklearn_dgm._nested.measures import check_same_measure, measures_of
from sklearn_dgm._nested.rows import validate_rows
from sklearn_dgm._sklearn import HasMethods, check_parameters, fit_context, safe_indexing
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import (
    check_count,
    check_flag,
    check_generator,
    check_weights,
)
from sklearn_dgm.base import LogLikelihoodMixin
from sklearn_dgm.chunks import ChunkedDrawsMixin, ChunkedScoresMixin
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import (
    DensityTags,
    common_density_tags,
    is_density,
    last_step,
    require_normalised,
    score_kind,
    with_density_tags,
    worst_score_kind,
)


class BaseMetaDensity(
    CallbackSupportMixin,
    LogLikelihoodMixin,
    ChunkedScoresMixin,
    ChunkedDrawsMixin,
    SaveMixin,
    MetaEstimatorMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base class of densities that are built on other densities, as :class:`BaseDensity` is of families of models.

    It turns three hooks into an estimator that keeps the contract: `fit`, `learn_schema`, `score_samples`, `score` and
    `sample`, with checked rows and weights, callbacks, and a failed fit that leaves the estimator as it was.

    Attributes
    ----------
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns: the weakest that a density inside has.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    Notes
    -----
    The template, and the functions that are named here, are for this package, and may change with any release.

    **Writing a meta-estimator.** Unlike a family it sees X itself, an array or a DataFrame whose cells may be of any
    kind, since densities inside encode their columns themselves.

    - `_fit_within(X, sample_weight, schema, task)` fits clones of the densities, and keeps them as `estimator_` or
      `estimators_`. Rows of weight 0 are gone by then; `sample_weight` is None or an array of shape (n_samples,), and
      None, with rows repeated, where a density takes no weights. `schema` is None, or what `learn_schema` gave.
      :func:`fit_density` passes all of this on; ``task.subtask(name)`` is the part of the fit that callbacks are told
      of.
    - `_score_rows(X)` returns the natural-log density of each row and its standard error, both of shape (n_samples,).
      Of a density inside :func:`scores_and_std` returns them, of a mixture :func:`scores_of_mixture`.
    - `_sample_rows(n_samples, rng)` returns rows, drawn with a NumPy generator; :func:`draw_rows` draws from any
      density.

    Where there is more inside than one density in the parameter `estimator`, write `_members()`, which returns pairs of
    a name and an unfitted density, parameters or not, and `_learn_schema(X, sample_weight)`, which returns a schema for
    each (`learn_schema` learns one), so that densities of several parts of the rows compare; `_fit_within` is given
    what it returned, or None. That all are on one measure is checked after the fit. The densities inside say which
    columns are taken, whether missing cells are, whether there is `sample`, and what the scores are: where these are of
    another kind or on another measure, write `_score_kind(kind_of)`, where `kind_of` returns the kind of a density, or
    `_measures()`. Densities whose tags have no categorical
    kind know neither categories nor DataFrames: ``TableView.of(densities, X, sample_weight)`` shows each what it takes
    (`rows_for`), and makes tables of what they draw (`draw`), which `stacked` puts below each other; draw no density 0
    times. Where the tags say `sequences`, rows may be sequences, of which ask no more than ``num_samples(X)`` and
    ``safe_indexing(X, rows)``; a meta-estimator that looks into columns says in its tags that it takes none.
    `_n_subtasks` is how many parts of the fit callbacks are told of. ComponentDensities and
    expectation_maximisation in `em.py` fit mixtures; `held_out.py` scores by densities that have not seen a row. After
    that run :func:`sklearn_dgm.utils.estimator_checks.check_density_estimator` on it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import clone
    >>> from sklearn_dgm import HistogramDensity
    >>> from sklearn_dgm._nested.fitting import fit_density
    >>> from sklearn_dgm._nested.meta import BaseMetaDensity
    >>> from sklearn_dgm._nested.rows import draw_rows
    >>> from sklearn_dgm._nested.scores import scores_and_std
    >>> class DiscountedDensity(BaseMetaDensity):
    ...     def __init__(self, estimator, half_life=100):
    ...         self.estimator, self.half_life = estimator, half_life
    ...     def _fit_within(self, X, sample_weight, schema, task):
    ...         weight = 0.5 ** (np.arange(len(X))[::-1] / self.half_life)  # a row counts for less the older it is
    ...         weight = weight if sample_weight is None else weight * sample_weight
    ...         part = task.subtask("fit density")
    ...         self.estimator_ = fit_density(clone(self.estimator), X, weight, schema, part)
    ...     def _score_rows(self, X):
    ...         return scores_and_std(self.estimator_, X)
    ...     def _sample_rows(self, n_samples, rng):
    ...         return draw_rows(self.estimator_, n_samples, rng)
    >>> X = np.repeat([["tea"], ["coffee"]], 100, axis=0)
    >>> density = DiscountedDensity(HistogramDensity()).fit(X)
    >>> np.exp(density.score_samples([["tea"], ["coffee"]])).round(2)
    array([0.33, 0.67])
    """

    _parameter_constraints: dict = {"estimator": [HasMethods(["fit", "score_samples"])]}
    # Parts of the fit that callbacks are told of, None if their number is not known beforehand.
    _n_subtasks: int | None = None

    @abstractmethod
    def _fit_within(self, X, sample_weight, schema, task):
        """Fit the densities inside to rows."""

    @abstractmethod
    def _score_rows(self, X):
        """Compute the log-densities of rows and their standard errors, both of shape (n_samples,)."""

    @abstractmethod
    def _sample_rows(self, n_samples, rng):
        """Draw rows, in the container of `fit`."""

    def _members(self):
        """Return pairs of a name and an unfitted density: those inside."""
        return [("estimator", self.estimator)]

    def _learn_schema(self, X, sample_weight):
        """Learn what `fit` would learn of the columns; which of several densities tells, a subclass has to say."""
        if len(self._members()) > 1:
            raise NotImplementedError(f"{type(self).__name__} should write _learn_schema.")
        [(_, density)] = self._members()
        return learn_schema(density, X, sample_weight)

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit what is inside to rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; rows of weight 0 are left out. What becomes of them where a density inside takes no
            weights is said in the notes of the class.
        schema : object, default=None
            What :meth:`learn_schema` has learnt from more rows than these; see :meth:`~sklearn_dgm.BaseDensity.fit`.

        Returns
        -------
        self : estimator
            The fitted density. If anything fails, it is as it was before.

        Raises
        ------
        TypeError
            If what should be a density is none.
        ValueError
            If a parameter or a weight is invalid, scores of a density inside are unnormalised, `schema` is not what
            `learn_schema` gives, or a density inside cannot be fitted to X; and as the notes of the class say.
        """
        with meta_fit_task(self, X, y, sample_weight, n_subtasks=self._n_subtasks) as task:
            X, sample_weight = self._start_fit(X, sample_weight)
            self._fit_within(X, sample_weight, schema, task)
            self._check_fitted_members(X)
            self.score_kind_ = self._score_kind()
        return self

    def learn_schema(self, X: MatrixLike, sample_weight: ArrayLike | None = None) -> Any:
        """Learn what `fit` would learn of the columns, for densities of several parts of these rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows of all parts.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        schema : object or None
            For `fit` of densities with the same parameters; None if nothing of the kind is learnt. This one is left as
            it is.

        Raises
        ------
        TypeError
            If what should be a density is none, or one within cannot be handed a schema, such as a Pipeline.
        ValueError
            As in `fit`.
        """
        template = clone(self)
        check_parameters(template)
        X, sample_weight = template._start_fit(X, sample_weight)
        with warning_once():
            return template._learn_schema(X, sample_weight)

    def _start_fit(self, X, sample_weight):
        """Check densities, rows and weights; rows without weight are dropped."""
        self._check_members()
        X = validate_rows(self, [self], X, reset=True)
        if sample_weight is None:
            return X, None
        return self._weighted(X, check_weights(X, sample_weight))

    def _check_members(self):
        for name, density in self._members():
            if not is_density(density):
                found = type(last_step(density)).__name__
                raise TypeError(f"{name} should be a density, which {found} is not.")
        require_normalised([density for _, density in self._members()], type(self).__name__)

    def _check_fitted_members(self, X):
        """Refuse scores of densities that cannot be added up or compared."""
        fitted = self._fitted_members()
        require_normalised(fitted, type(self).__name__)
        if len(fitted) > 1:
            names = [name for name, _ in self._members()]
            check_same_measure(names, list(map(measures_of, fitted)), X)

    def _weighted(self, X, sample_weight):
        """Choose the rows that have weight; they are repeated where a density takes no weights."""
        rows, sample_weight = weighted_rows([d for _, d in self._members()], sample_weight)
        return safe_indexing(X, rows), sample_weight

    def _fitted_members(self):
        return getattr(self, "estimators_", None) or [self.estimator_]

    def _score_kind(self, kind_of=score_kind):
        return worst_score_kind(self._fitted_members(), kind_of)

    def _measures(self):
        """Return the measure of each column, None if no density inside says it; see :func:`measures_of`."""
        found = map(measures_of, self._fitted_members())
        return next((measures for measures in found if measures is not None), None)

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
            where all inside take them (see the tag `allow_nan`), it is the marginal density of the other cells.
        std : ndarray of shape (n_samples,)
            Only with ``return_std=True``: standard errors of the log-densities in nats, as the densities inside state
            them; 0 where the log-density is no estimate, NaN where it is one of a density that states no errors.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, or what is inside does not take X.
        """
        check_flag(return_std, "return_std")
        if self._is_chunked(X):
            score = partial(self.score_samples, return_std=return_std)
            return self._by_chunk(X, score, 1 + return_std)
        log_density, std = self._score_rows(self._check(X))
        return (log_density, std) if return_std else log_density

    def _check(self, X):
        """Check rows that something is asked about."""
        check_is_fitted(self)
        return validate_rows(self, [self], X, reset=False)

    def _can_sample(self):
        is_fitted = hasattr(self, "estimator_") or hasattr(self, "estimators_")
        found = self._fitted_members() if is_fitted else [d for _, d in self._members()]
        return all(hasattr(last_step(density), "sample") for density in found)

    @available_if(lambda self: self._can_sample())
    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> MatrixLike:
        """Draw new rows.

        Only there if all inside that it takes can draw.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        return self._sample_rows(int(n_samples), check_generator(random_state))

    def __sklearn_tags__(self):
        try:
            of_members = common_density_tags([density for _, density in self._members()])
        except (AttributeError, TypeError, ValueError):
            # No densities, which fit will say.
            of_members = DensityTags(column_kinds=())
        return with_density_tags(super().__sklearn_tags__(), of_members)
