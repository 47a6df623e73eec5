"""Covariances of the components of a Gaussian mixture: free, common, diagonal, spherical, or of few factors.

All of them answer for those columns that are observed, and learn from the scatter of all columns. They are in units of
the standard deviations of the columns.
"""

from abc import abstractmethod

import numpy as np
from scipy import linalg

from sklearn_dgm._state import Stateful

LOG_2_PI = float(np.log(2 * np.pi))
# Steps of factor analysis within a step of expectation and maximisation, and the least variance beside the factors.
FACTOR_STEPS, LEAST_NOISE = 10, 1e-10


class Prior(Stateful):
    """What covariances are drawn towards.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
        A covariance that counts as some rows of a component.
    rows : float
        How many; with 0 nothing is drawn.
    ridge : ndarray of shape (d,)
        What is added to variances.
    least : ndarray of shape (d,)
        Least variances of the columns, given all others: those of rounding; 0 where numbers are not rounded.
    """

    def __init__(self, covariance, rows, ridge, least):
        self.covariance, self.rows, self.ridge, self.least = covariance, rows, ridge, least

    def mean_square(self, weight, scatter):
        """Return mean squared deviations, of pairs of columns or of columns alone, as the scatter is."""
        of_pairs = scatter.ndim == 2
        target = self.covariance if of_pairs else np.diag(self.covariance)
        total = weight + self.rows
        mean = (scatter + self.rows * target) / total if total > 0 else target
        return mean + (np.diag(self.ridge) if of_pairs else self.ridge)


class Covariances(Stateful):
    """Base class of the covariances of all components.

    A component is named by its number `k`.

    Parameters
    ----------
    n_components : int
        Number of components.
    prior : Prior
        What they are drawn towards, and the least variances.

    Attributes
    ----------
    of_pairs : bool
        Whether they learn from the scatter of pairs of columns, or from that of columns alone.
    """

    of_pairs = True

    def __init__(self, n_components, prior):
        self.n_components, self.prior = n_components, prior

    @abstractmethod
    def log_prob(self, deviation, k):
        """Return the log-density of deviations from the mean in all columns, of shape (n,).

        Where columns are independent, deviations that are NaN are left out.
        """

    @abstractmethod
    def inverses(self, k, observed):
        """Return the inverses of the covariances of observed columns, and the log-determinants of these.

        Parameters
        ----------
        k : int
            Component.
        observed : ndarray of bool of shape (n_patterns, d)
            Which columns are observed.

        Returns
        -------
        inverses : ndarray of shape (n_patterns, d, d)
            With 0 in other columns.
        log_dets : ndarray of shape (n_patterns,)
            Log-determinants of the covariances.
        """

    @abstractmethod
    def learn(self, weight, scatter):
        """Learn from the weights of the components, (n_components,), and their scatter."""

    @abstractmethod
    def dense(self, k):
        """Return the covariance of a component, of shape (d, d)."""

    @abstractmethod
    def n_parameters(self, d):
        """Return the number of free parameters of d columns."""

    @abstractmethod
    def _divergence(self, k):
        """Return log det C + trace(C^-1 P) for the covariance C of a component and that of the prior, P."""

    def _distinct(self):
        """Return the components whose covariances differ."""
        return range(self.n_components)

    def log_prior(self):
        """Return the log-density of the prior, up to a constant."""
        if not self.prior.rows:
            return 0.0
        return -0.5 * self.prior.rows * sum(self._divergence(k) for k in self._distinct())


