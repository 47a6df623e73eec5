"""Adaptive integrals against closed forms."""

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm._queries.quadrature import integrate


def mixture(z, location, scale):
    """A narrow normal beside a wide one."""
    return np.logaddexp(
        stats.norm.logpdf(z, location, scale), stats.norm.logpdf(z, -1.0, 1.0)
    ) - np.log(2)


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-3])
def test_mass_and_mean(scale):
    location = np.array([[0.0], [2.0], [-5.0]])
    first = np.random.default_rng(0).normal(-1, 1, (3, 100))
    # As draws of a network do, some of the first nodes know where the narrow peak is.
    first[:, :10] = location + scale * np.linspace(-2, 2, 10)
    z, log_weight = integrate(lambda z: mixture(z, location, scale), first, 512)
    assert z.shape == log_weight.shape == (3, 512)
    assert (np.diff(z, axis=1) >= 0).all()
    weight = np.exp(log_weight)
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=5e-3)
    np.testing.assert_allclose((weight * z).sum(axis=1), (location[:, 0] - 1) / 2, atol=1e-2)


def test_first_nodes_that_are_all_the_same():
    _, log_weight = integrate(lambda z: stats.norm.logpdf(z, 3.0, 1e-6), np.full((1, 50), 3.0), 200)
    assert np.exp(log_weight).sum() == pytest.approx(1, abs=1e-2)


def test_an_impossible_row_has_no_weight():
    _, log_weight = integrate(lambda z: np.full_like(z, -np.inf), np.zeros((1, 50)), 100)
    assert np.isneginf(log_weight).all()
