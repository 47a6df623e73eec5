"""What a user of scikit-learn's KernelDensity relies on, asked of it and of our densities alike."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import AutoregressiveDensity, HistogramDensity, mean_log_likelihood

DENSITIES = {
    "kernel": lambda: KernelDensity(bandwidth=0.3),
    "histogram": lambda: HistogramDensity(bins=8, alpha=1e-3),
    "autoregressive": lambda: AutoregressiveDensity(
        (16,), n_orders=2, max_epochs=15, lr=0.01, random_state=0
    ),
}
# In each grid the second candidate is the right one.
GRIDS = {
    "kernel": {"bandwidth": [0.02, 0.3, 5.0]},
    "histogram": {"bins": [np.linspace(-5, 5, n) for n in (2, 21, 1001)]},
    "autoregressive": {"lr": [1e-5, 0.01]},
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=DENSITIES)
def name(request):
    return request.param


@pytest.fixture
def density(name):
    return DENSITIES[name]()


def two_blobs(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    x[: n // 3] += 4
    x[:, 1] += 0.5 * x[:, 0]
    return rng.permutation(x)


@pytest.fixture(scope="module")
def X():
    return two_blobs(450)


@pytest.fixture(scope="module")
def fits():
    return {}


@pytest.fixture
def fitted(name, X, fits):
    """A copy of one fit, for tests that only ask, or compare another fit with it."""
    if name not in fits:
        fits[name] = DENSITIES[name]().fit(X)
    return copy.deepcopy(fits[name])


def test_the_density_integrates_to_one(fitted):
    axis = np.linspace(-7, 13, 201)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = np.exp(fitted.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=0.02)


def test_samples_follow_the_density(fitted):
    """The share of the samples in a half-plane is its probability; samples score as the entropy has it."""
    drawn = fitted.sample(4000, random_state=1)
    axis = np.linspace(-8, 14, 221)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_density = fitted.score_samples(grid)
    mass = np.exp(log_density)
    mass /= mass.sum()
    for direction in ([1, 0], [0, 1], [1, 1], [1, -1]):
        for threshold in (-1.0, 1.0, 4.0):
            expected = mass[grid @ direction < threshold].sum()
            found = np.mean(drawn @ direction < threshold)
            assert found == pytest.approx(expected, abs=0.035)
    entropy = -np.sum(mass * np.where(mass > 0, log_density, 0))
    assert -fitted.score(drawn) / len(drawn) == pytest.approx(entropy, abs=0.12)


def test_score_is_the_sum_of_the_scores_of_the_rows(fitted, X):
    scores = fitted.score_samples(X)
    assert scores.shape == (len(X),)
    assert scores.dtype == np.float64
    assert fitted.score(X) == pytest.approx(scores.sum())


def test_a_better_fitting_table_scores_higher(fitted):
    assert fitted.score(two_blobs(300, seed=5)) > fitted.score(two_blobs(300, seed=5)[:, ::-1] + 1)


@pytest.mark.parametrize("scoring", ["sum", "mean"])
def test_pipeline_and_grid_search(name, density, X, scoring):
    pipeline = make_pipeline(StandardScaler(), density)
    step = pipeline.steps[-1][0]
    grid = {f"{step}__{key}": values for key, values in GRIDS[name].items()}
    search = GridSearchCV(
        pipeline, grid, cv=2, scoring=None if scoring == "sum" else mean_log_likelihood
    )
    search.fit(X)
    assert search.best_index_ == 1
    size = len(X) / 2 if scoring == "sum" else 1
    assert -2.5 < search.best_score_ / size < -1.5
    scored = search.score(X) / (len(X) if scoring == "sum" else 1)
    by_hand = search.best_estimator_[-1].score_samples(search.best_estimator_[0].transform(X))
    assert scored == pytest.approx(by_hand.mean())


@pytest.mark.parametrize("factor", [0.5, 1e-3, 64.0])
def test_weights_have_no_unit(name, density, X, fits, factor):
    weight = np.random.default_rng(0).uniform(0.1, 1, len(X))
    if name == "histogram":
        density.set_params(alpha=0.0)  # pseudo-counts are weighed against the weights
    if (name, "weighted") not in fits:
        fits[name, "weighted"] = clone(density).fit(X, sample_weight=weight)
    expected = fits[name, "weighted"].score_samples(X)
    scaled = density.fit(X, sample_weight=factor * weight).score_samples(X)
    # A large weight says that a row was seen often, which moves where the training of a network starts.
    atol = 0.5 if name == "autoregressive" and factor > 1 else 1e-3
    np.testing.assert_allclose(scaled, expected, atol=atol)


def test_equal_weights_are_no_weights(density, fitted, X):
    expected = fitted.score_samples(X)
    weighted = density.fit(X, sample_weight=np.ones(len(X))).score_samples(X)
    np.testing.assert_allclose(weighted, expected, atol=1e-6)


def test_heavy_rows_draw_the_density(density, fitted, X):
    """With nearly all weight on one blob, the density moves there, and so do the samples."""
    weight = np.where(X[:, 0] > 2, 1.0, 0.01)
    density.fit(X, sample_weight=weight)
    heavy = X[:, 0] > 2
    assert density.score(X[heavy]) > fitted.score(X[heavy])
    assert density.score(X[~heavy]) < fitted.score(X[~heavy])
    assert density.sample(500, random_state=0)[:, 0].mean() > 3


@pytest.mark.filterwarnings(
    "ignore:divide by zero:RuntimeWarning"
)  # KernelDensity takes logarithms of weights
def test_rows_without_weight_do_not_count(density, X):
    weight = np.tile([1.0, 0.0], len(X) // 2)
    X = X.copy()
    X[1::2] += 50
    expected = clone(density).fit(X[::2]).score_samples(X[::2])
    np.testing.assert_allclose(density.fit(X, sample_weight=weight).score_samples(X[::2]), expected)


@pytest.mark.parametrize(
    "weight",
    [-np.ones(450), np.full(450, np.nan), np.ones(449), np.ones((450, 2)), np.full(450, np.inf)],
    ids=["negative", "nan", "too few", "two columns", "infinite"],
)
def test_invalid_weights(name, density, X, weight):
    with pytest.raises(ValueError):
        density.fit(X, sample_weight=weight)
    if name != "kernel":  # which takes itself for fitted now
        with pytest.raises(NotFittedError):
            density.score_samples(X)


def test_pickles(density, X, tmp_path):
    untouched = pickle.loads(pickle.dumps(density))
    assert repr(untouched) == repr(density)
    expected = density.fit(X).score_samples(X)
    joblib.dump(density, tmp_path / "density")
    for restored in (
        pickle.loads(pickle.dumps(density)),
        joblib.load(tmp_path / "density"),
        untouched.fit(X),
    ):
        np.testing.assert_array_equal(restored.score_samples(X), expected)
        np.testing.assert_array_equal(
            restored.sample(5, random_state=0), density.sample(5, random_state=0)
        )


@pytest.mark.parametrize("query", ["score_samples", "score", "sample"])
def test_queries_before_fit(density, X, query):
    with pytest.raises(NotFittedError):
        getattr(density, query)(*([] if query == "sample" else [X]))


@pytest.mark.parametrize("n_features", [1, 3])
def test_sample_shapes_and_seeds(density, n_features):
    X = np.random.default_rng(0).normal(size=(60, n_features))
    density.fit(X)
    assert density.sample().shape == (1, n_features)
    seeded = [density.sample(7, random_state=seed) for seed in (0, 0, 1)]
    assert seeded[0].shape == (7, n_features)
    np.testing.assert_array_equal(seeded[0], seeded[1])
    assert (seeded[0] != seeded[2]).any()
    assert (density.sample(7) != density.sample(7)).any()


@pytest.mark.parametrize("query", ["score_samples", "score"])
def test_another_number_of_columns(fitted, X, query):
    for wrong in (X[:, :1], np.column_stack([X, X])):
        with pytest.raises(ValueError, match="expecting 2 features"):
            getattr(fitted, query)(wrong)


def test_a_refit_forgets(density, fitted, X):
    expected = fitted.score_samples(X)
    density.fit(np.random.default_rng(3).normal(50, 9, (100, 4)))
    np.testing.assert_array_equal(density.fit(X).score_samples(X), expected)


def find_odd_rows(density):
    """A user's script, of which one line is swapped: three outliers, and a new table like the old one."""
    inliers, outliers = two_blobs(500, seed=2), np.array([[9.0, -6.0], [-6.0, 8.0], [0.5, -7.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(inliers)
    table = np.vstack([outliers, two_blobs(300, seed=3)])
    odd = np.argsort(density.score_samples(table))[:8]
    return set(odd.tolist()), density.sample(2000, random_state=0)


def test_the_swap_of_one_line(density):
    odd, drawn = find_odd_rows(density)
    assert {0, 1, 2} <= odd
    fresh = two_blobs(2000, seed=4)
    np.testing.assert_allclose(drawn.mean(axis=0), fresh.mean(axis=0), atol=0.4)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(fresh.T), atol=1.2)
    assert stats.kstest(drawn[:, 0], fresh[:, 0]).statistic < 0.1
