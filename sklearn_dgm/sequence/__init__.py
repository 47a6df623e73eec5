"""Densities of sequences."""

from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._hidden_markov import HiddenMarkovDensity
from sklearn_dgm.sequence._markov import MarkovChainDensity

__all__ = ["BaseSequenceDensity", "HiddenMarkovDensity", "MarkovChainDensity"]
