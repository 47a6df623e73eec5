"""Transformers, densities and rows that the tests of this folder share."""

import itertools

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sklearn_dgm import (
    HistogramDensity,
    log_abs_det_jacobian,
)
from sklearn_dgm.compose import DifferentiableFunctionTransformer


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


def of_floats(**parameters):
    return ColumnTransformer(
        [
            ("log", FunctionTransformer(np.log, np.exp, check_inverse=False), ["width"]),
            ("scale", StandardScaler(), ["length"]),
        ],
        remainder="passthrough",
        **parameters,
    )
