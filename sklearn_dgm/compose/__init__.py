"""Densities behind transformers, and the registry of Jacobians that they need."""

from sklearn_dgm.compose._jacobians import DifferentiableFunctionTransformer, log_abs_det_jacobian
from sklearn_dgm.compose._transformed import TransformedDensity

__all__ = ["DifferentiableFunctionTransformer", "TransformedDensity", "log_abs_det_jacobian"]
