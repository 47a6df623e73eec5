"""Finite mixtures: latent classes, Gaussians of several forms, and trees; and mixtures over a continuous latent space.

The finite ones need no torch; the continuous one is imported when it is named.
"""

from sklearn_dgm.mixture._mixture import MixtureDensity

__all__ = ["ContinuousMixtureDensity", "MixtureDensity"]


def __getattr__(name):
    if name == "ContinuousMixtureDensity":
        from sklearn_dgm.mixture._continuous import ContinuousMixtureDensity

        return ContinuousMixtureDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
