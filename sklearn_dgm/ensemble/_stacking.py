"""Weights of a mixture by the likelihood of held-out rows."""

import numpy as np

# Nats a row by which the held-out log-likelihood may be below its maximum. Should the steps not suffice, it is below by
# no more than the logarithm of the number of densities over the number of steps.
TOLERANCE = 1e-5
MAX_STEPS = 10_000


def stacking_weights(log_density, sample_weight=None):
    """Find the weights of the mixture that is most likely, by expectation and maximisation.

    Parameters
    ----------
    log_density : ndarray of shape (n_samples, n_members)
        Log-densities of held-out rows.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    weights : ndarray of shape (n_members,)
        On the simplex; equal where no row is possible under any member.
    """
    n_samples, n_members = log_density.shape
    weights = np.full(n_members, 1 / n_members)
    possible = (log_density > -np.inf).any(axis=1)
    if not possible.any():
        return weights
    share = np.ones(n_samples) if sample_weight is None else sample_weight
    share = share[possible] / share[possible].sum()
    log_density = log_density[possible]
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    for _ in range(MAX_STEPS):
        # The mean responsibility of each member is its weight times this, the derivative of the log-likelihood.
        gain = (share / (density @ weights)) @ density
        weights = weights * gain
        # By concavity no other weights are better by more than that.
        if gain.max() - 1 < TOLERANCE:
            break
    return weights / weights.sum()
