"""Visible units: the rates of independent columns, and whole numbers."""

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.energy.machines import mixed_table, units_of


def test_base_rates_are_the_shares_of_rows():
    X = mixed_table(2000)
    units, Z = units_of(X)
    F, missing, _ = units.encode(Z)
    eta = units.base_rates(F, missing, np.ones(len(Z)))
    drawn = units.draw(
        np.tile(eta, (20_000, 1)), np.ones(units.n_numbers), np.random.default_rng(0)
    )
    np.testing.assert_allclose(drawn.mean(axis=0), F.mean(axis=0), atol=0.03)
    # Each number has mean 0 and variance 1, where it is open.
    np.testing.assert_allclose((drawn**2).mean(axis=0), (F**2).mean(axis=0), atol=0.06)


@pytest.mark.parametrize("center", [50.0, 50.3, 50.5])
def test_whole_numbers_are_drawn_as_they_are_scored(center):
    X = np.random.default_rng(0).poisson(40, (500, 1))
    units, _ = units_of(X)
    precision = units.cell**-2  # as narrow as they come: a step
    z = center - X.min()
    eta = np.full((50_000, 1), (z - units.centre[0]) / units.scale[0] * precision[0])
    rng = np.random.default_rng(1)
    drawn = units.decode(units.draw(eta, precision, rng, to_decode=True), rng)[:, 0]
    values = np.arange(-10, 11) + np.floor(z)
    p = np.exp(-0.5 * (values - z) ** 2)
    shares = (drawn[:, None] == values).mean(axis=0)
    np.testing.assert_allclose(shares, p / p.sum(), atol=0.01)


def test_draws_have_the_density_of_their_natural_parameters():
    X = mixed_table()[:, [1, 4]]
    units, _ = units_of(X)
    eta, precision = np.array([[0.5, -1.0, 0.2, 0.3, -0.4, 1.2]]), np.array([2.0])
    drawn = units.draw(np.tile(eta, (50_000, 1)), precision, np.random.default_rng(0))
    colors = np.exp(eta[0, :3] - logsumexp(eta[0, :3]))
    np.testing.assert_allclose(drawn[:, :3].mean(axis=0), colors, atol=0.01)
    # Behind the gate a normal of mean eta / precision; the gate's weight has its normaliser.
    mass = np.exp([0.3, -0.4 + 1.2**2 / 4 + 0.5 * np.log(2 * np.pi / 2)])
    np.testing.assert_allclose(drawn[:, 3:5].mean(axis=0), mass / mass.sum(), atol=0.01)
    u = drawn[drawn[:, 4] == 1, 5]
    assert (u.mean(), u.var()) == pytest.approx((0.6, 0.5), abs=0.02)
    assert not drawn[drawn[:, 4] == 0, 5].any()
    log_normalisers = units.log_normalisers(eta, precision)
    np.testing.assert_allclose(log_normalisers, [[logsumexp(eta[0, :3]), np.log(mass.sum())]])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_two_whole_numbers_are_a_flag(dtype):
    X = (np.random.default_rng(0).random((100, 2)) < 0.3).astype(dtype)
    units, Z = units_of(X)
    assert units.n_features == 2
    _, _, log_within = units.encode(np.append(Z, [[2, 0], [0, -1]], axis=0))
    np.testing.assert_array_equal(log_within, [0] * len(X) + [-np.inf] * 2)
