"""The partition function of a tilted density, by importance sampling from the density that is tilted."""

from dataclasses import dataclass

import numpy as np

# Share of the draws that may be copies of others; the fewer, the more proposals each draw takes.
MAX_COPIED = 0.01


@dataclass(frozen=True)
class Partition:
    """What is known of the mean of ``exp(f)`` under a density, by draws from it, or by all outcomes.

    Attributes
    ----------
    log_partition : float
        Logarithm of the mean.
    log_partition_std_error : float
        Its standard error, by the delta method.
    effective_sample_share : float
        Share of as many independent draws from the tilted density that would say as much (Kong, 1992).
    largest_weight : float
        The largest ``exp(f)``, in units of the mean.
    log_bound : float
        Logarithm of the ``exp(f)`` up to which a proposal is drawn once at most.
    """

    log_partition: float
    log_partition_std_error: float
    effective_sample_share: float
    largest_weight: float
    log_bound: float

    @classmethod
    def of(cls, tilts, probabilities=None):
        """Make it of tilts.

        Parameters
        ----------
        tilts : ndarray of shape (n,)
            The tilts f of draws, or of all outcomes.
        probabilities : ndarray of shape (n,), default=None
            Probabilities of the outcomes, if these are all; then nothing is estimated.

        Returns
        -------
        partition : Partition
            What they say.
        """
        log_partition = np.log(np.average(np.exp(tilts), weights=probabilities))
        weight = np.exp(tilts - log_partition)
        variance = np.average((weight - 1) ** 2, weights=probabilities)
        is_exact = probabilities is not None
        return cls(
            float(log_partition),
            0.0 if is_exact else float(np.sqrt(variance / len(tilts))),
            float(1 / (1 + variance)),
            float(weight.max()),
            float(log_partition + np.log(_bound(weight, probabilities))),
        )

    @property
    def acceptance_rate(self):
        """Number of draws that a proposal gives on average."""
        return float(np.exp(self.log_partition - self.log_bound))

    def copies(self, tilts, rng):
        """Return how often each proposal is drawn: a random whole number, whose mean is proportional to its weight.

        Parameters
        ----------
        tilts : ndarray of shape (n,)
            Tilts of proposals.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        copies : ndarray of int of shape (n,)
            0 or 1, but for tilts above the bound.
        """
        return np.floor(np.exp(tilts - self.log_bound) + rng.random(len(tilts))).astype(np.intp)


def all_outcomes(columns, most):
    """Return all rows of a table of categories.

    Parameters
    ----------
    columns : list of Column
        What a schema knows of the columns.
    most : int
        Number of rows at most.

    Returns
    -------
    Z : ndarray of shape (n_outcomes, n_features) or None
        The rows, encoded; None if a column has other values than categories, or rows are too many.
    """
    if not all(column.is_categorical for column in columns):
        return None
    n_levels = [len(column.categories) for column in columns]
    if np.prod(n_levels, dtype=np.float64) > most:
        return None
    return np.indices(n_levels).reshape(len(n_levels), -1).T.astype(np.float64)


def _bound(weight, probabilities):
    """Return the smallest of weights, of mean one, beyond which hardly any of their mean lies."""
    order = np.argsort(weight)[::-1]
    share = np.ones(len(weight)) if probabilities is None else probabilities[order]
    share, weight = share / share.sum(), weight[order]
    beyond = np.cumsum(share * weight) - weight * np.cumsum(share)
    return weight[np.searchsorted(beyond, MAX_COPIED, side="right") - 1]
