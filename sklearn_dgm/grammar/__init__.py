"""Densities of sequences that a grammar derives."""

from sklearn_dgm.grammar._grammar import ContextFreeGrammarDensity

__all__ = ["ContextFreeGrammarDensity"]
