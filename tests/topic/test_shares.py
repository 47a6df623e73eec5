"""Importance sampling of topic shares against sums over all topics of all words."""

import numpy as np
import pytest

from sklearn_dgm.topic._particles import N_FILTERS
from sklearn_dgm.topic._shares import sampled_log_prob
from tests.topic.test_particles import SIZES, enumerated, tiny


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("expected", [0.0, 1.0, 20.0])
def test_the_mean_of_estimates_is_the_probability(size, expected):
    tokens, topics, prior = tiny(*size)
    words, counts = np.unique(tokens, return_counts=True)
    # Whatever the posterior is said to be, also nonsense.
    posterior = prior + expected * np.random.default_rng(1).dirichlet(np.ones(len(prior)))
    rng = np.random.default_rng(0)
    found = [
        sampled_log_prob(words, counts.astype(float), topics, prior, posterior, 100, rng)
        for _ in range(100)
    ]
    ratio = np.exp(np.ravel(found) - enumerated(tokens, topics, prior))
    assert len(ratio) == 100 * N_FILTERS
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.02
    assert abs(ratio.mean() - 1) < 4 * error


def test_draws_in_parts_are_as_good(monkeypatch):
    tokens, topics, prior = tiny(*SIZES[0])
    words, counts = np.unique(tokens, return_counts=True)
    monkeypatch.setattr("sklearn_dgm.topic._shares.NUMBERS_AT_ONCE", 70 * len(words))
    found = sampled_log_prob(
        words, counts, topics, prior, prior + 2, 1000, np.random.default_rng(0)
    )
    np.testing.assert_allclose(found, enumerated(tokens, topics, prior), atol=0.3)
