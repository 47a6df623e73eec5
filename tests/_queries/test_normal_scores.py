"""The probability integral transform, there and back."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests._queries.test_conditioning import quick, skewed_rows


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


class TestNormalScores:
    @pytest.fixture(scope="class", params=["logistic-mixture", "gaussian-mixture"])
    def density(self, request):
        return quick(order="given", conditional=request.param, max_epochs=10).fit(skewed_rows(500))

    def test_there_and_back(self, density):
        X = skewed_rows(200, seed=1)
        np.testing.assert_allclose(
            density.from_normal_scores(density.normal_scores(X)), X, rtol=1e-7
        )
        # Not farther: next to a bound, float64 holds no more of them.
        normal = 1.5 * np.random.default_rng(0).normal(size=(500, 3))
        back = density.normal_scores(density.from_normal_scores(normal))
        np.testing.assert_allclose(back, normal, atol=1e-7)

    def test_draws_become_independent_normals(self, density):
        normal = density.normal_scores(density.sample(3000, random_state=0))
        for column in normal.T:
            assert stats.kstest(column, "norm").pvalue > 1e-3
        np.testing.assert_allclose(np.corrcoef(normal.T), np.eye(3), atol=0.07)
        np.testing.assert_allclose(np.corrcoef(np.abs(normal).T), np.eye(3), atol=0.07)

    def test_its_jacobian_is_the_density(self, density):
        X = skewed_rows(30, seed=2)
        log_p = stats.norm.logpdf(density.normal_scores(X)).sum(axis=1)
        for j, step in enumerate([1e-6, 1e-6, 1e-2]):
            move = step * np.eye(3)[j]
            change = density.normal_scores(X + move)[:, j] - density.normal_scores(X - move)[:, j]
            log_p += np.log(change / (2 * step))
        np.testing.assert_allclose(log_p, density.score_samples(X), atol=1e-3)

    def test_frames(self):
        frame = pd.DataFrame(skewed_rows(100), columns=list("abc"), index=np.arange(100) + 7)
        density = quick(order=[2, 0, 1]).fit(frame)
        normal = density.normal_scores(frame)
        assert list(normal.columns) == list("abc")
        assert normal.index.equals(frame.index)
        back = density.from_normal_scores(normal.to_numpy())
        np.testing.assert_allclose(back, frame, rtol=1e-7)

    def test_it_needs_one_order_and_continuous_columns(self):
        density = quick().fit(skewed_rows(100))
        for method in (density.normal_scores, density.from_normal_scores):
            with pytest.raises(ValueError, match="a single order of the columns"):
                method(skewed_rows(2))
        density = quick(order="any", n_orders=1).fit(skewed_rows(100))
        with pytest.raises(ValueError, match="a single order of the columns"):
            density.normal_scores(skewed_rows(2))
        density = quick(order="given").fit(np.round(skewed_rows(100)).astype(int))
        for method in (density.normal_scores, density.from_normal_scores):
            with pytest.raises(ValueError, match="column 0 is integer, but only continuous"):
                method(np.zeros((1, 3), dtype=int))

    def test_errors(self, density):
        X = skewed_rows(3)
        X[1, 2] = np.nan
        with pytest.raises(ValueError, match="column 2, row 1 is missing"):
            density.normal_scores(X)
        with pytest.raises(ValueError, match="scores has 2 columns, not 3"):
            density.from_normal_scores(X[:1, :2])
