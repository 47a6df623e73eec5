"""Outlier detection by densities: which rows are improbable, how improbable, and by which of their cells."""

from sklearn_dgm.outlier._detector import DensityOutlierDetector

__all__ = ["DensityOutlierDetector"]
