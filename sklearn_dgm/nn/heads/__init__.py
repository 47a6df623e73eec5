"""Heads: one-dimensional conditional distributions, given their parameters.

A head serves a group of columns of one kind. Any finite parameters are a valid distribution: a density that integrates
to one, or a mass function that sums to one.
"""

from sklearn_dgm.nn.heads.categorical import CategoricalHead
from sklearn_dgm.nn.heads.embedded import EmbeddedHead
from sklearn_dgm.nn.heads.head import Head, LinearStart
from sklearn_dgm.nn.heads.mixture import MixtureHead

__all__ = [
    "HEADS",
    "CategoricalHead",
    "EmbeddedHead",
    "Head",
    "LinearStart",
    "MixtureHead",
    "head_for",
]

# A column gets the first one that takes it.
HEADS = (EmbeddedHead, CategoricalHead, MixtureHead)


def head_for(variable, family):
    """Return the class of the head of a column.

    Parameters
    ----------
    variable : Variable
        The column.
    family : str
        Family of continuous distributions.

    Returns
    -------
    head : type
        A subclass of :class:`Head`.
    """
    return next(head for head in HEADS if head.takes(variable, family))
