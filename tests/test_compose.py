"""TransformedDensity: densities behind transformers, in the units of X."""

import copy
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse, stats
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dgm import (
    BayesianNetworkDensity,
    DensityImputer,
    HistogramDensity,
    TransformedDensity,
    log_abs_det_jacobian,
    mean_log_likelihood,
)
from sklearn_dgm.compose import DifferentiableFunctionTransformer
from sklearn_dgm.utils.estimator_checks import check_density_estimator


def cube():
    return DifferentiableFunctionTransformer(lambda x: x**3, np.cbrt, lambda x: 3 * x**2)


def quantiles(**parameters):
    return QuantileTransformer(n_quantiles=40, **parameters)


# Older releases of scikit-learn do not clip.
CLIPPED = {"clip": True} if "clip" in MaxAbsScaler().get_params() else {}
# They reach every number, so that what is behind them integrates to one.
ELEMENTWISE = {
    "nothing": lambda: None,
    "passthrough": lambda: "passthrough",
    "standard": StandardScaler,
    "standard, without mean": lambda: StandardScaler(with_mean=False),
    "standard, without scale": lambda: StandardScaler(with_std=False),
    "robust": lambda: RobustScaler(unit_variance=True),
    "robust, without scale": lambda: RobustScaler(with_scaling=False),
    "range": lambda: MinMaxScaler((-1, 3)),
    "range, clipped": lambda: MinMaxScaler(clip=True),
    "largest": MaxAbsScaler,
    "largest, clipped": lambda: MaxAbsScaler(**CLIPPED),
    "yeo-johnson": PowerTransformer,
    "yeo-johnson, as it is": lambda: PowerTransformer(standardize=False),
    "box-cox": lambda: PowerTransformer("box-cox"),
    "box-cox, as it is": lambda: PowerTransformer("box-cox", standardize=False),
    "quantiles": quantiles,
    "quantiles, normal": lambda: quantiles(output_distribution="normal"),
    "logarithm": lambda: FunctionTransformer(np.log, np.exp, check_inverse=False),
    "logarithm from 1": lambda: FunctionTransformer(np.log1p, np.expm1),
    "area hyperbolic sine": lambda: FunctionTransformer(np.arcsinh, np.sinh),
    "cube": lambda: make_pipeline(MinMaxScaler((0.5, 2)), cube()),
    "pipeline": lambda: make_pipeline(StandardScaler(), "passthrough", PowerTransformer()),
    "pipeline, log first": lambda: make_pipeline(
        FunctionTransformer(np.log, np.exp), MinMaxScaler((0, 3))
    ),
    "columns": lambda: ColumnTransformer(
        [("scale", StandardScaler(), [0])], remainder=quantiles(), transformer_weights={"scale": -2}
    ),
    "columns in a pipeline": lambda: make_pipeline(
        make_column_transformer((RobustScaler(), [-1]), remainder="passthrough"), MaxAbsScaler()
    ),
}
MIXING = {
    "rotation": PCA,
    "whitening": lambda: PCA(whiten=True, svd_solver="full"),
    "whitening by covariance": lambda: PCA(whiten=True, svd_solver="covariance_eigh"),
    "scaled and whitened": lambda: make_pipeline(StandardScaler(), PCA(whiten=True), quantiles()),
    "columns whitened": lambda: make_column_transformer((PCA(whiten=True), slice(0, 2))),
}
TRANSFORMERS = ELEMENTWISE | MIXING
DENSITIES = {
    "kernels": lambda: KernelDensity(bandwidth=0.3),
    "mixture": lambda: GaussianMixture(2, random_state=0),
    "histogram": lambda: HistogramDensity(bins=12, alpha=0.1),
}


def skewed(n=300, d=2, seed=0):
    """Positive, skewed and dependent columns."""
    rng = np.random.default_rng(seed)
    first = rng.gamma(2.0, 1.5, n) + 0.2
    others = [first**0.5 * rng.lognormal(0, 0.5, n) + 0.1 for _ in range(d - 1)]
    return np.column_stack([first, *others])


