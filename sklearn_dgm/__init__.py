"""Scikit-learn-compatible deep generative models.

Names are imported when they are used: `import sklearn_dgm` loads neither torch nor skorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_dgm.autoregressive import AutoregressiveDensity
    from sklearn_dgm.base import BaseDensity, is_density
    from sklearn_dgm.bayes_net import (
        AveragedOneDependenceClassifier,
        BayesianNetworkDensity,
        NaiveBayesClassifier,
        TreeAugmentedNaiveBayesClassifier,
    )
    from sklearn_dgm.codec import DensityCodec
    from sklearn_dgm.columns import ColumnSchema
    from sklearn_dgm.compose import TransformedDensity, log_abs_det_jacobian
    from sklearn_dgm.ensemble import EnsembleDensity
    from sklearn_dgm.generative import GenerativeClassifier, GenerativeOverSampler
    from sklearn_dgm.histogram import HistogramDensity
    from sklearn_dgm.impute import DensityImputer
    from sklearn_dgm.inspection import (
        BayesianNetworkDisplay,
        DensityDisplay,
        OutlierDisplay,
        TrainingDisplay,
    )
    from sklearn_dgm.metrics import mean_log_likelihood
    from sklearn_dgm.outlier import DensityOutlierDetector

_HOMES = {
    "AutoregressiveDensity": "autoregressive",
    "AveragedOneDependenceClassifier": "bayes_net",
    "BaseDensity": "base",
    "BayesianNetworkDensity": "bayes_net",
    "BayesianNetworkDisplay": "inspection",
    "ColumnSchema": "columns",
    "DensityCodec": "codec",
    "DensityDisplay": "inspection",
    "DensityImputer": "impute",
    "DensityOutlierDetector": "outlier",
    "GenerativeClassifier": "generative",
    "GenerativeOverSampler": "generative",
    "EnsembleDensity": "ensemble",
    "HistogramDensity": "histogram",
    "NaiveBayesClassifier": "bayes_net",
    "OutlierDisplay": "inspection",
    "TrainingDisplay": "inspection",
    "TransformedDensity": "compose",
    "TreeAugmentedNaiveBayesClassifier": "bayes_net",
    "is_density": "base",
    "log_abs_det_jacobian": "compose",
    "mean_log_likelihood": "metrics",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name == "__version__":
        return import_module("importlib.metadata").version("sklearn-dgm")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
