"""Bayes' rule: what classifiers that are densities have in common, whatever the density of each class is."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from sklearn_dgm._classes.labels import as_labels, is_unlabelled, place_of
from sklearn_dgm._nested.em import log_posterior
from sklearn_dgm._sklearn import check_sample_weight, safe_indexing
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.chunks import ChunkedScoresMixin


class BayesRuleMixin(ClassifierMixin, ChunkedScoresMixin):
    """Predictions of a classifier that knows the density of row and class together.

    A subclass writes `predict_joint_log_proba` and `_sample_of_classes`, and has `classes_` and `_log_prior`, the
    log-probabilities of the classes.
    """

    @abstractmethod
    def predict_joint_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the log-density of each row together with each class, of shape (n_samples, n_classes)."""

    def _unnormalised_log_posterior(self, X):
        """Return the joint log-density of rows and classes, up to a term that all classes share."""
        return self.predict_joint_log_proba(X)

    def predict_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the log-probability of each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells, where they are taken, are summed out. A table larger than memory is read a chunk at a
            time, one of Dask by partition once its result is asked for.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            In nats, in the order of `classes_`. A row that is impossible in every class says nothing, and gets the
            probabilities that classes have without it.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.predict_log_proba, of_none=self._no_probabilities())
        return log_posterior(self._unnormalised_log_posterior(X), self._log_prior)

    def predict_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells, where they are taken, are summed out. A table larger than memory is read a chunk at a
            time, one of Dask by partition once its result is asked for.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. A row that is impossible in every class says nothing, and gets the probabilities
            that classes have without it.
        """
        return np.exp(self.predict_log_proba(X))

    def _no_probabilities(self):
        return np.empty((0, len(self.classes_)))

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells, where they are taken, are summed out. A table larger than memory is read a chunk at a
            time, one of Dask by partition once its result is asked for.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Classes.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.predict, of_none=self.classes_[:0])
        log_proba = self.predict_log_proba(X)
        return self.classes_[log_proba.argmax(axis=1)]

    def score(self, X: MatrixLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy of the predictions.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; also of a table larger than memory.
        y : array-like of shape (n_samples,)
            Their classes. Rows without a label (-1, where that is no class) are left out, so that searches may be given
            rows of both sorts; with ``scoring="accuracy"`` they would count as errors.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Share of the labelled rows whose class is predicted; NaN if there is none.
        """
        check_is_fitted(self)
        y = column_or_1d(as_labels(y))
        is_chunked = self._is_chunked(X)
        if is_chunked:  # of which rows cannot be chosen before
            X = np.asarray(self.predict(X))
        check_consistent_length(X, y)
        weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
        rows = np.flatnonzero((~is_unlabelled(y) | np.isin(y, self.classes_)) & (weight != 0))
        if not len(rows):
            return np.nan
        X = safe_indexing(X, rows)
        predicted = X if is_chunked else self.predict(X)
        return accuracy_score(y[rows], predicted, sample_weight=weight[rows])

    @available_if(lambda self: self._can_sample())
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
        return self._sample_of_classes(self._places_to_draw(int(n_samples), y, rng), rng)

    def _can_sample(self):
        return True

    @abstractmethod
    def _sample_of_classes(self, place, rng):
        """Draw a row of each class, of which the places among `classes_` are given."""

    def _places_to_draw(self, n_samples, y, rng):
        """Find the place of the class of each row to be drawn: of those given, or drawn as well."""
        if y is None:
            share = np.exp(self._log_prior)
            return rng.choice(len(share), n_samples, p=share / share.sum())
        y = np.broadcast_to(y, n_samples) if np.ndim(y) == 0 else column_or_1d(y)
        if len(y) != n_samples:
            raise ValueError(f"y has {len(y)} entries, but n_samples is {n_samples}.")
        place = place_of(y, self.classes_)
        if (place < 0).any():
            raise ValueError("y holds -1, which is no class to draw from.")
        return place


def expect_classes(log_joints, log_prior, of_class, weight):
    """Take the E step of a classifier, in which unlabelled rows are summed over their classes.

    Parameters
    ----------
    log_joints : tuple of ndarray
        Log-densities of labelled rows, and of unlabelled ones, with each class, under the present parameters.
    log_prior : ndarray of shape (n_classes,)
        Present log-probabilities of the classes.
    of_class : ndarray of shape (n_labelled, n_classes)
        How much each labelled row belongs to each class.
    weight : ndarray of shape (n_unlabelled,)
        Weights of the unlabelled rows.

    Returns
    -------
    responsibilities : ndarray of shape (n_unlabelled, n_classes)
        How much each unlabelled row belongs to each class.
    log_likelihood : float
        Of all rows, in nats a row.
    """
    (labelled, unlabelled), counted = log_joints, of_class > 0
    log_p = of_class[counted] @ labelled[counted] + weight @ logsumexp(unlabelled, axis=1)
    responsibilities = weight[:, None] * np.exp(log_posterior(unlabelled, log_prior))
    return responsibilities, float(log_p / (of_class.sum() + weight.sum()))
