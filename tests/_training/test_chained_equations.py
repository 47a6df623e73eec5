"""The first completion of rows with missing cells."""

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm._training.chained_equations import complete


def with_holes(Z, share, seed=0):
    return np.where(np.random.default_rng(seed).random(Z.shape) < share, np.nan, Z)


def test_the_covariance_of_a_gaussian_is_kept():
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(4, 4))
    Z = rng.normal(size=(3000, 4)) @ loadings
    completed = complete(with_holes(Z, 0.4), np.ones(3000), [None] * 4, np.random.default_rng(1))
    scale = np.sqrt(np.diag(loadings.T @ loadings))
    expected = loadings.T @ loadings / np.outer(scale, scale)
    np.testing.assert_allclose(np.cov((completed / scale).T), expected, atol=0.1)


def test_observed_cells_stay_and_drawn_values_occur():
    rng = np.random.default_rng(0)
    x = rng.poisson(2, 400)
    Z = np.column_stack(
        [x, np.where(x > 2, 0.0, rng.normal(size=400)), x % 3, rng.integers(0, 500, 400)]
    )
    holes = with_holes(Z, 0.3)
    completed = complete(holes, np.ones(400), [None, None, 3, 500], np.random.default_rng(1))
    observed = ~np.isnan(holes)
    assert np.array_equal(completed[observed], Z[observed])
    for before, after in zip(holes.T, completed.T, strict=True):
        assert np.isin(after, before).all()


def test_categories_follow_the_other_columns():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 2000)
    other = np.where(rng.random(2000) < 0.9, code, rng.integers(0, 3, 2000))
    Z = np.column_stack([code, other, 5 * code + rng.normal(size=2000)]).astype(float)
    holes = with_holes(Z, 0.3)
    completed = complete(holes, np.ones(2000), [3, 3, None], np.random.default_rng(1))
    filled = np.isnan(holes[:, 0])
    assert np.mean(completed[filled, 0] == Z[filled, 0]) > 0.7
    counts = np.bincount(completed[filled, 0].astype(int), minlength=3)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_rows_that_are_predicted_the_same_are_donors_alike():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 2, 1000)
    holes = with_holes(np.column_stack([code, code + rng.exponential(size=1000)]), [0, 0.5])
    completed = complete(holes, np.ones(1000), [2, None], np.random.default_rng(1))
    filled = np.isnan(holes[:, 1]) & (code == 1)
    assert stats.kstest(completed[filled, 1] - 1, "expon").pvalue > 1e-3


def test_what_is_missing_for_a_reason_is_made_up_for():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    y = x + 0.5 * rng.normal(size=5000)
    holes = np.column_stack([x, np.where((x > 0) & (rng.random(5000) < 0.8), np.nan, y)])
    completed = complete(holes, np.ones(5000), [None, None], np.random.default_rng(1))
    assert np.nanmean(holes[:, 1]) < -0.3
    assert completed[:, 1].mean() == pytest.approx(0, abs=0.05)


def test_weights_count():
    Z = np.repeat([[0.0], [1.0], [np.nan]], 500, axis=0)
    weight = np.repeat([1.0, 9.0, 1.0], 500)
    completed = complete(Z, weight, [2], np.random.default_rng(0))
    assert completed[1000:].mean() == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_few_rows_and_constant_columns(n):
    Z = np.column_stack([np.ones(n), np.arange(n), np.zeros(n), np.ones(n)])
    Z = np.vstack([Z, np.full((2, 4), np.nan)])
    completed = complete(Z, np.ones(n + 2), [None, None, 1, 2], np.random.default_rng(0))
    assert not np.isnan(completed).any()
    assert (completed[:, 0] == 1).all()
