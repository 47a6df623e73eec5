"""Questions to a mixture, all of which have exact answers: given its component, a row is easy."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._nested.em import log_posterior
from sklearn_dgm._queries.conditioning import Completions, ConditionalMixin, check_possible
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.mixture._factors import MixtureFactors
from sklearn_dgm.mixture._finite import FiniteMixture

# Numbers that a block of completed rows takes up.
NUMBERS_AT_ONCE = 2**22


class MixtureQueriesMixin(ConditionalMixin, BaseDensity):
    """Mixin of densities that are a :class:`~sklearn_dgm.mixture._finite.FiniteMixture`, `_mixture`, of rows."""

    _mixture: FiniteMixture
    _marginals_are_exact = True

    def predict_joint_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the log-density of each row together with each component.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells are summed out. A table larger than memory is read a chunk at a time, one of Dask by
            partition once its result is asked for.

        Returns
        -------
        log_joint : ndarray of shape (n_samples, n_components)
            In nats, in the units of X; the logarithms of the sums of the exponentials are `score_samples(X)`.
        """
        if self._is_chunked(X):
            return self._by_component(X, self.predict_joint_log_proba)
        Z, log_det = self._encode(X)
        return self._mixture.log_joint_of(Z) + log_det[:, None]

    def predict_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the probabilities of the components of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells are summed out. A table larger than memory is read a chunk at a time, one of Dask by
            partition once its result is asked for.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
            Of which each row sums to one; the weights of the components where a row is impossible.
        """
        if self._is_chunked(X):
            return self._by_component(X, self.predict_proba)
        log_joint = self.predict_joint_log_proba(X)
        return np.exp(log_posterior(log_joint, self._mixture.log_weights))

    def predict(self, X: MatrixLike) -> NDArray[np.intp]:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells are summed out. A table larger than memory is read a chunk at a time, one of Dask by
            partition once its result is asked for.

        Returns
        -------
        component : ndarray of int of shape (n_samples,)
            Numbers of components, from 0 on.
        """
        return self.predict_proba(X).argmax(axis=1)

    def _by_component(self, X, function):
        """Return what a function says of each row and component, of a table that is read in chunks."""
        check_is_fitted(self)
        none = np.empty((0, len(self._mixture.weights)))
        return self._by_chunk(X, function, of_none=none)

    def _factors(self):
        """Return the conditionals of the columns, as :class:`~sklearn_dgm._queries.factors.Factors`."""
        return MixtureFactors(self._mixture)

    def _conditional_draws(self, Z, n_samples, rng):
        """Return completed rows, of shape (n_rows, n_samples, n_features), and infinite effective sample sizes."""
        draws = np.repeat(Z[:, None], n_samples, axis=1)
        for rows in self._incomplete(Z, n_samples):
            check_possible(self._mixture.log_prob(Z[rows]), rows)
            draws[rows] = self._filled(
                Z[rows], rng.random((len(rows), n_samples, self._n_uniforms))
            )
        return draws, np.full(len(Z), np.inf)

    def _conditional_means(self, Z):
        """Return completed rows: expectations of numbers, and the most probable categories."""
        completed = Z.copy()
        for rows in self._incomplete(Z, len(self._mixture.weights)):
            check_possible(self._mixture.log_prob(Z[rows]), rows)
            completed[rows] = self._mixture.fill_means(Z[rows])
        return completed

    def _completions(self, Z, n_particles, rng=None):
        """Yield independent draws; see :class:`~sklearn_dgm._queries.conditioning.ConditionalMixin`."""
        (complete,) = np.nonzero(~np.isnan(Z).any(axis=1))
        if len(complete):
            log_p = self._mixture.log_prob(Z[complete])[:, None]
            yield Completions(complete, Z[complete][:, None], log_p, np.full(len(complete), np.inf))
        for rows in self._incomplete(Z, n_particles):
            shape = len(rows), n_particles, self._n_uniforms
            if rng is None:  # the same for every row
                uniforms = qmc.Sobol(self._n_uniforms, seed=0).random(n_particles)
                uniforms = np.broadcast_to(uniforms, shape)
            else:
                uniforms = rng.random(shape)
            log_weight = self._mixture.log_prob(Z[rows])[:, None] - np.log(n_particles)
            log_weight = np.repeat(log_weight, n_particles, axis=1)
            ess = np.full(len(rows), float(n_particles))
            yield Completions(rows, self._filled(Z[rows], uniforms), log_weight, ess)

    def _incomplete(self, Z, n_times):
        """Return the numbers of the rows with missing cells, in blocks of which so many copies fit into memory."""
        (rows,) = np.nonzero(np.isnan(Z).any(axis=1))
        step = max(NUMBERS_AT_ONCE // (n_times * self._n_uniforms), 1)
        return [rows[start : start + step] for start in range(0, len(rows), step)]

    @property
    def _n_uniforms(self):
        return 2 * len(self.schema_.columns_) + 1

    def _filled(self, Z, uniforms):
        """Return rows completed by uniforms of shape (n, m, n_uniforms), of shape (n, m, n_features)."""
        n, m, _ = uniforms.shape
        filled = self._mixture.fill(Z, uniforms.reshape(n * m, -1), m)
        return filled.reshape(n, m, -1)
