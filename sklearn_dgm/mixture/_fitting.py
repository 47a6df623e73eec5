"""Expectation and maximisation of a finite mixture (Dempster, Laird and Rubin, 1977)."""

import copy
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm._nested.em import expectation_maximisation, responsibilities_of
from sklearn_dgm.mixture._covariances import SingularCovarianceError

# A component with so small a share of the weight has no rows.
LEAST_SHARE = 1e-6
# Rows that the table of all rows counts as, of which "auto" chooses; the first one where there is nothing to choose by.
ALPHAS = (10.0, 1.0, 3.0, 30.0)
# The same of the covariance of all rows, as shares of the most that it counts as.
PRIOR_SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
# Steps of the fits that choose, and the weight of validation rows from which on they do.
CHOOSING_STEPS, LEAST_VALIDATION = 30, 20.0


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
    """Choose how many rows the tables of all rows count as; see :func:`_choose`."""
    if len(mixture.weights) == 1:
        return ALPHAS[0]

    def set_alpha(candidate, alpha):
        candidate.tables.alpha = alpha

    return _choose(mixture, ALPHAS, set_alpha, rows, max_iter, tol)


def choose_prior_rows(mixture, rows, max_iter, tol):
    """Choose how many rows the covariance of all rows counts as, of shares of what it says; see :func:`_choose`."""
    n_rows = mixture.normals.covariances.prior.rows

    def set_rows(candidate, share):
        candidate.normals.covariances.prior.rows = share * n_rows

    return n_rows * _choose(mixture, PRIOR_SHARES, set_rows, rows, max_iter, tol)


def _choose(mixture, values, set_value, rows, max_iter, tol):
    """Choose a parameter of a prior by the density of validation rows.

    Parameters
    ----------
    mixture : FiniteMixture
        What is to be fitted; it is left as it is.
    values : sequence of float
        Candidates; the first one where there is nothing to choose by.
    set_value : callable
        Sets one in a copy of the mixture.
    rows : WeightedRows
        The rows, with a start.
    max_iter : int
        Steps at most.
    tol : float
        Change of the objective in nats a row below which to stop.

    Returns
    -------
    value : float
        The best of the candidates.
    """
    train, valid = rows.split()
    if valid.weight.sum() < LEAST_VALIDATION:
        return values[0]
    scores = []
    for value in values:
        candidate = copy.deepcopy(mixture)
        set_value(candidate, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                fitted, _ = fit_mixture(candidate, train, min(max_iter, CHOOSING_STEPS), tol)
            except SingularCovarianceError:  # whether it is so of all rows, the fit will say
                scores.append(-np.inf)
                continue
        scores.append(valid.weight @ fitted.log_prob(valid.Z))
    return values[int(np.argmax(scores))]
