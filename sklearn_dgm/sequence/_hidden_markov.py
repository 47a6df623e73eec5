"""Hidden Markov models as an estimator."""

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_dgm._callbacks import fit_task, task_of_fit
from sklearn_dgm._nested.fitting import seeded
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, fit_context
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_generator, check_weights, restored_on_failure
from sklearn_dgm.columns._sequences import read_sequences
from sklearn_dgm.mixture._densities import check_component
from sklearn_dgm.mixture._finite import FiniteMixture
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._chain import Chain
from sklearn_dgm.sequence._emissions import DensityEmissions, reads_columns
from sklearn_dgm.sequence._labels import read_labels
from sklearn_dgm.sequence._state_learning import (
    DensityLearner,
    MixtureLearner,
    WeightedSequences,
    fit_states,
)
from sklearn_dgm.sequence._state_parameters import StateParametersMixin
from sklearn_dgm.sequence._state_queries import StateQueriesMixin
from sklearn_dgm.tags import DensityTags, common_density_tags

# Of fewer distinct sequences none validates by default.
LEAST_SEQUENCES = 50
CLOSED_FORMS = DensityTags(sequences=True, missing=True, ties=True)


class HiddenMarkovDensity(StateQueriesMixin, StateParametersMixin, BaseSequenceDensity):
    """Density of sequences from a hidden Markov model."""

    _parameter_constraints: dict = {
        **BaseSequenceDensity._parameter_constraints,
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "emission": [
            StrOptions({"auto", "gaussian", "tree"}),
            HasMethods(["fit", "score_samples"]),
        ],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical", "factor"})],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "transition_alpha": [Interval(Real, 0, None, closed="left")],
        "reg_covar": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state", np.random.Generator],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }

    def __init__(
        self,
        n_states: int = 8,
        emission: Any = "auto",
        *,
        covariance_type: Literal["full", "tied", "diag", "spherical", "factor"] = "full",
        n_factors: int = 2,
        alpha: float = 1.0,
        transition_alpha: float = 1.0,
        reg_covar: Literal["auto"] | float = "auto",
        init: Literal["k-means++", "random"] = "k-means++",
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        early_stopping: Literal["auto"] | bool = "auto",
        validation_fraction: float = 0.1,
        length: Literal["auto", "fixed", "stop", "given"] = "auto",
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            length=length,
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.n_states = n_states
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_factors = n_factors
        self.alpha = alpha
        self.transition_alpha = transition_alpha
        self.reg_covar = reg_covar
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.handle_unknown = handle_unknown

    @property
    def _density_tags(self):
        if isinstance(self.emission, str):
            return CLOSED_FORMS
        try:
            tags = common_density_tags([self.emission])
        except (AttributeError, TypeError, ValueError):  # no density, which fit will say
            return DensityTags(column_kinds=(), sequences=True)
        tags.sequences = True
        return tags

    def _make_schema(self):
        if not isinstance(self.emission, str):
            check_component(self.emission, "HiddenMarkovDensity", "emission", "state")
        return super()._make_schema()

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        with fit_task(self, X, y, sample_weight, n_subtasks=self._n_subtasks):
            return self._fit_or_restore(X, sample_weight, schema, y)

    @property
    def _n_subtasks(self):
        return 0 if isinstance(self.emission, str) else None

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        with restored_on_failure(self):
            Z, weight = self._start_fit(X, sample_weight, schema=schema)
            states, labels = None, None
            if y is not None:
                lengths = read_sequences(self._validate(X, reset=False))[2]
                states, labels = read_labels(y, lengths)
            if labels is not None and weight is not None:
                labels = labels[np.repeat(check_weights(X, sample_weight) > 0, lengths)]
            self.states_ = np.arange(self.n_states) if states is None else states
            self._fit(Z, weight, labels)
        return self

    def _fit(self, Z, sample_weight, labels=None):
        data, rng = WeightedSequences.of(Z, sample_weight, labels), check_generator(self.random_state)
        is_valid, n_states = self._validation(data, rng), len(self.states_)
        train = data.part(~is_valid, n_states)
        valid = data.part(is_valid, n_states) if is_valid.any() else None
        fits = []
        for _ in range(self.n_init):
            learner = self._learner(data.rows, n_states, rng)
            started = data.rows.started(self.schema_.columns_, self.init, n_states, rng)
            fits.append(
                fit_states(
                    Chain(n_states, self._ends),
                    learner,
                    train,
                    valid,
                    train.start(started.start),
                    self.transition_alpha,
                    self.max_iter,
                    self.tol,
                )
            )
        best = fits[int(np.argmax([fit.quality for fit in fits]))]
        self._chain, self._mixture = best.chain, best.emissions
        self.lower_bounds_ = best.lower_bounds
        self.validation_scores_ = best.validation_scores
        self.n_iter_, self.converged_ = best.n_iter, best.converged

    def _validation(self, data, rng):
        """Return flags of the sequences that say when to stop."""
        n = np.count_nonzero(data.lengths)
        wanted = n >= LEAST_SEQUENCES if self.early_stopping == "auto" else self.early_stopping
        if not wanted:
            return np.zeros(len(data.lengths), dtype=bool)
        filled = np.flatnonzero(data.lengths)
        n_valid = max(round(self.validation_fraction * n), 1)
        if n_valid >= n:
            raise ValueError(
                f"early_stopping=True needs 2 sequences with steps that differ at least, X has {n}."
            )
        is_valid = np.zeros(len(data.lengths), dtype=bool)
        is_valid[rng.choice(filled, n_valid, replace=False)] = True
        return is_valid

    def _learner(self, rows, n_states, rng):
        """Return what learns emissions."""
        if isinstance(self.emission, str):
            is_auto = self.emission == "auto"
            mixture = FiniteMixture.of(
                self.schema_.columns_,
                rows,
                n_states,
                component="gaussian" if is_auto else self.emission,
                covariance_type="diag" if is_auto else self.covariance_type,
                n_factors=self.n_factors,
                reg_covar=self.reg_covar,
            )
            if mixture.tables is not None:
                mixture.tables.alpha = float(self.alpha)
            return MixtureLearner(mixture, rows)
        densities = [seeded(self.emission, rng) for _ in range(n_states)]
        schema = self.schema_.steps if reads_columns(self.emission) else None
        table = rows.Z if schema is None else schema.decode(rows.Z)
        return DensityLearner(DensityEmissions(densities), rows, table, schema, task_of_fit(self))

    def _log_prob_steps(self, Z):
        of_steps, of_ends = np.empty(len(Z.steps)), np.full(len(Z), self._chain.log_empty)
        for steps, block, sequences in self._step_blocks(Z):
            passed = self._forward(steps, Z.steps[block])
            of_steps[block] = steps.back(passed.log_prob)
            of_ends[sequences[Z.lengths[sequences] > 0]] = passed.log_end
        return of_steps, of_ends

    def _draw(self, n_samples, rng):
        lengths = None if self._ends else self._draw_lengths(n_samples, rng)
        states, lengths = self._chain.draw(n_samples, lengths, rng)
        return self._filled(np.full((len(states), len(self.schema_.columns_)), np.nan), states, lengths, rng)
