"""Bayesian networks: a density over a graph that is given or learnt, and classifiers whose graphs are a page each.

The classifiers count, and need no torch; the density is imported when it is named.
"""

from sklearn_dgm.bayes_net._classifiers import (
    AveragedOneDependenceClassifier,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)

__all__ = [
    "AveragedOneDependenceClassifier",
    "BayesianNetworkDensity",
    "NaiveBayesClassifier",
    "TreeAugmentedNaiveBayesClassifier",
]


def __getattr__(name):
    if name == "BayesianNetworkDensity":
        from sklearn_dgm.bayes_net._bayes_net import BayesianNetworkDensity

        return BayesianNetworkDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
