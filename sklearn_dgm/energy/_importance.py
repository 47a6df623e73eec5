"""The log-density of a stack of machines, by importance sampling of the hidden units between them."""

import math

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm.energy._machine import blocks, sigmoid, softplus
from sklearn_dgm.energy._marginals import log_marginals


def latin_hypercube(n_samples, n_units):
    """Return numbers between 0 and 1, the same in every call; those of a unit are spread evenly over the samples."""
    rng = np.random.default_rng(0)
    strata = rng.permuted(np.tile(np.arange(n_samples), (n_units, 1)), axis=1).T
    return (strata + rng.random(strata.shape)) / n_samples


def log_importance(machines, F, missing, n_samples):
    """Estimate the log-density of features under a stack of machines, up to log Z of the one on top.

    The machine on top is a joint density of its visible and its hidden units; each one below it says how the units
    below are given those above. Hidden units are proposed by the machines from below (Salakhutdinov and Murray, 2008).

    Parameters
    ----------
    machines : list of BoltzmannMachine
        From the lowest to the one on top.
    F : ndarray of shape (n, n_features)
        Features, zeros where a cell is missing.
    missing : ndarray of bool of shape (n, n_columns)
        Which cells are missing; they are left out of the densities given the hidden units.
    n_samples : int
        Proposals for each row, made with the same numbers for every row.

    Returns
    -------
    log_p : ndarray of shape (n,)
        Logarithms of the means of the importance weights.
    std : ndarray of shape (n,)
        Their standard errors; 0 of a single machine, which needs no samples.
    """
    *lower, top = machines
    if not lower:
        return log_marginals(top, F, missing), np.zeros(len(F))
    uniforms = [latin_hypercube(n_samples, machine.n_hidden) for machine in lower]
    log_p, std = np.empty(len(F)), np.empty(len(F))
    widest = max(max(machine.weights.shape) for machine in machines)
    for rows in blocks(len(F), max(widest, n_samples)):
        log_weights = np.stack(
            [
                _log_weights(machines, F[rows], ~missing[rows], [u[s] for u in uniforms])
                for s in range(n_samples)
            ]
        )
        log_p[rows] = logsumexp(log_weights, axis=0) - math.log(n_samples)
        relative = np.exp(log_weights - log_p[rows])
        std[rows] = relative.std(axis=0, ddof=1) / math.sqrt(n_samples)
    return log_p, std


def _log_weights(machines, F, observed, uniforms):
    """Return the logarithms of importance weights of one proposal for each row, made with these numbers."""
    *lower, top = machines
    total, below = np.zeros(len(F)), F
    for machine, u in zip(lower, uniforms, strict=True):
        x = machine.hidden_input(below)
        above = (u < sigmoid(x)).astype(F.dtype)
        total += _log_given(machine, below, above, observed)
        total -= (above * x - softplus(x)).sum(axis=1)
        below, observed = above, True
    return total + top.log_unnormalised(below)


def _log_given(machine, F, H, observed):
    """Return the log-densities of features given the hidden units of the same rows, of shape (n,)."""
    eta = machine.visible_input(H)
    log_p = np.einsum("nd,nd->n", F, eta)
    log_p -= (machine.units.log_normalisers(eta, machine.precision) * observed).sum(axis=1)
    if machine.units.n_numbers:
        log_p -= 0.5 * F[:, machine.units.numbers] ** 2 @ machine.precision
    return log_p
