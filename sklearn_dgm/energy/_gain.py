"""Whether a density is better than another one, as far as some rows can say."""

import numpy as np

# By so many standard errors a gain has to be above zero.
CLEAR = 2.0


def is_clear(gains, counts, groups=None, std_error=0.0):
    """Tell whether gains in log-density are above zero on average, by more than chance.

    Parameters
    ----------
    gains : ndarray of shape (n,)
        Gains of rows.
    counts : ndarray of shape (n,)
        How many rows each stands for.
    groups : ndarray of int of shape (n,), default=None
        Rows of one group are copies, which say together what one row says. None if each stands for itself, however
        alike, and one of count k for k rows.
    std_error : float, default=0.0
        Of a constant that all gains share.

    Returns
    -------
    is_clear : bool
        False if there are not two rows to compare.
    """
    unit: float | np.ndarray = 1.0
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        gains, counts = gains[first], np.bincount(group, counts)
        unit = counts
    n = np.sum(counts / unit)
    if n <= 1:
        return False
    mean = np.average(gains, weights=counts)
    squares = np.sum(counts * unit * (gains - mean) ** 2) * n / (n - 1)
    return bool(mean > CLEAR * np.hypot(np.sqrt(squares) / counts.sum(), std_error))
