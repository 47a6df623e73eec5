"""A classifier that has one density for each class, and Bayes' rule."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import check_array, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
)

from sklearn_dgm._bayes_rule import BayesRuleMixin, expectation_maximisation
from sklearn_dgm._callbacks import CallbackSupportMixin, fit_task
from sklearn_dgm._frames import template_of
from sklearn_dgm._labels import as_labels, check_labels, classes_of, place_of
from sklearn_dgm._members import (
    as_taken,
    draw_table,
    learn_schema,
    schema_of_numbers,
    takes_weights,
)
from sklearn_dgm._sklearn import HasMethods, Interval, fit_context, safe_indexing
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator, check_weights, restored_on_failure
from sklearn_dgm.columns import stacked
from sklearn_dgm.generative._rows import check_density, fit_to_class, validated
from sklearn_dgm.tags import (
    common_density_tags,
    densities_within,
    get_density_tags,
    require_normalised,
    unwrapped,
    with_density_tags,
    worst_score_kind,
)

# Epochs of a step of EM, where a density is a network that goes on with its training: all it takes is some progress.
EPOCHS_OF_A_STEP = 5
# An unlabelled row that belongs less to a class is none of its rows: it would take time and change nothing.
LEAST_SHARE = 1e-10


def _samples(self):
    return hasattr(unwrapped(self.estimator), "sample")


class GenerativeClassifier(CallbackSupportMixin, BayesRuleMixin, MetaEstimatorMixin, BaseEstimator):
    """Classify by Bayes' rule, with one density for each class.

    ``p(y | x)`` is proportional to ``p(y) p(x | y)``, where p(x | y) is any density, fitted to the rows of its class. It is
    also a density of X, ``p(x) = sum_y p(y) p(x | y)``, and rows without a label help to learn it: expectation and
    maximisation [1]_ in turns says how probable each class is for them, and fits the densities to all rows with these
    probabilities as weights [2]_.

    Parameters
    ----------
    estimator : estimator
        A density, such as :class:`~sklearn_dgm.BayesianNetworkDensity`, :class:`~sklearn.neighbors.KernelDensity` or
        :class:`~sklearn.mixture.GaussianMixture`, or a search over one. Each class gets a clone. For unlabelled rows its
        `fit` must take `sample_weight`.
    priors : array-like of shape (n_classes,), default=None
        Probabilities of the classes, in the order of `classes_`. By default they are their shares of the rows, to which
        unlabelled rows contribute.
    unlabelled_weight : float, default=1.0
        Weight of an unlabelled row, between 0 and 1. Below 1 labels count for more, which limits the harm where clusters
        are no classes; at 0 unlabelled rows are left out.
    max_iter : int, default=20
        Steps of expectation and maximisation at most, where rows are unlabelled.
    tol : float, default=1e-4
        Change in the log-likelihood, in nats a row, below which these stop.
    n_jobs : int, default=None
        Classes that are fitted at the same time. The result does not depend on it.
    verbose : bool, default=False
        Whether to print the log-likelihood after each step.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    class_prior_ : ndarray of shape (n_classes,)
        Their probabilities.
    class_count_ : ndarray of shape (n_classes,)
        Weight of the rows of each class.
    estimators_ : list of estimator
        The fitted density of each class.
    schema_ : ColumnSchema, another object, or None
        What `learn_schema` of the density says of the columns, from the rows of all classes; None if it has nothing to say, as
        of numbers that are continuous whatever they are, or has no such method.
    n_iter_ : int
        Steps of expectation and maximisation; 1 if all rows are labelled.
    log_likelihoods_ : ndarray of shape (n_iter_ + 1,) or (0,)
        Log-likelihood of the rows, in nats a row, before and after each step; empty if all rows are labelled.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    NaiveBayesClassifier : Counts, with missing cells and unlabelled rows; fast.
    sklearn.semi_supervised.SelfTrainingClassifier : Labels rows that it is sure of, one after the other.
    GenerativeOverSampler : Draws new rows of rare classes.

    Notes
    -----
    Unlabelled rows help as far as the densities are right: they say where rows are, and labels only which class is where.
    Where the density of a class cannot take its true shape, EM follows the clusters of the rows, and accuracy may fall
    [2]_; a lower `unlabelled_weight` is the remedy.

    Bayes' rule compares densities, which must be with respect to one measure. So the kinds of columns, their categories
    and their ranges are learnt from the rows of all classes, and each density is fitted under that schema. Other densities
    than those of this package and of scikit-learn are taken to be comparable as they are.

    A density with `warm_start` goes on with its training in each step, for five epochs at most if it has
    `max_epochs` (generalised EM); others are fitted anew, as is a network within others than
    :class:`~sklearn_dgm.TransformedDensity`, such as a search. With exact steps the likelihood does not fall. With densities
    that are smoothed, or trained by chance, it may, and the iteration may have to be ended by `max_iter`.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
       Journal of the Royal Statistical Society B 39 (1977)
    .. [2] K. Nigam, A. K. McCallum, S. Thrun, T. Mitchell, "Text Classification from Labeled and Unlabeled Documents using
       EM", Machine Learning 39 (2000), https://doi.org/10.1023/A:1007692713085

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import GenerativeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = GenerativeClassifier(GaussianMixture(random_state=0)).fit(X, y)
    >>> model.score(X, y)
    0.98
    >>> few = np.where(np.arange(150) % 50 < 3, y, -1)  # three labels a class
    >>> model = GenerativeClassifier(KernelDensity(bandwidth=0.4)).fit(X, few)
    >>> bool(model.score(X, y) > 0.9)
    True
    >>> model.sample(2, y=0, random_state=0).shape
    (2, 4)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit")],
        "priors": ["array-like", None],
        "unlabelled_weight": [Interval(Real, 0, 1, closed="both")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any,
        priors: Any = None,
        *,
        unlabelled_weight: float = 1.0,
        max_iter: int = 20,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        verbose: int = False,
    ) -> None:
        self.estimator = estimator
        self.priors = priors
        self.unlabelled_weight = unlabelled_weight
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit a density to the rows of each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Classes; -1 stands for an unlabelled row, unless there is only one other class, a number.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights: a weight of 2 counts as the row twice, 0 as its absence. If the density takes no
            weights, they must be whole numbers.

        Returns
        -------
        self : estimator
            The fitted classifier. If anything fails, it is as it was before.

        Raises
        ------
        TypeError
            If the estimator is no density of the rows: an outlier detector, or a Pipeline.
        ValueError
            If a parameter is invalid, scores of the density are unnormalised, no row has a label, `priors` do not fit the classes, rows are unlabelled and the
            density takes no weights, or the density cannot be fitted to a class, such as one with too few rows.

        Warns
        -----
        ConvergenceWarning
            If the likelihood still changed after `max_iter` steps.
        """
        with (
            fit_task(self, X, y, sample_weight, n_subtasks=None) as task,
            restored_on_failure(self),
        ):
            self._learn(X, y, sample_weight, task)
        return self

    def _learn(self, X, y, sample_weight, task):
        check_density(self.estimator)
        require_normalised([self.estimator], "GenerativeClassifier")
        X = validated(self, X, reset=True)
        y = column_or_1d(as_labels(y), warn=True)
        check_consistent_length(X, y)
        check_labels(y)
        weight = np.ones(len(y)) if sample_weight is None else check_weights(X, sample_weight)
        counted = weight > 0
        # Of all rows, since it is they who tell whether -1 is a class.
        classes = classes_of(y, None)
        self.classes_ = classes[np.isin(classes, y[counted])]
        if not len(self.classes_):
            raise ValueError("y holds no class in rows of a positive weight.")
        place = np.full(len(y), -1)
        place[counted] = place_of(y[counted], self.classes_)
        # The user's own weights stay as they are.
        weight = np.where(place < 0, self.unlabelled_weight * weight, weight)
        self._given_priors()  # a mistake should be told before densities are trained
        self._check_weights_are_taken(weight, place < 0)
        self._numbers = schema_of_numbers([self.estimator], X, weight)
        self._template = template_of(X)
        X = as_taken(self.estimator, X, self._numbers)
        self.schema_ = learn_schema(self.estimator, X, weight)

        rows = np.flatnonzero(weight)
        X, place, weight = safe_indexing(X, rows), place[rows], weight[rows]
        of_class = weight[:, None] * (place[:, None] == np.arange(len(self.classes_)))
        self.estimators_ = [clone(self.estimator) for _ in self.classes_]
        self._fit_classes(X, of_class, task)
        self.n_iter_, self.log_likelihoods_ = 1, np.empty(0)
        if (place < 0).any():
            self._maximise(X, of_class, weight, task)
        self.score_kind_ = worst_score_kind(self.estimators_)
        require_normalised(self.estimators_, "GenerativeClassifier")

    def _check_weights_are_taken(self, weight, is_unlabelled):
        """An error if a density takes no weights, though rows have such; one within another is to weigh unlabelled rows."""
        within = list(densities_within(self.estimator))
        takes_none = [type(d).__name__ for d in within if not has_fit_parameter(d, "sample_weight")]
        advice = "use a density that does, such as KernelDensity or those of this package"
        if takes_none and (weight[is_unlabelled] > 0).any():
            raise ValueError(
                f"{takes_none[0]} takes no sample_weight, which unlabelled rows (-1) need; {advice}, or leave them out."
            )
        if not takes_weights(self.estimator) and (weight % 1).any():
            raise ValueError(
                f"{takes_none[0]} takes no sample_weight, so that it must hold whole numbers, by which rows are repeated; "
                f"{advice}."
            )

    def _fit_classes(self, X, of_class, task, quietly=False):
        """Fit densities and priors, given how much each row belongs to each class."""
        labels = self.classes_.tolist()
        names = [f"fit class {label!r}" for label in labels]
        with task.side_by_side("fit classes", names, X) as parts:
            self.estimators_ = Parallel(n_jobs=self.n_jobs)(
                delayed(fit_to_class)(estimator, X, weight, label, self.schema_, part, quietly)
                for estimator, weight, label, part in zip(
                    self.estimators_, of_class.T, labels, parts, strict=True
                )
            )
        self.class_count_ = of_class.sum(axis=0)
        given = self._given_priors()
        self.class_prior_ = self.class_count_ / self.class_count_.sum() if given is None else given

    def _given_priors(self):
        if self.priors is None:
            return None
        if isinstance(self.priors, Mapping):
            raise ValueError(
                f"priors should be an array in the order of the classes, {self.classes_.tolist()}, not a dict."
            )
        priors = check_array(
            self.priors, dtype=np.float64, ensure_2d=False, copy=True, input_name="priors"
        )
        if priors.shape != self.classes_.shape:
            raise ValueError(
                f"priors has shape {priors.shape}, but there are {len(self.classes_)} classes: "
                f"{self.classes_.tolist()}."
            )
        if (priors < 0).any() or not np.isclose(priors.sum(), 1):
            raise ValueError(f"priors should be non-negative and sum to 1, got {priors.tolist()}.")
        return priors

    @property
    def _log_prior(self):
        with np.errstate(divide="ignore"):
            return np.log(self.class_prior_)

    def _maximise(self, X, of_class, weight, task):
        """Expectation and maximisation, which fills in how much unlabelled rows belong to each class."""
        labelled = of_class.any(axis=1)
        before, in_steps = self._warm_start()

        def log_joints():
            joint = self._log_joint(X)
            return joint[labelled], joint[~labelled]

        def learn(of_unlabelled):
            is_part = of_unlabelled > LEAST_SHARE * weight[~labelled, None]
            of_class[~labelled] = np.where(is_part, of_unlabelled, 0.0)
            quietly = any("max_epochs" in name for name in in_steps)
            self._fit_classes(X, of_class, task, quietly)

        for estimator in self.estimators_:
            estimator.set_params(**in_steps)
        log_likelihoods = expectation_maximisation(
            log_joints,
            learn,
            lambda: self._log_prior,
            of_class[labelled],
            weight[~labelled],
            max_iter=self.max_iter,
            tol=self.tol,
            verbose=self.verbose,
        )
        for estimator in self.estimators_:
            estimator.set_params(**before)
        self.log_likelihoods_ = np.array(log_likelihoods)
        self.n_iter_ = len(log_likelihoods) - 1

    def _warm_start(self):
        """Parameters of the densities that steps of EM change, as they are and as they are to be."""
        density, prefix = self.estimators_[0], ""
        while get_density_tags(density).warm_start_within:
            density, prefix = density.estimator, f"{prefix}estimator__"
        params, in_steps = density.get_params(deep=False), {}
        if "warm_start" in params:
            in_steps["warm_start"] = True
            if "max_epochs" in params:
                in_steps["max_epochs"] = min(params["max_epochs"], EPOCHS_OF_A_STEP)
        before = {f"{prefix}{name}": params[name] for name in in_steps}
        return before, {f"{prefix}{name}": value for name, value in in_steps.items()}

    def _log_joint(self, X):
        of_class = [estimator.score_samples(X) for estimator in self.estimators_]
        return np.column_stack(of_class) + self._log_prior

    def predict_joint_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Log-density of each row together with each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_joint : ndarray of shape (n_samples, n_classes)
            In nats, in the units of X, in the order of `classes_`; `-inf` for an impossible row.
        """
        check_is_fitted(self)
        X = validated(self, X, reset=False)
        return self._log_joint(as_taken(self.estimator, X, self._numbers))

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Log-density of each row, whatever its class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, in the units of X; `-inf` for an impossible row.
        """
        return logsumexp(self.predict_joint_log_proba(X), axis=1)

    @available_if(_samples)
    def sample(
        self, n_samples: int = 1, y: Any = None, random_state: RandomState = None
    ) -> MatrixLike:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        y : label or array-like of shape (n_samples,), default=None
            Class of all rows, or of each; by default they are drawn, too.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, or `y` holds what is no class or has another length.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        rng = check_generator(random_state)
        place = self._places_to_draw(int(n_samples), y, rng)
        parts = [
            draw_table(self.estimators_[c], int(count), rng, self._numbers, self._template)
            for c, count in zip(*np.unique(place, return_counts=True), strict=True)
        ]
        return stacked(parts, np.argsort(np.argsort(place, kind="stable")))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_density = get_tags(unwrapped(self.estimator))
        tags.input_tags = of_density.input_tags
        tags.non_deterministic = of_density.non_deterministic
        return with_density_tags(tags, common_density_tags([self.estimator]))
