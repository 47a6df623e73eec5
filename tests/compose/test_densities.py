"""What is behind transformers is a density of X: it integrates to one, and shifts with the units."""

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PowerTransformer,
    StandardScaler,
)

from sklearn_dgm import (
    TransformedDensity,
    mean_log_likelihood,
)
from sklearn_dgm._nested.measures import given_columns
from sklearn_dgm.compose import DifferentiableFunctionTransformer
from tests.compose.transformers import (
    DENSITIES,
    ELEMENTWISE,
    MIXING,
    TRANSFORMERS,
    line,
    skewed,
)
from tests.toys import Regression

OTHERS = [(name, "mixture") for name in ("nothing", "box-cox", "quantiles, normal", "columns")]


OTHERS += [(name, "histogram") for name in ("passthrough", "yeo-johnson", "quantiles", "logarithm")]


@pytest.mark.parametrize(("name", "inner"), [(name, "kernels") for name in ELEMENTWISE] + OTHERS)
def test_it_integrates_to_one_and_samples_agree(name, inner):
    X = skewed(d=1)
    density = TransformedDensity(ELEMENTWISE[name](), DENSITIES[inner]()).fit(X)
    assert density.score_kind_ == "exact"
    x, weight = line(np.append(np.quantile(X, np.linspace(0, 1, 40)), [-1.0, 0.0]))
    mass = np.exp(density.score_samples(x[:, None])) * weight
    assert mass.sum() == pytest.approx(1, abs=1e-3)
    drawn = density.sample(3000, random_state=0)[:, 0]
    cdf = np.cumsum(mass) - mass / 2
    assert stats.kstest(drawn, lambda at: np.interp(at, x, cdf)).pvalue > 1e-4


@pytest.mark.parametrize("name", MIXING)
def test_mixed_columns_integrate_to_one(name):
    X = skewed()
    density = TransformedDensity(MIXING[name](), GaussianMixture(2, random_state=0)).fit(X)
    proposal = stats.multivariate_t(X.mean(axis=0), 1.5 * np.cov(X.T), df=3, seed=0)
    points = proposal.rvs(200_000)
    ratio = np.exp(density.score_samples(points) - proposal.logpdf(points))
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.01
    assert abs(ratio.mean() - 1) < 4 * error + 1e-3
    surprise = -density.score_samples(density.sample(4000, random_state=0))
    entropy = np.mean(-ratio * np.log(np.maximum(ratio, 1e-300) * proposal.pdf(points)))
    assert surprise.mean() == pytest.approx(entropy, abs=0.1)


def slow_log_det(density, x):
    """By finite differences of what the density sees."""
    step = 1e-6
    points = np.concatenate([x + step * np.eye(len(x)), x - step * np.eye(len(x))])
    ahead, behind = np.split(density._bijection.forward(points, np.zeros(points.shape))[0], 2)
    return np.linalg.slogdet((ahead - behind) / (2 * step))[1]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_jacobians_are_those_of_finite_differences(name):
    X = skewed(d=3)
    transformer = TRANSFORMERS[name]()
    if name == "columns whitened":
        transformer = make_column_transformer((StandardScaler(), [2]), (PCA(whiten=True), [0, 1]))
    inner = KernelDensity()
    density = TransformedDensity(transformer, inner).fit(X)
    points = np.concatenate(
        [skewed(5, 3, seed=1), X[:1] + np.array([30.0, 40.0, 50.0]), [[0.01, 0.02, 0.03]]]
    )
    Z = density._bijection.forward(points, np.zeros(points.shape))[0]
    log_det = density.score_samples(points) - density.estimator_.score_samples(Z)
    expected = [slow_log_det(density, x) for x in points]
    np.testing.assert_allclose(log_det, expected, atol=1e-4)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_density_sees_what_the_transformer_makes(name):
    X = skewed()
    density = TransformedDensity(TRANSFORMERS[name](), KernelDensity()).fit(X)
    if density.transformer_ in (None, "passthrough"):
        return
    Z = density._bijection.forward(X, np.zeros(X.shape))[0]
    if "quantiles" not in name and name not in ("columns", "scaled and whitened"):
        np.testing.assert_allclose(Z, density.transformer_.transform(X), atol=1e-9)
    else:  # a row beside the end is one of the end for scikit-learn
        np.testing.assert_allclose(Z, density.transformer_.transform(X), atol=0.06)


EQUIVARIANT = ["standard", "robust", "range", "range, clipped", "quantiles", "quantiles, normal"]


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_units_shift_the_score(name):
    X, a, b = skewed(), np.array([-100.0, 0.01]), np.array([3.0, -5.0])
    if name.startswith("quantiles"):
        a = np.abs(a)
        b = np.zeros(2)  # scikit-learn calls the end what is within 1e-7 of it
    density = TransformedDensity(ELEMENTWISE[name](), GaussianMixture(random_state=0))
    new = skewed(50, seed=1)
    expected = clone(density).fit(X).score_samples(new) - np.log(np.abs(a)).sum()
    np.testing.assert_allclose(
        density.fit(a * X + b).score_samples(a * new + b), expected, atol=1e-3
    )


