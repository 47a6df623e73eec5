"""Whole numbers that are drawn with the density of a normal distribution."""

import numpy as np
from scipy import stats

from sklearn_dgm.counts.discrete_normal import discrete_normal_icdf


def test_numbers_have_the_normal_density():
    mean, values = 2.3, np.arange(-8, 13)
    u = (np.arange(100_000) + 0.5) / 100_000
    drawn = discrete_normal_icdf(u, np.full(len(u), mean))
    shares = (drawn == values[:, None]).mean(axis=1)
    # Poisson's summation: the densities at whole numbers sum to 1, but for 5e-9.
    np.testing.assert_allclose(shares, stats.norm.pdf(values, mean), atol=2e-5)
    assert (np.diff(drawn) >= 0).all()


def test_ends_are_finite_and_whole():
    mean = np.array([0.0, 0.5, -1e6 + 0.25, 1e100])
    for u in (0.0, 1.0):
        drawn = discrete_normal_icdf(np.full(4, u), mean)
        np.testing.assert_array_equal(drawn, np.floor(drawn))
        np.testing.assert_allclose(drawn, mean, atol=11)
