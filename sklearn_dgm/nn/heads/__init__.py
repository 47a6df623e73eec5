"""Heads: one-dimensional conditional distributions, given their parameters.

A head serves a group of columns of one kind. Any finite parameters are a valid distribution: a density that integrates
to one, or a mass function that sums to one.
"""

from sklearn_dgm.nn.heads.categorical import CategoricalHead
from sklearn_dgm.nn.heads.embedded import EMBEDDING_SIZE, EmbeddedHead
from sklearn_dgm.nn.heads.mixture import MixtureHead

__all__ = ["EMBEDDING_SIZE", "CategoricalHead", "EmbeddedHead", "MixtureHead"]
