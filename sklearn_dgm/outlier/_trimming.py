"""Which rows of a fit may be outliers, so that a density had better not learn from them."""

from sklearn_dgm.outlier._kernels import TableKernelDensity
from sklearn_dgm.outlier._thresholds import lower_fence, magnitude_of, quantile_below

# Share of the rows that are trimmed at most, where their number is not known.
MOST_TRIMMED = 0.2


def are_apart(X, share, sample_weight, rng):
    """Tell which rows few others are near to, whatever their own kind says.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    share : "auto" or float
        How many of them; "auto" is those below the lower fence of a box plot, at most a fifth.
    sample_weight : ndarray of shape (n_samples,) or None
        Their weights, all positive.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    is_apart : ndarray of bool of shape (n_samples,)
        Which rows are.
    """
    is_known = share != "auto"
    pilot = TableKernelDensity(n_left_out=share if is_known else MOST_TRIMMED, random_state=rng)
    scores = pilot.fit(X, sample_weight=sample_weight).score_samples(X)
    if is_known:
        threshold = quantile_below(scores, share)
    else:
        threshold = min(
            lower_fence(scores, magnitude_of(scores)), quantile_below(scores, MOST_TRIMMED)
        )
    return scores < threshold