def test_a_line_by_hand():
    x = np.array([[1.0], [2.5]])
    transformer = DifferentiableFunctionTransformer(
        lambda x: -3 * x + 2, lambda z: (2 - z) / 3, lambda x: np.full_like(x, -3)
    )
    density = TransformedDensity(transformer, KernelDensity()).fit(x)
    by_hand = KernelDensity().fit(-3 * x + 2).score_samples(-3 * x + 2) + np.log(3)
    np.testing.assert_allclose(density.score_samples(x), by_hand)


def test_a_search_cannot_be_gamed():
    X = np.random.default_rng(0).permutation(load_iris().data)
    scalers = [StandardScaler(), MinMaxScaler((0, 1e-3)), MinMaxScaler((0, 1e3))]
    mixture = GaussianMixture(3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), mixture)
    gamed = GridSearchCV(pipeline, {"standardscaler": scalers}, scoring=mean_log_likelihood).fit(X)
    assert gamed.best_params_["standardscaler"] is scalers[1] or gamed.best_index_ == 1
    density = TransformedDensity(None, mixture)
    search = GridSearchCV(density, {"transformer": scalers}, scoring=mean_log_likelihood).fit(X)
    scores, cheat = search.cv_results_["mean_test_score"], gamed.cv_results_["mean_test_score"]
    assert search.best_index_ != 1
    assert scores[0] == pytest.approx(scores[2], abs=0.2)
    assert cheat[1] - cheat[2] > 20


def beside(*pairs):
    """Return a ColumnTransformer of transformers and their columns."""
    return make_column_transformer(*pairs, remainder="passthrough")


# Transformers, with the places of the first two columns behind them.
GIVEN_APART = {
    "nothing": (lambda: None, [0, 1]),
    "scaled": (StandardScaler, [0, 1]),
    "in a pipeline": (lambda: make_pipeline(StandardScaler(), MinMaxScaler()), [0, 1]),
    "in another order": (lambda: beside((StandardScaler(), [3, 1]), (MinMaxScaler(), [0])), [1, 2]),
    "given ones mixed": (lambda: beside((StandardScaler(), [2]), (PCA(), [0, 1])), [1, 2]),
    "others mixed": (lambda: beside((StandardScaler(), [0]), (PCA(), [2, 3])), [0, 3]),
}


def dependent_columns(n=300):
    """Return rows of which the last two columns are linear in the first two."""
    X = np.random.default_rng(0).normal(size=(n, 4)) * [100, 3, 1, 0.01]
    return X + X[:, [0]] * [0, 0, 0.01, 1e-4] + X[:, [1]] * [0, 0, 1, 0.01]


@pytest.mark.parametrize("around", [None, StandardScaler()], ids=["alone", "within another"])
@pytest.mark.parametrize("name", GIVEN_APART)
def test_given_columns_have_no_jacobian(name, around):
    X = dependent_columns()
    make, places = GIVEN_APART[name]
    density = TransformedDensity(make(), Regression(given=places))
    if around is not None:
        density = TransformedDensity(around, density)
    found = density.fit(X).score_samples(X)
    # Lines through lines are lines; independent errors stay so on columns of their own.
    if name != "others mixed":
        expected = Regression(given=[0, 1]).fit(X).score_samples(X)
    else:
        scaled = X if around is None else X / X.std(axis=0)
        rotated = make().fit_transform(scaled)
        expected = Regression(given=places).fit(rotated).score_samples(rotated)
        expected = expected + (0 if around is None else -np.log(X[:, 2:].std(axis=0)).sum())
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert given_columns(density).tolist() == [True, True, False, False]


def test_given_a_column_behind_a_curve_the_others_integrate_to_one():
    X = np.random.default_rng(0).normal([0, 5], 1, (300, 2))
    X[:, 0] = np.exp(X[:, 0])
    density = TransformedDensity(PowerTransformer(), Regression(given=[0])).fit(X)
    y, weight = line(np.quantile(X[:, 1], np.linspace(0, 1, 40)))
    for x in X[:3, 0]:
        mass = np.exp(density.score_samples(np.column_stack([np.full_like(y, x), y]))) * weight
        assert mass.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("around", [StandardScaler(), None])
def test_columns_that_are_given_are_not_mixed_with_others(around):
    density = TransformedDensity(PCA(), Regression(given=[0]))
    if around is not None:
        density = TransformedDensity(around, density)
    with pytest.raises(
        ValueError, match="Regression is conditional on column 0 .* keep them apart"
    ):
        density.fit(dependent_columns())
