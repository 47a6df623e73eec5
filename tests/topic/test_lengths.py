"""The distribution of the lengths of documents."""

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm.topic._lengths import LengthDistribution


def fitted(lengths):
    lengths = np.asarray(lengths, dtype=float)
    return LengthDistribution().fit(lengths, np.ones(len(lengths)))


@pytest.mark.parametrize(
    "lengths",
    [stats.nbinom(3, 0.05).rvs(500, random_state=0), [7] * 50, [0] * 9, [1, 100_000], [5]],
)
def test_it_sums_to_one_and_nothing_is_impossible(lengths):
    law = fitted(lengths)
    p = np.exp(law.log_prob(np.arange(3_000_000.0)))
    assert (law.log_prob(np.arange(2000.0)) > -np.inf).all()
    assert abs(p.sum() - 1) < 1e-3


def test_it_learns_what_lengths_follow():
    truth = stats.nbinom(3, 0.05)
    law = fitted(truth.rvs(2000, random_state=0))
    test = truth.rvs(5000, random_state=1).astype(float)
    assert np.mean(truth.logpmf(test) - law.log_prob(test)) < 0.02
    base = law._log_base(test, law.size_)
    exact = stats.nbinom(law.size_, law.size_ / (law.size_ + law.mean_)).logpmf(test)
    np.testing.assert_allclose(base, exact, rtol=1e-8)


def test_lengths_that_repeat_are_likely():
    assert np.exp(fitted([20] * 100).log_prob(np.array([20.0])))[0] > 0.9
    few = fitted(np.random.default_rng(0).choice([10, 50, 90], 300))
    assert np.exp(few.log_prob(np.array([10.0, 50, 90]))).sum() > 0.95


def test_weights_are_repeats():
    rng = np.random.default_rng(0)
    lengths, count = rng.poisson(9, 100).astype(float), rng.integers(0, 4, 100)
    weighted = LengthDistribution().fit(lengths, count.astype(float))
    repeated = fitted(np.repeat(lengths, count))
    at = np.arange(40.0)
    np.testing.assert_allclose(weighted.log_prob(at), repeated.log_prob(at), rtol=1e-6)


def test_draws_follow_it():
    law = fitted(np.random.default_rng(0).choice([3, 3, 3, 8, 20], 200))
    drawn = law.draw(20_000, np.random.default_rng(1))
    p = np.exp(law.log_prob(np.arange(40.0)))
    expected = np.append(p, 1 - p.sum()) * len(drawn)
    found = np.bincount(drawn.clip(0, 40), minlength=41)
    rare = expected < 5
    found, expected = (np.append(of[~rare], of[rare].sum()) for of in (found, expected))
    assert (
        stats.chi2(len(found) - 1).sf(((found - expected) ** 2 / expected.clip(0.5)).sum()) > 1e-3
    )
