"""Predictions for tables that are read a chunk at a time."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    ContinuousMixtureDensity,
    DeepBeliefDensity,
    GenerativeClassifier,
    HistogramDensity,
    LatentDirichletAllocationDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    RestrictedBoltzmannDensity,
    TreeAugmentedNaiveBayesClassifier,
    VariationalAutoencoderDensity,
    bits_per_dim,
    mean_log_likelihood,
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


TRANSFORMERS = [
    ContinuousMixtureDensity(max_epochs=1, random_state=0),
    DeepBeliefDensity((3,), max_iter=2, random_state=0),
    LatentDirichletAllocationDensity(3, random_state=0),
    RestrictedBoltzmannDensity(3, max_iter=2, random_state=0),
    VariationalAutoencoderDensity(n_latents=2, max_epochs=1, random_state=0),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("density", TRANSFORMERS, ids=lambda one: type(one).__name__)
def test_transformed_chunks_are_those_of_all_rows(density):
    counts = np.random.default_rng(0).integers(0, 3, (150, 4))
    density = clone(density).fit(counts)
    of_rows = density.transform(counts)
    assert np.allclose(density.transform(Parts(counts, 40)), of_rows, atol=1e-6)
    framed = density.set_output(transform="pandas").transform([counts[:70], counts[70:]])
    assert list(framed.columns) == list(density.get_feature_names_out())
    assert np.allclose(framed, of_rows, atol=1e-6)
    with pytest.raises(NotFittedError):
        clone(density).transform([counts])


def test_likelihoods_of_chunks():
    density = HistogramDensity(bins=5, alpha=1).fit(X)
    for metric in (mean_log_likelihood, bits_per_dim):
        expected = metric(density, X, return_std_error=True)
        for chunked in (Parts(X, 700), [X], iter([X])):
            assert np.allclose(metric(density, chunked, return_std_error=True), expected)
    words = ["ab", "b", "abab", "", "ba"] * 20
    chain = MarkovChainDensity(2).fit(words)
    assert bits_per_dim(chain, Parts(words, 7)) == pytest.approx(bits_per_dim(chain, words))
    with pytest.raises(TypeError, match="list_iterator, which can be read but once, and bits_per"):
        bits_per_dim(chain, iter([words]))


def test_a_list_of_one_table_is_that_table():
    expected = HistogramDensity(bins=5, alpha=1).fit(X).score_samples(X)
    assert np.allclose(HistogramDensity(bins=5, alpha=1).fit([X]).score_samples([X]), expected)
