"""The parameters of a fitted hidden Markov model, in the units of X, and criteria that count them."""

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm.mixture._parameters import ComponentParametersMixin
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._chain import Chain


def _counts_parameters(density):
    """Tell whether what states emit says how many parameters it has."""
    if isinstance(density.emission, str):
        return density.emission != "network"
    return hasattr(density.emission, "bic")


class StateParametersMixin(ComponentParametersMixin, BaseSequenceDensity):
    """Mixin of densities with a `_chain` of states that emit what `_mixture` says; nothing is held a second time."""

    _chain: Chain
    emission: Any

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

    def _stops(self, attribute):
        check_is_fitted(self)
        if not self._chain.stops:
            raise AttributeError(f'There is no {attribute}: the length is not "stop".')
        return self._chain

    @property
    def stop_probabilities_(self):
        """Probabilities that a sequence ends after a step in each state, of shape (n_states,)."""
        return self._stops("stop_probabilities_").stop

    @property
    def empty_probability_(self):
        """Probability of a sequence without any step."""
        return self._stops("empty_probability_").empty

    @property
    def estimators_(self):
        """The density of each state, if `emission` is a density."""
        check_is_fitted(self)
        if isinstance(self.emission, str):
            raise AttributeError("There is no estimators_: emission is no density, but a name.")
        return self._mixture.densities

    @property
    def n_parameters_(self):
        """Number of free parameters."""
        check_is_fitted(self)
        if not _counts_parameters(self):
            one = self.emission if isinstance(self.emission, str) else type(self.emission).__name__
            raise AttributeError(f"There is no n_parameters_: {one} does not count its parameters.")
        return self._chain.n_parameters + self._mixture.n_parameters_of_components

    @available_if(_counts_parameters)
    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion of the model on sequences; less is better.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences.

        Returns
        -------
        bic : float
            Minus twice the log-likelihood, and for each free parameter the logarithm of the number of steps.
        """
        n_steps = self._encode(X)[0].lengths.sum()
        return float(self.n_parameters_ * np.log(n_steps) - 2 * self.score_samples(X).sum())

    @available_if(_counts_parameters)
    def aic(self, X: Any) -> float:
        """Return Akaike's information criterion of the model on sequences; less is better.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences.

        Returns
        -------
        aic : float
            Minus twice the log-likelihood, and 2 for each free parameter.
        """
        return float(2 * self.n_parameters_ - 2 * self.score_samples(X).sum())
