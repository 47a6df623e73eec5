"""The registry of Jacobians: what loses information, what users register, and what lies beyond the range of a fit."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sklearn_dgm import (
    BayesianNetworkDensity,
    TransformedDensity,
)
from sklearn_dgm.compose import DifferentiableFunctionTransformer
from tests.compose.transformers import (
    ELEMENTWISE,
    Shear,
    line,
    quantiles,
    skewed,
)


@pytest.mark.parametrize(
    ("transformer", "message"),
    [
        (PCA(2), "keeps 2 of 4"),
        (make_pipeline(StandardScaler(), PCA(3)), "keeps 3 of 4"),
        (make_column_transformer((StandardScaler(), [0, 1])), "drops column 2"),
        (make_column_transformer(("drop", [1]), remainder="passthrough"), "drops column 1"),
        (
            make_column_transformer((StandardScaler(), [0, 1]), (RobustScaler(), [1, 2, 3])),
            "uses more than once column 1",
        ),
        (FunctionTransformer(np.log, np.expm1, check_inverse=False), "does not undo its transform"),
    ],
)
def test_what_loses_information_raises(transformer, message):
    with pytest.raises(ValueError, match=message):
        TransformedDensity(transformer, KernelDensity()).fit(load_iris().data - 0.05)


@pytest.mark.parametrize(
    "transformer",
    [
        Binarizer(),
        VarianceThreshold(),
        OneHotEncoder(),
        make_pipeline(StandardScaler(), Binarizer()),
    ],
)
def test_what_has_no_jacobian_raises(transformer):
    with pytest.raises(TypeError, match="No Jacobian of \\w+ is known"):
        TransformedDensity(transformer, KernelDensity()).fit(load_iris().data)


def test_a_function_without_derivative_raises():
    with pytest.raises(TypeError, match="No derivative of tan is known"):
        TransformedDensity(FunctionTransformer(np.tan, np.arctan), KernelDensity()).fit(
            [[0.1], [0.2]]
        )


def test_whitening_needs_variance_and_rows():
    X = skewed(d=2)
    twice = np.column_stack([X, X[:, 0] + X[:, 1]])
    with pytest.raises(ValueError, match="without any variance"):
        TransformedDensity(PCA(whiten=True), KernelDensity()).fit(twice)
    assert TransformedDensity(PCA(), KernelDensity()).fit(twice).score_kind_ == "exact"
    with pytest.raises(ValueError, match="n_samples=2, keeps 2 of 3"):
        TransformedDensity(PCA(), KernelDensity()).fit(twice[:2])


def test_a_registered_transformer():
    X = np.random.default_rng(0).normal(size=(200, 2))
    density = TransformedDensity(Shear(), GaussianMixture(random_state=0)).fit(X)
    Z = Shear().transform(X)
    expected = GaussianMixture(random_state=0).fit(Z).score_samples(Z) + np.log(6)
    np.testing.assert_allclose(density.score_samples(X), expected)
    assert density.score_kind_ == "exact"
    frame = pd.DataFrame(X, columns=["a", "b"])
    in_frame = clone(density).fit(frame)
    np.testing.assert_allclose(in_frame.score_samples(frame), expected)
    assert list(in_frame.sample(3).columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("inverse", r"does not undo its transform: in column 1 .* off by 0.25"),
        ("jacobian", r"finite differences give 1.79176: it is off by 0.5"),
        ("columns", "column 1 of the output depends on several"),
        ("shape", r"\(200, 2\) or \(200,\), got \(200, 5\)"),
    ],
)
def test_lies_of_a_registered_transformer_are_found(lie, message):
    X = np.random.default_rng(0).normal(size=(200, 2))
    for transformer in (Shear(lie), make_pipeline(StandardScaler(), Shear(lie))):
        with pytest.raises(ValueError, match=message):
            TransformedDensity(transformer, KernelDensity()).fit(X)


def test_a_wrong_derivative_is_found_but_no_kink():
    X = skewed(d=1) - 2
    wrong = DifferentiableFunctionTransformer(np.sinh, np.arcsinh, lambda x: 1.1 * np.cosh(x))
    with pytest.raises(ValueError, match="it is off by 0.0953"):
        TransformedDensity(wrong, KernelDensity()).fit(X)

    def bent(x):
        return np.where(x < 1, x, 2 * x - 1)

    kink = DifferentiableFunctionTransformer(
        bent, lambda z: np.where(z < 1, z, (z + 1) / 2), lambda x: np.where(x < 1, 1.0, 2.0)
    )
    TransformedDensity(kink, KernelDensity()).fit(np.array([[0.0], [1.0], [2.0]]))


def test_a_transformer_without_inverse_scores_but_draws_nothing():
    class OneWay(Shear):
        inverse_transform = property()

    X = np.random.default_rng(0).normal(size=(50, 2))
    density = TransformedDensity(OneWay(), KernelDensity())
    assert hasattr(density, "sample")
    assert not hasattr(density.fit(X), "sample")
    assert np.isfinite(density.score_samples(X)).all()
    assert not hasattr(TransformedDensity(None, BayesianNetworkDensity()), "missing_method")


@pytest.mark.parametrize("there", [np.sqrt, np.exp])
def test_a_function_that_reaches_some_numbers_gives_a_lower_bound(there):
    back = {np.sqrt: np.square, np.exp: np.log}[there]
    X = stats.norm(1, 0.7).rvs((300, 1), random_state=0).clip(0.2)
    density = TransformedDensity(FunctionTransformer(there, back), KernelDensity(bandwidth=0.5))
    assert density.fit(X).score_kind_ == "lower bound"
    x, weight = line(np.append(np.quantile(X, np.linspace(0, 1, 40)), 0.0))
    mass = np.exp(density.score_samples(x[:, None])) * weight
    assert 0.8 < mass.sum() < 0.9999
    drawn = density.sample(3000, random_state=0)[:, 0]
    assert len(drawn) == 3000
    cdf = (np.cumsum(mass) - mass / 2) / mass.sum()
    assert stats.kstest(drawn, lambda at: np.interp(at, x, cdf)).pvalue > 1e-4


@pytest.mark.parametrize("to", [np.asarray, lambda X: pd.DataFrame(X, columns=["a"])])
def test_numbers_that_a_function_maps_as_others_are_impossible(to):
    X = skewed(d=1)
    square = FunctionTransformer(np.square, np.sqrt)
    density = TransformedDensity(square, GaussianMixture(2, random_state=0)).fit(to(X))
    assert density.score_kind_ == "lower bound"
    assert np.isneginf(density.score_samples(to(-X))).all()
    assert np.isfinite(density.score_samples(to(X))).all()
    x, weight = line(np.append(np.quantile(X, np.linspace(0, 1, 40)), 0.0))
    assert 0.5 < np.exp(density.score_samples(to(x[:, None]))) @ weight < 1
    assert (np.asarray(density.sample(100, random_state=0)) > 0).all()


def test_beyond_the_range_of_the_fit():
    X = skewed(d=1)
    beyond = np.array([[X.min() - 0.05], [X.max() + 1.0], [-1.0]])
    for name in ("range, clipped", "quantiles", "quantiles, normal"):
        density = TransformedDensity(ELEMENTWISE[name](), KernelDensity(bandwidth=0.3)).fit(X)
        assert np.isfinite(density.score_samples(beyond)).all()
    clipped = TransformedDensity(MinMaxScaler(clip=True), KernelDensity()).fit(X)
    plain = TransformedDensity(MinMaxScaler(), KernelDensity()).fit(X)
    np.testing.assert_allclose(clipped.score_samples(beyond), plain.score_samples(beyond))
    box_cox = TransformedDensity(PowerTransformer("box-cox"), KernelDensity()).fit(X)
    scores = box_cox.score_samples([[-1.0], [0.0], [1e-300], [1.0]])
    assert np.isneginf(scores[:2]).all()
    assert np.isfinite(scores[3])
    assert (box_cox.sample(2000, random_state=0) > 0).all()
    logarithm = TransformedDensity(ELEMENTWISE["logarithm"](), KernelDensity()).fit(X)
    assert np.isneginf(logarithm.score_samples([[-1.0], [0.0]])).all()
    logarithm = FunctionTransformer(np.log, np.exp, check_inverse=False)
    with pytest.raises(ValueError, match="cannot take row 1 of the 3"):
        TransformedDensity(logarithm, KernelDensity()).fit([[1.0], [0.0], [2.0]])


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
@pytest.mark.parametrize("power", [-1.5, 0.0, 0.7, 2.0, 3.5])
def test_powers_that_are_bounded_are_continued(method, power):
    X = skewed(d=1)
    transformer = PowerTransformer(method, standardize=False).fit(X)
    transformer.lambdas_ = np.array([power])
    density = TransformedDensity(
        FrozenEstimator(transformer), GaussianMixture(2, random_state=0)
    ).fit(X)
    x, weight = line(np.append(np.quantile(X, np.linspace(0, 1, 40)), [-3.0, 0.0]))
    assert np.exp(density.score_samples(x[:, None])) @ weight == pytest.approx(1, abs=1e-3)
    assert np.isfinite(density.sample(2000, random_state=0)).all()


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_quantiles_that_repeat(distribution):
    x = np.sort(np.random.default_rng(0).integers(0, 8, 200)).astype(float)
    transformer = QuantileTransformer(n_quantiles=100, output_distribution=distribution)
    density = TransformedDensity(transformer, KernelDensity(bandwidth=0.1)).fit(x[:, None])
    Z = density._bijection.forward(x[:, None], np.zeros((200, 1)))[0]
    np.testing.assert_allclose(Z, density.transformer_.transform(x[:, None]), atol=1e-5)
    at, weight = line(np.arange(8.0))
    assert np.exp(density.score_samples(at[:, None])) @ weight == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "name", [name for name in ELEMENTWISE if "log" not in name and "cox" not in name]
)
def test_constant_columns_and_columns_of_zeros(name):
    X = np.column_stack([np.full(30, 3.0), np.zeros(30), np.arange(30.0)])
    transformer = ELEMENTWISE[name]()
    if name.startswith("quantiles") or name == "columns":
        return  # see below
    density = TransformedDensity(transformer, KernelDensity()).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert np.isfinite(density.sample(5)).all()


def test_a_constant_column_behind_quantiles():
    X = np.column_stack([np.full(50, 3.0), np.arange(50.0)])
    for distribution in ("uniform", "normal"):
        transformer = quantiles(output_distribution=distribution)
        density = TransformedDensity(transformer, KernelDensity(bandwidth=0.1)).fit(X)
        assert np.isfinite(density.score_samples(X)).all()
        assert np.isfinite(density.sample(50, random_state=0)).all()
