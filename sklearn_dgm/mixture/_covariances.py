"""Covariances of the components of a Gaussian mixture: free, common, diagonal, or spherical.

All of them answer for those columns that are observed, and learn from the scatter of all columns. They are in units of
the standard deviations of the columns.
"""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from scipy import linalg

from sklearn_dgm._state import Stateful
from sklearn_dgm.mixture._numbers import Moments

LOG_2_PI = float(np.log(2 * np.pi))
# With larger squares of means over variances, or smaller variances in squares, products would lose digits.
FARTHEST_MEAN, LEAST_SHARE = 1e6, 1e-6
# Numbers that what components say of missing numbers may take up.
REMEMBERED = 2**24


class SingularCovarianceError(ValueError):
    """The covariance of a component is singular."""

    @classmethod
    def of(cls, k):
        """Return the error that names a component."""
        return cls(
            f"the covariance of component {k} is singular: it has too few rows, or columns determine each other there. "
            "Raise reg_covar, or set it to 'auto'; or take fewer components, or another covariance_type."
        )


class Prior(Stateful):
    """What covariances are drawn towards.

    Parameters
    ----------
    covariance : ndarray of shape (d, d) or (d,)
        A covariance that counts as some rows of a component, or variances where there are no covariances.
    rows : float
        How many; with 0 nothing is drawn.
    ridge : ndarray of shape (d,)
        What is added to variances.
    least : ndarray of shape (d,)
        Least variances of the columns, given all others: those of rounding; 0 where numbers are not rounded.
    """

    def __init__(self, covariance, rows, ridge, least):
        self.covariance, self.rows, self.ridge, self.least = covariance, rows, ridge, least

    @property
    def variances(self):
        """Variances of the columns."""
        return np.diag(self.covariance) if self.covariance.ndim == 2 else self.covariance

    def mean_square(self, weight, scatter):
        """Return mean squared deviations, of pairs of columns or of columns alone, as the scatter is."""
        of_pairs = scatter.ndim == 2
        target = self.covariance if of_pairs else self.variances
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

    """

    def __init__(self, n_components, prior):
        self.n_components, self.prior = n_components, prior

    @abstractmethod
    def log_prob(self, numbers, means):
        """Return the log-density of observed numbers in each component, of shape (n, n_components)."""

    @abstractmethod
    def moments(self, numbers, means, responsibilities):
        """Return the expected moments of the components, under present means and covariances.

        Parameters
        ----------
        numbers : Numbers
            Rows.
        means : ndarray of shape (n_components, d)
            Means of the components.
        responsibilities : ndarray of shape (n, n_components)
            How much each row belongs to each component.

        Returns
        -------
        moments : Moments
            What :meth:`learn` takes.
        """

    @abstractmethod
    def expected(self, numbers, mean, k):
        """Return numbers with expectations where they are missing, of shape (n, d)."""

    @abstractmethod
    def conditional(self, part, U, mean, k):
        """Return the distribution of missing numbers given the others.

        Parameters
        ----------
        part : Incomplete
            Rows that lack equally many numbers, m.
        U : ndarray of shape (n, d)
            The numbers of all rows.
        mean : ndarray of shape (d,)
            The mean of the component.
        k : int
            Its number.

        Returns
        -------
        expected : ndarray of shape (n_rows, m)
            Expectations.
        covariances : ndarray of shape (n_patterns, m, m)
            Covariances, for each pattern.
        """

    def learn(self, moments, means):
        """Learn from moments, and return the means, which stay in components without rows."""
        self._learn(moments.weight, moments.scatter)
        return np.where(moments.weight[:, None] > 0, moments.mean, means)

    @abstractmethod
    def _learn(self, weight, scatter):
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
    SingularCovarianceError
        If it is singular.
    """
    try:
        return linalg.cholesky(covariance, lower=True, check_finite=False)
    except linalg.LinAlgError as error:
        raise SingularCovarianceError.of(k) from error


def inverses(blocks, k):
    """Return the inverses of several matrices of a component, and their log-determinants; see :func:`cholesky`."""
    try:
        roots = np.linalg.cholesky(blocks)
    except np.linalg.LinAlgError as error:
        raise SingularCovarianceError.of(k) from error
    log_dets = 2 * np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(axis=-1)
    return np.linalg.inv(blocks), log_dets


def check_positive(variance, k):
    """Refuse a variance that is not positive, and name the component."""
    if not (variance > 0).all():
        raise SingularCovarianceError.of(k)
