"""The log-density of a stack of machines, by importance sampling of the hidden units between them."""

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import qmc

from sklearn_dgm.energy._machine import NUMBERS_AT_ONCE, sigmoid, softplus


def common_uniforms(n_samples, n_units):
    """Return numbers between 0 and 1, the same in every call; those of a unit are spread evenly over the samples."""
    return qmc.LatinHypercube(n_units, rng=np.random.default_rng(0)).random(n_samples)


def log_importance(machines, F, n_samples):
    """Estimate the log-density of features under a stack of machines, up to log Z of the one on top.

    The machine on top is a joint density of its visible and its hidden units; each one below it says how the units
    below are given those above. Hidden units are proposed by the machines from below (Salakhutdinov and Murray, 2008).

    Parameters
    ----------
    machines : list of BoltzmannMachine
        From the lowest to the one on top.
    F : ndarray of shape (n, n_features)
        Features.
    n_samples : int
        Proposals for each row, made with the same numbers for every row.

    Returns
    -------
    log_p : ndarray of shape (n,)
        Logarithms of the means of the importance weights.
    std : ndarray of shape (n,)
        Their standard errors.
    """
    *lower, top = machines
    uniforms = [common_uniforms(n_samples, machine.n_hidden) for machine in lower]
    log_weights = np.zeros((n_samples, len(F)))
    step = max(NUMBERS_AT_ONCE // max(max(machine.weights.shape) for machine in machines), 1)
    for start in range(0, len(F), step):
        rows = slice(start, start + step)
        for s in range(n_samples):
            below, total = F[rows], log_weights[s, rows]
            for machine, u in zip(lower, uniforms, strict=True):
                x = machine.hidden_input(below)
                above = (u[s] < sigmoid(x)).astype(F.dtype)
                total += _log_given(machine, below, above) - (above * x - softplus(x)).sum(axis=1)
                below = above
            total += top.log_unnormalised(below)
    log_p = logsumexp(log_weights, axis=0) - math.log(n_samples)
    relative = np.exp(log_weights - log_p)
    return log_p, relative.std(axis=0, ddof=1 if n_samples > 1 else 0) / math.sqrt(n_samples)


def _log_given(machine, F, H):
    """Return the log-densities of features given the hidden units of the same rows, of shape (n,)."""
    eta = machine.visible_input(H)
    log_p = np.einsum("nd,nd->n", F, eta)
    log_p -= machine.units.log_normalisers(eta, machine.precision).sum(axis=1)
    if machine.units.n_numbers:
        log_p -= 0.5 * F[:, machine.units.numbers] ** 2 @ machine.precision
    return log_p
