"""CalibrationDisplay: the probability integral transform of held-out rows."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    CalibrationDisplay,
)
from sklearn_dgm.inspection._calibration import _of_draws


@pytest.fixture(autouse=True)
def _close_figures():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal([5, -1], [2, 0.5], (600, 2))


def transforms_of(density, X, **options):
    return CalibrationDisplay.from_estimator(density, X, random_state=0, **options).transforms


def test_a_density_that_is_right_is_flat_and_one_that_is_not_is_not(X):
    train, test = X[::2], X[1::2]
    right = CalibrationDisplay.from_estimator(GaussianMixture().fit(train), test, random_state=0)
    assert (right.pvalues_ > 0.01).all()
    wide = CalibrationDisplay.from_estimator(
        KernelDensity(bandwidth=2.0).fit(train), test, random_state=0
    )
    assert (wide.pvalues_ < 0.01).all()
    # Too wide is a hump, too narrow a trough.
    middle = np.mean(np.abs(wide.transforms - 0.5) < 0.25, axis=0)
    assert (middle > 0.6).all()


def test_marginal_transforms_are_those_of_the_distribution(X):
    density = GaussianMixture().fit(X)
    u = transforms_of(density, X, n_samples=200_000)
    marginal = stats.norm(density.means_[0], np.sqrt(np.diagonal(density.covariances_[0])))
    np.testing.assert_allclose(u, marginal.cdf(X), atol=0.006)


@pytest.mark.parametrize("law", ["standard_normal", "poisson"])
def test_ranks_are_uniform_however_few_draws_there_are(law):
    rng = np.random.default_rng(0)
    draw = getattr(rng, law)
    u = [_of_draws(draw(size=1), draw(size=3), rng)[0] for _ in range(1000)]
    assert stats.kstest(u, "uniform").pvalue > 0.001


def discrete(n, seed, odds=(0.5, 0.3, 0.2)):
    rng = np.random.default_rng(seed)
    city = rng.choice(["a", "b", "c"], n, p=odds)
    count = rng.poisson(2 + 2 * (city == "a"))
    return pd.DataFrame({"city": city, "count": count, "x": rng.normal(count)})


def as_polars(frame):
    return pl.DataFrame({name: x.tolist() for name, x in frame.items()})


@pytest.mark.parametrize("given", [None, "others"])
@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars], ids=["pandas", "polars"])
def test_categories_and_counts(given, convert):
    density = BayesianNetworkDensity("chow-liu", conditional="table")
    density.fit(convert(discrete(2000, 0)))
    display = CalibrationDisplay.from_estimator(
        density, convert(discrete(400, 1)), given=given, random_state=0
    )
    assert display.feature_names == ["city", "count", "x"]
    assert (display.pvalues_ > 0.005).all()
    other = convert(discrete(400, 2, odds=(0.1, 0.3, 0.6)))
    display = CalibrationDisplay.from_estimator(density, other, given=given, random_state=0)
    assert display.pvalues_[0] < 0.001


def correlated(n, seed, correlation=0.8):
    x, noise = np.random.default_rng(seed).normal(size=(2, n))
    return np.column_stack([x, correlation * x + np.sqrt(1 - correlation**2) * noise])


@pytest.fixture(scope="module")
def network():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoregressiveDensity(
            (16,), order="given", max_epochs=15, dropout=0.0, random_state=0
        ).fit(correlated(800, 0))


def test_given_the_columns_before(network):
    test = correlated(500, 1)
    u = transforms_of(network, test, given="before")
    np.testing.assert_array_equal(u, stats.norm.cdf(network.normal_scores(test)))
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.15


def test_conditional_transforms_see_dependence_that_marginal_ones_do_not(network):
    independent = correlated(500, 2, correlation=0.0)
    assert (
        CalibrationDisplay.from_estimator(network, independent, random_state=0).pvalues_[1] > 0.01
    )
    for given in ("before", "others"):
        display = CalibrationDisplay.from_estimator(
            network, independent, given=given, random_state=0
        )
        assert display.pvalues_[1] < 0.001


def test_given_all_others_by_quadrature(network):
    test = correlated(20, 1)
    u = transforms_of(network, test, given="others")
    grid = np.linspace(-8, 8, 4001)
    for j in (0, 1):
        for row, own in zip(test, u[:, j], strict=True):
            rows = np.tile(row, (len(grid), 1))
            rows[:, j] = grid
            density = np.exp(network.score_samples(rows))
            expected = density[grid < row[j]].sum() / density.sum()
            assert own == pytest.approx(expected, abs=0.02)


def test_missing_cells_have_no_transform():
    table = discrete(500, 0)
    density = BayesianNetworkDensity("chow-liu", conditional="table").fit(table)
    table.loc[:9, "x"] = np.nan
    for given in (None, "others"):
        display = CalibrationDisplay.from_estimator(
            density, table[:100], given=given, random_state=0
        )
        assert np.isnan(display.transforms).sum(axis=0).tolist() == [0, 0, 10]
        assert np.isfinite(display.pvalues_).all()


def test_pipelines_and_searches_are_seen_behind_their_transformers(X):
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(random_state=0)).fit(X)
    scaled = GaussianMixture(random_state=0).fit(StandardScaler().fit_transform(X))
    expected = transforms_of(scaled, StandardScaler().fit_transform(X))
    np.testing.assert_array_equal(transforms_of(pipeline, X), expected)
    search = GridSearchCV(KernelDensity(), {"bandwidth": [0.2]}, cv=2).fit(X)
    assert transforms_of(search, X).shape == X.shape


def test_seeds(X):
    density = KernelDensity().fit(X)
    np.testing.assert_array_equal(transforms_of(density, X), transforms_of(density, X))
    free = [CalibrationDisplay.from_estimator(density, X).transforms for _ in range(2)]
    assert not np.array_equal(*free)


def test_what_is_drawn(X):
    u = np.random.default_rng(0).random((200, 5))
    u[:50, 4] = np.nan
    display = CalibrationDisplay.from_predictions(u, n_bins=20)
    assert display.axes_.shape == (5,)
    assert display.feature_names == ["x0", "x1", "x2", "x3", "x4"]
    for j, (histogram, band) in enumerate(zip(display.histograms_, display.bands_, strict=True)):
        observed = u[~np.isnan(u[:, j]), j]
        heights, edges, _ = histogram.get_data()
        np.testing.assert_allclose(heights, np.histogram(observed, edges, density=True)[0])
        low, high = stats.binom(len(observed), 1 / 20).interval(0.95)
        extent = band.get_extents().transformed(display.axes_[j].transData.inverted())
        np.testing.assert_allclose(
            [extent.y0, extent.y1], np.array([low, high]) * 20 / len(observed), atol=1e-6
        )
        assert display.pvalues_[j] == pytest.approx(stats.kstest(observed, "uniform").pvalue)
        assert display.axes_[j].get_title() == f"x{j}, p = {display.pvalues_[j]:.2g}"
    nothing = CalibrationDisplay.from_predictions(np.full((3, 1), np.nan))
    assert np.isnan(nothing.pvalues_).all()


def test_where_it_is_drawn(X):
    density = GaussianMixture().fit(X)
    _, (left, right) = plt.subplots(ncols=2)
    display = CalibrationDisplay.from_estimator(density, X, features=[1], ax=left)
    assert display.axes_[0] is left
    display = CalibrationDisplay.from_estimator(density, X, ax=right)
    assert display.figure_ is right.figure
    with pytest.raises(ValueError, match="has been divided"):
        display.plot(ax=right)
    figure = plt.figure()
    assert display.plot(ax=figure).figure_ is figure
    assert figure.get_suptitle() == "GaussianMixture"


def test_names_and_features(X):
    frame = pd.DataFrame(X, columns=["length", "width"])
    density = KernelDensity().fit(frame)
    display = CalibrationDisplay.from_estimator(density, frame, features="width")
    assert display.feature_names == ["width"]
    display = CalibrationDisplay.from_estimator(density, frame, feature_names=["a", "b"])
    assert display.feature_names == ["a", "b"]
    with pytest.raises(ValueError, match="features names 'depth'"):
        CalibrationDisplay.from_estimator(density, frame, features=["depth"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"given": "after"}, ValueError, "given should be one of"),
        ({"given": "before"}, TypeError, "normal_scores.*GaussianMixture has none"),
        ({"given": "others"}, TypeError, "predict_column.*GaussianMixture has none"),
        ({"n_bins": 0}, ValueError, "n_bins should be a positive integer"),
    ],
)
def test_options_are_checked(X, options, error, message):
    with pytest.raises(error, match=message):
        CalibrationDisplay.from_estimator(GaussianMixture().fit(X), X, **options)


def test_bad_input(X):
    with pytest.raises(NotFittedError):
        CalibrationDisplay.from_estimator(KernelDensity(), X)
    with pytest.raises(TypeError, match="needs a density, got IsolationForest"):
        CalibrationDisplay.from_estimator(IsolationForest().fit(X), X)
    with pytest.raises(ValueError, match="between 0 and 1"):
        CalibrationDisplay.from_predictions([[1.2]])
    with pytest.raises(ValueError, match="feature_names has 1 entries"):
        CalibrationDisplay.from_predictions([[0.2, 0.3]], feature_names=["a"])
    with pytest.raises(ValueError, match="NaN"):
        CalibrationDisplay.from_estimator(KernelDensity().fit(X), np.full((2, 2), np.nan))
