"""Questions to a hidden Markov model: which states, and what missing cells are."""

from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.completed_rows import with_given_cells
from sklearn_dgm._queries.conditioning import check_possible
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.columns import Sequences
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._chain import Chain
from sklearn_dgm.sequence._emissions import fill_states
from sklearn_dgm.sequence._step_order import StepOrder

# Numbers that a block of sequences takes up.
NUMBERS_AT_ONCE = 2**22


class StateQueriesMixin(BaseSequenceDensity):
    """Mixin of densities with a `_chain` of states that emit what `_mixture` says."""

    _chain: Chain
    _mixture: Any

    def _step_blocks(self, Z, cut=True):
        """Yield sequences in blocks: their steps in the order of time, a slice of all steps, and which ones."""
        n_states = len(self._chain.start)
        number = np.cumsum(Z.lengths) * n_states // NUMBERS_AT_ONCE
        for sequences in np.split(np.arange(len(Z)), np.flatnonzero(np.diff(number)) + 1):
            start = int(Z.starts[sequences[0]])
            lengths = Z.lengths[sequences]
            steps = StepOrder(lengths, n_states if cut else None)
            yield steps, slice(start, start + int(lengths.sum())), sequences

    def _log_b(self, Z):
        """Return the log-densities of encoded steps in each state."""
        log_b = np.zeros((len(Z), len(self._chain.start)))
        log_b += self._mixture.log_conditional(self._mixture.prepare(Z))
        return log_b

    def _forward(self, steps, Z):
        """Pass forward over a block of encoded steps."""
        return self._chain.forward(steps, self._log_b(Z), steps.order)

    def predict_proba(self, X: Any) -> Any:
        """p"""
        Z = self._encode(X)[0]
        posterior = np.empty((len(Z.steps), len(self._chain.start)))
        for steps, block, _ in self._step_blocks(Z):
            passed = self._forward(steps, Z.steps[block])
            posterior[block] = steps.back(self._chain.backward(steps, passed)[0])
        return self._by_sequence(X, Z, posterior)

    def predict(self, X: Any, algorithm: Literal["viterbi", "posterior"] = "viterbi") -> Any:
        """p"""
        if algorithm not in ("viterbi", "posterior"):
            raise ValueError(f"algorithm should be 'viterbi' or 'posterior', got {algorithm!r}.")
        Z = self._encode(X)[0]
        states = np.empty(len(Z.steps), dtype=np.intp)
        for steps, block, _ in self._step_blocks(Z, cut=False):
            log_b = self._log_b(Z.steps[block])
            if algorithm == "viterbi":
                states[block] = steps.back(self._chain.most_probable(steps, log_b[steps.order]))
            else:
                passed = self._chain.forward(steps, log_b, steps.order)
                posterior = self._chain.backward(steps, passed)[0]
                states[block] = steps.back(posterior.argmax(axis=1))
        return self._by_sequence(X, Z, self.states_[states])

    def conditional_sample(
        self, X: Any, n_samples: int = 1, random_state: RandomState = None
    ) -> Any:
        """c"""
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        Z = self._encode(X)[0]
        rng = check_generator(random_state)
        check_possible(self._log_density(Z), np.arange(len(Z)))
        Z = Z[np.repeat(np.arange(len(Z)), n_samples)]
        completed = np.empty_like(Z.steps)
        for steps, block, _ in self._step_blocks(Z, cut=False):
            passed = self._forward(steps, Z.steps[block])
            states = steps.back(self._chain.draw_given(steps, passed, rng))
            completed[block] = fill_states(self._mixture, Z.steps[block], states, rng)
        return self.schema_.complete(Sequences(completed, Z.lengths), X)

    def _filled(self, Z, states, lengths, rng):
        """Return sequences whose missing cells are drawn given their states."""
        return Sequences(fill_states(self._mixture, Z, states, rng), lengths)
