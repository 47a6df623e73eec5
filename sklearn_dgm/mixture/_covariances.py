"""What covariances of the components of a Gaussian mixture have in common, and what they are drawn towards.

All of them answer for those columns that are observed, and learn from the scatter of all columns. They are in units of
the standard deviations of the columns.
"""

from abc import abstractmethod

import numpy as np
from scipy import linalg

from sklearn_dgm._state import Stateful

LOG_2_PI = float(np.log(2 * np.pi))


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
