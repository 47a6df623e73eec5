"""Mixtures of different densities, whose weights are found by held-out rows."""

from sklearn_dgm.ensemble._ensemble import EnsembleDensity

__all__ = ["EnsembleDensity"]
