"""Topic models: densities of documents that are bags of words."""

from sklearn_dgm.topic._allocation import LatentDirichletAllocationDensity

__all__ = ["LatentDirichletAllocationDensity"]
