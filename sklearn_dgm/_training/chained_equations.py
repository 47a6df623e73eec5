"""A first completion of rows with missing cells, before there is a network that could draw them.

Each column is regressed on all others, in turns; missing numbers become those of rows that are predicted alike, so that
whole numbers, bounds and ties stay what they are, and missing categories are drawn (multiple imputation by chained
equations: van Buuren and Groothuis-Oudshoorn, 2011, https://doi.org/10.18637/jss.v045.i03).
"""

import numpy as np

# Rounds at least and at most, and about how many multiplications allow for more.
N_ROUNDS, MAX_OPERATIONS = (5, 30), 1e10
# A missing number comes from one of so many rows with the nearest predictions, on either side.
N_NEIGHBOURS = 2
# Columns of more categories say nothing of the others, and follow their marginal distribution.
MAX_LEVELS = 64
# Standard deviations at which numbers are cut off for the regressions.
FAR_OUT = 10.0


def complete(Z, weight, n_levels, rng):
    """Complete rows by chained equations.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Weights of the rows.
    n_levels : list of int or None
        Number of categories of each column; None for numbers.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    completed : ndarray of shape (n, d)
        The rows without NaN; each cell that was missing holds a value that its column has elsewhere.
    """
    missing, Z = np.isnan(Z), Z.copy()
    for z, gaps in zip(Z.T, missing.T, strict=True):
        z[gaps] = z[rng.choice(_donors(gaps, weight, rng), gaps.sum())]
    used = [j for j, k in enumerate(n_levels) if k is None or k <= MAX_LEVELS]
    blocks, start = {}, 0
    for j in used:
        blocks[j] = slice(start, start + (n_levels[j] or 1))
        start = blocks[j].stop
    F = np.column_stack([_features(Z[:, j], weight, n_levels[j]) for j in used] or [Z[:, :0]])
    for _ in range(_n_rounds(*F.shape)):
        precision = np.linalg.inv(_covariance(F, weight))
        for j in np.flatnonzero(missing.any(axis=0)):
            if j in blocks:
                gaps = missing[:, j]
                draw = _draw_number if n_levels[j] is None else _draw_category
                predicted = _predict(F, precision, blocks[j])
                Z[gaps, j] = draw(predicted, Z[:, j], gaps, _donors(gaps, weight, rng), rng)
                F[:, blocks[j]] = _features(Z[:, j], weight, n_levels[j])
    return Z


def _n_rounds(n, p):
    return int(np.clip(MAX_OPERATIONS / (n * p**2 + 1), *N_ROUNDS))


def _covariance(F, weight):
    # What an estimator shrinks in earnest would add up over the rounds.
    n, p = F.shape
    return (F.T * weight) @ F / weight.sum() + (0.1 * p / n + 1e-6) * np.eye(p)


def _donors(gaps, weight, rng):
    """Return the rows with an observed cell, each as often as it weighs."""
    donors = np.flatnonzero(~gaps)
    share = weight[donors] / weight[donors].sum()
    return donors if np.ptp(share) == 0 else rng.choice(donors, len(donors), p=share)


def _features(z, weight, n_levels):
    """Return the centred features of a column: a number in standard deviations, or a category one-hot."""
    features = z[:, None] if n_levels is None else (z[:, None] == np.arange(n_levels)) * 1.0
    features = features - np.average(features, axis=0, weights=weight)
    if n_levels is None:
        std = np.sqrt(np.average(features**2, axis=0, weights=weight))
        features = (features / np.where(std > 1e-12, std, 1)).clip(-FAR_OUT, FAR_OUT)
    return features


def _predict(F, precision, block):
    """Predict features by a regression on all others."""
    cross = precision[block].copy()
    cross[:, block] = 0
    return -F @ np.linalg.solve(precision[block, block], cross).T


def _draw_number(predicted, z, gaps, donors, rng):
    """Draw values of observed rows that are predicted alike (predictive mean matching)."""
    predicted = predicted[:, 0]
    donors = donors[np.argsort(predicted[donors], kind="stable")]
    # All that are predicted the same are as near.
    first = np.searchsorted(predicted[donors], predicted[gaps], "left") - N_NEIGHBOURS
    last = np.searchsorted(predicted[donors], predicted[gaps], "right") + N_NEIGHBOURS
    place = rng.integers(first, last)
    return z[donors[place.clip(0, len(donors) - 1)]]


def _draw_category(predicted, z, gaps, donors, rng):
    """Draw categories by their predicted indicators, which are taken for probabilities."""
    n_levels = predicted.shape[1]
    # A category that is new to a warm start has no code.
    shares = np.bincount(z[donors].astype(int).clip(0), minlength=n_levels) / len(donors)
    p = (predicted[gaps] + shares).clip(1e-3 * shares + 1e-12)
    bounds = np.cumsum(p, axis=1)
    return (bounds < rng.random((len(p), 1)) * bounds[:, -1:]).sum(axis=1)
