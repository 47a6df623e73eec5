"""What mixtures of networks say of rows whose cells may be missing."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._training.factors import NetworkFactors
from sklearn_dgm._training.seeding import one_thread, torch_generator
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.columns import like_frame
from sklearn_dgm.nn.completion import (
    N_PARTICLES,
    completions,
    log_marginal_and_std,
    log_marginal_at,
    n_outcomes,
)

# Values of a column that are tried at once, over the rows.
CELLS_AT_ONCE = 2**14


class FactorsMixin:
    """Mixin of densities whose module is a :class:`~sklearn_dgm.nn.mixture.Mixture` of products of conditionals.

    It stands before a :class:`~sklearn_dgm._training.base.BaseNeuralDensity`. Rows of the module may have further
    columns, behind those of the table: these `_whole(Z)` adds.
    """

    def _whole(self, Z):
        """Return encoded rows as rows of the module."""
        return Z

    def _log_density(self, Z):
        return self._in_chunks(self._module.in_mixed_precision().log_prob, self._whole(Z))

    def _log_density_features(self, Z):
        """Return each column's share of the log-density of encoded rows, of shape (n_samples, n_features)."""
        whole = self._whole(Z)
        shares, is_complete = np.empty(whole.shape), ~np.isnan(whole).any(axis=1)
        modules = self._module, self._module.in_mixed_precision()
        for module, rows in zip(modules, (~is_complete, is_complete), strict=True):
            if rows.any():
                shares[rows] = self._in_chunks(module.log_prob_features, whole[rows])
        return shares[:, : Z.shape[1]]

    def _factors(self):
        """Return the conditionals of the columns, as :class:`~sklearn_dgm._queries.factors.Factors`."""
        return NetworkFactors(self._module, self._module_device(), self._rows_at_once())

    def _completions(self, Z, n_particles, rng=None):
        """Yield weighted completions of rows; see :class:`~sklearn_dgm._queries.conditioning.ConditionalMixin`."""
        for part in self._whole_completions(Z, n_particles, rng):
            yield part._replace(z=part.z[..., : Z.shape[1]])

    def _whole_completions(self, Z, n_particles, rng=None, of_observed=False):
        """Yield weighted completions of rows as rows of the module; see :mod:`~sklearn_dgm.nn.completion`."""
        module = self._module.in_mixed_precision()
        device = self._module_device()
        generator = None if rng is None else torch_generator(rng, device)
        z = torch.tensor(self._whole(Z), device=device)
        parts = completions(module, z, n_particles, generator, of_observed=of_observed)
        while True:
            with one_thread(), torch.no_grad():
                part = next(parts, None)
            if part is None:
                return
            yield part.numpy()


class EstimatedMarginalsMixin(FactorsMixin):
    """Mixin of densities that estimate marginals by sequential importance sampling, where these are not enumerated.

    It stands before :class:`~sklearn_dgm._queries.conditioning.ConditionalMixin` and
    :class:`~sklearn_dgm.BaseEstimatedDensity`.
    """

    def _log_density(self, Z):
        return self._log_density_and_std(Z)[0]

    def _is_estimated(self, Z):
        if self._module.takes_any_order:
            return np.zeros(len(Z), dtype=bool)
        whole = self._whole(Z)
        outcomes = n_outcomes(self._module, torch.from_numpy(whole), N_PARTICLES, True).numpy()
        is_gap = np.isnan(whole)
        return (outcomes == 0) & is_gap.any(axis=1) & ~is_gap.all(axis=1)

    def _log_density_and_std(self, Z):
        whole = self._whole(Z)
        log_p, std, is_gap = np.empty(len(Z)), np.zeros(len(Z)), np.isnan(whole).any(axis=1)
        module = self._module.in_mixed_precision()
        if not is_gap.all():
            log_p[~is_gap] = self._in_chunks(module.log_prob, whole[~is_gap])
        if is_gap.any():
            log_p[is_gap], std[is_gap] = self._in_chunks(
                lambda z: torch.stack(log_marginal_and_std(module, z), dim=1), whole[is_gap]
            ).T
        return log_p, std

    def _log_density_at(self, z, Z, j):
        """Return the log-density of each row with each of its values in a column; an estimate where it is not exact."""
        whole, module = self._whole(Z), self._module.in_mixed_precision()
        d = whole.shape[1]

        def of_rows(both):
            return log_marginal_at(module, both[:, :d], j, both[:, d:].contiguous())

        at_once = max(CELLS_AT_ONCE // z.shape[1], 1)
        return self._in_chunks(of_rows, np.hstack([whole, z]), at_once)

    def score_features(self, X: MatrixLike) -> MatrixLike:
        """Return the log-density of each column given those before it in the order.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_density : {ndarray, DataFrame} of shape (n_samples, n_features)
            Conditional log-densities in nats, in the units of X, with column names and index if X is a DataFrame. The
            sums of the rows are `score_samples(X)`. Missing cells have 0, and the others the expectation over what
            these may hold.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z = self.schema_.encode(X)[0]
        scores = self._log_density_features(Z) + self.schema_.log_det_features(Z)
        return like_frame(scores, X)
