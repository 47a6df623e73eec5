"""A density times the exponential of a function: its scores and draws, once the function is known."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_dgm._nested.meta import BaseMetaDensity
from sklearn_dgm._nested.scores import scores_and_std
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm._training.base import NUMBERS_AT_ONCE
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.columns import stacked
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.energy._tilted_partition import Partition, all_outcomes
from sklearn_dgm.tags import SCORE_KINDS, score_kind

# Rows that are drawn at once, at most, and a standard error of log Z for which no more are drawn.
ROWS_AT_ONCE, CLOSE = 2**16, 3e-3
# Rows that `sample` draws more than it returns: which of them it does, is random.
SPARE_ROWS = 16


class BaseTiltedDensity(BaseMetaDensity):
    """Base class of densities ``p(x) = q(x) exp(f(x)) / Z``, where `q` is a fitted density.

    Notes
    -----
    A subclass fits `estimator_`, which is `q`, sees it by `_view`, a TableView, and encodes rows by `schema_`. It
    writes `_tilts(Z)`, which returns f of encoded rows, and `_is_normalised()`, and calls `_learn_partition` once f is
    known. `n_partition_samples` is a parameter of it.
    """

    schema_: Any
    _view: Any
    n_partition_samples: int

    @abstractmethod
    def _tilts(self, Z):
        """Return the tilt of each encoded row, of shape (n_samples,)."""

    @abstractmethod
    def _is_normalised(self):
        """Tell whether Z is a matter of scores."""

    def _propose(self, n_rows, rng):
        """Draw rows from the density inside, in random order; return them, and encoded."""
        X = self._view.draw(self.estimator_, n_rows, rng)
        X = safe_indexing(X, rng.permutation(n_rows))  # GaussianMixture's are sorted by component
        return X, self.schema_.encode(X)[0].clip(-REACH, REACH)

    def _proposed_at_once(self):
        return int(np.clip(NUMBERS_AT_ONCE // self.n_features_in_, 64, ROWS_AT_ONCE))

    def _score_base(self, X):
        return scores_and_std(self.estimator_, self._view.rows_for(self.estimator_, X))

    def _learn_partition(self, seed):
        """Estimate the partition function, or compute it where outcomes can be enumerated."""
        self._partition = self._enumerated() or self._estimated(np.random.default_rng(seed))
        self.effective_sample_share_ = self._partition.effective_sample_share
        self.largest_weight_ = self._partition.largest_weight
        self.acceptance_rate_ = self._partition.acceptance_rate
        if self._is_normalised():
            self.log_partition_ = self._partition.log_partition
            self.log_partition_std_error_ = self._partition.log_partition_std_error

    def _enumerated(self):
        """Compute the partition function over all outcomes, if these are few and have all of the mass."""
        Z = all_outcomes(self.schema_.columns_, self.n_partition_samples)
        if Z is None:
            return None
        log_density, std = self._score_base(self.schema_.decode(Z))
        probabilities = np.exp(log_density)
        # Where unknown categories have a share, outcomes have not all of the mass.
        if std.any() or abs(probabilities.sum() - 1) > 1e-6:
            return None
        return Partition.of(self._tilts(Z), probabilities)

    def _estimated(self, rng):
        """Estimate the partition function by as many draws as are needed, in the end all that there may be."""
        tilts, n_draws = [], 0
        while n_draws < self.n_partition_samples:
            n = min(self._proposed_at_once(), self.n_partition_samples - n_draws)
            tilts.append(self._tilts(self._propose(n, rng)[1]))
            n_draws += n
            partition = Partition.of(np.concatenate(tilts))
            if partition.log_partition_std_error < CLOSE:
                break
        return partition

    def _score_rows(self, X):
        tilts = self._tilts(self.schema_.encode(X)[0])
        log_density, std = self._score_base(X)
        if not self._is_normalised():
            return log_density + tilts, std
        scores = log_density + tilts - self.log_partition_
        std = np.hypot(std, self.log_partition_std_error_)
        return scores, np.where(np.isneginf(scores), 0.0, std)  # whatever Z, the row is impossible

    def energy(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the energy of each row: minus the log-density, up to a constant.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
            ``-f(x) - log q(x)``, in nats; `inf` for an impossible row.
        """
        X = self._check(X)
        return -self._tilts(self.schema_.encode(X)[0]) - self._score_base(X)[0]

    def _sample_rows(self, n_samples, rng):
        drawn, n_drawn = [], 0
        while n_drawn < n_samples + SPARE_ROWS:
            wanted = (n_samples + SPARE_ROWS - n_drawn) / self.acceptance_rate_
            n_proposed = int(np.clip(1.1 * wanted + 16, 64, self._proposed_at_once()))
            X, Z = self._propose(n_proposed, rng)
            copies = self._partition.copies(self._tilts(Z), rng)
            rows = np.repeat(np.arange(n_proposed), copies)
            if len(rows):
                drawn.append(safe_indexing(X, rows))
                n_drawn += len(rows)
        # The first ones would have no copies with them, so that large weights would count for less.
        return stacked(drawn, rng.permutation(n_drawn)[:n_samples])

    def _score_kind(self, kind_of=score_kind):
        own = "unnormalised"
        if self._is_normalised():
            own = "estimate" if self.log_partition_std_error_ else "exact"
        return max(own, super()._score_kind(kind_of), key=SCORE_KINDS.index)
