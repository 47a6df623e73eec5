"""Finite mixtures: latent classes, and Gaussians of several forms."""

from sklearn_dgm.mixture._mixture import MixtureDensity

__all__ = ["MixtureDensity"]
