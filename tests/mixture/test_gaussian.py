"""Gaussian components, against scikit-learn's, closed forms and quadrature."""

import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_dgm import MixtureDensity
from sklearn_dgm.mixture import _factor_covariances, _fitting
from sklearn_dgm.mixture._covariances import SingularCovarianceError
from sklearn_dgm.mixture._factor_covariances import FactorMoments
from sklearn_dgm.mixture._numbers import Moments

TYPES = ("full", "tied", "diag", "spherical", "factor")


@pytest.fixture(autouse=True)
def _few_steps_are_meant():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def clusters(n=400, d=3, seed=0):
    """Standardised rows of three clusters with covariances of their own."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(3 * k * np.cos(np.arange(d) + k), 1, (n // 3, d)) @ rng.normal(size=(d, d))
        for k in range(3)
    ]
    X = rng.permutation(np.concatenate(parts))
    return (X - X.mean(axis=0)) / X.std(axis=0)


def holes(X, share=0.3, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def start_of(X, covariance_type):
    """Weights, means and precisions, and the responsibilities that follow from them, by SciPy."""
    d = X.shape[1]
    weights, means = np.array([0.5, 0.3, 0.2]), X[:3]
    scales = np.array([1.0, 0.7, 1.4])
    covariances = {
        "full": [s * (np.eye(d) + 0.3) for s in scales],
        "tied": [np.eye(d) + 0.3] * 3,
        "diag": [s * np.diag(np.arange(d) + 0.5) for s in scales],
        "spherical": [s * np.eye(d) for s in scales],
    }[covariance_type]
    precisions = {
        "full": lambda: np.linalg.inv(covariances),
        "tied": lambda: np.linalg.inv(covariances[0]),
        "diag": lambda: np.array([1 / np.diag(c) for c in covariances]),
        "spherical": lambda: 1 / scales,
    }[covariance_type]()
    log_joint = np.column_stack(
        [
            np.log(w) + stats.multivariate_normal(m, c).logpdf(X)
            for w, m, c in zip(weights, means, covariances, strict=True)
        ]
    )
    responsibilities = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    return weights, means, precisions, responsibilities


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES[:4])
def test_it_equals_scikit_learn_from_the_same_start(covariance_type, weighted):
    X = clusters()
    counts = np.random.default_rng(1).integers(0, 3, len(X)) if weighted else np.ones(len(X), int)
    X = X / np.repeat(X, counts, axis=0).std(axis=0)  # "spherical" is so in standard deviations
    repeated = np.repeat(X, counts, axis=0)
    weights, means, precisions, start = start_of(X, covariance_type)
    theirs = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
        max_iter=12,
        tol=0.0,
        reg_covar=1e-6,
    ).fit(repeated)
    ours = MixtureDensity(
        3,
        "gaussian",
        covariance_type=covariance_type,
        init=start,
        reg_covar=1e-6,
        max_iter=11,  # and a first step from the responsibilities
        tol=0.0,
    )
    ours.fit(X, sample_weight=counts if weighted else None)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, atol=1e-6)
    np.testing.assert_allclose(ours.means_, theirs.means_, atol=1e-6)
    covariances = theirs.covariances_
    if covariance_type == "spherical":
        covariances = np.repeat(covariances[:, None], X.shape[1], axis=1)
    np.testing.assert_allclose(ours.covariances_, covariances, atol=1e-6)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert ours.n_parameters_ == theirs._n_parameters()
    np.testing.assert_allclose(ours.bic(X), theirs.bic(X), rtol=1e-8)
    np.testing.assert_allclose(ours.aic(X), theirs.aic(X), rtol=1e-8)


def test_one_component_is_maximum_likelihood_in_closed_form():
    X = clusters() * [10.0, 1e-2, 3.0] + [5, 0, -1e4]
    weight = np.random.default_rng(0).random(len(X))
    density = MixtureDensity(1, "gaussian", reg_covar=0.0).fit(X, sample_weight=weight)
    mean = np.average(X, axis=0, weights=weight)
    covariance = np.cov(X.T, aweights=weight, bias=True)
    np.testing.assert_allclose(density.means_[0], mean, rtol=1e-9)
    np.testing.assert_allclose(density.covariances_[0], covariance, rtol=1e-9)
    expected = stats.multivariate_normal(mean, covariance).logpdf(X)
    np.testing.assert_allclose(density.score_samples(X), expected, rtol=1e-9)


def test_one_factor_component_is_factor_analysis():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(500, 6)) * 0.5
    theirs = FactorAnalysis(2, tol=1e-10, max_iter=10_000).fit(X)
    ours = MixtureDensity(
        1, "gaussian", covariance_type="factor", reg_covar=0.0, tol=1e-9, max_iter=300
    ).fit(X)
    assert abs(ours.score(X) / len(X) - theirs.score(X)) < 1e-6
    np.testing.assert_allclose(ours.covariances_[0], theirs.get_covariance(), atol=1e-3)
    assert ours.n_parameters_ == 6 + 6 * 2 - 1 + 6


def wide_table(n=300, d=45, share=0.0, seed=0):
    """Rows of two clusters with two factors each in more columns than the scatter is made of."""
    rng = np.random.default_rng(seed)
    kind = rng.random(n) < 0.4
    loadings = rng.normal(size=(2, 2, d))
    X = np.einsum("nq,nqd->nd", rng.normal(size=(n, 2)), loadings[kind.astype(int)])
    X += 2.0 * kind[:, None] + rng.normal(size=(n, d)) * 0.5
    return np.where(rng.random(X.shape) < share, np.nan, X)


@pytest.mark.parametrize(("reg_covar", "share"), [("auto", 0.0), ("auto", 0.3), (0.3, 0.0)])
def test_factors_of_wide_tables_are_learnt_as_those_of_narrow_ones(monkeypatch, share, reg_covar):
    X = wide_table(share=share)
    monkeypatch.setattr(_fitting, "PRIOR_SHARES", (1.0,))  # which the last digits may decide
    parameters = {"covariance_type": "factor", "n_factors": 2, "reg_covar": reg_covar}
    density = MixtureDensity(2, "gaussian", **parameters, max_iter=800, tol=1e-9, random_state=0)
    wide = density.fit(X)
    assert isinstance(wide._mixture.counts.moments, FactorMoments)
    scores, bounds = wide.score_samples(X), wide.lower_bounds_[0]
    assert np.diff(bounds).min() > -1e-9 or reg_covar != "auto"
    monkeypatch.setattr(_factor_covariances, "WIDE", 1000)
    narrow = density.fit(X)
    assert isinstance(narrow._mixture.counts.moments, Moments)
    np.testing.assert_allclose(scores, narrow.score_samples(X), atol=0.05)
    assert bounds[-1] == pytest.approx(narrow.lower_bound_, abs=2e-4)


def test_moments_with_factors_add_up():
    X = wide_table(share=0.2)
    density = MixtureDensity(
        2, "gaussian", covariance_type="factor", reg_covar=1e-3, max_iter=3, random_state=0
    ).fit(X)
    normals = density._mixture.normals
    numbers, shares = normals.prepare(density.schema_.encode(X)[0]), density.predict_proba(X)
    whole = normals.count(numbers, shares)
    first, second = (
        normals.count(numbers.of(rows), shares[rows]) for rows in (slice(100), slice(100, None))
    )
    for of_parts, of_all in zip(first.plus(second), whole, strict=True):
        np.testing.assert_allclose(of_parts, of_all, rtol=1e-9, atol=1e-9)


def test_as_many_factors_as_can_be_are_a_full_covariance():
    X = clusters(d=4)
    parameters = {"component": "gaussian", "reg_covar": 0.0, "tol": 1e-7, "random_state": 0}
    full = MixtureDensity(1, **parameters).fit(X)
    factors = MixtureDensity(1, covariance_type="factor", n_factors=3, **parameters).fit(X)
    np.testing.assert_allclose(factors.score_samples(X), full.score_samples(X), atol=1e-6)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("reg_covar", ["auto", 0.0])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_objective_never_falls(covariance_type, reg_covar, missing):
    X = holes(clusters(d=4)) if missing else clusters(d=4)
    X[:, 3] = np.rint(X[:, 3] * 4) / 10  # a rounded column
    density = MixtureDensity(
        3,
        "gaussian",
        covariance_type=covariance_type,
        reg_covar=reg_covar,
        max_iter=40,
        tol=0.0,
        random_state=0,
    ).fit(X)
    assert density.schema_.kinds_[3] == "rounded"
    assert np.diff(density.lower_bounds_[0]).min() > -1e-9


@pytest.mark.parametrize("covariance_type", TYPES)
def test_missing_cells_are_integrated_out(covariance_type):
    X = clusters(d=2)
    density = MixtureDensity(3, "gaussian", covariance_type=covariance_type, random_state=0).fit(
        holes(X)
    )
    x = np.linspace(-12, 12, 4001)
    for row in ([0.3, np.nan], [np.nan, -1.0]):
        grid = np.where(np.isnan(row), x[:, None], row)
        integral = np.trapezoid(np.exp(density.score_samples(grid)), x)
        np.testing.assert_allclose(density.score_samples([row]), np.log(integral), atol=1e-6)
    np.testing.assert_allclose(density.score_samples([[np.nan, np.nan]]), 0, atol=1e-12)


def test_monotone_missing_cells_have_the_maximum_likelihood_of_regression():
    """Of two columns, of which the second has gaps, it is known: Anderson, 1957."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ np.array([[1, 0.8], [0, 0.6]])
    X[150:, 1] = np.nan
    density = MixtureDensity(1, "gaussian", reg_covar=0.0, tol=1e-13, max_iter=3000).fit(X)
    first, both = X[:, 0], X[:150]
    slope = np.cov(both.T, bias=True)[0, 1] / both[:, 0].var()
    rest = np.var(both[:, 1] - slope * both[:, 0])
    mean = both[:, 1].mean() + slope * (first.mean() - both[:, 0].mean())
    np.testing.assert_allclose(density.means_[0], [first.mean(), mean], atol=1e-5)
    expected = [
        [first.var(), slope * first.var()],
        [slope * first.var(), rest + slope**2 * first.var()],
    ]
    np.testing.assert_allclose(density.covariances_[0], expected, atol=1e-5)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_rounded_numbers_sum_to_one_and_are_drawn_as_they_are_scored(covariance_type):
    rng = np.random.default_rng(0)
    x = rng.normal(0.035, 0.06, 400)  # about no cell of the grid
    X = np.column_stack([np.round(x, 1), np.round(x + rng.normal(0, 0.02, 400), 1)])
    density = MixtureDensity(2, "gaussian", covariance_type=covariance_type, random_state=0).fit(X)
    assert list(density.schema_.kinds_) == ["rounded", "rounded"]
    cells = np.arange(-12, 13) / 10
    grid = np.stack(np.meshgrid(cells, cells, indexing="ij"), axis=-1).reshape(-1, 2)
    p = np.exp(density.score_samples(grid)) * 0.01
    np.testing.assert_allclose(p.sum(), 1, atol=1e-7)
    drawn = np.rint(density.sample(20_000, random_state=0) * 10).astype(int) + 12
    counts = np.zeros((25, 25))
    np.add.at(counts, tuple(drawn.T), 1)
    often = p * 20_000 > 5
    observed = np.append(counts.ravel()[often], counts.ravel()[~often].sum())
    expected = np.append(p[often], p[~often].sum()) * 20_000
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def test_singular_covariances_are_an_error_that_names_the_component():
    X = clusters(30, 2)
    X = np.column_stack([X, X[:, 0]])
    with pytest.raises(ValueError, match="covariance of component 0 is singular.*reg_covar"):
        MixtureDensity(1, "gaussian", reg_covar=0.0).fit(X)
    density = MixtureDensity(1, "gaussian").fit(X)
    assert np.isfinite(density.score_samples(X)).all()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_more_columns_than_rows_have_a_density(covariance_type):
    X = np.random.default_rng(0).normal(size=(10, 30))
    density = MixtureDensity(2, "gaussian", covariance_type=covariance_type, random_state=0).fit(X)
    new = np.random.default_rng(1).normal(size=(50, 30))
    assert density.score_samples(new).mean() > -200


