"""Variances without correlations of the components of a Gaussian mixture: diagonal, or spherical."""

import numpy as np

from sklearn_dgm.mixture._covariances import LOG_2_PI, Covariances, check_positive
from sklearn_dgm.mixture._numbers import Moments

# With larger squares of means over variances, or smaller variances in squares, products would lose digits.
FARTHEST_MEAN, LEAST_SHARE = 1e6, 1e-6


class DiagonalCovariances(Covariances):
    """A variance of each column in each component, or one of all standardised columns.

    Parameters
    ----------
    n_components : int
        Number of components.
    prior : Prior
        What they are drawn towards, and the least variances.
    spherical : bool
        Whether the variances of a component are all the same.
    """

    def __init__(self, n_components, prior, spherical):
        super().__init__(n_components, prior)
        self.spherical = spherical
        self.values = np.tile(prior.variances, (n_components, 1))

    def dense(self, k):
        """Return the covariance of a component; see :class:`Covariances`."""
        return np.diag(self.values[k])

    def log_prob(self, numbers, means):
        """Return the log-density of observed numbers; see :class:`Covariances`."""
        for k, variance in enumerate(self.values):
            check_positive(variance, k)
        precision = 1 / self.values
        distances = np.square(means) * precision
        log_dets = np.log(self.values) + LOG_2_PI
        log_p = numbers.squares @ precision.T
        log_p -= 2 * numbers.filled @ (means * precision).T
        if numbers.is_complete:
            log_p += (distances + log_dets).sum(axis=1)
        else:
            log_p += numbers.seen @ (distances + log_dets).T
        for k in np.flatnonzero(distances.max(axis=1) > FARTHEST_MEAN):
            squares = np.square(numbers.filled - numbers.seen * means[k])
            log_p[:, k] = squares @ precision[k] + numbers.seen @ log_dets[k]
        return -0.5 * log_p

    def moments(self, numbers, means, responsibilities):
        """Return expected moments; see :meth:`Covariances.moments`."""
        weight, shares = responsibilities.sum(axis=0), np.ascontiguousarray(responsibilities.T)
        total = np.where(weight > 0, weight, 1.0)[:, None]
        observed = weight[:, None] if numbers.is_complete else shares @ numbers.seen
        missing = np.maximum(weight[:, None] - observed, 0.0)
        first, second = shares @ numbers.filled, shares @ numbers.squares
        mean = (first + missing * means) / total
        scatter = second - 2 * mean * first + observed * np.square(mean)
        for k in np.flatnonzero((scatter < LEAST_SHARE * second).any(axis=1)):
            squares = np.square(numbers.filled - numbers.seen * mean[k])
            scatter[k] = shares[k] @ squares
        scatter += missing * (np.square(means - mean) + self.values)
        return Moments(weight, np.where(weight[:, None] > 0, mean, means), scatter)

    def expected(self, numbers, mean, k):
        """Return numbers with expectations; see :meth:`Covariances.expected`."""
        return np.where(np.isnan(numbers.U), mean, numbers.U)

    def conditional(self, part, U, mean, k):
        """Return expectations and covariances of missing numbers; see :meth:`Covariances.conditional`."""
        variances = self.values[k][part.missing]
        return mean[part.missing[part.place]], variances[:, None] * np.eye(variances.shape[1])

    def _learn(self, weight, scatter):
        pairs = zip(weight, scatter, strict=True)
        values = np.stack([self.prior.mean_square(*of) for of in pairs])
        if self.spherical:
            values = np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape)
            self.values = np.maximum(values, self.prior.least.max())
        else:
            self.values = np.maximum(values, self.prior.least)

    def _divergence(self, k):
        check_positive(self.values[k], k)
        return np.sum(np.log(self.values[k]) + self.prior.variances / self.values[k])

    def n_parameters(self, d):
        """Return the number of free parameters; see :class:`Covariances`."""
        return self.n_components * (1 if self.spherical else d)
