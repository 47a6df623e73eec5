"""Scores that treat every density alike, comparisons of densities, and of sampled rows with real ones."""

from sklearn_dgm.metrics._comparison import compare_densities
from sklearn_dgm.metrics._likelihood import bits_per_dim, mean_log_likelihood, neg_bits_per_dim
from sklearn_dgm.metrics._outliers import neg_mass_volume, outlier_roc_auc
from sklearn_dgm.metrics._records import nearest_record_distances
from sklearn_dgm.metrics._two_sample import (
    classifier_two_sample_test,
    energy_distance,
    maximum_mean_discrepancy,
)

__all__ = [
    "bits_per_dim",
    "classifier_two_sample_test",
    "compare_densities",
    "energy_distance",
    "maximum_mean_discrepancy",
    "mean_log_likelihood",
    "nearest_record_distances",
    "neg_bits_per_dim",
    "neg_mass_volume",
    "outlier_roc_auc",
]