def line(knots):
    """Points and weights of a midpoint rule on the line, dense around the knots, where densities may have spikes."""
    knots = np.unique(knots)
    gaps = np.geomspace(1e-10, 1, 160)[:-1]
    ends = np.sinh(np.linspace(0, 40, 4000))
    edges = np.concatenate(
        [
            knots[0] - ends,
            knots[-1] + ends,
            *(
                (k + np.sign(s) * gaps * abs(s))
                for k, s in zip(knots[:-1], np.diff(knots), strict=True)
            ),
            *((k - gaps * s) for k, s in zip(knots[1:], np.diff(knots), strict=True)),
            *(np.linspace(a, b, 120) for a, b in itertools.pairwise(knots)),
            knots[0] - gaps,
            knots[-1] + gaps,
        ]
    )
    edges = np.unique(edges)
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


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


class Shear(TransformerMixin, BaseEstimator):
    """A transformer of a user: it mixes columns, stretches them, and can be made to lie."""

    def __init__(self, lie=""):
        self.lie = lie

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        x = np.asarray(X, dtype=float)
        return np.column_stack([x[:, 0] * 2, x[:, 1] * 3 + np.sinh(x[:, 0])])

    def inverse_transform(self, Z):
        first = Z[:, 0] / 2
        off = 0.25 if self.lie == "inverse" else 0.0
        return np.column_stack([first, (Z[:, 1] - np.sinh(first)) / 3 + off])


@log_abs_det_jacobian.register
def _(transformer: Shear, X):
    n = len(X)
    if transformer.lie == "columns":
        return np.tile(np.log([2.0, 3.0]), (n, 1))
    if transformer.lie == "shape":
        return np.zeros((n, 5))
    return np.full(n, np.log(6.0) + (0.5 if transformer.lie == "jacobian" else 0.0))


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


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "count": rng.poisson(3, 300),
            "length": rng.normal(50, 4, 300),
            "city": rng.choice(["Oslo", "Rome"], 300),
            "width": rng.lognormal(0, 1, 300).astype(np.float32),
            "grade": pd.Categorical(rng.choice(["a", "b"], 300), categories=["c", "b", "a"]),
            "flag": rng.random(300) < 0.3,
        },
        index=np.arange(300) + 1000,
    )


def of_floats(**parameters):
    return ColumnTransformer(
        [
            ("log", FunctionTransformer(np.log, np.exp, check_inverse=False), ["width"]),
            ("scale", StandardScaler(), ["length"]),
        ],
        remainder="passthrough",
        **parameters,
    )


@pytest.mark.parametrize("to", ["pandas", "polars"])
def test_tables_of_mixed_columns(table, to):
    X = table
    if to == "polars":
        X = pl.from_pandas(table).with_columns(pl.col("grade").cast(pl.Enum(["c", "b", "a"])))
    inner = HistogramDensity(bins={"width": 3, "length": 4}, alpha=0.5)
    density = TransformedDensity(of_floats(), inner).fit(X)
    drawn = density.sample(40, random_state=0)
    assert type(drawn) is type(X)
    assert list(drawn.columns) == list(X.columns)
    assert list(drawn.dtypes) == list(X.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    by_hand = table.assign(
        width=np.log(table["width"]),
        length=(table["length"] - table["length"].mean()) / table["length"].std(ddof=0),
    )[["width", "length", "count", "city", "grade", "flag"]]
    expected = clone(inner).fit(by_hand).score_samples(by_hand)
    expected = expected - np.log(table["width"]) - np.log(table["length"].std(ddof=0))
    np.testing.assert_allclose(density.score_samples(X), expected, atol=1e-4)


def test_counts_keep_a_probability(table):
    X = table[["count", "length"]]
    transformer = make_column_transformer((StandardScaler(), ["length"]), remainder="passthrough")
    density = TransformedDensity(transformer, HistogramDensity(alpha=0.1)).fit(X)
    x = np.linspace(20, 80, 20_001)
    total = 0.0
    for count in range(-2, 25):
        rows = pd.DataFrame({"count": count, "length": x})
        total += np.exp(density.score_samples(rows)).sum() * (x[1] - x[0])
    assert total == pytest.approx(1, abs=1e-3)
    assert density.sample(5)["count"].dtype == table["count"].dtype
    scaled = TransformedDensity(StandardScaler(), HistogramDensity(alpha=0.1)).fit(X)
    assert list(scaled.sample(5).dtypes) == [np.dtype(float)] * 2


def test_numbers_that_a_density_counts_need_no_jacobian():
    X = np.random.default_rng(0).poisson(3, (200, 1))
    doubled = DifferentiableFunctionTransformer(
        lambda x: 2 * x, lambda z: z // 2, lambda x: np.full(x.shape, 2.0)
    )
    density = TransformedDensity(doubled, HistogramDensity()).fit(X)
    assert np.exp(density.score_samples(np.arange(20)[:, None])).sum() == pytest.approx(1)
    assert density.sample(5).dtype == X.dtype


def test_values_that_repeat_keep_a_probability():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(400) < 0.3, 0.0, rng.gamma(2, 10, 400))
    X = np.column_stack([x, rng.normal(size=400)])
    inner = BayesianNetworkDensity("empty", conditional="table")
    plain = clone(inner).fit(X)
    assert plain.schema_.kinds_[0] == "mixed"
    density = TransformedDensity(StandardScaler(), inner).fit(X)
    np.testing.assert_allclose(density.score_samples(X), plain.score_samples(X), atol=1e-6)
    nested = TransformedDensity(MinMaxScaler((0, 1e-3)), density).fit(X)
    np.testing.assert_allclose(nested.score_samples(X), plain.score_samples(X), atol=1e-6)


