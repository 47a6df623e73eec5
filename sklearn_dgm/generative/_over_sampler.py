"""New rows of rare classes, drawn from their densities, in the convention of imbalanced-learn."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OneToOneFeatureMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._classes.labels import as_labels, check_labels
from sklearn_dgm._nested.checks import check_density_of_parts
from sklearn_dgm._nested.em import fit_component
from sklearn_dgm._nested.fitting import learn_schema, meta_fit_task
from sklearn_dgm._nested.rows import TableView, validate_rows
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, fit_context, safe_indexing
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.columns import stacked
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import is_generator, unwrapped


class GenerativeOverSampler(
    CallbackSupportMixin, OneToOneFeatureMixin, SaveMixin, MetaEstimatorMixin, BaseEstimator
):
    """Over-sample rare classes with new rows, drawn from a density of each.

    It stands where :class:`imblearn.over_sampling.SMOTENC` stands, in a :class:`imblearn.pipeline.Pipeline`, say, and
    needs imbalanced-learn (the extra `imbalanced`). Whole numbers stay whole, categories and times are such, and a
    DataFrame keeps its dtypes, as far as the density takes such columns.

    Parameters
    ----------
    estimator : estimator
        A density, such as :class:`~sklearn_dgm.BayesianNetworkDensity`, another generator, or a search over one. Each
        class that gets new rows gets a clone.
    sampling_strategy : float, str, dict or callable, default="auto"
        How many rows there are to be, as in imbalanced-learn. For two classes the ratio of the rare one to the other;
        the classes that are to be as large as the largest ("minority", "not minority", "not majority", which is "auto",
        or "all"); the number of rows by class; or a function of y that returns such a dict.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws; the density has its own.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of new rows by class.
    estimators_ : dict
        The fitted density of each class that got new rows; only after `fit_resample`.
    schema_ : ColumnSchema, another object, or None
        What `learn_schema` of the density says of the columns, from the rows of all classes; None if it has nothing to
        say, as of numbers that are continuous whatever they are, or has no such method.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    GenerativeClassifier : Classifies by the densities themselves.

    Notes
    -----
    New rows have no missing cells, also where the others have some. They hold nothing that the density did not learn
    from the rows of the class: what a classifier gains is how the density smooths them.

    References
    ----------
    .. [1] N. V. Chawla, K. W. Bowyer, L. O. Hall, W. P. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling
       Technique", Journal of Artificial Intelligence Research 16 (2002), https://doi.org/10.1613/jair.953

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_dgm import GenerativeOverSampler, HistogramDensity
    >>> X = pd.DataFrame({"size": [1.0, 1.5, 2.0, 7.0, 8.0], "colour": ["red", "red", "blue", "blue", "red"]})
    >>> sampler = GenerativeOverSampler(HistogramDensity(bins=2), random_state=0)
    >>> X_more, y_more = sampler.fit_resample(X, [0, 0, 0, 1, 1])
    >>> y_more
    [0, 0, 0, 1, 1, 1]
    >>> X_more.dtypes.equals(X.dtypes)
    True
    """

    _estimator_type = "sampler"
    _sampling_type = "over-sampling"

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit")],
        "sampling_strategy": [
            Interval(Real, 0, 1, closed="right"),
            StrOptions({"auto", "minority", "not minority", "not majority", "all"}),
            Mapping,
            callable,
        ],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self, estimator: Any, *, sampling_strategy: Any = "auto", random_state: RandomState = None
    ) -> None:
        self.estimator = estimator
        self.sampling_strategy = sampling_strategy
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Any) -> Self:
        """Check rows, and count how many new ones there are to be.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Their classes, or an indicator of each.

        Returns
        -------
        self : estimator
            It has no densities yet; see :meth:`fit_resample`.

        Raises
        ------
        ImportError
            If imbalanced-learn is not installed.
        TypeError
            If the estimator generates no such rows.
        ValueError
            If there is only one class, or `sampling_strategy` does not fit the classes.
        """
        with meta_fit_task(self, X, y, n_subtasks=0):
            self._count(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit_resample(self, X: MatrixLike, y: Any) -> MatrixLike:
        """Fit densities, and add the rows that are drawn.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Their classes, or an indicator of each.

        Returns
        -------
        X_resampled : {ndarray, DataFrame, list} of shape (n_samples_new, n_features)
            The rows, and below them the new ones, in the container and with the dtypes of X.
        y_resampled : array-like of shape (n_samples_new,) or (n_samples_new, n_classes)
            Their classes, in the container of y.

        Raises
        ------
        ImportError
            If imbalanced-learn is not installed.
        TypeError
            If the estimator generates no such rows.
        ValueError
            If there is only one class, `sampling_strategy` does not fit the classes, the density is one of some columns
            given others, or it cannot be fitted to a class.
        """
        with meta_fit_task(self, X, y) as task:
            return self._fit_resample(X, y, task)

    def _count(self, X, y):
        """Learn the columns and how many rows to add; returns the table, and the label of each row."""
        check_density_of_parts(self.estimator, "GenerativeOverSampler", is_generator)
        check_sampling_strategy, check_target_type = _imblearn()
        _check_observed(y)
        check_classification_targets(y)
        labels, _ = check_target_type(y, indicate_one_vs_all=True)
        X = validate_rows(self, [self.estimator], X, reset=True, as_numbers=True)
        check_consistent_length(X, labels)
        self._view = TableView.of([self.estimator], X)
        self.schema_ = learn_schema(self.estimator, self._view.rows_for(self.estimator, X))
        new = check_sampling_strategy(self.sampling_strategy, labels, self._sampling_type)
        self.sampling_strategy_ = {np.asarray(label).item(): int(n) for label, n in new.items()}
        return X, np.asarray(labels)

    def _fit_resample(self, X, y, task):
        is_list = isinstance(X, list)
        X, labels = self._count(X, y)
        rows = self._view.rows_for(self.estimator, X)
        rng = check_generator(self.random_state)
        self.estimators_, drawn, like = {}, [], [np.arange(len(labels))]
        for label, count in self.sampling_strategy_.items():
            if count > 0:
                of_class = labels == label
                name = f"class {label!r}"
                part = task.subtask(f"fit {name}")
                density = fit_component(
                    clone(self.estimator), rows, 1.0 * of_class, name, self.schema_, part
                )
                self.estimators_[label] = density
                drawn.append(self._view.draw(density, int(count), rng))
                like.append(np.full(count, np.flatnonzero(of_class)[0]))
        resampled = stacked([X, *drawn])
        # The label of a new row is that of another one of its class, whatever the container.
        y = safe_indexing(y, np.concatenate(like))
        y = y.reset_index(drop=True) if hasattr(y, "reset_index") else y
        is_table_of_lists = is_list and not isinstance(resampled, list)
        return resampled.tolist() if is_table_of_lists else resampled, y

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(unwrapped(self.estimator)).input_tags
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = True
        tags.non_deterministic = self.random_state is None
        return tags


def _check_observed(y):
    """Refuse missing labels, which NumPy would warn of and cannot sort."""
    labels = np.asarray(as_labels(y))
    if labels.ndim == 1:
        check_labels(labels, "leave out the rows without a class")


def _imblearn():
    try:
        from imblearn.utils import check_sampling_strategy, check_target_type
    except ImportError as error:
        raise ImportError(
            "GenerativeOverSampler needs imbalanced-learn; install it with: pip install 'sklearn-dgm[imbalanced]'"
        ) from error
    return check_sampling_strategy, check_target_type
