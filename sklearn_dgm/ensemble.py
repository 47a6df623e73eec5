"""A mixture of densities of any kind, whose weights say how far each is to be trusted."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import DensityMixin, MetaEstimatorMixin, clone
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._callbacks import CallbackSupportMixin, fit_task
from sklearn_dgm._frames import template_of
from sklearn_dgm._held_out import (
    check_densities,
    check_pairs,
    fit_densities,
    folds_of,
    held_out_log_densities,
    is_dropped,
)
from sklearn_dgm._members import (
    as_taken,
    check_cells,
    draw_table,
    learn_schema,
    schema_of_numbers,
    seeded,
    warning_once,
)
from sklearn_dgm._sklearn import (
    NamedEstimatorsMixin,
    StrOptions,
    check_parameters,
    fit_context,
    safe_indexing,
)
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import (
    check_count,
    check_generator,
    check_weights,
    restored_on_failure,
    validate_table,
)
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.columns import ColumnSchema, stacked
from sklearn_dgm.tags import (
    DensityTags,
    common_density_tags,
    last_step,
    require_normalised,
    with_density_tags,
    worst_score_kind,
)

# Nats a row by which the held-out log-likelihood may be below its maximum. Should the steps not suffice, it is below by no
# more than the logarithm of the number of densities over the number of steps.
TOLERANCE = 1e-5
MAX_STEPS = 10_000


@dataclass(frozen=True)
class EnsembleSchema:
    """What members are told of the columns.

    Attributes
    ----------
    numbers : ColumnSchema or None
        The way from a table to the numbers that some of the members want.
    members : dict
        By name what a member is to be told, None where it learns nothing of the kind.
    """

    numbers: ColumnSchema | None
    members: dict[str, Any]


def _all_can_sample(ensemble):
    densities = getattr(ensemble, "estimators_", None) or ensemble._members()[1]
    return all(hasattr(last_step(density), "sample") for density in densities)


class EnsembleDensity(CallbackSupportMixin, DensityMixin, MetaEstimatorMixin, NamedEstimatorsMixin):
    """Mixture of different densities, weighted by what they say of held-out rows.

    The density of a row is the weighted mean of its densities under the members, such as a kernel density, a histogram
    and a network. The default weights, by stacking [1]_ [2]_, maximise the likelihood of rows that were held out in
    cross-validation, where the mixture is at least as likely as its best member.

    Parameters
    ----------
    estimators : list of tuple
        Names and densities, as in :class:`sklearn.ensemble.VotingClassifier`. One that is "drop" is left out, which
        :meth:`set_params` can do, too. Searches over a density are taken, pipelines are not: see the notes.
    weights : {"stacking", "equal"} or array-like of shape (n_estimators,), default="stacking"
        How the weights are found; or the weights themselves, which are scaled to a sum of 1. Those of dropped densities
        do not count.
    cv : int, cross-validation generator or iterable, default=5
        How rows are held out for stacking, each of them once. With an int, they are shuffled into so many folds.
    n_jobs : int, default=None
        Number of densities fitted at the same time; None is 1, -1 all processors. The result does not depend on it.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, and of those members whose own `random_state` is None.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted to all rows.
    named_estimators_ : :class:`~sklearn.utils.Bunch`
        The same by name; "drop" where one is left out.
    weights_ : ndarray of shape (n_members,)
        Their weights, which are not negative and sum to 1.
    cv_log_likelihood_ : ndarray of shape (n_members,)
        Mean log-density of held-out rows under each member, in nats per row, by which stacking chose; `-inf` of one that
        calls a row impossible. Only with ``weights="stacking"``.
    schema_ : ColumnSchema
        Kinds of the columns, as the first member has them that knows of kinds.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns: the weakest that a member has.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn_dgm.metrics.compare_densities : Whether differences between densities are real.

    Notes
    -----
    The members have to be densities on one reference measure. The densities of scikit-learn take every column for
    continuous, those of this package count integers and categories. Where members differ, `fit` raises an error that
    names the column, and ``integer_features=None`` or `column_kinds` makes them agree. A pipeline with a scaler has a
    density per standard deviation, not per unit of X, so that it is an error, too; use
    :class:`~sklearn_dgm.TransformedDensity` in its place.

    Stacking weights are found by expectation and maximisation. A row that every member calls impossible has no say
    in them. A member that was fitted beforehand (:class:`~sklearn.frozen.FrozenEstimator`) gets too much weight if it has
    seen the rows.

    Categories and times go to the members that take them; the others are given numbers. Weights of rows count in stacking,
    and in the fits of the members that take such; :class:`~sklearn.mixture.GaussianMixture` does not.

    References
    ----------
    .. [1] P. Smyth, D. Wolpert, "Stacked density estimation", Advances in Neural Information Processing Systems 10
       (1998)
    .. [2] P. Smyth, D. Wolpert, "Linearly combining density estimators via stacking", Machine Learning 36 (1999),
       https://doi.org/10.1023/A:1007511322260

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import EnsembleDensity
    >>> X = load_iris().data
    >>> members = [("kernel", KernelDensity(bandwidth=0.3)), ("mixture", GaussianMixture(3))]
    >>> ensemble = EnsembleDensity(members, random_state=0).fit(X)
    >>> ensemble.cv_log_likelihood_.round(1), ensemble.weights_.round(1)
    (array([-2.2, -1.6]), array([0.1, 0.9]))
    >>> ensemble.score_samples(X).shape, ensemble.sample(5, random_state=0).shape
    ((150,), (5, 4))
    """

    _parameter_constraints: dict = {
        "estimators": [list],
        "weights": [StrOptions({"stacking", "equal"}), "array-like"],
        "cv": ["cv_object"],
        "n_jobs": [None, Integral],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimators: list[Any],
        *,
        weights: Any = "stacking",
        cv: Any = 5,
        n_jobs: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[Any, Any]:
        """Parameters of the ensemble and of its members.

        Parameters
        ----------
        deep : bool, default=True
            Whether the members and their parameters are among them, under their names.

        Returns
        -------
        params : dict
            Values by name.
        """
        return self._params_with_named("estimators", deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the ensemble, of members (``kernel__bandwidth=0.2``), or whole members (``kernel="drop"``).

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : estimator
            The ensemble.
        """
        self._set_params_of_named("estimators", params)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Find the weights, and fit the members to all rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows; those of weight 0 are left out. Members that take no weights see the others
            alike.
        schema : object, default=None
            What :meth:`learn_schema` has learnt from more rows than these; see :meth:`~sklearn_dgm.BaseDensity.fit`.

        Returns
        -------
        self : estimator
            The fitted ensemble. If anything fails, it is as it was before.

        Raises
        ------
        TypeError
            If an estimator is no density.
        ValueError
            If a parameter is invalid, an estimator is a pipeline, the members are on different measures, `cv` does not hold
            out each row once, a member cannot be fitted to X, or `schema` is not what `learn_schema` gives.
        """
        is_stacked = isinstance(self.weights, str) and self.weights == "stacking"
        with (
            fit_task(self, X, y, sample_weight, n_subtasks=1 + is_stacked) as task,
            restored_on_failure(self),
            warning_once(),
        ):
            X, sample_weight = self._checked(X, sample_weight)
            self._fit(X, sample_weight, schema, task)
        return self

    def learn_schema(self, X: MatrixLike, sample_weight: ArrayLike | None = None) -> Any:
        """What the members would learn of the columns, for ensembles of several parts of these rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows of all parts.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        schema : object or None
            For `fit` of ensembles with the same parameters; None if no member learns anything of the kind. This one is
            left as it is.

        Raises
        ------
        TypeError
            If an estimator is no density, or has one within that cannot be handed a schema.
        ValueError
            If a parameter is invalid, or a member cannot take X.
        """
        template = clone(self)
        check_parameters(template)
        names, densities, _ = template._checked_members()
        X, sample_weight = template._checked(X, sample_weight)
        numbers = schema_of_numbers(densities, X, sample_weight)
        with warning_once():
            of_members = {
                name: learn_schema(density, as_taken(density, X, numbers), sample_weight)
                for name, density in zip(names, densities, strict=True)
            }
        learns = any(schema is not None for schema in of_members.values())
        return EnsembleSchema(numbers, of_members) if learns else None

    def _checked(self, X, sample_weight):
        X = validate_table(self, X, reset=True)
        return X, None if sample_weight is None else check_weights(X, sample_weight)

    def _fit(self, X, sample_weight, schema, task):
        names, densities, given = self._checked_members()
        rng = check_generator(self.random_state)
        named = [(name, seeded(d, rng)) for name, d in zip(names, densities, strict=True)]
        folds = folds_of(self.cv, X, rng) if given is None else []
        if sample_weight is not None:
            X, folds, sample_weight = _without_weight_zero(X, folds, sample_weight)
        check_cells(densities, X)
        if schema is None:
            schema = EnsembleSchema(schema_of_numbers(densities, X), {})
        elif not isinstance(schema, EnsembleSchema) or [*schema.members] != names:
            raise ValueError(
                "schema should be what learn_schema of an ensemble with the same parameters returns."
            )
        self._numbers, schemas = schema.numbers, schema.members
        self._template = template_of(X)
        if given is None:
            log_density, _ = held_out_log_densities(
                named, X, self._numbers, folds, schemas, sample_weight, self.n_jobs, task
            )
            given = _stacking_weights(log_density, sample_weight)
            self.cv_log_likelihood_ = np.average(log_density, axis=0, weights=sample_weight)
        elif hasattr(self, "cv_log_likelihood_"):
            del self.cv_log_likelihood_
        self.estimators_ = fit_densities(
            named, X, self._numbers, schemas, sample_weight, self.n_jobs, task
        )
        by_name = dict(zip(names, self.estimators_, strict=True))
        self.named_estimators_ = Bunch(**{n: by_name.get(n, "drop") for n, _ in self.estimators})
        self.weights_ = given
        kinds = [getattr(last_step(density), "schema_", None) for density in self.estimators_]
        self.schema_ = next((schema for schema in kinds if schema is not None), self._numbers)
        self.score_kind_ = worst_score_kind(self.estimators_)
        require_normalised(self.estimators_, "EnsembleDensity")

    def _members(self):
        """Names and densities that are not dropped."""
        pairs = [pair for pair in self.estimators if not is_dropped(pair[1])]
        return [name for name, _ in pairs], [density for _, density in pairs]

    def _checked_members(self):
        """Names and densities that are not dropped, and the weights that are given, None for stacking."""
        check_pairs(self.estimators)
        self._check_names([name for name, _ in self.estimators])
        names, densities = self._members()
        if not names:
            raise ValueError("estimators should hold at least one density that is not dropped.")
        check_densities(list(zip(names, densities, strict=True)), "EnsembleDensity")
        return names, densities, self._given_weights()

    def _given_weights(self):
        kept = np.array([not is_dropped(density) for _, density in self.estimators])
        if isinstance(self.weights, str):
            return None if self.weights == "stacking" else np.full(kept.sum(), 1 / kept.sum())
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.shape != kept.shape:
            raise ValueError(
                f"weights should be one number for each of {len(kept)} estimators, got {self.weights!r}."
            )
        weights = weights[kept]
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                f"weights should be finite, not negative, and not all zero, got {self.weights!r}."
            )
        return weights / weights.sum()

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Log-density of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Natural-log densities (nats), in the units of X; `-inf` where every member of a positive weight says so.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, or a member does not take X.
        """
        check_is_fitted(self)
        X = validate_table(self, X, reset=False)
        with np.errstate(over="ignore"):  # of a point far away, which is an impossible one
            log_terms = [
                np.log(weight) + density.score_samples(as_taken(density, X, self._numbers))
                for weight, density in zip(self.weights_, self.estimators_, strict=True)
                if weight > 0
            ]
        return logsumexp(log_terms, axis=0).astype(np.float64, copy=False)

    score = BaseDensity.score

    @available_if(_all_can_sample)
    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> MatrixLike:
        """Draw new rows: how many from which member is drawn by the weights.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`, in random order.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        rng = check_generator(random_state)
        counts = rng.multinomial(n_samples, self.weights_)
        drawn = [
            draw_table(last_step(density), count, rng, self._numbers, self._template)
            for density, count in zip(self.estimators_, counts, strict=True)
            if count
        ]
        return stacked(drawn, rng.permutation(int(n_samples)))

    def __sklearn_tags__(self):
        try:
            of_members = common_density_tags(self._members()[1])
        except (AttributeError, TypeError, ValueError):
            # No list of names and estimators, or an empty one, which fit will say.
            of_members = DensityTags(column_kinds=())
        return with_density_tags(super().__sklearn_tags__(), of_members)


def _without_weight_zero(X, folds, sample_weight):
    """Rows of a positive weight, what is left of the folds, and their weights."""
    kept = sample_weight > 0
    place = np.cumsum(kept) - 1
    folds = [tuple(place[rows[kept[rows]]] for rows in fold) for fold in folds]
    folds = [(train, test) for train, test in folds if len(test)]
    if not all(len(train) for train, _ in folds):
        raise ValueError(
            "sample_weight leaves a fold of cv no rows to fit to; use fewer folds, or weights='equal'."
        )
    return safe_indexing(X, np.flatnonzero(kept)), folds, sample_weight[kept]


def _stacking_weights(log_density, sample_weight=None):
    """Weights of the mixture that is most likely, by expectation and maximisation.

    Parameters
    ----------
    log_density : ndarray of shape (n_samples, n_members)
        Log-densities of held-out rows.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    weights : ndarray of shape (n_members,)
        On the simplex; equal where no row is possible under any member.
    """
    n_samples, n_members = log_density.shape
    weights = np.full(n_members, 1 / n_members)
    possible = (log_density > -np.inf).any(axis=1)
    if not possible.any():
        return weights
    share = np.ones(n_samples) if sample_weight is None else sample_weight
    share = share[possible] / share[possible].sum()
    log_density = log_density[possible]
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    for _ in range(MAX_STEPS):
        # The mean responsibility of each member is its weight times this, the derivative of the log-likelihood.
        gain = (share / (density @ weights)) @ density
        weights = weights * gain
        # By concavity no other weights are better by more than that.
        if gain.max() - 1 < TOLERANCE:
            break
    return weights / weights.sum()
