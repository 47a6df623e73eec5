"""Covariances of few factors in each component of a Gaussian mixture: a mixture of factor analysers.

They are never inverted, but small matrices of the factors are (Woodbury). Where columns are few, they are learnt from
the scatter of pairs of columns, by several steps at once; of wide tables from what the factors have in common with
columns, so that no matrix of pairs of columns is made for a component.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from sklearn_dgm.mixture._covariances import (
    LOG_2_PI,
    Covariances,
    SingularCovarianceError,
    cholesky,
    inverses,
)
from sklearn_dgm.mixture._numbers import Moments, Numbers

# Steps of factor analysis within a step of expectation and maximisation, and the least variance beside the factors.
FACTOR_STEPS, LEAST_NOISE = 10, 1e-10
# A table with more columns for each factor is wide.
WIDE = 20


class Factors(NamedTuple):
    """What a component says of the factors of rows.

    Attributes
    ----------
    deviation : ndarray of shape (n, d)
        Deviations of numbers from its mean, 0 where one is missing.
    expected : ndarray of shape (n, n_factors)
        Expectations of the factors.
    covariance : ndarray of shape (n, n_factors, n_factors) or (1, n_factors, n_factors)
        Their covariances.
    log_prob : ndarray of shape (n,)
        Log-density of the observed numbers.
    """

    deviation: np.ndarray
    expected: np.ndarray
    covariance: np.ndarray
    log_prob: np.ndarray


class FactorMoments(NamedTuple):
    """Moments of numbers and factors in each component; those of parts of the rows add up.

    Attributes
    ----------
    weight : ndarray of shape (n_components,)
        Sums of the weights.
    mean : ndarray of shape (n_components, d)
        Means of the numbers.
    of_factors : ndarray of shape (n_components, n_factors)
        Means of the factors.
    squares : ndarray of shape (n_components, d)
        Sums of squared deviations of numbers.
    across : ndarray of shape (n_components, d, n_factors)
        Sums of products of deviations of numbers and factors.
    second : ndarray of shape (n_components, n_factors, n_factors)
        Sums of products of deviations of factors.
    """

    weight: np.ndarray
    mean: np.ndarray
    of_factors: np.ndarray
    squares: np.ndarray
    across: np.ndarray
    second: np.ndarray

    def plus(self, other):
        """Return the moments of the rows of both (Chan, Golub and LeVeque, 1979)."""
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros_like(total), where=total > 0)
        step, of_factors = other.mean - self.mean, other.of_factors - self.of_factors
        factor = (self.weight * share)[:, None]
        rest = factor[..., None]
        return FactorMoments(
            total,
            self.mean + share[:, None] * step,
            self.of_factors + share[:, None] * of_factors,
            self.squares + other.squares + factor * step**2,
            self.across + other.across + rest * step[:, :, None] * of_factors[:, None],
            self.second + other.second + rest * of_factors[:, :, None] * of_factors[:, None],
        )


class FactorCovariances(Covariances):
    """Covariances of few factors and a variance beside these for each column.

    Parameters
    ----------
    n_components : int
        Number of components.
    prior : Prior
        What they are drawn towards, and the least variances.
    n_factors : int
        Number of factors of each component, less than that of columns.
    """

    def __init__(self, n_components, prior, n_factors):
        super().__init__(n_components, prior)
        self.n_factors = n_factors
        self.least = np.maximum(prior.least, LEAST_NOISE)
        loadings, noise = self._principal(prior.covariance)
        self.loadings = np.tile(loadings, (n_components, 1, 1))
        self.noise = np.tile(noise, (n_components, 1))
        self.has_learnt = False

    @property
    def _is_wide(self):
        return self.noise.shape[1] > WIDE * self.n_factors

    def _principal(self, square):
        """Return the loadings and variances of the principal components of a covariance."""
        values, vectors = linalg.eigh(square)
        rest, values = np.split(values, [-self.n_factors])
        vectors = vectors[:, -self.n_factors :]
        loadings = vectors * np.sqrt((values - rest.mean()).clip(LEAST_NOISE))
        noise = np.diag(square) - np.square(loadings).sum(axis=1)
        return loadings, np.maximum(noise, self.least)

    def _precision(self, k):
        """Return the loadings over the variances beside factors, and the Cholesky root of the factors' precision."""
        scaled = self.loadings[k] / self.noise[k][:, None]
        return scaled, cholesky(np.eye(self.n_factors) + self.loadings[k].T @ scaled, k)

    def _factors(self, numbers, mean, k):
        """Return what a component says of the factors of rows, as :class:`Factors`."""
        loadings, noise, q = self.loadings[k], self.noise[k], self.n_factors
        scaled = loadings / noise[:, None]
        deviation = numbers.U - mean
        pairs = (scaled[:, :, None] * loadings[:, None]).reshape(-1, q * q)
        if numbers.is_complete:
            of_noise, pairs = np.log(noise).sum() + len(noise) * LOG_2_PI, pairs.sum(axis=0)
        else:
            deviation = np.where(np.isnan(deviation), 0.0, deviation)
            of_noise, pairs = numbers.seen @ (np.log(noise) + LOG_2_PI), numbers.seen @ pairs
        covariance, log_dets = inverses(np.eye(q) + pairs.reshape(-1, q, q), k)
        ahead = deviation @ scaled
        expected = _times(ahead, covariance)
        squares = np.square(deviation) @ (1 / noise) - np.sum(ahead * expected, axis=1)
        return Factors(deviation, expected, covariance, -0.5 * (squares + of_noise + log_dets))

    def dense(self, k):
        """Return the covariance of a component; see :class:`Covariances`."""
        loadings = self.loadings[k]
        # Sums, which are the same bits in each call.
        return (loadings[:, None] * loadings).sum(axis=2) + np.diag(self.noise[k])

    def log_prob(self, numbers, means):
        """Return the log-density of observed numbers; see :class:`Covariances`."""
        pairs = enumerate(means)
        return np.column_stack([self._factors(numbers, mean, k).log_prob for k, mean in pairs])

    def expected(self, numbers, mean, k):
        """Return numbers with expectations; see :meth:`Covariances.expected`."""
        if numbers.is_complete:
            return numbers.U
        from_factors = self._factors(numbers, mean, k).expected @ self.loadings[k].T
        return np.where(np.isnan(numbers.U), mean + from_factors, numbers.U)

    def conditional(self, part, U, mean, k):
        """Return expectations and covariances of missing numbers; see :meth:`Covariances.conditional`."""
        numbers = Numbers(U[part.rows])
        _, first = np.unique(part.place, return_index=True)
        of, loadings = self._factors(numbers, mean, k), self.loadings[k][part.missing]
        expected = mean + of.expected @ self.loadings[k].T
        covariances = loadings @ of.covariance[first] @ np.swapaxes(loadings, 1, 2)
        covariances += self.noise[k][part.missing][:, :, None] * np.eye(part.missing.shape[1])
        return np.take_along_axis(expected, part.missing[part.place], axis=1), covariances

    def moments(self, numbers, means, responsibilities):
        """Return expected moments; see :meth:`Covariances.moments`."""
        if self._is_wide:
            return self._moments_with_factors(numbers, means, responsibilities)
        d, weight = numbers.U.shape[1], responsibilities.sum(axis=0)
        mean, scatter = means.copy(), np.zeros((len(means), d, d))
        for k in np.flatnonzero(weight > 0):
            r = responsibilities[:, k]
            filled = self.expected(numbers, means[k], k) - means[k]
            step = r @ filled / weight[k]
            mean[k] += step
            filled -= step
            scatter[k] = (r[:, None] * filled).T @ filled
            if not numbers.is_complete:
                scatter[k] += self._left(numbers, means[k], r, k)
        return Moments(weight, mean, scatter)

    def _left(self, numbers, mean, r, k):
        """Return the weighted sum of the covariances of missing numbers, of shape (d, d)."""
        covariance, missing = self._factors(numbers, mean, k).covariance, 1 - numbers.seen
        left = np.diag((r @ missing) * self.noise[k])
        for a, of_a in enumerate(self.loadings[k].T):
            for b, of_b in enumerate(self.loadings[k].T):
                weight = (r * covariance[:, a, b])[:, None]
                left += (weight * missing).T @ missing * np.outer(of_a, of_b)
        return left

    def _moments_with_factors(self, numbers, means, responsibilities):
        (n_components, d), q = means.shape, self.n_factors
        weight, shares = responsibilities.sum(axis=0), responsibilities.T
        if not self.has_learnt:  # the means are none yet
            seen = np.maximum(shares @ numbers.seen, np.finfo(np.float64).tiny)
            means = shares @ numbers.filled / seen
        moments = FactorMoments(
            weight,
            means.copy(),
            np.zeros((n_components, q)),
            np.zeros((n_components, d)),
            np.zeros((n_components, d, q)),
            np.zeros((n_components, q, q)),
        )
        for k in np.flatnonzero(weight > 0):
            (rows,) = np.nonzero(responsibilities[:, k])
            part, r = numbers.of(rows), responsibilities[rows, k]
            self._add_factors(moments, part, means[k], r, k)
        return moments

    def _add_factors(self, moments, numbers, mean, r, k):
        """Write the moments of a component in place."""
        of, loadings, q = self._factors(numbers, mean, k), self.loadings[k], self.n_factors
        filled = of.deviation
        if not numbers.is_complete:
            filled = np.where(numbers.seen > 0, filled, of.expected @ loadings.T)
        step, mean_of_factors = r @ filled / r.sum(), r @ of.expected / r.sum()
        filled, factors = filled - step, of.expected - mean_of_factors
        moments.mean[k], moments.of_factors[k] = mean + step, mean_of_factors
        moments.squares[k], moments.across[k] = (
            r @ np.square(filled),
            (r[:, None] * filled).T @ factors,
        )
        covariance = np.broadcast_to(of.covariance, (len(r), q, q))
        moments.second[k] = (r[:, None] * factors).T @ factors + np.tensordot(r, covariance, 1)
        if not numbers.is_complete:
            missing = 1 - numbers.seen
            left = (missing.T @ (r[:, None] * covariance.reshape(-1, q * q))).reshape(-1, q, q)
            across = np.matmul(loadings[:, None], left)[:, 0]
            moments.across[k] += across
            moments.squares[k] += (r @ missing) * self.noise[k] + np.sum(across * loadings, axis=1)

    def learn(self, moments, means):
        """Learn from moments; see :meth:`Covariances.learn`."""
        if isinstance(moments, Moments):
            return super().learn(moments, means)
        loadings, noise, means = self.loadings.copy(), self.noise.copy(), means.copy()
        for k, weight in enumerate(moments.weight):
            if not weight + self.prior.rows > 0:
                continue
            loadings[k], noise[k] = self._regressed(moments, k)
            if weight > 0:
                means[k] = moments.mean[k] - loadings[k] @ moments.of_factors[k]
        self.loadings, self.noise, self.has_learnt = loadings, noise, True
        return means

    def _regressed(self, moments, k):
        """Return the loadings and variances of a component, by regression of the numbers on the factors."""
        prior, total = self.prior, moments.weight[k] + self.prior.rows
        scaled, root = self._precision(k)
        of_factors = linalg.cho_solve((root, True), np.eye(self.n_factors))
        slopes = scaled @ of_factors
        # Rows of the prior, too, have factors that are expected under the present parameters.
        across = total * prior.ridge[:, None] * slopes
        squares = moments.squares[k] + total * prior.ridge
        if prior.rows:
            across += prior.rows * (prior.covariance @ slopes)
            squares = squares + prior.rows * prior.variances
        second = moments.second[k] + prior.rows * of_factors + slopes.T @ across
        across = across + moments.across[k]
        try:
            loadings = linalg.solve(second, across.T, assume_a="pos").T
        except linalg.LinAlgError as error:
            raise SingularCovarianceError.of(k) from error
        noise = (squares - np.sum(loadings * across, axis=1)) / total
        return loadings, np.maximum(noise, self.least)

    def _learn(self, weight, scatter):
        """Learn from scatter, from principal components first, by some steps of factor analysis in each call."""
        loadings, noise = self.loadings.copy(), self.noise.copy()
        for k, of in enumerate(zip(weight, scatter, strict=True)):
            square = self.prior.mean_square(*of)
            if not self.has_learnt:
                loadings[k], noise[k] = self._principal(square)
            for _ in range(FACTOR_STEPS):
                loadings[k], noise[k] = self._step(square, loadings[k], noise[k], k)
        self.loadings, self.noise, self.has_learnt = loadings, noise, True

    def _step(self, square, loadings, noise, k):
        """Return loadings and variances after a step of EM for factor analysis (Rubin and Thayer, 1982)."""
        scaled = loadings / noise[:, None]
        root = cholesky(np.eye(self.n_factors) + loadings.T @ scaled, k), True
        slopes = linalg.cho_solve(root, scaled.T)
        across = square @ slopes.T
        second = linalg.cho_solve(root, np.eye(self.n_factors)) + slopes @ across
        loadings = linalg.solve(second, across.T, assume_a="pos").T
        noise = np.diag(square) - np.sum(loadings * across, axis=1)
        return loadings, np.maximum(noise, self.least)

    def _divergence(self, k):
        scaled, root = self._precision(k)
        target = self.prior.covariance
        of_factors = linalg.cho_solve((root, True), scaled.T @ target @ scaled)
        log_det = np.log(self.noise[k]).sum() + 2 * np.log(np.diag(root)).sum()
        return log_det + np.sum(np.diag(target) / self.noise[k]) - np.trace(of_factors)

    def n_parameters(self, d):
        """Return the number of free parameters, less the rotations that change nothing."""
        q = self.n_factors
        # Many factors say no more than a free covariance.
        return self.n_components * min(d * q - q * (q - 1) // 2 + d, d * (d + 1) // 2)


def _times(values, matrices):
    """Return the products of rows of values with their matrix, or the only one, of shape (n, q)."""
    if len(matrices) == 1:
        return values @ matrices[0]
    return np.matmul(values[:, None], matrices)[:, 0]