class Sum(Shear):
    """The second column becomes the sum of both."""

    def transform(self, X):
        x = np.asarray(X)
        return np.column_stack([x[:, 0], x[:, 1] + x[:, 0]])

    def inverse_transform(self, Z):
        return np.column_stack([Z[:, 0], Z[:, 1] - Z[:, 0]])


@log_abs_det_jacobian.register
def _(transformer: Sum, X):
    return np.zeros(len(X))


def test_probabilities_and_densities_do_not_mix():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, (200, 2))
    density = TransformedDensity(Sum(), HistogramDensity()).fit(counts)
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2)
    assert np.exp(density.score_samples(grid)).sum() == pytest.approx(1)
    X = np.column_stack([rng.poisson(2, 200), rng.normal(size=200)])
    inner = HistogramDensity(integer_features=[0])
    with pytest.raises(ValueError, match="column 0 of the transformed rows a probability"):
        TransformedDensity(Sum(), inner).fit(X)
    inner.set_params(integer_features=None)
    assert np.isfinite(TransformedDensity(Sum(), inner).fit(X).score_samples(X)).all()


@pytest.mark.parametrize(
    "columns",
    [
        ["a", "c"],
        [0, 2],
        slice(0, 3, 2),
        [True, False, True],
        lambda X: ["a", "c"],
        make_column_selector("a|c"),
    ],
    ids=["names", "indices", "slice", "mask", "callable", "selector"],
)
def test_column_specifications(columns):
    X = pd.DataFrame(skewed(d=3), columns=list("abc"))
    transformer = make_column_transformer(
        (StandardScaler(), columns), remainder=make_pipeline(PowerTransformer(), StandardScaler())
    )
    density = TransformedDensity(transformer, KernelDensity()).fit(X)
    by_hand = make_pipeline(PowerTransformer(), StandardScaler()).fit(X[["b"]])
    Z = np.column_stack(
        [StandardScaler().fit_transform(X[["a", "c"]]), by_hand.transform(X[["b"]])]
    )
    shares = log_abs_det_jacobian(density.transformer_, X)
    expected = KernelDensity().fit(Z).score_samples(Z) + shares.sum(axis=1)
    np.testing.assert_allclose(density.score_samples(X), expected)
    np.testing.assert_allclose(shares[:, 0], -np.log(X["a"].std(ddof=0)))
    np.testing.assert_allclose(shares[:, 2], -np.log(X["c"].std(ddof=0)))
    np.testing.assert_allclose(shares[:, 1], log_abs_det_jacobian(by_hand, X[["b"]])[:, 0])
    assert density.sample(20, random_state=0).columns.tolist() == list("abc")


