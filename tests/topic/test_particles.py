"""Particle filters and bounds against sums over all topics of all words."""

from itertools import product

import numpy as np
import pytest
from scipy import sparse
from scipy.special import gammaln, logsumexp

from sklearn_dgm.topic._counts import Counts
from sklearn_dgm.topic._documents import Documents
from sklearn_dgm.topic._particles import N_FILTERS, filtered_log_prob, log_mean_and_std

# Topics, words of the vocabulary, words of the document, size of the prior.
SIZES = [(3, 5, 7, 0.3), (2, 4, 8, 0.1), (4, 6, 5, 0.5)]


def tiny(n_topics, n_words, n, size):
    """Return a document of a tiny model, with its words in order."""
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(n_words, 0.3), n_topics)
    prior = rng.uniform(0.5, 1.5, n_topics) * size
    return np.sort(rng.integers(0, n_words, n)), topics, prior


def enumerated(tokens, topics, prior):
    """Return the log-probability of words by all assignments of topics to them."""
    n, n_topics = len(tokens), len(prior)
    constant = gammaln(prior.sum()) - gammaln(prior.sum() + n) - gammaln(prior).sum()
    terms = [
        constant
        + gammaln(prior + np.bincount(z, minlength=n_topics)).sum()
        + np.log(topics[list(z), tokens]).sum()
        for z in product(range(n_topics), repeat=n)
    ]
    return logsumexp(terms)


def document_of(tokens, n_words):
    counts = np.bincount(tokens, minlength=n_words)[None].astype(float)
    return Counts(sparse.csr_array(counts))


def runs(tokens, topics, prior, n_runs, n_particles, expected):
    return np.array(
        [
            filtered_log_prob(
                tokens, topics, prior, expected, n_particles, np.random.default_rng(seed)
            )
            for seed in range(n_runs)
        ]
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("looks_ahead", [True, False])
def test_the_mean_of_estimates_is_the_probability(size, looks_ahead):
    tokens, topics, prior = tiny(*size)
    # Whatever is said to be expected, also nonsense.
    expected = np.random.default_rng(1).dirichlet(np.ones(len(prior)), len(tokens))
    expected *= 3.0 * looks_ahead
    ratio = np.exp(
        runs(tokens, topics, prior, 200, 10, expected) - enumerated(tokens, topics, prior)
    ).ravel()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
    assert ratio.std() / np.sqrt(len(ratio)) < 0.03


@pytest.mark.parametrize("size", SIZES)
def test_bounds_are_below_the_probability(size):
    tokens, topics, prior = tiny(*size)
    Z = document_of(tokens, topics.shape[1])
    bound = Documents(Z, topics, prior).lower_bounds()
    exact = enumerated(tokens, topics, prior)
    assert exact - 3 < bound[0] < exact
    nothing = Documents(document_of(tokens[:0], topics.shape[1]), topics, prior)
    np.testing.assert_allclose(nothing.lower_bounds(), 0, atol=1e-12)


def test_any_posterior_gives_a_bound():
    tokens, topics, prior = tiny(*SIZES[0])
    documents = Documents(document_of(tokens, topics.shape[1]), topics, prior)
    best = documents.lower_bounds()
    rng = np.random.default_rng(0)
    for _ in range(20):
        documents.posterior = documents.posterior * rng.uniform(
            0.8, 1.25, documents.posterior.shape
        )
        assert documents.lower_bounds() < best
        documents = Documents(document_of(tokens, topics.shape[1]), topics, prior)


def test_order_of_words_does_not_matter_to_what_is_estimated():
    tokens, topics, prior = tiny(*SIZES[0])
    exact = enumerated(tokens, topics, prior)
    nothing = np.zeros((len(tokens), len(prior)))
    for order in (np.arange(len(tokens)), np.arange(len(tokens))[::-1]):
        ratio = np.exp(runs(tokens[order], topics, prior, 200, 10, nothing) - exact).ravel()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))


@pytest.mark.parametrize("size", SIZES)
def test_stated_errors_are_the_spread(size):
    tokens, topics, prior = tiny(*size)
    nothing = np.zeros((len(tokens), len(prior)))
    found = np.array(
        [log_mean_and_std(run) for run in runs(tokens, topics, prior, 300, 30, nothing)]
    )
    error = found[:, 0] - enumerated(tokens, topics, prior)
    # Of ten filters the ratio has a t-distribution of nine degrees of freedom, of standard deviation 1.13.
    assert N_FILTERS == 10
    assert 0.95 < np.sqrt(np.mean(np.square(error / found[:, 1]))) < 1.35


def test_words_that_hardly_occur_are_not_impossible():
    tokens, topics, prior = tiny(*SIZES[0])
    nothing = np.zeros((len(tokens), len(prior)))
    rare = topics * np.where(np.arange(topics.shape[1]) == tokens[0], 1e-60, 1.0)
    times = np.sum(tokens == tokens[0])
    found, usual = (runs(tokens, of, prior, 1, 50, nothing) for of in (rare, topics))
    np.testing.assert_allclose(found - usual, times * np.log(1e-60), rtol=1e-6)
