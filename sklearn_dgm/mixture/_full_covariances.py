"""Covariances of all columns, free or common to the components of a Gaussian mixture."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from sklearn_dgm.mixture._covariances import LOG_2_PI, Covariances, cholesky, inverses
from sklearn_dgm.mixture._numbers import Moments

# Numbers that what components say of missing numbers may take up.
REMEMBERED = 2**24


class Completed(NamedTuple):
    """What a component says of rows in which numbers are missing.

    Attributes
    ----------
    deviation : ndarray of shape (n, d)
        Deviations from its mean, expected ones where a number is missing.
    log_dets : ndarray of shape (n,) or float
        Log-determinants of the covariances of observed numbers.
    whitening : ndarray of shape (d, d)
        What makes deviations independent.
    covariances : list of ndarray of shape (n_patterns, m, m)
        Covariances of missing numbers, for each part of the incomplete rows.
    """

    deviation: np.ndarray
    log_dets: np.ndarray | float
    whitening: np.ndarray
    covariances: list[np.ndarray]


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

    def _whitening(self, k):
        """Return what makes deviations independent, of shape (d, d), and the log-determinant of the covariance."""
        root = cholesky(self.dense(k), k)
        # A product with the inverse of the root takes a fifth of the time of solving for each row.
        inverse = linalg.solve_triangular(root, np.eye(len(root)), lower=True, check_finite=False)
        return inverse, 2 * np.log(np.diag(root)).sum()

    def log_prob(self, numbers, means):
        """Return the log-density of observed numbers; see :class:`Covariances`."""
        if self.tied and numbers.is_complete:
            return self._log_prob_tied(numbers.U, means)
        found = [self._completed(numbers, mean, k) for k, mean in enumerate(means)]
        if sum(blocks.size for of in found for blocks in of.covariances) < REMEMBERED:
            numbers.memory = means, found
        log_p = np.empty((len(numbers.U), len(means)))
        for k, of in enumerate(found):
            log_p[:, k] = np.square(of.deviation @ of.whitening.T).sum(axis=1) + of.log_dets
        n_seen = numbers.U.shape[1] if numbers.is_complete else numbers.seen.sum(axis=1)[:, None]
        return -0.5 * (log_p + n_seen * LOG_2_PI)

    def _log_prob_tied(self, U, means):
        whitening, log_det = self._whitening(0)
        white, centers = U @ whitening.T, means @ whitening.T
        squares = [np.square(white - center).sum(axis=1) for center in centers]
        return -0.5 * (np.column_stack(squares) + log_det + U.shape[1] * LOG_2_PI)

    def _completed(self, numbers, mean, k):
        whitening, log_det = self._whitening(k)
        deviation = numbers.U - mean
        if numbers.is_complete:
            return Completed(deviation, log_det, whitening, [])
        deviation = np.where(np.isnan(deviation), 0.0, deviation)
        precision, covariances = whitening.T @ whitening, []
        across, log_dets = deviation @ precision, np.full(len(deviation), log_det)
        for part in numbers.incomplete:
            covariance, log_det = inverses(part.blocks(precision), k)
            deviation[part.cells] = -part.times(across[part.cells], covariance)
            log_dets[part.rows] += log_det[part.place]
            covariances.append(covariance)
        return Completed(deviation, log_dets, whitening, covariances)

    def moments(self, numbers, means, responsibilities):
        """Return expected moments; see :meth:`Covariances.moments`."""
        d, weight = numbers.U.shape[1], responsibilities.sum(axis=0)
        mean, scatter = means.copy(), np.zeros((len(means), d, d))
        remembered = numbers.memory is not None and numbers.memory[0] is means
        for k in np.flatnonzero(weight > 0):
            r = responsibilities[:, k]
            if numbers.is_complete:
                deviation, covariances = numbers.U - means[k], []
            else:
                of = numbers.memory[1][k] if remembered else self._completed(numbers, means[k], k)
                deviation, covariances = of.deviation, of.covariances
            step = r @ deviation / weight[k]
            mean[k] += step
            deviation = deviation - step
            scatter[k] = (r[:, None] * deviation).T @ deviation
            for part, blocks in zip(numbers.incomplete, covariances, strict=True):
                scatter[k] += part.sum(r[part.rows], blocks, d)
        return Moments(weight, mean, scatter)

    def expected(self, numbers, mean, k):
        """Return numbers with expectations; see :meth:`Covariances.expected`."""
        if numbers.is_complete:
            return numbers.U
        return np.where(
            numbers.seen > 0, numbers.U, self._completed(numbers, mean, k).deviation + mean
        )

    def conditional(self, part, U, mean, k):
        """Return expectations and covariances of missing numbers; see :meth:`Covariances.conditional`."""
        whitening, _ = self._whitening(k)
        precision, deviation = whitening.T @ whitening, U[part.rows] - mean
        across = np.where(np.isnan(deviation), 0.0, deviation) @ precision
        covariances, _ = inverses(part.blocks(precision), k)
        missing = part.missing[part.place]
        step = part.times(np.take_along_axis(across, missing, axis=1), covariances)
        return mean[missing] - step, covariances

    def _learn(self, weight, scatter):
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
