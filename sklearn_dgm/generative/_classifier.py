"""A classifier that has one density for each class, and Bayes' rule."""

from collections.abc import Mapping
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import check_array, get_tags
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
)

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._classes.bayes_rule import BayesRuleMixin, expect_classes
from sklearn_dgm._classes.labels import as_labels, check_labels, classes_of, place_of
from sklearn_dgm._nested.checks import check_density_of_parts
from sklearn_dgm._nested.em import (
    ComponentDensities,
    expectation_maximisation,
    without_least_shares,
)
from sklearn_dgm._nested.fitting import learn_schema, meta_fit_task, takes_weights
from sklearn_dgm._nested.rows import TableView, validate_rows
from sklearn_dgm._nested.scores import scores_and_std, scores_of_mixture
from sklearn_dgm._sklearn import HasMethods, Interval, fit_context, safe_indexing
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import check_flag, check_weights
from sklearn_dgm.columns import stacked
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import (
    common_density_tags,
    densities_within,
    require_normalised,
    score_kind,
    unwrapped,
    with_density_tags,
    worst_score_kind,
)


class GenerativeClassifier(
    CallbackSupportMixin, BayesRuleMixin, SaveMixin, MetaEstimatorMixin, BaseEstimator
):
    """Classify by Bayes' rule, with one density for each class.

    ``p(y | x)`` is proportional to ``p(y) p(x | y)``, where p(x | y) is any density, fitted to the rows of its class.
    It is also a density of X, ``p(x) = sum_y p(y) p(x | y)``, and rows without a label help to learn it: expectation
    and maximisation [1]_ in turns says how probable each class is for them, and fits the densities to all rows with
    these probabilities as weights [2]_.

    Parameters
    ----------
    estimator : estimator
        A density, such as :class:`~sklearn_dgm.BayesianNetworkDensity`, :class:`~sklearn.neighbors.KernelDensity` or
        :class:`~sklearn.mixture.GaussianMixture`, or a search over one. Each class gets a clone. For unlabelled rows
        its `fit` must take `sample_weight`.
    priors : array-like of shape (n_classes,), default=None
        Probabilities of the classes, in the order of `classes_`. By default they are their shares of the rows, to which
        unlabelled rows contribute.
    unlabelled_weight : float, default=1.0
        Weight of an unlabelled row, between 0 and 1. Below 1 labels count for more, which limits the harm where
        clusters are no classes; at 0 unlabelled rows are left out.
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
        What `learn_schema` of the density says of the columns, from the rows of all classes; None if it has nothing to
        say, as of numbers that are continuous whatever they are, or has no such method.
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
    Unlabelled rows help as far as the densities are right: they say where rows are, and labels only which class is
    where. Where the density of a class cannot take its true shape, EM follows the clusters of the rows, and accuracy
    may fall [2]_; a lower `unlabelled_weight` is the remedy.

    Bayes' rule compares densities, which must be with respect to one measure. So the kinds of columns, their categories
    and their ranges are learnt from the rows of all classes, and each density is fitted under that schema. Other
    densities than those of this package and of scikit-learn are taken to be comparable as they are.

    A density with `warm_start` goes on with its training in each step, for five epochs at most if it has
    `max_epochs` (generalised EM); others are fitted anew, as is a network within others than
    :class:`~sklearn_dgm.TransformedDensity`, such as a search. With exact steps the likelihood does not fall. With
    densities that are smoothed, or trained by chance, it may, and the iteration may have to be ended by `max_iter`.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
       Journal of the Royal Statistical Society B 39 (1977)
    .. [2] K. Nigam, A. K. McCallum, S. Thrun, T. Mitchell, "Text Classification from Labeled and Unlabeled Documents
       using EM", Machine Learning 39 (2000), https://doi.org/10.1023/A:1007692713085

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
            Non-negative weights: a weight of 2 counts as the row twice, 0 as its absence; a class is none if all of
            its rows have weight 0. If the density takes no weights, they must be whole numbers.

        Returns
        -------
        self : estimator
            The fitted classifier. If anything fails, it is as it was before.

        Raises
        ------
        TypeError
            If the estimator is no density of the rows: an outlier detector, or a Pipeline.
        ValueError
            If a parameter is invalid, scores of the density are unnormalised, it is one of some columns given others,
            no row has a label, `priors` do not fit the classes, rows are unlabelled and the density takes no weights,
            or the density cannot be fitted to a class, such as one with too few rows.

        Warns
        -----
        ConvergenceWarning
            If the likelihood still changed after `max_iter` steps.
        """
        with meta_fit_task(self, X, y, sample_weight) as task:
            self._learn(X, y, sample_weight, task)
        return self

    def _learn(self, X, y, sample_weight, task):
        check_density_of_parts(self.estimator, "GenerativeClassifier")
        require_normalised([self.estimator], "GenerativeClassifier")
        X = validate_rows(self, [self.estimator], X, reset=True, as_numbers=True)
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
        self._view = TableView.of([self.estimator], X, weight)
        X = self._view.rows_for(self.estimator, X)
        self.schema_ = learn_schema(self.estimator, X, weight)

        rows = np.flatnonzero(weight)
        X, place, weight = safe_indexing(X, rows), place[rows], weight[rows]
        of_class = weight[:, None] * (place[:, None] == np.arange(len(self.classes_)))
        components = ComponentDensities(
            [clone(self.estimator) for _ in self.classes_],
            [f"class {label!r}" for label in self.classes_.tolist()],
            "fit classes",
            schema=self.schema_,
            n_jobs=self.n_jobs,
        )
        self._fit_classes(components, X, of_class, task)
        self.n_iter_, self.log_likelihoods_ = 1, np.empty(0)
        if (place < 0).any():
            with components.small_steps():
                self._classify_unlabelled(components, X, of_class, weight, task)
        self.score_kind_ = self._score_kind()
        require_normalised(self.estimators_, "GenerativeClassifier")

    def _check_weights_are_taken(self, weight, is_unlabelled):
        """Refuse weights if a density takes none; with unlabelled rows, one within another has to take them, too."""
        within = list(densities_within(self.estimator))
        takes_none = [type(d).__name__ for d in within if not has_fit_parameter(d, "sample_weight")]
        advice = "use a density that does, such as KernelDensity or those of this package"
        if takes_none and (weight[is_unlabelled] > 0).any():
            raise ValueError(
                f"{takes_none[0]} takes no sample_weight, which unlabelled rows (-1) need; {advice}, or leave them out."
            )
        if not takes_weights(self.estimator) and (weight % 1).any():
            raise ValueError(
                f"{takes_none[0]} takes no sample_weight, so that it must hold whole numbers, by which rows are "
                f"repeated; {advice}."
            )

    def _fit_classes(self, components, X, of_class, task):
        """Fit densities and priors, given how much each row belongs to each class."""
        self.estimators_ = components.fit(X, of_class, task)
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

    def _classify_unlabelled(self, components, X, of_class, weight, task):
        """Fill in how much unlabelled rows belong to each class, by expectation and maximisation."""
        labelled = of_class.any(axis=1)

        def expect():
            joint = self._log_joint(X)
            joints = joint[labelled], joint[~labelled]
            return expect_classes(joints, self._log_prior, of_class[labelled], weight[~labelled])

        def maximise(of_unlabelled):
            of_class[~labelled] = without_least_shares(of_unlabelled, weight[~labelled])
            self._fit_classes(components, X, of_class, task)

        log_likelihoods = expectation_maximisation(
            expect, maximise, max_iter=self.max_iter, tol=self.tol, verbose=self.verbose
        )
        self.log_likelihoods_ = np.array(log_likelihoods)
        self.n_iter_ = len(log_likelihoods) - 1

    def _log_joint(self, X):
        return self._log_joint_and_std(X)[0]

    def _log_joint_and_std(self, X):
        of_class = [scores_and_std(estimator, X) for estimator in self.estimators_]
        log_density, std = map(np.column_stack, zip(*of_class, strict=True))
        return log_density + self._log_prior, std

    def predict_joint_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the log-density of each row together with each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; a table larger than memory is read a chunk at a time.

        Returns
        -------
        log_joint : ndarray of shape (n_samples, n_classes)
            In nats, in the units of X, in the order of `classes_`; `-inf` for an impossible row.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            joint = self.predict_joint_log_proba
            return self._by_chunk(X, joint, of_none=self._no_probabilities())
        return self._log_joint(self._check(X))

    def _check(self, X):
        """Check rows, and return them as the densities take them."""
        check_is_fitted(self)
        X = validate_rows(self, [self.estimator], X, reset=False, as_numbers=True)
        return self._view.rows_for(self.estimator, X)

    def score_samples(self, X: MatrixLike, return_std: bool = False) -> Any:
        """Return the log-density of each row, whatever its class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; a table larger than memory is read a chunk at a time.
        return_std : bool, default=False
            Whether to return the standard errors of estimates, too.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, in the units of X; `-inf` for an impossible row.
        std : ndarray of shape (n_samples,)
            Only with ``return_std=True``: standard errors of the log-densities in nats, as the densities of the classes
            state them; 0 where the log-density is no estimate, NaN where it is one of a density that states no errors.
        """
        check_flag(return_std, "return_std")
        if self._is_chunked(X):
            score = partial(self.score_samples, return_std=return_std)
            return self._by_chunk(X, score, 1 + return_std)
        log_joint, std = self._log_joint_and_std(self._check(X))
        log_density, std = scores_of_mixture(log_joint.T, std.T)
        return (log_density, std) if return_std else log_density

    def _score_kind(self, kind_of=score_kind):
        return worst_score_kind(self.estimators_, kind_of)

    def _can_sample(self):
        return hasattr(unwrapped(self.estimator), "sample")

    def _sample_of_classes(self, place, rng):
        parts = [
            self._view.draw(self.estimators_[c], int(count), rng)
            for c, count in zip(*np.unique(place, return_counts=True), strict=True)
        ]
        return stacked(parts, np.argsort(np.argsort(place, kind="stable")))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_density = get_tags(unwrapped(self.estimator))
        tags.input_tags = of_density.input_tags
        tags.non_deterministic = of_density.non_deterministic
        return with_density_tags(tags, common_density_tags([self.estimator]))
