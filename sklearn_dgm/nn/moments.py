"""What the start of a network needs to know of the rows: means, a shrunk covariance, and counts."""

from typing import NamedTuple

import numpy as np
import torch

from sklearn_dgm.nn.heads.mixture import FAR_OUT

# With more numbers than these, some of the rows give the covariance well enough.
MAX_NUMBERS = 2**25


def shrunk_covariance(F, sample_weight):
    """Return the covariance shrunk towards a multiple of the identity (Ledoit and Wolf, 2004), with weights.

    Parameters
    ----------
    F : ndarray of shape (n, p)
        Centred rows.
    sample_weight : ndarray of shape (n,)
        Weights; a weight of 2 counts as the row twice.

    Returns
    -------
    covariance : ndarray of shape (p, p)
        The shrunk covariance.
    """
    n, p = sample_weight.sum(), F.shape[1]
    S = (F * sample_weight[:, None]).T @ F / n
    mu = np.trace(S) / max(p, 1)  # there may be none
    distance = np.sum(S**2) - p * mu**2
    noise = (sample_weight @ np.sum(F**2, axis=1) ** 2 / n - np.sum(S**2)) / n
    shrinkage = min(noise / distance, 1.0) if distance > 0 else 1.0
    return (1 - shrinkage) * S + shrinkage * mu * np.eye(p)


class Moments(NamedTuple):
    """Moments of the rows that networks start from; the order of the columns plays no part.

    Attributes
    ----------
    used : ndarray of int
        The features that the moments are of; those of very many categories are left out.
    mean : ndarray of shape (p,)
        Means of the features.
    covariance : ndarray of shape (p, p)
        Their shrunk covariance.
    marginals : dict of int to ndarray
        For each column with levels their smoothed shares; for one with atoms those of the atoms and of all that is
        none.
    counts : ndarray of shape (q, q)
        How often two categories occur together; the categories of a column stand side by side.
    block : dict of int to slice
        Where the categories of a column stand in `counts`.
    sums : ndarray of shape (p, q)
        Sums of the features over the rows of each category.
    """

    used: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    marginals: dict
    counts: np.ndarray
    block: dict
    sums: np.ndarray


@torch.no_grad()
def moments(inputs, Z, weight):
    """Return means, covariances and counts from which any order of the columns can start.

    The Gaussian is that of the bulk: values far out count as if they stood at its edge, and some components of the
    mixtures start wide enough to reach them.

    Parameters
    ----------
    inputs : TableInputs
        How networks see the columns.
    Z : Tensor of shape (n, d)
        Encoded rows.
    weight : ndarray of shape (n,)
        Weights of the rows.

    Returns
    -------
    moments : Moments
        For :func:`~sklearn_dgm.nn.start.start_from`.
    """
    marginals = {
        j: _smoothed_shares(variable, Z[:, j], weight)
        for j, variable in enumerate(inputs.variables)
        if variable.n_levels or variable.atoms
    }
    every = slice(None, None, 1 + len(Z) * inputs.n_features // MAX_NUMBERS)
    Z, weight = Z[every], weight[every]
    # A covariance of very many categories would be large, and says little.
    used = _used(inputs)
    F = inputs.features(Z)[:, used].double().cpu().numpy()
    bulk = F.clip(-FAR_OUT, FAR_OUT)
    mean = np.average(bulk, axis=0, weights=weight)
    std = np.sqrt(np.average((bulk - mean) ** 2, axis=0, weights=weight))
    std[std < 1e-6] = 1.0  # constant, but for rounding and for rows with hardly any weight
    covariance = shrunk_covariance((bulk - mean) / std, weight)
    covariance[np.diag_indices_from(covariance)] += 1e-6
    covariance *= np.outer(std, std)
    block = category_blocks(inputs.variables)
    indicators = _indicators(block, Z)
    weighted = indicators * weight[:, None]
    return Moments(
        used,
        mean,
        covariance,
        marginals,
        weighted.T @ indicators,
        block,
        bulk.T @ weighted,
    )


def _used(inputs):
    return np.flatnonzero([not inputs.variables[j].is_embedded for j in inputs.feature_label])


def category_blocks(variables):
    """Return where the categories of columns stand in the counts of :class:`Moments`, by column."""
    block, start = {}, 0
    for j, variable in enumerate(variables):
        if variable.has_indicators and not variable.is_embedded:
            block[j] = slice(start, start + variable.n_levels)
            start += variable.n_levels
    return block


def empty_moments(inputs):
    """Return moments of the right shapes for arrays to be loaded into, all of them zero."""
    block, used = category_blocks(inputs.variables), _used(inputs)
    p, q = len(used), max((of_column.stop for of_column in block.values()), default=0)
    shares = {
        j: np.zeros(len(v.atoms) + 1 if v.atoms else v.n_levels + 2 * v.whole)
        for j, v in enumerate(inputs.variables)
        if v.n_levels or v.atoms
    }
    arrays = np.zeros(p), np.zeros((p, p)), shares, np.zeros((q, q))
    return Moments(used, *arrays, block, np.zeros((p, q)))


def _indicators(block, Z):
    """Return the indicators of the categories of rows, of shape (n, q)."""
    parts = [
        Z[:, j, None].cpu().numpy() == np.arange(of_column.stop - of_column.start)
        for j, of_column in block.items()
    ]
    return np.concatenate(parts or [np.zeros((len(Z), 0))], axis=1).astype(np.float64)


def _smoothed_shares(variable, z, weight):
    z = z.cpu().numpy()
    if variable.atoms:
        is_atom = z[:, None] == np.array(variable.atoms)
        counts = weight @ np.column_stack([is_atom, ~is_atom.any(axis=1)])
    else:
        codes, n_levels = z.astype(np.int64), variable.n_levels
        inside = (codes >= 0) & (codes < n_levels)  # a warm start may have others
        counts = np.bincount(codes[inside], weight[inside], n_levels + 2 * variable.whole)
    return (counts + 0.5) / (counts + 0.5).sum()
