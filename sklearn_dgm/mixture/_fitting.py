"""Expectation and maximisation of a finite mixture (Dempster, Laird and Rubin, 1977)."""

import copy
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm._nested.em import expectation_maximisation, responsibilities_of
from sklearn_dgm.mixture._covariances import SingularCovarianceError
from sklearn_dgm.mixture._finite import Counts

# A component with so small a share of the weight has no rows.
LEAST_SHARE = 1e-6
# Rows that the table of all rows counts as, of which "auto" chooses; the first one where there is nothing to choose by.
ALPHAS = (10.0, 1.0, 3.0, 30.0)
# The same of the covariance of all rows, as shares of the most that it counts as.
PRIOR_SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
# Steps of the fits that choose, and the weight of validation rows from which on they do.
CHOOSING_STEPS, LEAST_VALIDATION = 30, 20


@dataclass(frozen=True)
class PartCounts:
    """What a mixture expects of some rows; a step of EM learns from the sum over all parts.

    Attributes
    ----------
    counts : Counts
        Expected counts.
    log_likelihood : float
        Of the rows, each with its weight.
    weight : float
        Their weight.
    """

    counts: Counts
    log_likelihood: float
    weight: float

    @classmethod
    def of(cls, mixture, Z, weight):
        """Count encoded rows under the present parameters of a mixture.

        Parameters
        ----------
        mixture : FiniteMixture
            The mixture.
        Z : ndarray of shape (n, n_features)
            Encoded rows.
        weight : ndarray of shape (n,) or None
            Their weights.
        """
        weight, prepared = np.ones(len(Z)) if weight is None else weight, mixture.prepare(Z)
        shares, log_p = responsibilities_of(mixture.log_joint(prepared), mixture.weights)
        counts = mixture.count(prepared, shares * weight[:, None])
        return cls(counts, float(weight @ log_p), float(weight.sum()))

    def __add__(self, other):
        return PartCounts(
            self.counts.plus(other.counts),
            self.log_likelihood + other.log_likelihood,
            self.weight + other.weight,
        )


def fit_mixture(mixture, rows, max_iter, tol):
    """Fit a mixture to rows, from the responsibilities that these start with.

    A component that has lost all rows starts again, once, from the row of lowest density, unless that row alone would
    say what its covariance is.

    Parameters
    ----------
    mixture : FiniteMixture
        What is fitted; it is left as it is.
    rows : WeightedRows
        The rows, with a start.
    max_iter : int
        Steps at most.
    tol : float
        Change of the objective in nats a row below which to stop.

    Returns
    -------
    mixture : FiniteMixture
        The fitted mixture.
    lower_bounds : ndarray of shape (n_steps + 1,)
        The objective, in nats a row: the log-likelihood, and the log-density of the prior.

    Warns
    -----
    ConvergenceWarning
        If the objective still changed after `max_iter` steps.
    """
    mixture = copy.deepcopy(mixture)
    prepared, total, restarted = mixture.prepare(rows.Z), rows.weight.sum(), set()
    has_prior = mixture.normals is None or mixture.normals.covariances.prior.rows > 0

    def expect():
        shares, log_p = responsibilities_of(mixture.log_joint(prepared), mixture.weights)
        objective = (rows.weight @ log_p + mixture.log_prior()) / total
        if has_prior and len(rows.Z) >= shares.shape[1]:
            _restart_empty(shares, rows.weight, log_p, restarted)
        return shares * rows.weight[:, None], objective

    def maximise(responsibilities):
        mixture.learn(mixture.count(prepared, responsibilities))

    maximise(rows.start * rows.weight[:, None])
    objectives = expectation_maximisation(expect, maximise, max_iter=max_iter, tol=tol)
    return mixture, np.array(objectives)


def fit_all(mixture, starts, max_iter, tol):
    """Fit a mixture from several starts; see :func:`fit_mixture`.

    Returns
    -------
    fits : list of tuple
        What :func:`fit_mixture` returns, of the starts that lead to a mixture.

    Raises
    ------
    SingularCovarianceError
        If none does, that of the last one.
    """
    fits = []
    for rows in starts:
        try:
            fits.append(fit_mixture(mixture, rows, max_iter, tol))
        except SingularCovarianceError as error:
            failure = error
    if not fits:
        raise failure
    return fits


def _restart_empty(shares, weight, log_p, restarted):
    """Give each component without rows, if it had none yet, the row of lowest density, in place."""
    empty = set(np.flatnonzero(weight @ shares < LEAST_SHARE * weight.sum()).tolist()) - restarted
    for k, row in zip(sorted(empty), np.argsort(log_p, kind="stable"), strict=False):
        shares[row] = 0.0
        shares[row, k] = 1.0
        restarted.add(k)


def choose_alpha(mixture, rows, max_iter, tol):
    """Choose how many rows the tables of all rows count as, by the density of validation rows.

    Parameters
    ----------
    mixture : FiniteMixture
        What is to be fitted; it is left as it is.
    rows : WeightedRows
        The rows, with a start.
    max_iter : int
        Steps at most.
    tol : float
        Change of the objective in nats a row below which to stop.

    Returns
    -------
    alpha : float
        The best of the candidates; the first one where there is nothing to choose by.
    """
    train, valid = rows.split()
    if len(mixture.weights) == 1 or valid.weight.sum() < LEAST_VALIDATION:
        return ALPHAS[0]
    scores = []
    for alpha in ALPHAS:
        candidate = copy.deepcopy(mixture)
        candidate.tables.alpha = alpha
        log_p = _validation_log_prob(candidate, train, valid, max_iter, tol)
        scores.append(-np.inf if log_p is None else valid.weight @ log_p)
    return ALPHAS[int(np.argmax(scores))]


def choose_prior_share(mixture, rows, max_iter, tol):
    """Choose how much the covariance of all rows counts: less, as long as validation rows are better.

    Copies of a row are in one part, since what is narrow enough is good for a copy, whatever other rows say. Rows that
    are impossible at first (tables without pseudo-counts have such) tell nothing.

    Parameters
    ----------
    mixture, rows, max_iter, tol
        See :func:`choose_alpha`; in the mixture it counts in full.

    Returns
    -------
    share : float or None
        One of the shares; None where there are too few rows to choose by.
    """
    (train, valid), most = rows.split_rows(), mixture.normals.covariances.prior.rows
    if len(valid.Z) < LEAST_VALIDATION or not len(train.Z):
        return None
    best, best_score, is_possible = PRIOR_SHARES[0], -np.inf, None
    for share in PRIOR_SHARES:
        candidate = copy.deepcopy(mixture)
        candidate.normals.covariances.prior.rows = share * most
        log_p = _validation_log_prob(candidate, train, valid, max_iter, tol)
        if log_p is None:
            break
        if is_possible is None:
            is_possible = np.isfinite(log_p)
        score = valid.weight[is_possible] @ log_p[is_possible]
        if score <= best_score:
            break
        best, best_score = share, score
    return best


def _validation_log_prob(mixture, train, valid, max_iter, tol):
    """Return the log-densities of validation rows after a few steps; None if a covariance is singular."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            fitted, _ = fit_mixture(mixture, train, min(max_iter, CHOOSING_STEPS), tol)
        except SingularCovarianceError:  # whether it is so of all rows, the fit will say
            return None
    return fitted.log_prob(valid.Z)
