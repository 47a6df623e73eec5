"""The distribution of the lengths of documents: whole numbers from 0 on, all of which are possible."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, xlog1py, xlogy

from sklearn_dgm._state import Stateful

# Logarithms of the sizes of a negative binomial distribution, which with the largest is a Poisson distribution, and of
# the number of documents that it is worth beside those seen.
SIZES, WORTHS = (-5.0, 12.0), np.linspace(-3, 12, 61)


class LengthDistribution(Stateful):
    """A negative binomial distribution, and the lengths that were seen.

    A length has the probability ``(n_seen + worth * q) / (n + worth)``, where q is its probability under the negative
    binomial distribution of largest likelihood, and `worth` makes the seen lengths most probable, each left out of
    those seen.

    Attributes
    ----------
    mean_, size_ : float
        Mean of the negative binomial distribution, and its size r: the variance is ``mean + mean**2 / r``.
    worth_ : float
        Number of documents that it counts for.
    values_ : ndarray of shape (n_values,)
        Lengths that were seen, increasing.
    weights_ : ndarray of shape (n_values,)
        How often, by weight.
    """

    def fit(
        self, lengths: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> "LengthDistribution":
        """Learn from lengths.

        Parameters
        ----------
        lengths : ndarray of shape (n_documents,)
            Whole numbers.
        weight : ndarray of shape (n_documents,)
            Their weights.

        Returns
        -------
        self : LengthDistribution
            The fitted distribution.
        """
        self.values_, place = np.unique(lengths, return_inverse=True)
        self.weights_ = np.bincount(place, weight)
        n = self.weights_.sum()
        # Of empty documents alone half a word is thought to be seen, or no other would be possible.
        self.mean_ = (float(self.weights_ @ self.values_) or 0.5) / n
        surprise = minimize_scalar(
            lambda log_size: -self.weights_ @ self._log_base(self.values_, np.exp(log_size)),
            bounds=SIZES,
            method="bounded",
        )
        self.size_ = float(np.exp(surprise.x))
        base = np.exp(self._log_base(self.values_, self.size_))
        worths = np.exp(WORTHS)[:, None]
        left = np.maximum(self.weights_ - 1, 0) + worths * base
        gain = np.log(left / np.maximum(n - 1 + worths, 1e-300)) @ self.weights_
        self.worth_ = float(worths[np.argmax(gain), 0])
        return self

    def fit_further(
        self, lengths: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> "LengthDistribution":
        """Return the distribution of the lengths so far and of further ones; see :meth:`fit`."""
        every = np.concatenate([self.values_, lengths])
        return LengthDistribution().fit(every, np.concatenate([self.weights_, weight]))

    def _log_base(self, lengths, size):
        """Return the log-probabilities of the negative binomial distribution."""
        odds = self.mean_ / size
        return (
            gammaln(lengths + size)
            - gammaln(size)
            - gammaln(lengths + 1)
            + xlogy(lengths, odds / (1 + odds))
            - xlog1py(size, odds)
        )

    def log_prob(self, lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-probabilities of lengths, of shape (n_documents,)."""
        place = np.searchsorted(self.values_, lengths).clip(0, len(self.values_) - 1)
        seen = np.where(self.values_[place] == lengths, self.weights_[place], 0.0)
        log_base = self._log_base(lengths, self.size_) + np.log(self.worth_)
        with np.errstate(divide="ignore"):
            together = np.logaddexp(np.log(seen), log_base)
        return together - np.log(self.weights_.sum() + self.worth_)

    def draw(self, n_samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw lengths, of shape (n_samples,)."""
        n = self.weights_.sum()
        seen = rng.choice(self.values_, n_samples, p=self.weights_ / n)
        others = rng.poisson(rng.gamma(self.size_, self.mean_ / self.size_, n_samples))
        return np.where(rng.random(n_samples) * (n + self.worth_) < n, seen, others).astype(
            np.int64
        )
