"""Numerical integration of many densities of one variable at once."""

import numpy as np

# How far beyond the first nodes others are, in units of their range.
BEYOND = np.array([0.05, 0.2, 0.6, 2.0])
# Rounds in which nodes are added.
N_ROUNDS = 3


def integrate(log_density, first, n_nodes, bounds=(-np.inf, np.inf)):
    """Return nodes and weights of an adaptive trapezoidal rule for each of some densities.

    Parameters
    ----------
    log_density : callable
        Takes nodes of shape (n, m), those of each density in a row, and returns their log-densities.
    first : ndarray of shape (n, k)
        Nodes to begin with, among which the bulk of each density is.
    n_nodes : int
        Number of nodes in the end, more than k + 8.
    bounds : tuple of float, default=(-inf, inf)
        Where the densities end; there they may be positive.

    Returns
    -------
    nodes : ndarray of shape (n, n_nodes)
        Increasing in each row.
    log_weight : ndarray of shape (n, n_nodes)
        The sum of the exponentials of a row is the integral of its density.
    """
    low, high = first.min(axis=1, keepdims=True), first.max(axis=1, keepdims=True)
    beyond = np.maximum(high - low, 1e-6 * np.maximum(np.abs(low), 1)) * BEYOND
    z = np.concatenate([first, low - beyond, high + beyond], axis=1).clip(*bounds)
    log_p = log_density(z)
    z, log_p = _sorted(z, log_p)
    for added in np.array_split(np.arange(n_nodes - z.shape[1]), N_ROUNDS):
        new = _between(z, log_p, len(added))
        z, log_p = _sorted(
            np.concatenate([z, new], axis=1), np.concatenate([log_p, log_density(new)], axis=1)
        )
    gaps = np.diff(z, axis=1)
    zero = np.zeros((len(z), 1))
    width = (np.hstack([zero, gaps]) + np.hstack([gaps, zero])) / 2
    with np.errstate(divide="ignore"):
        return z, log_p + np.log(width)


def _sorted(z, log_p):
    order = np.argsort(z, axis=1)
    return np.take_along_axis(z, order, axis=1), np.take_along_axis(log_p, order, axis=1)


def _between(z, log_p, n_added):
    """Return the nodes to add, more of them in gaps that may hold more of the integral."""
    best = log_p.max(axis=1, keepdims=True)
    p = np.exp(log_p - np.where(np.isfinite(best), best, 0))
    # Less than in proportion: a narrow peak that no node has met yet is not where the density seems to be.
    share = (np.diff(z, axis=1) * np.maximum(p[:, 1:], p[:, :-1])) ** (2 / 3)
    below = np.cumsum(share, axis=1)
    below /= np.maximum(below[:, -1:], np.finfo(float).tiny)
    below = np.hstack([np.zeros((len(z), 1)), below])
    points = (np.arange(n_added) + 0.5) / n_added
    return np.stack([np.interp(points, b, row) for b, row in zip(below, z, strict=True)])
