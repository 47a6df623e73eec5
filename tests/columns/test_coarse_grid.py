"""Whole numbers that are mostly given in tens, or on another grid."""

import numpy as np
import pytest

from sklearn_dgm import AutoregressiveDensity
from sklearn_dgm._training.variables import _coarse_grid, _share_on_grid


def normal_numbers(n, scale, seed=0):
    return np.round(np.random.default_rng(seed).normal(0, scale, n))


@pytest.mark.parametrize(
    ("step", "offset", "share"), [(10, 7, 1.0), (100, 0, 0.7), (1000, 0, 0.9), (25, 10, 0.95)]
)
def test_the_grid_is_found(step, offset, share):
    z = normal_numbers(1000, 20_000)
    on = np.random.default_rng(1).random(1000) < share
    z[on] = np.round((z[on] - offset) / step) * step + offset
    assert _coarse_grid(z, np.ones(1000)) == (step, offset)
    assert _share_on_grid(z, np.ones(1000), step, offset) == pytest.approx(share, abs=0.03)
    heavy, repeated = (z[:500], np.full(500, 2.0)), (np.repeat(z[:500], 2), np.ones(1000))
    assert _coarse_grid(*heavy) == _coarse_grid(*repeated)
    shares = [_share_on_grid(*rows, step, offset) for rows in (heavy, repeated)]
    assert shares[0] == pytest.approx(shares[1])


def test_none_is_found_where_none_is():
    for seed in range(50):
        n, scale = 60 + 20 * seed, 20 + 30 * seed
        assert _coarse_grid(normal_numbers(n, scale, seed), np.ones(n)) == ()
    few = np.random.default_rng(0).choice([3.0, 140.0, 262.0, 900.0], 500)
    assert _coarse_grid(few, np.ones(500)) == ()
    assert _coarse_grid(np.zeros(0), np.zeros(0)) == ()
    zero_inflated = np.r_[np.zeros(500), normal_numbers(500, 2000)]
    assert _coarse_grid(zero_inflated, np.ones(1000)) == ()


@pytest.fixture(scope="module")
def numbers():
    """Masses that one half of the people round to 50, the other half not at all, and what goes with them."""
    rng = np.random.default_rng(0)
    rounds = rng.random(3000) < 0.6
    mass = rng.normal(4000, 500, 3000)
    mass = np.where(rounds, 50 * np.round(mass / 50), np.round(mass))
    return np.column_stack([mass, rounds, mass + rng.normal(0, 200, 3000)]).astype(np.int64)


@pytest.fixture(scope="module")
def density(numbers):
    return AutoregressiveDensity(
        max_epochs=15, order=[1, 2, 0], early_stopping=False, dropout=0.0, random_state=0
    ).fit(numbers[:2000])


def test_draws_are_as_often_on_the_grid_as_the_rows(density, numbers):
    drawn = density.sample(4000, random_state=0)
    assert drawn.dtype == np.int64
    shares = [(x[:, 0] % 50 == 0).mean() for x in (drawn, numbers)]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
    # Who rounds, says the column before.
    on = drawn[drawn[:, 1] == 1, 0] % 50 == 0
    off = drawn[drawn[:, 1] == 0, 0] % 50 == 0
    assert on.mean() > 0.8
    assert off.mean() < 0.2


def test_the_mass_is_one_and_close_to_the_truth(density, numbers):
    every = np.arange(1000, 8000)
    rows = np.column_stack([every, np.ones_like(every), np.full_like(every, 4000)])
    conditional = density.score_features(rows)[:, 0]
    assert np.exp(conditional).sum() == pytest.approx(1, abs=1e-3)
    found = density.score_features(numbers[2000:])[:, 0].mean()
    # Given the noisy mass, the true one is normal with a standard deviation of 186; half of it is then rounded.
    of_width_one = -np.log(200 * 500 / np.hypot(200, 500)) - 0.5 * np.log(2 * np.pi * np.e)
    share = numbers[2000:, 1].mean()
    assert found == pytest.approx(of_width_one + share * np.log(50), abs=0.15)
