"""What is asked of a Bayesian network: scores, marginals and draws, exact as far as tables and categories go."""

from typing import Any

import networkx as nx
import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.conditioning import N_PREDICTION_PARTICLES, ConditionalMixin
from sklearn_dgm._training.factors import NetworkFactors
from sklearn_dgm._training.masked import MaskedNetworkDensity
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.bayes_net._export import to_pgmpy
from sklearn_dgm.bayes_net._inference import Inference
from sklearn_dgm.columns import like_frame
from sklearn_dgm.nn.common_numbers import common_uniforms
from sklearn_dgm.nn.completion import Completions, n_outcomes

# What passes through the network at once is bounded.
NUMBERS_AT_ONCE = 2**22


class BayesNetQueriesMixin(ConditionalMixin, MaskedNetworkDensity):
    """Mixin of a Bayesian network that answers what is asked of it."""

    def _inference(self):
        return Inference(
            self.schema_.columns_,
            self._adjacency,
            self._axes,
            self._tables,
            self._log_density_features,
        )

    def _factors(self):
        """Return the conditionals of the columns, as :class:`~sklearn_dgm._queries.factors.Factors`."""
        of_tables = [table.log_p for table in self._tables.values()]
        of_axes = [part for axis in self._axes for part in vars(axis).values()]
        others = [*of_tables, *of_axes]
        return NetworkFactors(self._module, self._module_device(), self._rows_at_once(), others)

    def _log_density(self, Z):
        log_p, is_gap = np.empty(len(Z)), np.isnan(Z).any(axis=1)
        if is_gap.any():
            log_p[is_gap] = self._inference().log_marginal(Z[is_gap], np.flatnonzero(is_gap))
        if not is_gap.all():
            log_p[~is_gap] = super()._log_density(Z[~is_gap])
        return log_p

    def _completions(self, Z, n_particles, rng=None):
        """Return weighted completions; of rows whose marginals are exact, independent draws."""
        inference = self._inference()
        z = torch.tensor(Z)
        is_drawn = n_outcomes(self._module, z, n_particles).numpy() == 0
        is_drawn[is_drawn] = inference.is_exact(Z[is_drawn])
        (others,), (drawn,) = np.nonzero(~is_drawn), np.nonzero(is_drawn)
        for part in super()._completions(Z[others], n_particles, rng):
            yield part._replace(rows=others[part.rows])
        step = max(NUMBERS_AT_ONCE // (n_particles * Z.shape[1]), 1)
        for start in range(0, len(drawn), step):
            rows = drawn[start : start + step]
            filled, log_marginal = self._exact_draws(inference, Z[rows], n_particles, rng)
            log_weight = np.tile(log_marginal[:, None] - np.log(n_particles), n_particles)
            ess = np.full(len(rows), float(n_particles))
            yield Completions(rows, filled, log_weight, ess)

    def _exact_draws(self, inference, Z, n_draws, rng):
        """Draw missing cells given observed ones, of shape (n, n_draws, d); with the log-marginals of these."""
        n, d = Z.shape

        if rng is None:  # the same for every row
            numbers = np.tile(common_uniforms(n_draws, 2 * d).numpy(), (n, 1))
        else:
            numbers = rng.random((n * n_draws, 2 * d))
        rows, log_marginal = inference.draw(np.repeat(Z, n_draws, axis=0), numbers[:, :d])
        device = self._module_device()
        z, u = (torch.tensor(x, device=device) for x in (rows, numbers[:, d:]))
        # Nothing observed descends from what is missing still.
        filled = self._module.members_given(None)[0].fill(z, u)[0]
        return filled.cpu().numpy().reshape(n, n_draws, d), log_marginal[::n_draws]

    def _log_density_at(self, z, Z, j):
        """Return the log-density of each row with each of its values in a column; an estimate where it is not exact."""
        gap, result = Z.copy(), np.full(z.shape, -np.inf)
        gap[:, j] = z[:, 0]
        is_exact = self._inference().is_exact(gap)
        if is_exact.any():
            result[is_exact] = super()._log_density_at(z[is_exact], Z[is_exact], j)
        (rows,) = np.nonzero(~is_exact)
        gap[:, j] = np.nan
        for part in self._completions(gap[rows], N_PREDICTION_PARTICLES):
            is_value = part.z[:, :, j, None] == z[rows[part.rows]][:, None]
            weighed = np.where(is_value, part.log_weight[..., None], -np.inf)
            result[rows[part.rows]] = logsumexp(weighed, axis=1)
        return result

    def marginal(self, columns: Any) -> Any:
        """Return the density of some of the columns; see :meth:`AutoregressiveDensity.marginal`.

        Parameters
        ----------
        columns : array-like of str or int
            Names or indices, in the order in which the marginal is to have them.

        Returns
        -------
        density : estimator
            A fitted density of tables with these columns, with exact scores.

        Raises
        ------
        ValueError
            If `columns` is empty, holds a column twice or one that is none of `fit`, or the marginal is not exact.
        """
        part = super().marginal(columns)
        probe = np.full((1, self.n_features_in_), np.nan)
        probe[:, part.columns] = 0.0
        if not self._inference().is_exact(probe).all():
            raise ValueError(
                f"There is no exact marginal of {list(columns)}: of the other columns, a network asks for numbers, "
                "or the sum goes over too large a table. Set conditional='table', or draw rows with sample."
            )
        return part

    def score_features(self, X: MatrixLike) -> MatrixLike:
        """Return the log-density of each column given its parents.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_density : {ndarray, DataFrame} of shape (n_samples, n_features)
            Conditional log-densities in nats, in the units of X, with column names and index if X is a DataFrame. The
            sums of the rows are `score_samples(X)`. If cells of X are missing, these have 0, and the others their
            density given the observed ones before them in topological order.

        Raises
        ------
        ValueError
            If there is no exact marginal of a row with missing cells.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z = self.schema_.encode(X)[0]
        scores, is_gap = np.empty(Z.shape), np.isnan(Z).any(axis=1)
        if is_gap.any():
            scores[is_gap] = self._shares_of_marginal(Z[is_gap], np.flatnonzero(is_gap))
        if not is_gap.all():
            scores[~is_gap] = self._log_density_features(Z[~is_gap])
        return like_frame(scores + self.schema_.log_det_features(Z), X)

    def _shares_of_marginal(self, Z, places):
        """Return the log-density of each observed cell given those before it in topological order.

        Errors call the rows by their places in the whole table.
        """
        scores, inference = np.zeros(Z.shape), self._inference()
        so_far, before = np.full_like(Z, np.nan), np.zeros(len(Z))
        for j in nx.topological_sort(nx.DiGraph(self._adjacency)):
            so_far[:, j] = Z[:, j]
            after = inference.log_marginal(so_far, places)
            scores[:, j] = np.where(np.isneginf(after), after, after - before)
            before = after
        return scores

    def to_pgmpy(self) -> Any:
        """Hand the network over to pgmpy, for exact queries, reasoning about causes, and export.

        Returns
        -------
        network : pgmpy.models.DiscreteBayesianNetwork
            The same graph, with columns as nodes. The states of a column are its categories, its whole numbers, or its
            bins, as strings.

        Raises
        ------
        ImportError
            If pgmpy is not installed.
        ValueError
            If a network computes the conditional of a number, or one given a number, that is not whole and of few
            values; or a table would have more than a million entries.
        """
        check_is_fitted(self)
        return to_pgmpy(self.schema_.columns_, self._adjacency, self._axes, self._inference())
