"""Images as rows of a table: pixels given those above and to the left."""

__all__ = ["PixelCNNDensity"]


def __getattr__(name):
    if name == "PixelCNNDensity":
        from sklearn_dgm.image._pixelcnn import PixelCNNDensity

        return PixelCNNDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
