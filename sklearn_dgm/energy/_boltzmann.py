"""The restricted Boltzmann machine as an estimator."""

from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval, fit_context
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator, restored_on_failure
from sklearn_dgm.energy._base import BaseBoltzmannDensity
from sklearn_dgm.energy._contrastive import ContrastiveDivergence, initial_machine, train
from sklearn_dgm.energy._marginals import hidden_means, log_marginals
from sklearn_dgm.energy._partition import draw_features
from sklearn_dgm.energy._pseudo import pseudo_log_likelihoods
from sklearn_dgm.tags import DensityTags


class RestrictedBoltzmannDensity(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseBoltzmannDensity
):
    """Density.
    """

    _parameter_constraints: dict = {
        **BaseBoltzmannDensity._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }
    _density_tags = DensityTags(missing=True, ties=True, latents=True)

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Literal["auto"] | float = "auto",
        n_gibbs_steps: int = 1,
        n_chains: int = 100,
        batch_size: int = 100,
        max_iter: Literal["auto"] | int = "auto",
        weight_decay: float = 1e-4,
        log_partition: Literal["auto", "exact", "ais"] = "auto",
        n_ais_chains: int = 200,
        n_temperatures: int = 10_000,
        verbose: int = 0,
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            categorical_features,
            integer_features,
            column_kinds,
            learning_rate=learning_rate,
            n_gibbs_steps=n_gibbs_steps,
            n_chains=n_chains,
            batch_size=batch_size,
            max_iter=max_iter,
            weight_decay=weight_decay,
            log_partition=log_partition,
            n_ais_chains=n_ais_chains,
            n_temperatures=n_temperatures,
            verbose=verbose,
            random_state=random_state,
            handle_unknown=handle_unknown,
        )
        self.n_components = n_components

    def _fit(self, Z, sample_weight):
        rng = check_generator(self.random_state)
        units, self._base = self._visible_units(Z, sample_weight)
        machine = initial_machine(units, self.n_components, self._base, rng)
        training, self.free_energy_gaps_ = self._train(
            machine, self._rows(units, self._base, Z, sample_weight, rng), rng
        )
        self._take_over(training, rng)

    def _take_over(self, training, rng):
        """Take over a machine that was trained, and settle its partition function."""
        self._training = training
        self._machine = machine = training.averaged.astype(np.float64)
        self.components_, self.intercept_hidden_ = machine.weights.T, machine.hidden
        self.intercept_visible_ = machine.visible
        self.visible_std_ = machine.precision**-0.5 * machine.units.scale
        self.n_iter_ = len(self.free_energy_gaps_)
        self._settle_partition(machine, self._base, rng)
        self.score_kind_ = "estimate" if self._partition.of == "particles" else "exact"

    @property
    def _n_features_out(self):
        return len(self.intercept_hidden_)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: MatrixLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take one pass through further rows, at a constant rate."""
        with restored_on_failure(self):
            is_first = not hasattr(self, "_machine")
            Z, sample_weight = self._start_fit(X, sample_weight, reset=is_first)
            rng = check_generator(self.random_state)
            if is_first:
                units, self._base = self._visible_units(Z, sample_weight)
                machine = initial_machine(units, self.n_components, self._base, rng)
                training = None
            else:
                units, machine = self._machine.units, self._machine
            rows = self._rows(units, self._base, Z, sample_weight, rng)
            training = ContrastiveDivergence(machine, rows.means(rng), self.n_chains, rng)
            if not is_first:
                training.chains, training.means = self._training.chains, self._training.means
            gaps = train(training, rows, self._settings(rows, machine, rng), 1, rng, falls=False)
            self.free_energy_gaps_ = np.append(getattr(self, "free_energy_gaps_", []), gaps)
            self._take_over(training, rng)
        return self

    def _log_density_and_std(self, Z):
        F, missing, log_within = self._machine.units.encode(Z)
        log_p = log_marginals(self._machine, F, missing) - self.log_partition_ + log_within
        return log_p, np.full(len(Z), self.log_partition_std_error_)

    def _draw(self, n_samples, rng):
        F = draw_features(self._machine, self._partition, n_samples, rng, to_decode=True)
        return self._machine.units.decode(F, rng)

    def free_energy(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the free energy."""
        Z, log_det = self._encode(X)
        return -(self._log_density(Z) + log_det) - self.log_partition_

    def pseudo_log_likelihood(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the pseudo-log-likelihood."""
        Z, _ = self._encode(X)
        return pseudo_log_likelihoods(self._machine, *self._machine.units.encode(Z))

    def transform(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the probabilities of the hidden units."""
        Z, _ = self._encode(X)
        F, missing, _ = self._machine.units.encode(Z)
        return hidden_means(self._machine, F, missing)

    def gibbs(self, X: MatrixLike, random_state: RandomState = None) -> MatrixLike:
        """Take a step of Gibbs sampling from rows."""
        check_is_fitted(self)
        Z, _ = self._encode(X)
        F, missing, _ = self._machine.units.encode(Z)
        rng = check_generator(random_state)
        H = self._machine.draw_hidden(F, rng)
        F = self._machine.draw_visible(H, rng, to_decode=True)
        return self.schema_.decode(self._machine.units.decode(F, rng))
