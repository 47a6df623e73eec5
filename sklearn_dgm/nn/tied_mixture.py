"""Gaussian mixtures whose components share one covariance, by EM (Dempster, Laird and Rubin, 1977)."""

from typing import NamedTuple

import numpy as np
import torch

from sklearn_dgm._subsets import some_of

# Numbers of components, each twice the one before.
SIZES = (1, 2, 4, 8)
# Rounds of EM at most, and the gain in nats a row with which it ends.
N_ROUNDS, LEAST_GAIN = 100, 1e-4
# With more rows than these, some of them tell the components.
MAX_ROWS = 8192


class TiedMixture(NamedTuple):
    """Gaussian mixture with one covariance for all components.

    Attributes
    ----------
    shares : ndarray of shape (k,)
        Weights of the components.
    means : ndarray of shape (k, p)
        Their means.
    covariance : ndarray of shape (p, p)
        The covariance of each of them.
    """

    shares: np.ndarray
    means: np.ndarray
    covariance: np.ndarray

    @property
    def n_components(self):
        """Number of components."""
        return len(self.shares)

    def rescaled(self, location, scale):
        """Return the mixture of what is multiplied by a scale and moved by a location, each of shape (p,)."""
        covariance = self.covariance * np.outer(scale, scale)
        return TiedMixture(self.shares, location + self.means * scale, covariance)


class Sample:
    """Weighted rows that a tied mixture is fitted to.

    Parameters
    ----------
    F : ndarray of shape (n, p)
        Rows in standard units.
    weight : ndarray of shape (n,)
        Weights; a weight of 2 counts as the row twice.
    """

    def __init__(self, F, weight):
        self.F, self.weight = torch.from_numpy(F), torch.from_numpy(weight)
        self.n = self.weight.sum()
        self.second_moment = (self.F.T * self.weight) @ self.F / self.n
        self.length = self.F.square().sum(dim=1)

    def maximise(self, responsibilities):
        """Return the mixture that the rows make up, by their shares in its components, which are of shape (n, k).

        The covariance is shrunk towards a multiple of the identity (Ledoit and Wolf, 2004).
        """
        share = responsibilities * self.weight[:, None]
        counts = share.sum(dim=0)
        means = share.T @ self.F / counts.clamp_min(1e-9)[:, None]
        covariance = self.second_moment - (means.T * counts / self.n) @ means
        distance = self.length[:, None] - 2 * self.F @ means.T + means.square().sum(dim=1)
        fourth_moment = (share * distance.square()).sum() / self.n
        covariance = _shrunk(covariance, fourth_moment, self.n)
        # No component is empty for good.
        shares = (counts + 0.5) / (counts + 0.5).sum()
        return TiedMixture(shares.numpy(), means.numpy(), covariance.numpy())

    def expect(self, mixture):
        """Return the shares of rows in the components of a mixture, of shape (n, k), and their mean log-likelihood."""
        shares, means, covariance = map(torch.from_numpy, mixture)
        factor = torch.linalg.cholesky(covariance)
        slopes = torch.cholesky_solve(means.T, factor)
        # Up to what is the same for all components, logits are linear.
        logits = self.F @ slopes + torch.log(shares) - (means.T * slopes).sum(dim=0) / 2
        log_total = torch.logsumexp(logits, dim=1)
        same = torch.cholesky_solve(self.second_moment, factor).trace() / 2
        same = same + factor.diagonal().log().sum() + factor.shape[0] / 2 * np.log(2 * np.pi)
        log_likelihood = self.weight @ log_total / self.n - same
        return torch.exp(logits - log_total[:, None]), log_likelihood.item()

    def fit(self, responsibilities):
        """Return the mixture to which EM leads from the shares of rows in its components."""
        last = -np.inf
        for _ in range(N_ROUNDS):
            mixture = self.maximise(responsibilities)
            responsibilities, log_likelihood = self.expect(mixture)
            if log_likelihood < last + LEAST_GAIN:
                break
            last = log_likelihood
        return mixture

    def log_likelihood(self, mixture):
        """Return the mean log-likelihood of a mixture, in nats a row."""
        return self.expect(mixture)[1]

    def widest(self, mixture):
        """Return the component in which most of the variance lies along an axis."""
        shares = self.expect(mixture)[0].T
        variances = [
            self._principal_axis(share, mean)[0]
            for share, mean in zip(shares, mixture.means, strict=True)
        ]
        return int((torch.stack(variances) * (shares @ self.weight)).argmax())

    def split(self, mixture, which):
        """Return the shares of rows in more components: some are split along their principal axes."""
        shares, halves = self.expect(mixture)[0], []
        for k in which:
            variance, axis = self._principal_axis(shares[:, k], mixture.means[k])
            score = (self.F - torch.from_numpy(mixture.means[k])) @ axis
            upper = torch.sigmoid(2 * score / variance.clamp_min(1e-9).sqrt())
            halves.append(shares[:, k] * upper)
        halves = torch.stack(halves, dim=1)
        shares[:, which] -= halves
        return torch.cat([shares, halves], dim=1)

    def _principal_axis(self, share, mean):
        """Return the largest variance of the rows of a component along an axis, and the axis."""
        centred, weight = self.F - torch.from_numpy(mean), share * self.weight
        scatter = (centred.T * weight) @ centred / weight.sum().clamp_min(1e-9)
        variances, axes = torch.linalg.eigh(scatter)
        return variances[-1], axes[:, -1]


def _shrunk(covariance, fourth_moment, n):
    """Shrink the covariance of n rows, given the mean fourth power of their lengths."""
    p = len(covariance)
    mu = covariance.trace() / max(p, 1)  # there may be none
    distance = covariance.square().sum() - p * mu**2
    noise = (fourth_moment - covariance.square().sum()) / n
    shrinkage = min((noise / distance).item(), 1.0) if distance > 0 else 1.0
    identity = torch.eye(p, dtype=covariance.dtype)
    return (1 - shrinkage) * covariance + (shrinkage * mu + 1e-6) * identity


def gaussian(F, weight):
    """Return the shrunk Gaussian of rows as a mixture of one component; see :class:`Sample` for the parameters."""
    sample = Sample(F, weight)
    return sample.maximise(torch.ones(len(F), 1, dtype=torch.float64))


def tied_mixtures(F, weight, n_seen, n_components=8):
    """Yield mixtures of 1, 2, 4 and 8 components; each is the one before with all components split, or one by one.

    Parameters
    ----------
    F, weight
        See :class:`Sample`.
    n_seen : int
        How many columns, from the first, say which component a row is of. The others only follow.
    n_components : int, default=8
        Components of a mixture at most.

    Yields
    ------
    mixture : TiedMixture
        Fitted by EM.
    """
    yield gaussian(F, weight)
    all_columns, seen = Sample(F, weight), Sample(F[:, :n_seen], weight)
    rows = some_of(len(F), MAX_ROWS)
    some = Sample(F[rows, :n_seen], weight[rows])
    mixture = gaussian(F[rows, :n_seen], weight[rows])
    for size in (size for size in SIZES[1:] if size <= n_components):
        doubled = some.fit(some.split(mixture, list(range(mixture.n_components))))
        grown = mixture
        while grown.n_components < size:
            grown = some.fit(some.split(grown, [some.widest(grown)]))
        mixture = max(doubled, grown, key=some.log_likelihood)
        yield all_columns.maximise(seen.expect(mixture)[0])
