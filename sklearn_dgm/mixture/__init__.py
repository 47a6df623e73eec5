"""Finite mixtures: latent classes, Gaussians of several forms, and trees."""

from sklearn_dgm.mixture._mixture import MixtureDensity

__all__ = ["MixtureDensity"]
