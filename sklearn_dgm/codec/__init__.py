"""Lossless compression by a density."""

from sklearn_dgm.codec._codec import DensityCodec

__all__ = ["DensityCodec"]