class FullCovariances(Covariances):
    """A covariance of all columns for each component, or one for all components.

    Parameters
    ----------
    n_components : int
        Number of components.
    prior : Prior
        What they are drawn towards, and the least variances.
    tied : bool
        Whether there is one for all components.
    """

    def __init__(self, n_components, prior, tied):
        super().__init__(n_components, prior)
        self.tied = tied
        self.values = np.tile(prior.covariance, (1 if tied else n_components, 1, 1))

    def _distinct(self):
        return range(len(self.values))

    def dense(self, k):
        """Return the covariance of a component; see :class:`Covariances`."""
        return self.values[0 if self.tied else k]

    def log_prob(self, deviation, k):
        """Return the log-density of deviations; see :class:`Covariances`."""
        root = cholesky(self.dense(k), k)
        # A product with the inverse of the root takes a fifth of the time of solving for each row.
        inverse = linalg.solve_triangular(root, np.eye(len(root)), lower=True, check_finite=False)
        squares = np.square(deviation @ inverse.T).sum(axis=1)
        return -0.5 * (squares + 2 * np.log(np.diag(root)).sum() + len(root) * LOG_2_PI)

    def inverses(self, k, observed):
        """Return inverses and log-determinants; see :meth:`Covariances.inverses`."""
        both = observed[:, :, None] & observed[:, None]
        blocks = np.where(both, self.dense(k), 0.0) + ~observed[:, None] * np.eye(observed.shape[1])
        roots = roots_of(blocks, k)
        log_dets = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        return np.where(both, np.linalg.inv(blocks), 0.0), log_dets

    def learn(self, weight, scatter):
        """Learn from scatter; see :class:`Covariances`."""
        if self.tied:
            weight, scatter = weight.sum(keepdims=True), scatter.sum(axis=0, keepdims=True)
        self.values = np.stack(
            [
                with_least(self.prior.mean_square(*of), self.prior.least, k)
                for k, of in enumerate(zip(weight, scatter, strict=True))
            ]
        )

    def _divergence(self, k):
        root = cholesky(self.dense(k), k)
        ratio = linalg.cho_solve((root, True), self.prior.covariance, check_finite=False)
        return 2 * np.log(np.diag(root)).sum() + np.trace(ratio)

    def n_parameters(self, d):
        """Return the number of free parameters; see :class:`Covariances`."""
        return len(self.values) * d * (d + 1) // 2


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

    of_pairs = False

    def __init__(self, n_components, prior, spherical):
        super().__init__(n_components, prior)
        self.spherical = spherical
        self.values = np.tile(np.diag(prior.covariance), (n_components, 1))

    def dense(self, k):
        """Return the covariance of a component; see :class:`Covariances`."""
        return np.diag(self.values[k])

    def log_prob(self, deviation, k):
        """Return the log-density of deviations; see :class:`Covariances`."""
        variance, is_seen = self.values[k], ~np.isnan(deviation)
        check_positive(variance, k)
        squares = np.where(is_seen, np.square(deviation), 0.0) @ (1 / variance)
        return -0.5 * (squares + is_seen @ (np.log(variance) + LOG_2_PI))

    def inverses(self, k, observed):
        """Return inverses and log-determinants; see :meth:`Covariances.inverses`."""
        check_positive(self.values[k], k)
        diagonals = (observed / self.values[k])[:, None] * np.eye(observed.shape[1])
        return diagonals, observed @ np.log(self.values[k])

    def learn(self, weight, scatter):
        """Learn from scatter; see :class:`Covariances`."""
        pairs = zip(weight, scatter, strict=True)
        values = np.stack([self.prior.mean_square(*of) for of in pairs])
        if self.spherical:
            values = np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape)
            self.values = np.maximum(values, self.prior.least.max())
        else:
            self.values = np.maximum(values, self.prior.least)

    def _divergence(self, k):
        check_positive(self.values[k], k)
        return np.sum(np.log(self.values[k]) + np.diag(self.prior.covariance) / self.values[k])

    def n_parameters(self, d):
        """Return the number of free parameters; see :class:`Covariances`."""
        return self.n_components * (1 if self.spherical else d)


