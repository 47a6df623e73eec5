"""What the start of a network needs to know of the rows: means, a shrunk covariance, and counts."""

from typing import NamedTuple

import numpy as np
import torch

from sklearn_dgm._subsets import some_of
from sklearn_dgm.nn.heads.mixture_params import FAR_OUT
from sklearn_dgm.nn.tied_mixture import TiedMixture, gaussian, tied_mixtures

# With more numbers than these, some of the rows give the covariance well enough.
MAX_NUMBERS = 2**25


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
    mixture : TiedMixture
        What numbers start from: the Gaussian with this mean and covariance, or a larger one that was found better.
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
    mixture: TiedMixture
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
    Z, weight = _some(inputs, Z, weight)
    F, mean, std = _standardised(inputs, Z, weight)
    mixture = gaussian(F, weight).rescaled(mean, std)
    block = category_blocks(inputs.variables)
    indicators = _indicators(block, Z)
    weighted = indicators * weight[:, None]
    return Moments(
        _used(inputs),
        mixture.means[0],
        mixture.covariance,
        mixture,
        marginals,
        weighted.T @ indicators,
        block,
        (F * std + mean).T @ weighted,
    )


@torch.no_grad()
def mixtures(inputs, Z, weight, n_components=8):
    """Yield the Gaussian of :func:`moments`, and mixtures of so many at most from which numbers may start.

    Numbers say which component a row is of. Given that, categories have a mean and a covariance, too, as parents. See
    :func:`moments` for the other parameters.
    """
    Z, weight = _some(inputs, Z, weight)
    F, mean, std = _standardised(inputs, Z, weight)
    for mixture in tied_mixtures(F, weight, len(inputs.numeric), n_components):
        yield mixture.rescaled(mean, std)


def _some(inputs, Z, weight):
    """Return rows and their weights, or some of them if there are very many numbers."""
    some = some_of(len(Z), max(MAX_NUMBERS // max(inputs.n_features, 1), 1))
    return Z[some], weight[some]


def _standardised(inputs, Z, weight):
    """Return the features that are used in standard units, and the mean and spread that they had."""
    F = inputs.features(Z)[:, _used(inputs)].double().cpu().numpy()
    bulk = F.clip(-FAR_OUT, FAR_OUT)
    mean = np.average(bulk, axis=0, weights=weight)
    std = np.sqrt(np.average((bulk - mean) ** 2, axis=0, weights=weight))
    std[std < 1e-6] = 1.0  # constant, but for rounding and for rows with hardly any weight
    return (bulk - mean) / std, mean, std


def _used(inputs):
    # A covariance of very many categories would be large, and says little.
    return np.flatnonzero([not inputs.variables[j].is_embedded for j in inputs.feature_label])


def category_blocks(variables):
    """Return where the categories of columns stand in the counts of :class:`Moments`, by column."""
    block, start = {}, 0
    for j, variable in enumerate(variables):
        if variable.has_indicators and not variable.is_embedded:
            block[j] = slice(start, start + variable.n_levels)
            start += variable.n_levels
    return block


def empty_moments(inputs, n_components=1):
    """Return moments of the right shapes for arrays to be loaded into, all of them zero.

    Parameters
    ----------
    inputs : TableInputs
        How networks see the columns.
    n_components : int, default=1
        Components of the mixture that numbers start from.

    Returns
    -------
    moments : Moments
        The moments.
    """
    block, used = category_blocks(inputs.variables), _used(inputs)
    p, q = len(used), max((of_column.stop for of_column in block.values()), default=0)
    shares = {
        j: np.zeros(len(v.atoms) + 1 if v.atoms else v.n_levels + 2 * v.whole)
        for j, v in enumerate(inputs.variables)
        if v.n_levels or v.atoms
    }
    of_mixture = np.zeros(n_components), np.zeros((n_components, p)), np.zeros((p, p))
    return Moments(
        used,
        np.zeros(p),
        np.zeros((p, p)),
        TiedMixture(*of_mixture),
        shares,
        np.zeros((q, q)),
        block,
        np.zeros((p, q)),
    )


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
