"""The discrete normal distribution: whole numbers, with the density of a normal distribution of variance 1."""

import numpy as np

# Whole numbers on either side of the mean; farther out lies less than a double tells from 1.
WINDOW = 9


def discrete_normal_icdf(uniforms, mean):
    """Return whole numbers by their uniforms.

    Parameters
    ----------
    uniforms : ndarray of shape (n,)
        Numbers between 0 and 1.
    mean : ndarray of shape (n,)
        Means of the normal distributions.

    Returns
    -------
    values : ndarray of shape (n,)
        The smallest whole numbers up to which the probabilities sum up to more than the uniforms.
    """
    first = np.floor(mean) - WINDOW
    values = first[:, None] + np.arange(2 * WINDOW + 2)
    below = np.cumsum(np.exp(-0.5 * np.square(values - mean[:, None])), axis=1)
    place = (below <= uniforms[:, None] * below[:, -1:]).sum(axis=1)
    return first + place.clip(0, values.shape[1] - 1)
