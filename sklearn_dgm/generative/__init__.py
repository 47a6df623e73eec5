"""One density for each class: a classifier by Bayes' rule, and new rows for rare classes."""

from sklearn_dgm.generative._classifier import GenerativeClassifier
from sklearn_dgm.generative._over_sampler import GenerativeOverSampler

__all__ = ["GenerativeClassifier", "GenerativeOverSampler"]