def test_regularisation_is_in_the_units_of_the_table():
    X = clusters()
    plain, ridge = (
        MixtureDensity(1, "gaussian", reg_covar=r).fit(X * 100).covariances_[0] for r in (0.0, 50.0)
    )
    np.testing.assert_allclose(ridge - plain, 50 * np.eye(3), atol=1e-8)


def test_a_component_without_rows_starts_again():
    X = clusters()
    start = np.zeros((len(X), 3))
    start[:, 0] = 1.0  # the others have none
    density = MixtureDensity(3, "gaussian", init=start, max_iter=100).fit(X)
    assert (density.weights_ > 0.05).all()
    one = MixtureDensity(1, "gaussian").fit(X)
    assert density.score(X) / len(X) > one.score(X) / len(X) + 0.3


@pytest.mark.parametrize("blank", [0, 300])
def test_auto_draws_towards_the_shrunk_correlations_of_all_rows(monkeypatch, blank):
    """By hand: as 2 + d further rows, of which shrinkage takes d in n + d; rows without any cell say nothing."""
    monkeypatch.setattr(_fitting, "PRIOR_SHARES", (1.0,))
    X = clusters(300, 4) * [1, 10, 0.1, 3]
    n, d = X.shape
    rows = np.concatenate([X, np.full((blank, d), np.nan)])
    density = MixtureDensity(1, component="gaussian", max_iter=5000, tol=1e-14).fit(rows)
    covariance, spread = np.cov(X.T, bias=True), X.std(axis=0)
    target = covariance * n / (n + d) + np.diag(spread**2) * d / (n + d)
    expected = (n * covariance + (2 + d) * target) / (n + 2 + d)
    np.testing.assert_allclose(density.covariances_[0], expected, rtol=1e-6)