def test_two_blocks_that_mix_in_a_frame():
    X = pd.DataFrame(skewed(d=5), columns=list("abcde"))
    transformer = make_column_transformer(
        (PCA(), ["a", "d"]), (PCA(), ["b", "c"]), remainder="passthrough"
    )
    density = TransformedDensity(transformer, HistogramDensity(bins=3, alpha=1)).fit(X)
    names = density.estimator_.feature_names_in_.tolist()
    assert names == ["pca-1__pca0", "pca-1__pca1", "pca-2__pca0", "pca-2__pca1", "e"]
    drawn = density.sample(50, random_state=0)
    assert drawn.columns.tolist() == list("abcde")
    total = log_abs_det_jacobian(density.transformer_, X)
    np.testing.assert_allclose(total, np.zeros(len(X)), atol=1e-12)


def test_shares_of_columns(table):
    inner = BayesianNetworkDensity("chow-liu", conditional="table")
    density = TransformedDensity(of_floats(), inner)
    assert hasattr(density, "score_features")
    scores = density.fit(table).score_features(table)
    assert scores.columns.tolist() == table.columns.tolist()
    assert scores.index.equals(table.index)
    np.testing.assert_allclose(scores.sum(axis=1), density.score_samples(table))
    plain = clone(inner).fit(table)
    np.testing.assert_allclose(
        scores["city"].mean(), plain.score_features(table)["city"].mean(), atol=0.1
    )
    assert not hasattr(TransformedDensity(None, KernelDensity()), "score_features")
    numbers = table[["length", "width"]]
    assert not hasattr(TransformedDensity(PCA(), inner).fit(numbers), "score_features")


def test_missing_cells():
    X = skewed()
    X[::4, 0] = np.nan
    X[1::4, 1] = np.nan
    inner = BayesianNetworkDensity(conditional="table")
    for transformer in (
        StandardScaler(),
        ELEMENTWISE["logarithm"](),
        PowerTransformer(),
        quantiles(),
    ):
        density = TransformedDensity(transformer, inner).fit(X)
        assert np.isfinite(density.score_samples(X)).all()
        nothing = density.score_samples(np.full((1, 2), np.nan))
        np.testing.assert_allclose(nothing, 0, atol=1e-9)
        x, weight = line(np.nanquantile(X[:, 0], np.linspace(0, 1, 60)))
        rows = np.column_stack([x, np.full(len(x), np.nan)])
        assert np.exp(density.score_samples(rows)) @ weight == pytest.approx(1, abs=2e-3)
    frame = pd.DataFrame(X, columns=["a", "b"])
    for refused in (TransformedDensity(PCA(), inner), TransformedDensity(None, KernelDensity())):
        with pytest.raises(ValueError, match="NaN in column 'a', row 0"):
            refused.fit(frame)
    columns = make_column_transformer((StandardScaler(), [1]), remainder="passthrough")
    assert np.isfinite(TransformedDensity(columns, inner).fit(frame).score_samples(frame)).all()


def test_transformers_of_a_pipeline_within_count_too():
    X = skewed()
    expected = TransformedDensity(StandardScaler(), KernelDensity()).fit(X)
    steps = make_pipeline(StandardScaler(), KernelDensity())
    search = GridSearchCV(steps, {"kerneldensity__bandwidth": [1.0]})
    for inner in (steps, make_pipeline("passthrough", steps), search):
        density = TransformedDensity(None, inner).fit(X)
        np.testing.assert_allclose(density.score_samples(X), expected.score_samples(X))
        drawn = density.sample(5, random_state=0)
        np.testing.assert_allclose(drawn, expected.sample(5, random_state=0))
    nested = TransformedDensity(
        MinMaxScaler(), TransformedDensity(StandardScaler(), KernelDensity())
    )
    np.testing.assert_allclose(nested.fit(X).score_samples(X), expected.score_samples(X))


