"""The parameters of a fitted hidden Markov model, in the units of X, and criteria that count them."""

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm.mixture._parameters import ComponentParametersMixin
from sklearn_dgm.sequence._base import BaseSequenceDensity


class StateParametersMixin(ComponentParametersMixin, BaseSequenceDensity):
    """Mixin of densities with a `_chain` of states that emit what `_mixture` says; nothing is held a second time."""

    @property
    def start_probabilities_(self):
        """Probabilities of the first state, of shape (n_states,)."""
        check_is_fitted(self)
        return self._chain.start

    @property
    def transition_matrix_(self):
        """Probabilities of the next state given the one before, of shape (n_states, n_states)."""
        check_is_fitted(self)
        return self._chain.transition

    @property
    def stop_probabilities_(self):
        """Probabilities to end after a step in each state, of shape (n_states,), if the length is "stop"."""
        check_is_fitted(self)
        return self._chain.stop