class FactorCovariances(Covariances):
    """Covariances of few factors and a variance beside these for each column: a mixture of factor analysers.

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

    def _principal(self, square):
        """Return the loadings and variances of the principal components of a covariance."""
        values, vectors = linalg.eigh(square)
        rest, values, vectors = (
            np.split(values, [-self.n_factors])[0],
            values[-self.n_factors :],
            vectors[:, -self.n_factors :],
        )
        loadings = vectors * np.sqrt((values - rest.mean()).clip(LEAST_NOISE))
        noise = np.diag(square) - np.square(loadings).sum(axis=1)
        return loadings, np.maximum(noise, self.least)

    def _precision(self, k):
        """Return the loadings over the variances beside factors, and the Cholesky root of the factors' precision."""
        scaled = self.loadings[k] / self.noise[k][:, None]
        return scaled, cholesky(np.eye(self.n_factors) + self.loadings[k].T @ scaled, k)

    def dense(self, k):
        """Return the covariance of a component; see :class:`Covariances`."""
        loadings = self.loadings[k]
        # Sums, which are the same bits in each call.
        return (loadings[:, None] * loadings).sum(axis=2) + np.diag(self.noise[k])

    def log_prob(self, deviation, k):
        """Return the log-density of deviations; see :class:`Covariances`."""
        scaled, root = self._precision(k)
        of_factors = linalg.solve_triangular(
            root, (deviation @ scaled).T, lower=True, check_finite=False
        )
        squares = np.square(deviation) @ (1 / self.noise[k])
        log_det = np.log(self.noise[k]).sum() + 2 * np.log(np.diag(root)).sum()
        squares = squares - np.square(of_factors).sum(axis=0)
        return -0.5 * (squares + log_det + len(scaled) * LOG_2_PI)

    def inverses(self, k, observed):
        """Return inverses, by those of matrices of factors, and log-determinants; see :meth:`Covariances.inverses`."""
        loadings, noise = self.loadings[k], self.noise[k]
        scaled = observed[:, :, None] * (loadings / noise[:, None])
        roots = roots_of(np.eye(self.n_factors) + loadings.T @ scaled, k)
        of_factors = np.linalg.solve(roots, np.swapaxes(scaled, 1, 2))
        diagonals = (observed / noise)[:, None] * np.eye(len(noise))
        log_dets = observed @ np.log(noise) + 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(
            axis=1
        )
        return diagonals - np.swapaxes(of_factors, 1, 2) @ of_factors, log_dets

    def learn(self, weight, scatter):
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


def with_least(square, least, k):
    """Return the covariance nearest in likelihood to mean squares, with least variances of columns given all others.

    Of those that have them it is the one of highest likelihood: where a column is rounded, the eigenvalues of what the
    others leave of the rounded ones are raised to the variance of rounding.
    """
    rounded = least > 0
    if not rounded.any():
        return square
    others = ~rounded
    left = square[np.ix_(rounded, rounded)]
    if others.any():
        across = square[np.ix_(others, rounded)]
        root = cholesky(square[np.ix_(others, others)], k)
        left = left - across.T @ linalg.cho_solve((root, True), across)
    unit = np.sqrt(np.outer(least[rounded], least[rounded]))
    values, vectors = linalg.eigh(left / unit)
    if values[0] >= 1:
        return square
    lifted = (vectors * (values.clip(1) - values)) @ vectors.T
    raised = square.copy()
    raised[np.ix_(rounded, rounded)] += lifted * unit
    return raised


def cholesky(covariance, k):
    """Return the lower Cholesky root of a covariance.

    Raises
    ------
    ValueError
        If it is singular; the component is named.
    """
    try:
        return linalg.cholesky(covariance, lower=True, check_finite=False)
    except linalg.LinAlgError as error:
        raise ValueError(_singular(k)) from error


def roots_of(blocks, k):
    """Return the lower Cholesky roots of several matrices of a component; see :func:`cholesky`."""
    try:
        return np.linalg.cholesky(blocks)
    except np.linalg.LinAlgError as error:
        raise ValueError(_singular(k)) from error


def check_positive(variance, k):
    """Refuse a variance that is not positive, and name the component."""
    if not (variance > 0).all():
        raise ValueError(_singular(k))


def _singular(k):
    return (
        f"the covariance of component {k} is singular: it has too few rows, or columns determine each other there. Raise "
        "reg_covar, or set it to 'auto'; or take fewer components, or another covariance_type."
    )
