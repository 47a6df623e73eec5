"""Scores of densities inside other estimators: their standard errors, their kind, and those of mixtures."""

from inspect import signature

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm.tags import last_step, score_kind, unwrapped


def scores_and_std(density, X):
    """Score rows, with the standard errors of estimates.

    Parameters
    ----------
    density : estimator instance
        A fitted density of this package or of scikit-learn, or a search over one.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    log_density : ndarray of shape (n_samples,)
        What `score_samples` returns.
    std : ndarray of shape (n_samples,)
        Standard errors in nats: 0 where the score is no estimate, NaN where it is and the density does not state them.
    """
    density = unwrapped(density)
    if "return_std" in signature(density.score_samples).parameters:
        return density.score_samples(X, return_std=True)
    log_density = np.asarray(density.score_samples(X))
    std = np.nan if score_kind(density) == "estimate" else 0.0
    return log_density, np.full(len(log_density), std)


def shared_std(density):
    """Return the standard error that all scores of a density share, which no number of rows makes smaller.

    It is that of the estimate of a partition function: `log_partition_std_error_` of the fitted density, and of those
    that it is built on, of several the largest one.

    Parameters
    ----------
    density : estimator instance
        A fitted density of this package or of scikit-learn, or a pipeline or search that ends in one.

    Returns
    -------
    std : float
        In nats; 0 if nothing of the kind is estimated.
    """
    density = last_step(density)
    own = getattr(density, "log_partition_std_error_", 0.0)
    inside = density._fitted_members() if hasattr(density, "_fitted_members") else []
    return float(np.hypot(own, max(map(shared_std, inside), default=0.0)))


def scored_rows(density, X):
    """Score rows, and say what kind of scores these are.

    Parameters
    ----------
    density : estimator instance
        A fitted density of this package or of scikit-learn, or a search over one.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    log_density : ndarray of shape (n_samples,)
        What `score_samples` returns.
    score_kind : {"exact", "lower bound", "estimate", "unnormalised"}
        Of these rows, which may be another one than `score_kind_`, that of rows like those of `fit`.
    """
    log_density, std = scores_and_std(density, X)
    return log_density, "estimate" if std.any() else _kind_without_error(density)


def _kind_without_error(density):
    """Return what kind scores are that are no estimates."""
    density = last_step(density)
    if hasattr(density, "_score_kind"):
        return density._score_kind(_kind_without_error)
    kind = score_kind(density)
    return "exact" if kind == "estimate" else kind


def scores_of_mixture(log_terms, std):
    """Compute the log-densities of a mixture, and their standard errors.

    Parameters
    ----------
    log_terms : array-like of shape (n_members, n_samples)
        Log-densities of rows under each member, plus the logarithm of its weight.
    std : array-like of shape (n_members, n_samples)
        Standard errors of these.

    Returns
    -------
    log_density : ndarray of shape (n_samples,)
        The logarithms of the sums.
    std : ndarray of shape (n_samples,)
        Their standard errors at most: as if all members erred on the same side.
    """
    log_density = logsumexp(log_terms, axis=0)
    with np.errstate(invalid="ignore"):  # of an impossible row
        share = np.exp(log_terms - log_density)
    return log_density, np.where(share > 0, share * std, 0.0).sum(axis=0)