def test_in_searches_and_pipelines():
    X = skewed(80)
    density = TransformedDensity(make_pipeline(StandardScaler(), PCA()), KernelDensity())
    candidates = {
        "estimator__bandwidth": [0.1, 0.5],
        "transformer__pca__whiten": [True, False],
        "transformer__standardscaler": ["passthrough", RobustScaler()],
    }
    search = GridSearchCV(density, candidates, scoring=mean_log_likelihood, cv=2, n_jobs=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    outer = make_pipeline(StandardScaler(), clone(density)).fit(X)
    assert outer.score_samples(X).shape == (80,)
    search = GridSearchCV(density, {"estimator__bandwidth": [0.1, 0.5]}).fit(X)
    assert search.best_estimator_.score(X) == pytest.approx(search.score_samples(X).sum())
    inner = TransformedDensity(
        StandardScaler(), GridSearchCV(KernelDensity(), {"bandwidth": [0.2, 0.4]})
    )
    assert inner.fit(X).estimator_.best_params_["bandwidth"] in (0.2, 0.4)


def test_copies_score_alike():
    X = skewed(100)
    density = TransformedDensity(PowerTransformer(), GaussianMixture(random_state=0)).fit(X)
    for twin in (
        pickle.loads(pickle.dumps(density)),
        copy.deepcopy(density),
        clone(density).fit(X),
    ):
        assert np.array_equal(twin.score_samples(X), density.score_samples(X))
        assert np.array_equal(twin.sample(5, 0), density.sample(5, 0))


WEIGHTED = {
    "scaler": lambda: StandardScaler(),
    "pipeline": lambda: make_pipeline(MinMaxScaler(), StandardScaler()),
    "columns": lambda: make_column_transformer((StandardScaler(), [0]), remainder=StandardScaler()),
    "nested": lambda: make_pipeline(
        make_column_transformer((StandardScaler(), [1, 0])), MaxAbsScaler()
    ),
}


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize(
    "inner",
    [
        KernelDensity(bandwidth=0.3),
        make_pipeline(StandardScaler(), KernelDensity()),
        GridSearchCV(KernelDensity(), {"bandwidth": [0.5]}, cv=2),
        TransformedDensity(StandardScaler(), HistogramDensity(bins=3, alpha=1)),
    ],
    ids=["density", "pipeline", "search", "nested"],
)
def test_weights_reach_all_that_take_them(name, inner):
    X = skewed(60)
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    density = TransformedDensity(WEIGHTED[name](), inner)
    weighted = clone(density).fit(X, sample_weight=weight)
    repeated = clone(density).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), atol=1e-7)
    expected = repeated.score(np.repeat(X, weight, axis=0))
    assert weighted.score(X, sample_weight=weight) == pytest.approx(expected)


def test_weights_that_a_user_routes():
    X, weight = skewed(60), np.arange(60) % 3
    scaler = StandardScaler()
    with config_context(enable_metadata_routing=True):
        scaler.set_fit_request(sample_weight=False)
        density = TransformedDensity(StandardScaler(), KernelDensity())
        density.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(density, {"estimator__bandwidth": [0.2, 0.4]})
        assert search.fit(X, sample_weight=weight + 1.0).best_params_
    for transformer in (scaler, make_pipeline(scaler, MinMaxScaler())):
        density = TransformedDensity(transformer, KernelDensity()).fit(X, sample_weight=weight)
        fitted = density.transformer_ if transformer is scaler else density.transformer_[0]
        np.testing.assert_allclose(fitted.mean_, X[weight > 0].mean(axis=0))


def test_weights_of_those_that_take_none():
    X = skewed(60)
    weight = np.arange(60) % 3
    density = TransformedDensity(MinMaxScaler(), KernelDensity()).fit(X, sample_weight=weight)
    np.testing.assert_allclose(density.transformer_.data_min_, X[weight > 0].min(axis=0))
    mixture = TransformedDensity(StandardScaler(), GaussianMixture(random_state=0))
    repeated = clone(mixture).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(
        mixture.fit(X, sample_weight=weight).score_samples(X), repeated.score_samples(X)
    )
    with pytest.raises(ValueError, match="GaussianMixture takes no sample_weight"):
        mixture.fit(X, sample_weight=weight + 0.5)
    with pytest.raises(ValueError, match="non-zero number|zero for every row"):
        density.fit(X, sample_weight=np.zeros(60))


