"""How a mixture learns: from where it starts, and what is kept of the fits."""

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if

from sklearn_dgm._callbacks import task_of_fit
from sklearn_dgm._nested.em import expectation_maximisation
from sklearn_dgm._nested.fitting import seeded
from sklearn_dgm._sklearn import fit_context, safe_indexing
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import check_generator, check_weights, restored_on_failure
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.chunks import FitInPassesMixin
from sklearn_dgm.mixture._component_queries import has_closed_forms
from sklearn_dgm.mixture._densities import fit_densities, rows_to_start_from
from sklearn_dgm.mixture._finite import FiniteMixture
from sklearn_dgm.mixture._fitting import (
    PartCounts,
    choose_alpha,
    choose_prior_share,
    fit_all,
)
from sklearn_dgm.mixture._rows import WeightedRows, given_start, without_unknown
from sklearn_dgm.tags import worst_score_kind


class MixtureLearningMixin(FitInPassesMixin, BaseDensity):
    """Mixin of a mixture that fits it: its `component` is the name of a closed form, or a density."""

    _mixture: FiniteMixture

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        if self._fits_chunks(X):
            return super()._fit_or_restore(X, sample_weight, schema, y)
        with restored_on_failure(self):
            start = self._given_start(X)
            Z, weight = self._start_fit(X, sample_weight, schema=schema)
            kept = slice(None) if weight is None else check_weights(X, sample_weight) > 0
            start = None if start is None else start[kept]
            if isinstance(self.component, str):
                self._fit(Z, weight, start)
            else:
                X = self._validate(X, reset=False)
                X = X if weight is None else safe_indexing(X, np.flatnonzero(kept))
                self._fit_densities(X, Z, weight, start)
        return self

    def _check_takes_chunks(self):
        if not isinstance(self.component, str):
            raise TypeError(
                "MixtureDensity reads a table a chunk at a time for components in closed form, 'independent', 'gaussian' "
                f"and 'tree', but component={self.component!r} is fitted to tables in memory; hand in a sample of the rows."
            )
        if self.warm_start or not isinstance(self.init, str):
            raise ValueError(
                "a table that is read a chunk at a time has no responsibilities to start from; set warm_start=False, and "
                "init to 'k-means++' or 'random'."
            )

    def _fit_in_passes(self, rows):
        # How much is drawn towards all rows stays: it is said in rows of a component, however many there are.

        def expect():
            every = rows.total(self._count)
            objective = every.log_likelihood + self._mixture.log_prior()
            return every.counts, objective / every.weight

        objectives = expectation_maximisation(
            expect, self._mixture.learn, max_iter=self.max_iter, tol=self.tol
        )
        self._keep_best([(self._mixture, np.array(objectives))])

    def _count(self, Z, weight):
        """Return what the present mixture expects of encoded rows; that of parts adds up."""
        _check_flags(self.schema_.columns_, Z)
        return PartCounts.of(self._mixture, Z, weight)

    def _given_start(self, X):
        """Return responsibilities to start from, of shape (n_samples, n_components), or None."""
        if self.warm_start and hasattr(self, "_mixture"):
            if len(self.weights_) != self.n_components:
                raise ValueError(
                    f"warm_start continues a fit of {len(self.weights_)} components, but n_components="
                    f"{self.n_components}."
                )
            try:
                return self.predict_proba(X)
            except ValueError as error:
                raise ValueError(
                    f"warm_start goes on from the previous fit, which does not take these rows: {error}"
                ) from error
        return None if isinstance(self.init, str) else given_start(self.init, X, self.n_components)

    def _starts(self, columns, rows, rng):
        """Return the rows with responsibilities to start from, of each start."""
        if rows.start is not None:
            return [rows]
        return [
            rows.started(columns, self.init, self.n_components, rng) for _ in range(self.n_init)
        ]

    def _fit(self, Z, sample_weight, start=None):
        _check_flags(self.schema_.columns_, Z)
        rows = WeightedRows.of(Z, sample_weight, start)
        mixture = FiniteMixture.of(
            self.schema_.columns_,
            rows,
            self.n_components,
            component=self.component,
            covariance_type=self.covariance_type,
            n_factors=self.n_factors,
            reg_covar=self.reg_covar,
        )
        rng = check_generator(self.random_state)
        starts = self._starts(self.schema_.columns_, rows, rng)
        if mixture.tables is not None:
            is_auto = self.alpha == "auto"
            mixture.tables.alpha = (
                choose_alpha(mixture, starts[0], self.max_iter, self.tol)
                if is_auto
                else float(self.alpha)
            )
        if mixture.normals is not None and self.reg_covar == "auto":
            mixture.normals.covariances.prior.rows *= self._prior_share(mixture, starts[0])
        self._keep_best(fit_all(mixture, starts, self.max_iter, self.tol))

    def _prior_share(self, mixture, rows):
        """Return how much the covariance of all rows counts; a warm start leaves what was chosen for such ones."""
        before = getattr(self, "_chosen_share", None) if self.warm_start else None
        if before is None or before[0] != self.covariance_type:
            share = choose_prior_share(mixture, rows, self.max_iter, self.tol)
            before = None if share is None else (self.covariance_type, share)
        self._chosen_share = before
        return 1.0 if before is None else before[1]

    def _fit_densities(self, X, Z, sample_weight, start):
        columns, Z = rows_to_start_from(self.schema_, X, Z)
        rows = WeightedRows.of(Z, sample_weight, start)
        X, rng = safe_indexing(X, rows.first), check_generator(self.random_state)
        fits = []
        for started in self._starts(columns, rows, rng):
            densities = [seeded(self.component, rng) for _ in range(self.n_components)]
            fits.append(
                fit_densities(
                    densities, self.schema_, X, started, self.max_iter, self.tol, task_of_fit(self)
                )
            )
        self._keep_best(fits)
        self.score_kind_ = worst_score_kind([d for _, d in self._mixture.fitted])

    def _keep_best(self, fits):
        """Keep the fit of the highest objective, and what became of the others."""
        self.lower_bounds_ = [objectives for _, objectives in fits]
        best = int(np.argmax([objectives[-1] for objectives in self.lower_bounds_]))
        self._mixture, objectives = fits[best]
        self.lower_bound_ = float(objectives[-1])
        self.n_iter_ = len(objectives) - 1
        self.converged_ = bool(abs(objectives[-1] - objectives[-2]) < self.tol)

    @available_if(has_closed_forms)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Add further rows, each by how probable the components are for it under the model so far.

        The first call is a :meth:`fit`, of which `lower_bound_`, `n_iter_` and `converged_` remain, and settles the
        cells of tables; later ones add expected counts, in one step. Categories that it has not seen are not counted,
        as if their cells were missing, and with ``handle_unknown="error"`` they raise; numbers beyond its range are
        counted in the outer cells.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to add.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these, so that categories and
            ranges to come are known.

        Returns
        -------
        self : estimator
            The model of all rows so far.

        Raises
        ------
        ValueError
            If the columns are not those of the first call, a parameter that it settles has changed (how many and what
            the components are, and their priors), a value is infinite, there is no whole number in an integer column,
            or a schema is handed in later than in the first call; nothing is added then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        is_first = not hasattr(self, "_mixture")
        self._check_part(X, schema, is_first=is_first)
        if is_first:
            return self._fit_or_restore(X, sample_weight, schema)
        with restored_on_failure(self):
            Z, sample_weight = self._start_fit(X, sample_weight, reset=False)
            Z = without_unknown(self.schema_.columns_, Z)
            weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight)
            shares = np.exp(self._mixture.log_posterior_of(Z)) * weight[:, None]
            mixture = copy.deepcopy(self._mixture)
            mixture.learn(mixture.counts.plus(mixture.count(mixture.prepare(Z), shares)))
            self._mixture = mixture
        return self


def _check_flags(columns, Z):
    """Refuse rows that are impossible under a schema of others, which says that two values are all there are."""
    for column, z in zip(columns, Z.T, strict=True):
        stray = z[~(np.isnan(z) | (z == 0) | (z == 1))] if column.is_flag else ()
        if len(stray):
            raise ValueError(
                f"{column.where} has the value {column.decoded(stray)[0]:g}, which is impossible under a schema that "
                f"knows {column.low:g} and {column.high:g} alone; learn the schema from these rows, too."
            )
