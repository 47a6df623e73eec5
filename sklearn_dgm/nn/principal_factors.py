"""Where the training of an autoencoder starts: principal factors, a linear model of few latents."""

import numpy as np
import torch
from scipy import linalg

from sklearn_dgm.nn.simple import GatedRegression

# The least share of a feature's variance that factors leave it.
LEAST_UNIQUENESS = 0.05
# Longest slopes of the logits of categories, in nats for a unit of the latents.
MAX_SLOPE = 3.0


class PrincipalFactors:
    """Linear model of the features of a table by independent normal latents, its principal components.

    It is what heads ask in `start_from` (see :class:`~sklearn_dgm.nn.simple.SimpleConditionals`), with the latents for
    features: numbers have a regression on these, and the logits of categories are linear to the first order.

    Parameters
    ----------
    inputs : TableInputs
        How the network sees the columns.
    moments : Moments
        What the rows say.
    n_latents : int
        Number of latents.

    Attributes
    ----------
    variables : list of Variable
        The columns.
    marginals : dict of int to ndarray
        See :class:`~sklearn_dgm.nn.moments.Moments`.
    """

    def __init__(self, inputs, moments, n_latents):
        self.variables, self.marginals = inputs.variables, moments.marginals
        self._inputs, self._used, self._n_latents = inputs, moments.used, n_latents
        self._mean, covariance = moments.mean, moments.covariance
        self._scale = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(self._scale, self._scale)
        self._loadings = _loadings(correlation, n_latents)
        self._uniqueness = 1 - np.square(self._loadings).sum(axis=1)
        # Turned so that the latents of a row are independent, which is what an encoder can say of them.
        _, axes = np.linalg.eigh(-self._precision())
        self._loadings = _with_signs(self._loadings @ axes)

    def _precision(self):
        """Return what rows say of their latents, of shape (n_latents, n_latents)."""
        return (self._loadings.T / self._uniqueness) @ self._loadings

    def _place(self, j):
        """Return where the features of a column stand among those that are used; none of very many categories."""
        own = self._inputs.features_at[j]
        first, last = np.searchsorted(self._used, [own.start, own.stop])
        return slice(first, last)

    def gated_regression(self, j):
        """Return the regression of a number on the latents, as a :class:`~sklearn_dgm.nn.simple.GatedRegression`."""
        own = self._place(j).start
        scale = self._scale[own]
        return GatedRegression(
            np.arange(self._n_latents),
            scale * self._loadings[own],
            self._mean[own : own + 1],
            scale**2 * self._uniqueness[own],
            np.zeros((1, self._n_latents)),
            np.zeros(1),
        )

    def logits(self, j):
        """Return the logits of the codes of a column as linear functions of the latents; see `SimpleConditionals`."""
        variable, place = self.variables[j], self._place(j)
        log_p = np.log(self.marginals[j])
        slopes = self._scale[place, None] * self._loadings[place]
        n_levels = variable.n_levels
        p = np.exp(log_p[:n_levels])
        if variable.has_indicators:
            if n_levels == 2:  # of which the feature is a sign
                slopes = np.concatenate([-slopes, slopes]) / 2
            slopes = slopes / p[:, None]
        else:
            # Of normals with one variance, which the regression leaves.
            levels = (np.arange(n_levels) - variable.location) / variable.scale
            variance = self._scale[place] ** 2 * self._uniqueness[place]
            slopes = np.outer(levels - p @ levels / p.sum(), slopes[0] / variance)
        longest = np.linalg.norm(slopes, axis=1, keepdims=True)
        slopes = slopes * np.minimum(1, MAX_SLOPE / np.maximum(longest, 1e-9))
        slopes = np.pad(slopes, ((0, len(log_p) - n_levels), (0, 0)))
        return np.arange(self._n_latents), slopes, log_p

    def posterior(self):
        """Return what rows say of their latents: normals, whose means are linear in the features.

        Returns
        -------
        weights : ndarray of shape (n_latents, n_features)
            Of the means, in the features of the inputs.
        bias : ndarray of shape (n_latents,)
            Constants of the means.
        log_scale : ndarray of shape (n_latents,)
            Logarithms of the standard deviations.
        """
        precision = 1 + np.diag(self._precision())
        of_used = self._loadings.T / self._uniqueness / precision[:, None] / self._scale
        weights = np.zeros((self._n_latents, self._inputs.n_features))
        weights[:, self._used] = of_used
        return weights, -of_used @ self._mean, -np.log(precision) / 2


def _loadings(correlation, n_latents):
    """Return the loadings of features in standard units, (p, n_latents), by probabilistic principal components."""
    p = len(correlation)
    n = min(n_latents, p)
    loadings = np.zeros((p, n_latents))
    if n == 0:
        return loadings
    variances, axes = linalg.eigh(correlation, subset_by_index=[p - n, p - 1])
    rest = max((p - variances.sum()) / (p - n), 0.0) if p > n else 0.0
    loadings[:, :n] = axes[:, ::-1] * np.sqrt(np.maximum(variances[::-1] - rest, 0.0))
    explained = np.square(loadings).sum(axis=1, keepdims=True)
    return loadings * np.sqrt(np.minimum(1, (1 - LEAST_UNIQUENESS) / np.maximum(explained, 1e-9)))


def _with_signs(loadings):
    """Turn latents round, so that last bits of the rows do not decide which way they point."""
    size = np.abs(loadings)
    first = np.argmax(size > 0.9 * size.max(axis=0), axis=0)
    return loadings * np.where(np.take_along_axis(loadings, first[None], axis=0) < 0, -1.0, 1.0)


@torch.no_grad()
def start_from_factors(module, moments):
    """Set a :class:`~sklearn_dgm.nn.vae.VariationalAutoencoder` to principal factors.

    Parameters
    ----------
    module : VariationalAutoencoder
        The network, on the CPU, which has not started yet.
    moments : Moments
        What to start from.
    """
    factors = PrincipalFactors(module.inputs, moments, module.n_latents)
    weight, bias = torch.zeros_like(module.decoder.skip.weight), torch.zeros(module.bank.n_params)
    for rows, start in module.bank.start_from(factors):
        bias[rows] = torch.from_numpy(start.bias).to(bias)
        for row, of_row in zip(start.rows, start.weights, strict=True):
            weight[rows.start + int(row)] = torch.from_numpy(of_row).to(weight)
    module.decoder.start_from(weight, bias)
    weights, constants, log_scale = factors.posterior()
    weight = torch.zeros_like(module.encoder.skip.weight)
    weight[: module.n_latents, : weights.shape[1]] = torch.from_numpy(weights).to(weight)
    bias = torch.from_numpy(np.concatenate([constants, log_scale])).to(weight)
    module.encoder.start_from(weight, bias)
