"""Where most values of a column lie, whatever a few of them are, and in which units that makes them small numbers."""

import numpy as np
from scipy.special import ndtri

# Shares of the weight that may lie beyond the bulk on either side.
TAILS = np.array([0.25, 0.1, 0.05, 0.01])
# So many spreads of the bulk from its median, a value is no part of any distribution that is worth a unit of its own.
FAR_OUT = 1e3
# More of the weight out there is a part of the column.
MAX_FAR_OUT = 0.1
# Encoded values further out than this are trained on as if they stood here; beyond, squares overflow in float32.
REACH = 1e15
# Whole numbers that far from 0 can be told apart in float32, and a good deal more of them.
MAX_WHOLE = 2.0**22


def quantiles(x, sample_weight, shares):
    """Return weighted quantiles: the smallest values at or below which a share of the weight lies.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Numbers.
    sample_weight : ndarray of shape (n,)
        Their weights.
    shares : array-like of shape (n_shares,)
        Between 0 and 1.

    Returns
    -------
    quantiles : ndarray of shape (n_shares,)
        Some of the numbers.
    """
    order = np.argsort(x)
    share = np.cumsum(sample_weight[order])
    return x[order[np.searchsorted(share, share[-1] * np.asarray(shares))]]


def bulk_of(x, sample_weight):
    """Return the median and a robust standard deviation of numbers.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Numbers.
    sample_weight : ndarray of shape (n,)
        Their weights.

    Returns
    -------
    median : float
        The median.
    spread : float
        The standard deviation of a normal distribution that has the same quartiles, or, where most numbers are the
        same, the first quantiles further out that differ. It is 0 if all but a hundredth on each side are the same.
    """
    found = quantiles(x, sample_weight, [0.5, *TAILS, *(1 - TAILS)])
    low, high = np.split(found[1:], 2)
    spread = high / (-2 * ndtri(TAILS)) - low / (-2 * ndtri(TAILS))
    return found[0], spread[np.argmax(high > low)]


def standard_deviation(x):
    """Return the standard deviation of finite numbers, though their squares may overflow float64.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Numbers.

    Returns
    -------
    scale : float
        Zero if they are all the same.
    """
    largest = np.abs(x).max()
    # A power of two, by which a division rounds nothing.
    unit = 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0
    return float((x / unit).std() * unit)


def location_and_scale(x, sample_weight):
    """Return the mean and standard deviation, or those of the bulk where a few values far out would set them.

    Safe against overflow and underflow. Of a constant the scale is its size.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Finite numbers.
    sample_weight : ndarray of shape (n,)
        Their weights.

    Returns
    -------
    location, scale : float
        The scale is positive.
    """
    unit = np.abs(x).max()
    if unit == 0:
        return 0.0, 1.0
    # A power of two, so that the division rounds nothing.
    unit = 2.0 ** np.floor(np.log2(unit))
    u = x / unit
    total = sample_weight.sum()
    location = (u * sample_weight).sum() / total
    distance = np.abs(u - location)
    scale = np.sqrt((distance**2 * sample_weight).sum() / total)
    if scale <= 10 * np.finfo(np.float64).eps:
        scale = 1.0
    # A tenth of the values far out have a mean distance of 0.6 standard deviations; the quantiles of most columns are
    # spared.
    elif (distance * sample_weight).sum() < 0.61 * scale * total:
        median, bulk = bulk_of(u, sample_weight)
        far_out = np.abs(u - median) > FAR_OUT * bulk
        if 0 < FAR_OUT * bulk < scale and sample_weight[far_out].sum() <= MAX_FAR_OUT * total:
            location, scale = median, bulk
    return float(location * unit), float(scale * unit)


def first_or_median(x, sample_weight):
    """Return the smallest of whole numbers, from which they are counted, or their median if that one is far out."""
    low = x.min()
    if x.max() - low <= MAX_WHOLE:
        return float(low)
    median, spread = bulk_of(x, sample_weight)
    is_far_out = median - low > max(MAX_WHOLE, FAR_OUT * spread) and spread > 0
    return float(median if is_far_out else low)