def test_a_frozen_transformer_stays_as_it_is():
    X = pd.DataFrame(skewed(), columns=["a", "b"])
    scaler = StandardScaler().fit(10 * X)
    before = pickle.dumps(scaler)
    density = TransformedDensity(FrozenEstimator(scaler), KernelDensity())
    density.fit(X, sample_weight=np.arange(len(X)))
    assert pickle.dumps(scaler) == before
    np.testing.assert_allclose(
        density.score_samples(X)
        - density.estimator_.score_samples(pd.DataFrame(scaler.transform(X), columns=["a", "b"])),
        -np.log(scaler.scale_).sum(),
    )
    frozen = TransformedDensity(
        StandardScaler(), FrozenEstimator(KernelDensity().fit(X.to_numpy()))
    )
    assert np.isfinite(frozen.fit(X.to_numpy()).score_samples(X.to_numpy())).all()


def test_set_output_of_the_transformer_changes_nothing():
    X = skewed()
    for make in (StandardScaler, PCA, lambda: make_column_transformer((StandardScaler(), [1, 0]))):
        plain = TransformedDensity(make(), KernelDensity())
        framed = TransformedDensity(make().set_output(transform="pandas"), KernelDensity())
        for table in (X, pd.DataFrame(X, columns=["a", "b"]), pl.DataFrame(X, schema=["a", "b"])):
            expected = clone(plain).fit(table)
            actual = clone(framed).fit(table)
            np.testing.assert_allclose(actual.score_samples(table), expected.score_samples(table))
            assert type(actual.sample(3)) is type(table)


def test_what_is_wrong_gets_one_clear_error(table):
    X = skewed()
    with pytest.raises(TypeError, match="IsolationForest is not"):
        TransformedDensity(None, IsolationForest()).fit(X)
    with pytest.raises(ValueError, match="'transformer' parameter"):
        TransformedDensity("scaled", KernelDensity()).fit(X)
    with pytest.raises(ValueError, match="Invalid parameter 'bandwith'"):
        TransformedDensity(None, KernelDensity()).set_params(estimator__bandwith=3)
    with pytest.raises(ValueError, match="0 sample"):
        TransformedDensity(StandardScaler(), KernelDensity()).fit(table[["length"]].iloc[:0])
    with pytest.raises(ValueError, match="Oslo|Rome"):
        TransformedDensity(StandardScaler(), KernelDensity()).fit(table)
    with pytest.raises(NotFittedError):
        TransformedDensity(None, KernelDensity()).score_samples(X)
    density = TransformedDensity(None, KernelDensity()).fit(X)
    for n_samples in (0, 1.5):
        with pytest.raises(ValueError, match="n_samples should be a positive integer"):
            density.sample(n_samples)
    frame = table[["length", "width"]].copy()
    frame.iloc[3, 1] = np.inf
    with pytest.raises(ValueError, match="'width'"):
        TransformedDensity(StandardScaler(), KernelDensity()).fit(frame)
    one = TransformedDensity(StandardScaler(), KernelDensity()).fit([[1.0, 2.0]])
    assert np.isfinite(one.score_samples([[1.0, 2.0]])).all()


def test_a_failed_fit_leaves_the_density_as_it_was():
    X = skewed()
    density = TransformedDensity(PCA(), KernelDensity()).fit(X)
    expected = density.score_samples(X)
    with pytest.raises(ValueError, match="keeps 2 of 3"):
        density.fit(skewed(2, 3))
    assert np.array_equal(density.score_samples(X), expected)
    fresh = TransformedDensity(Binarizer(), KernelDensity())
    with pytest.raises(TypeError):
        fresh.fit(X)
    assert vars(fresh).keys() == {"transformer", "estimator"}


def test_rows_that_are_impossible_for_the_density():
    X = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "city": ["Oslo", "Rome", "Oslo", "Rome"]})
    transformer = make_column_transformer((StandardScaler(), ["x"]), remainder="passthrough")
    density = TransformedDensity(transformer, HistogramDensity(bins=2)).fit(X)
    rows = pd.DataFrame({"x": [1.0, 1e300, 1.0], "city": ["Paris", "Oslo", "Oslo"]})
    scores = density.score_samples(rows)
    assert np.isneginf(scores[:2]).all()
    assert np.isfinite(scores[2])


def test_the_global_generator_is_left_alone():
    X = skewed()
    state = str(np.random.get_state())
    density = TransformedDensity(StandardScaler(), GaussianMixture(2, random_state=0)).fit(X)
    assert not np.array_equal(density.sample(5), density.sample(5))
    assert np.array_equal(density.sample(5, random_state=1), density.sample(5, random_state=1))
    assert str(np.random.get_state()) == state