def test_auto_says_less_of_all_rows_where_rows_speak_for_that():
    """A noise of 1e-3 that correlations of all rows, which are shrunk a little, do not show."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X = np.column_stack([X, X[:, :2] + 1e-3 * rng.normal(size=(600, 2))])
    density = MixtureDensity(2, "gaussian", random_state=0).fit(X[:400])
    auto = density.score(X[400:]) / 200
    assert density._mixture.normals.covariances.prior.rows <= 0.01 * (2 + 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fitting, "PRIOR_SHARES", (1.0,))
        assert auto > density.fit(X[:400]).score(X[400:]) / 200 + 1
    few = MixtureDensity(2, "gaussian", random_state=0).fit(X[:40])
    assert few._mixture.normals.covariances.prior.rows == 2 + 6  # too few to choose by


def test_auto_knows_correlations_although_cells_are_missing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 1)) + 0.5 * rng.normal(size=(4000, 3))
    few = np.where(rng.random(X.shape) < 0.5, np.nan, X)
    # A component of few rows is mostly what it is drawn towards.
    density = MixtureDensity(2, component="gaussian", init=start_of_few(few), max_iter=1).fit(few)
    small = density.covariances_[1]
    assert small[0, 1] / np.sqrt(small[0, 0] * small[1, 1]) == pytest.approx(0.8, abs=0.1)


def start_of_few(X):
    second = np.full(len(X), 1e-4)
    return np.column_stack([1 - second, second])


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("far", [1e30, 1e155, 1e300])
def test_rows_far_away_have_a_score(covariance_type, far):
    X = clusters(300)
    X[:, 1] = X[:, 0] + 1e-6 * X[:, 1]
    density = MixtureDensity(2, component="gaussian", covariance_type=covariance_type).fit(X)
    rows = np.array([[far, -far, far], [far, far, np.nan]])
    assert not np.isnan(density.score_samples(rows)).any()
    assert not np.isnan(density.predict_proba(rows)).any()


def test_fitted_covariances_keep_their_form_and_number():
    X = clusters()
    density = MixtureDensity(2, component="gaussian", covariance_type="tied").fit(X)
    assert density.set_params(covariance_type="full").covariances_.shape == (3, 3)
    numbers = [
        MixtureDensity(2, component="gaussian", covariance_type=t, n_factors=2).fit(X).n_parameters_
        for t in ("full", "factor")
    ]
    assert numbers[0] == numbers[1]


def test_a_start_that_fails_leaves_the_others(monkeypatch):
    X, original, calls = clusters(), _fitting.fit_mixture, []

    def fit_mixture(*args):
        calls.append(args)
        if len(calls) in failing:
            raise SingularCovarianceError("singular")
        return original(*args)

    monkeypatch.setattr(_fitting, "fit_mixture", fit_mixture)
    density = MixtureDensity(2, "gaussian", reg_covar=1e-6, n_init=3, random_state=0)
    failing = [1]
    assert len(density.fit(X).lower_bounds_) == 2
    failing = range(1, 100)
    with pytest.raises(SingularCovarianceError, match="singular"):
        density.fit(X)


def test_only_singular_covariances_are_starts_that_fail(monkeypatch):
    def fit_mixture(*args):
        raise ValueError("something else")

    monkeypatch.setattr(_fitting, "fit_mixture", fit_mixture)
    with pytest.raises(ValueError, match="something else"):
        MixtureDensity(2, component="gaussian", n_init=3, random_state=0).fit(clusters())


@pytest.mark.parametrize("covariance_type", TYPES)
def test_counts_of_many_values_are_numbers_that_sum_to_one(covariance_type):
    rng = np.random.default_rng(0)
    X = np.rint(rng.normal([40, 60], [9, 14], (500, 2))).astype(int)
    X[:, 1] += X[:, 0]
    density = MixtureDensity(2, "gaussian", covariance_type=covariance_type, random_state=0).fit(X)
    assert density.gaussian_features_.tolist() == [0, 1]
    grid = np.stack(np.meshgrid(np.arange(-60, 160), np.arange(-80, 320)), axis=-1).reshape(-1, 2)
    assert logsumexp(density.score_samples(grid)) == pytest.approx(0.0, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isneginf(density.score_samples(X[:3] + 0.5)).all()
    drawn = density.sample(400, random_state=0)
    assert drawn.dtype == X.dtype
    assert drawn.mean(axis=0) == pytest.approx(X.mean(axis=0), abs=4)


def test_counts_with_a_frequent_value_have_tables():
    rng = np.random.default_rng(0)
    X = rng.poisson(40, (500, 2))
    X[:200, 1] = 0
    density = MixtureDensity(2, "gaussian", random_state=0).fit(X)
    assert density.gaussian_features_.tolist() == [0]
    assert density.tables_[1] is not None


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("far", [1.0, 1e7])
def test_scores_of_rows_with_gaps_are_those_of_marginal_normals(covariance_type, far):
    """Also of components that are narrow beside their distance."""
    X = clusters()
    X = X + np.where(np.arange(len(X)) % 2, far, 0.0)[:, None]
    density = MixtureDensity(
        2, "gaussian", covariance_type=covariance_type, n_factors=1, reg_covar=1e-3, random_state=0
    ).fit(X)
    gaps = holes(X[:60], 0.5)
    expected = []
    for row in gaps:
        seen = ~np.isnan(row)
        terms = []
        for k, weight in enumerate(density.weights_):
            covariance = density.covariances_
            if covariance.shape != (3, 3):
                covariance = covariance[k]
            covariance = np.diag(covariance) if covariance.ndim == 1 else covariance
            normal = (
                stats.multivariate_normal(
                    density.means_[k][seen], covariance[np.ix_(seen, seen)], allow_singular=True
                )
                if seen.any()
                else None
            )
            terms.append(np.log(weight) + (normal.logpdf(row[seen]) if seen.any() else 0.0))
        expected.append(logsumexp(terms))
    np.testing.assert_allclose(density.score_samples(gaps), expected, rtol=1e-5, atol=1e-4)
