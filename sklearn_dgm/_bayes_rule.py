"""Bayes' rule: what classifiers that are densities have in common, whatever the density of each class is."""

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from sklearn_dgm._labels import as_labels, is_unlabelled, place_of
from sklearn_dgm._sklearn import check_sample_weight, safe_indexing
from sklearn_dgm._typing import MatrixLike


class BayesRuleMixin(ClassifierMixin):
    """Predictions of a classifier that knows the density of row and class together.

    A subclass writes `predict_joint_log_proba`, and has `classes_` and `_log_prior`, the log-probabilities of the
    classes.
    """

    @abstractmethod
    def predict_joint_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Log-density of each row together with each class, of shape (n_samples, n_classes)."""

    def _log_joint_but_for_a_factor(self, X):
        """The same, but for what all classes have in common."""
        return self.predict_joint_log_proba(X)

    def predict_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Log-probability of each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells, where they are taken, are summed out.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            In nats, in the order of `classes_`. A row that is impossible in every class says nothing, and gets the
            probabilities that classes have without it.
        """
        return log_posterior(self._log_joint_but_for_a_factor(X), self._log_prior)

    def predict_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Probability of each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells, where they are taken, are summed out.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. A row that is impossible in every class says nothing, and gets the probabilities
            that classes have without it.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Most probable class of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells, where they are taken, are summed out.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Classes.
        """
        log_proba = self.predict_log_proba(X)
        return self.classes_[log_proba.argmax(axis=1)]

    def score(self, X: MatrixLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of the predictions.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
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
        check_consistent_length(X, y)
        weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
        rows = np.flatnonzero((~is_unlabelled(y) | np.isin(y, self.classes_)) & (weight != 0))
        if not len(rows):
            return np.nan
        return super().score(safe_indexing(X, rows), y[rows], weight[rows])

    def _places_to_draw(self, n_samples, y, rng):
        """Place of the class of each row to be drawn: of those given, or drawn as well."""
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


def log_posterior(log_joint, log_prior):
    """Log-probabilities of the classes of rows, by Bayes' rule.

    Parameters
    ----------
    log_joint : ndarray of shape (n, n_classes)
        Log-density of row and class, but for a factor of the row.
    log_prior : ndarray of shape (n_classes,)
        What a row is that is impossible in every class.

    Returns
    -------
    log_proba : ndarray of shape (n, n_classes)
        Of which the exponentials sum to one.
    """
    impossible = np.isneginf(log_joint).all(axis=1, keepdims=True)
    log_joint = np.where(impossible, log_prior, log_joint)
    return log_joint - logsumexp(log_joint, axis=1, keepdims=True)


def expectation_maximisation(
    log_joints, learn, log_prior, of_class, weight, *, max_iter, tol, verbose=False
):
    """Learn from labelled and unlabelled rows by expectation and maximisation (Dempster, Laird and Rubin, 1977).

    Parameters
    ----------
    log_joints : callable
        Gives the log-density of labelled rows, and of unlabelled ones, with each class, under the present parameters.
    learn : callable
        Learns parameters given how much each unlabelled row belongs to each class, of shape (n_unlabelled, n_classes).
    log_prior : callable
        Gives the present log-probabilities of the classes.
    of_class : ndarray of shape (n_labelled, n_classes)
        How much each labelled row belongs to each class.
    weight : ndarray of shape (n_unlabelled,)
        Weights of the unlabelled rows.
    max_iter : int
        Steps at most. A single one tells nothing of convergence.
    tol : float
        Change in nats a row below which to stop.
    verbose : bool, default=False
        Whether to print a line for each step.

    Returns
    -------
    log_likelihoods : list of float
        In nats a row, at the beginning and after each step.

    Warns
    -----
    ConvergenceWarning
        If the likelihood still changed after `max_iter` steps.
    """
    counted, total, log_likelihoods = of_class > 0, of_class.sum() + weight.sum(), []
    for n_steps in range(max_iter + 1):
        labelled, unlabelled = log_joints()
        log_p = of_class[counted] @ labelled[counted] + weight @ logsumexp(unlabelled, axis=1)
        log_likelihoods.append(float(log_p / total))
        if verbose:
            print(f"EM, step {n_steps}: {log_likelihoods[-1]:.6g} nats a row", flush=True)
        # Where densities are smoothed the likelihood may fall, and yet rows still find their classes.
        if n_steps and abs(log_likelihoods[-1] - log_likelihoods[-2]) < tol:
            return log_likelihoods
        if n_steps < max_iter:
            learn(weight[:, None] * np.exp(log_posterior(unlabelled, log_prior())))
    if max_iter > 1:
        warnings.warn(
            f"The likelihood still changed after max_iter={max_iter} steps; raise max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return log_likelihoods