def test_a_mixture_keeps_both_contracts():
    density = TransformedDensity(PCA(whiten=True), GaussianMixture(2, random_state=0))
    # A check has fewer rows than columns, which leaves PCA with too few components.
    check_estimator(clone(density).set_params(transformer=StandardScaler()), on_skip=None)
    counts = "counts behind a transformer are continuous"
    results = check_density_estimator(
        density,
        on_skip=None,
        expected_failed_checks={
            "check_normalized (counts)": counts,
            "check_samples_agree_with_density (counts)": counts,
            "check_entropy_of_samples (counts)": counts,
        },
    )
    assert sum(result["status"] == "passed" for result in results) > 20


@pytest.mark.parametrize("to", ["array", "pandas", "polars"])
def test_missing_cells_are_drawn_given_the_others(to):
    X = skewed(400)
    names = ["a", "b"]
    transformer = make_column_transformer((PowerTransformer(), [1]), remainder=StandardScaler())
    inner = BayesianNetworkDensity("chow-liu", conditional="table", bins=4)
    holes = X[:50].copy()
    holes[:40, 1] = np.nan
    as_table = {
        "array": np.asarray,
        "pandas": lambda x: pd.DataFrame(x, columns=names),
        "polars": lambda x: pl.DataFrame(x, schema=names),
    }[to]
    table, given = as_table(X), as_table(holes)
    density = TransformedDensity(transformer, inner).fit(table)
    drawn = density.conditional_sample(given, 30, random_state=0)
    assert type(drawn) is type(table)
    drawn = np.asarray(drawn)
    np.testing.assert_array_equal(drawn[:, 0], np.repeat(X[:50, 0], 30))
    np.testing.assert_array_equal(drawn[40 * 30 :, 1], np.repeat(X[40:50, 1], 30))
    low, high = X[:40, 0] < 2, X[:40, 0] > 4
    medians = np.median(drawn[: 40 * 30, 1].reshape(40, 30), axis=1)
    assert medians[low].mean() < medians[high].mean()
    again, ess = density.conditional_sample(given, 2, random_state=0, return_ess=True)
    assert len(again) == 100
    assert ess.shape == (50,)
    if to == "pandas":
        completed = DensityImputer(density, random_state=0).fit(given).transform(given)
        assert completed.notna().all(axis=None)
        assert completed.index.equals(given.index)


def test_conditions_are_for_columns_that_do_not_mix():
    X = skewed(200)
    inner = BayesianNetworkDensity(conditional="table")
    assert hasattr(TransformedDensity(StandardScaler(), inner).fit(X), "conditional_sample")
    assert not hasattr(TransformedDensity(StandardScaler(), KernelDensity()), "conditional_sample")
    root = FunctionTransformer(np.sqrt, np.square)
    for transformer in (PCA(), root):
        density = TransformedDensity(transformer, inner)
        assert not hasattr(density.fit(X), "conditional_sample")
    logarithm = TransformedDensity(ELEMENTWISE["logarithm"](), inner).fit(X)
    with pytest.raises(ValueError, match="row 1 of X is impossible"):
        logarithm.conditional_sample([[1.0, np.nan], [-1.0, np.nan]])


@pytest.mark.parametrize("to", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_flags_behind_a_scaler_are_drawn_as_numbers(to):
    X = to(np.random.default_rng(0).random((50, 2)) < 0.5)
    density = TransformedDensity(StandardScaler(), HistogramDensity(bins=3, alpha=1))
    if to is not np.asarray:
        X.columns = ["a", "b"]
    drawn = np.asarray(density.fit(X).sample(20, random_state=0))
    assert drawn.dtype == np.float64
    assert len(np.unique(drawn)) == 40


def test_sparse_rows_are_refused():
    with pytest.raises(TypeError, match="[Ss]parse"):
        TransformedDensity(MaxAbsScaler(), KernelDensity()).fit(sparse.eye(5, format="csr"))


def test_it_imports_no_torch():
    code = "import sklearn_dgm, sys; sklearn_dgm.TransformedDensity; print('torch' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "False"
