"""Densities of rows that are made of a few unknown numbers, their latents.

They need torch, and are imported when they are named.
"""

__all__ = ["VariationalAutoencoderDensity"]


def __getattr__(name):
    if name == "VariationalAutoencoderDensity":
        from sklearn_dgm.latent._vae import VariationalAutoencoderDensity

        return VariationalAutoencoderDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
