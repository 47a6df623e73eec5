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
    from sklearn_dgm.histogram import HistogramDensity
    from sklearn_dgm.impute import DensityImputer
    from sklearn_dgm.inspection import BayesianNetworkDisplay, DensityDisplay, TrainingDisplay
    from sklearn_dgm.metrics import mean_log_likelihood

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
    "HistogramDensity": "histogram",
    "NaiveBayesClassifier": "bayes_net",
    "TrainingDisplay": "inspection",
    "TreeAugmentedNaiveBayesClassifier": "bayes_net",
    "is_density": "base",
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
