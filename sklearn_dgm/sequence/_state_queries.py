"""Questions to a hidden Markov model: which states, and what missing cells are."""

from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.completed_rows import with_given_cells
from sklearn_dgm._queries.conditioning import check_possible
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.columns._sequences import Sequences, read_sequences
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
        """Return the probabilities of the states at each step given the whole sequence.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences; missing cells and steps are summed out.

        Returns
        -------
        posterior : ndarray
            For a table or a 3-D array of shape (n_sequences, n_steps, n_states); for others an array of objects, each
            an ndarray of shape (n_steps, n_states). States are in the order of `states_`.
        """
        Z = self._encode(X)[0]
        posterior = np.empty((len(Z.steps), len(self._chain.start)))
        for steps, block, _ in self._step_blocks(Z):
            passed = self._forward(steps, Z.steps[block])
            posterior[block] = steps.back(self._chain.backward(steps, passed)[0])
        return self._by_sequence(X, Z, posterior)

    def predict(self, X: Any, algorithm: Literal["viterbi", "posterior"] = "viterbi") -> Any:
        """Return the states of each step.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences; missing cells and steps are summed out.
        algorithm : {"viterbi", "posterior"}, default="viterbi"
            The states that are most probable together [1]_, or for each step the most probable one.

        Returns
        -------
        states : ndarray
            For a table or a 3-D array of shape (n_sequences, n_steps); for others an array of objects, each an ndarray
            of shape (n_steps,). Of `states_`.

        Raises
        ------
        ValueError
            If there is no such algorithm.

        References
        ----------
        .. [1] A. Viterbi, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", IEEE
           Transactions on Information Theory 13 (1967), https://doi.org/10.1109/TIT.1967.1054010
        """
        if algorithm not in ("viterbi", "posterior"):
            raise ValueError(f"algorithm should be 'viterbi' or 'posterior', got {algorithm!r}.")
        Z = self._encode(X)[0]
        states = np.empty(len(Z.steps), dtype=np.intp)
        for steps, block, _ in self._step_blocks(Z, cut=algorithm != "viterbi"):
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
        """Draw the missing cells and steps of sequences given all observed cells.

        States are drawn from their joint distribution (forward filtering, backward sampling [1]_), and cells given
        these.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences with missing cells.
        n_samples : int, default=1
            Number of draws of each sequence.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible sequences. With None two calls differ, and no global generator is touched.

        Returns
        -------
        completed : {list, ndarray, Series, DataFrame} of n_sequences * n_samples sequences
            The draws of the first sequence, then those of the second, ..., in the container seen in `fit`. Observed
            cells are as given.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, or the observed cells of a sequence have density 0.

        References
        ----------
        .. [1] S. L. Scott, "Bayesian methods for hidden Markov models", Journal of the American Statistical Association
           97 (2002), https://doi.org/10.1198/016214502753479464
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        X = self._validate(X, reset=False)
        Z, rng = self.schema_.encode(X)[0], check_generator(random_state)
        check_possible(self._log_density(Z), np.arange(len(Z)))
        rows = np.repeat(np.arange(len(Z)), n_samples)
        Z = Z[rows]
        completed = np.empty_like(Z.steps)
        for steps, block, _ in self._step_blocks(Z, cut=False):
            passed = self._forward(steps, Z.steps[block])
            states = steps.back(self._chain.draw_given(steps, passed, rng))
            completed[block] = fill_states(self._mixture, Z.steps[block], states, rng)
        return self._with_given_steps(completed, X, rows)

    def _with_given_steps(self, completed, X, rows):
        """Return encoded steps as sequences, with the observed cells exactly as some rows of X have them."""
        _, table, lengths = read_sequences(X)
        of_steps = Sequences(np.arange(len(table)), lengths)[rows]
        given = safe_indexing(table, of_steps.steps)
        steps = with_given_cells(self.schema_.steps, completed, given)
        result = self.schema_.build(steps, of_steps.lengths)
        if hasattr(X, "iloc") and hasattr(result, "iloc"):
            result.index = X.index[rows]
        return result
