"""Predictions for tables that are read a chunk at a time."""

import numpy as np
import pytest
from sklearn.base import is_classifier

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    GenerativeClassifier,
    HistogramDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from tests.chunks.tables import Parts, mixed

X = mixed()[["float", "word", "flag"]]
Y = np.where(mixed()["two"] > 0, "yes", "no")
ESTIMATORS = [
    NaiveBayesClassifier(),
    TreeAugmentedNaiveBayesClassifier(),
    AveragedOneDependenceClassifier(),
    GenerativeClassifier(HistogramDensity(bins=5, alpha=1)),
    MixtureDensity(2, random_state=0),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda one: type(one).__name__)
def test_predictions_of_chunks_are_those_of_all_rows(estimator):
    estimator.fit(X, Y)
    names = ["predict", "predict_proba", "predict_joint_log_proba", "score_samples"]
    for name in names + ["predict_log_proba"] * is_classifier(estimator):
        of_rows = getattr(estimator, name)(X)
        of_chunks = getattr(estimator, name)(Parts(X, 700))
        assert of_chunks.dtype == of_rows.dtype
        # Bits depend on how many rows matrices have.
        assert np.array_equal(of_chunks, of_rows) or np.allclose(of_chunks, of_rows)
    parts = list(estimator.iter_scores(Parts(X, 700)))
    assert np.allclose(np.concatenate(parts), estimator.score_samples(X))


@pytest.mark.parametrize("classifier", ESTIMATORS[:-1], ids=lambda one: type(one).__name__)
def test_accuracy_of_chunks(classifier):
    classifier.fit(X, Y)
    labels = np.where(np.arange(len(Y)) % 5, Y.astype(object), -1)
    weight = np.arange(len(Y)) % 3
    for y, weights in ((Y, None), (labels, weight)):
        expected = classifier.score(X, y, weights)
        assert classifier.score(Parts(X, 700), y, weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.score(Parts(X, 700), Y[:-1])
