"""Thresholds among scores, and their mean, whatever rows are impossible."""

import numpy as np


def mean_of_possible(values):
    """Return the mean over the rows, of what is finite; 0 where nothing is."""
    finite = np.isfinite(values)
    return np.where(finite, values, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)


def quantile_below(scores, share):
    """Return a threshold below which there is a share of the scores."""
    with np.errstate(invalid="ignore"):
        threshold = np.quantile(scores, share)
    # Between minus infinity and a number there is none.
    return np.quantile(scores, share, method="higher") if np.isnan(threshold) else threshold


def magnitude_of(log_density):
    """Return the magnitude of log-densities, to which their rounding is relative; at least 1, as for densities."""
    finite = log_density[np.isfinite(log_density)]
    return max(1.0, np.median(np.abs(finite))) if len(finite) else 1.0


def lower_fence(scores, magnitude):
    """Return the lower fence of the box plot of the finite scores [1]_.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Scores of the rows of a fit.
    magnitude : float
        That of the log-densities from which they are computed.

    Returns
    -------
    fence : float
        The lower quartile less 1.5 times the distance of the quartiles, but at least the rounding error of a sum over
        the rows, so that rows whose scores differ by their last bits are alike; minus infinity without a finite score.

    References
    ----------
    .. [1] J. W. Tukey, "Exploratory Data Analysis", Addison-Wesley 1977
    .. [2] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", SIAM 2002, section 4.2
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return -np.inf
    lower, upper = np.quantile(finite, [0.25, 0.75])
    # A sum of n terms, such as the kernels of n rows, is off by n roundings at most [2]_.
    rounding = len(finite) * np.finfo(np.float64).eps * magnitude
    return lower - 1.5 * max(upper - lower, rounding)


def conformal_threshold(calibration_scores, alpha):
    """Return the threshold below which p-values are at most `alpha`.

    Parameters
    ----------
    calibration_scores : ndarray of shape (n_calibration,)
        Sorted scores.
    alpha : float
        Rate of false alarms.

    Returns
    -------
    threshold : float
        One of the scores, or minus infinity where they are too few for a p-value of `alpha`.
    """
    # (1 + k) / (1 + n) <= alpha, where k scores are no higher; rounding must not lose the bound itself.
    most = int(np.floor(alpha * (len(calibration_scores) + 1) * (1 + 1e-12))) - 1
    return calibration_scores[most] if most >= 0 else -np.inf
