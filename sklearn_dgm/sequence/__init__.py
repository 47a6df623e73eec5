"""Densities of sequences.

What needs torch is imported when it is named.
"""

from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._hidden_markov import HiddenMarkovDensity
from sklearn_dgm.sequence._markov import MarkovChainDensity

__all__ = [
    "AutoregressiveSequenceDensity",
    "BaseSequenceDensity",
    "HiddenMarkovDensity",
    "MarkovChainDensity",
]


def __getattr__(name):
    if name == "AutoregressiveSequenceDensity":
        from sklearn_dgm.sequence._autoregressive import AutoregressiveSequenceDensity

        return AutoregressiveSequenceDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
