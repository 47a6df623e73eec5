"""Densities of sequences."""

from sklearn_dgm.sequence._base import BaseSequenceDensity

__all__ = ["BaseSequenceDensity"]
