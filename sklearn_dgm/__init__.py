"""Scikit-learn-compatible deep generative models.

Names are imported when they are used: `import sklearn_dgm` loads neither torch nor skorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_dgm._queries.given import GivenMixin
    from sklearn_dgm.autoregressive import AutoregressiveDensity
    from sklearn_dgm.base import BaseDensity, BaseEstimatedDensity, BaseGenerator
    from sklearn_dgm.bayes_net import (
        AveragedOneDependenceClassifier,
        BayesianNetworkDensity,
        NaiveBayesClassifier,
        TreeAugmentedNaiveBayesClassifier,
    )
    from sklearn_dgm.checkpoint import Checkpoint
    from sklearn_dgm.codec import DensityCodec
    from sklearn_dgm.columns import ColumnSchema
    from sklearn_dgm.compose import TransformedDensity, log_abs_det_jacobian
    from sklearn_dgm.energy import DeepBeliefDensity, EnergyDensity, RestrictedBoltzmannDensity
    from sklearn_dgm.ensemble import EnsembleDensity
    from sklearn_dgm.flow import FlowDensity
    from sklearn_dgm.generative import GenerativeClassifier, GenerativeOverSampler
    from sklearn_dgm.grammar import ContextFreeGrammarDensity
    from sklearn_dgm.histogram import HistogramDensity
    from sklearn_dgm.image._pixelcnn import PixelCNNDensity
    from sklearn_dgm.implicit import TabularGAN
    from sklearn_dgm.impute import DensityImputer
    from sklearn_dgm.inspection import (
        BayesianNetworkDisplay,
        CalibrationDisplay,
        DensityDisplay,
        ImagesDisplay,
        OutlierDisplay,
        ParseTreeDisplay,
        TopicsDisplay,
        TrainingDisplay,
    )
    from sklearn_dgm.latent import VariationalAutoencoderDensity
    from sklearn_dgm.metrics import (
        bits_per_dim,
        classifier_two_sample_test,
        compare_densities,
        energy_distance,
        maximum_mean_discrepancy,
        mean_log_likelihood,
        nearest_record_distances,
        neg_bits_per_dim,
        neg_mass_volume,
        outlier_roc_auc,
    )
    from sklearn_dgm.mixture import ContinuousMixtureDensity, MixtureDensity
    from sklearn_dgm.outlier import DensityOutlierDetector
    from sklearn_dgm.persistence import ModelFileError, load, save
    from sklearn_dgm.sequence import BaseSequenceDensity, HiddenMarkovDensity, MarkovChainDensity
    from sklearn_dgm.sequence._autoregressive import AutoregressiveSequenceDensity
    from sklearn_dgm.tags import DensityTags, get_density_tags, is_density, is_generator
    from sklearn_dgm.topic import LatentDirichletAllocationDensity

_HOMES = {
    "AutoregressiveDensity": "autoregressive",
    "AutoregressiveSequenceDensity": "sequence",
    "AveragedOneDependenceClassifier": "bayes_net",
    "BaseDensity": "base",
    "BaseEstimatedDensity": "base",
    "BaseGenerator": "base",
    "BaseSequenceDensity": "sequence",
    "BayesianNetworkDensity": "bayes_net",
    "BayesianNetworkDisplay": "inspection",
    "CalibrationDisplay": "inspection",
    "Checkpoint": "checkpoint",
    "ColumnSchema": "columns",
    "ContextFreeGrammarDensity": "grammar",
    "ContinuousMixtureDensity": "mixture",
    "DeepBeliefDensity": "energy",
    "DensityCodec": "codec",
    "DensityDisplay": "inspection",
    "DensityImputer": "impute",
    "DensityOutlierDetector": "outlier",
    "DensityTags": "tags",
    "GenerativeClassifier": "generative",
    "GenerativeOverSampler": "generative",
    "EnergyDensity": "energy",
    "EnsembleDensity": "ensemble",
    "FlowDensity": "flow",
    "GivenMixin": "_queries.given",
    "HiddenMarkovDensity": "sequence",
    "HistogramDensity": "histogram",
    "LatentDirichletAllocationDensity": "topic",
    "ImagesDisplay": "inspection",
    "MarkovChainDensity": "sequence",
    "MixtureDensity": "mixture",
    "ModelFileError": "persistence",
    "NaiveBayesClassifier": "bayes_net",
    "OutlierDisplay": "inspection",
    "ParseTreeDisplay": "inspection",
    "PixelCNNDensity": "image",
    "RestrictedBoltzmannDensity": "energy",
    "TabularGAN": "implicit",
    "TopicsDisplay": "inspection",
    "TrainingDisplay": "inspection",
    "TransformedDensity": "compose",
    "TreeAugmentedNaiveBayesClassifier": "bayes_net",
    "VariationalAutoencoderDensity": "latent",
    "bits_per_dim": "metrics",
    "classifier_two_sample_test": "metrics",
    "compare_densities": "metrics",
    "energy_distance": "metrics",
    "get_density_tags": "tags",
    "is_density": "tags",
    "is_generator": "tags",
    "load": "persistence",
    "log_abs_det_jacobian": "compose",
    "maximum_mean_discrepancy": "metrics",
    "mean_log_likelihood": "metrics",
    "nearest_record_distances": "metrics",
    "neg_bits_per_dim": "metrics",
    "neg_mass_volume": "metrics",
    "outlier_roc_auc": "metrics",
    "save": "persistence",
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
