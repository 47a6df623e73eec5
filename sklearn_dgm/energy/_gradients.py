"""Gradients of the log-density of any fitted density, which score matching asks for."""

import numpy as np

# Differences are taken over such steps, in standard deviations of the columns.
STEP = 1e-3


def gradients_of(log_density, Z):
    """Return the gradients of a log-density at rows, by central differences.

    Parameters
    ----------
    log_density : callable
        Given rows of shape (n, d), returns their log-densities, of shape (n,).
    Z : ndarray of shape (n, d)
        Rows of numbers.

    Returns
    -------
    gradients : ndarray of shape (n, d)
        Their gradients; NaN or infinite where the density is zero close by.
    """
    gradients = np.empty_like(Z)
    for j, spread in enumerate(Z.std(axis=0)):
        step = np.zeros(Z.shape[1])
        step[j] = STEP * (spread or 1.0)
        with np.errstate(invalid="ignore"):
            gradients[:, j] = (log_density(Z + step) - log_density(Z - step)) / (2 * step[j])
    return gradients
