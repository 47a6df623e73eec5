"""What fits, and what is refused."""

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityCodec,
    HistogramDensity,
)
from sklearn_dgm.codec import _blocks
from tests.codec.tables import DENSITIES, QUICK, assert_same, codec_of, discrete_table


@parametrize_with_checks(
    [
        DensityCodec(HistogramDensity()),
        DensityCodec(AutoregressiveDensity(order="given", **QUICK)),
        DensityCodec(BayesianNetworkDensity(conditional="table")),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_tables_of_other_columns_are_an_error():
    codec, rows = codec_of("tables"), discrete_table(20, 1)
    with pytest.raises(ValueError, match="feature names"):
        codec.encode(rows[rows.columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        codec.encode(rows.drop(columns="few"))
    with pytest.raises(ValueError, match=r"column 'few' has dtype .*float64.* had .*int64"):
        codec.encode(rows.astype({"few": float}))
    reordered = rows.assign(group=rows["group"].cat.reorder_categories(["w", "u", "v"]))
    with pytest.raises(ValueError, match="column 'group' has dtype"):
        codec.encode(reordered)
    with pytest.raises(ValueError, match="but fit has seen a pandas"):
        codec.encode(pl.from_pandas(rows))


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        (0.0, "The 'resolution' parameter"),
        ("fine", "The 'resolution' parameter"),
        ({"weight": 0.1}, "resolution names 'weight'"),
        ({"reading": -1}, "resolution of column 'reading' should be positive"),
        ({"reading": "fine"}, "resolution of column 'reading' should be positive"),
        ({"city": 0.1}, "column 'city' is categorical and has no resolution"),
    ],
)
def test_wrong_resolutions(resolution, message):
    codec = DensityCodec(HistogramDensity(), resolution=resolution)
    with pytest.raises(ValueError, match=message):
        codec.fit(discrete_table(60, 0))
    assert not hasattr(codec, "estimator_")


@pytest.mark.parametrize(
    "estimator",
    [
        KernelDensity(),
        GaussianMixture(),
        LinearRegression(),
        make_pipeline(StandardScaler(), HistogramDensity()),
    ],
)
def test_what_does_not_factorise_is_refused(estimator):
    name = type(estimator).__name__
    with pytest.raises(TypeError, match=f"factorises over the columns.*{name} does not"):
        DensityCodec(estimator).fit(np.zeros((9, 2)))


def test_prefitted_and_searched():
    rows = discrete_table(100, 1)
    fitted = codec_of("tables").estimator_
    codec = DensityCodec(FrozenEstimator(fitted)).fit(rows)
    assert codec.encode(rows) == codec_of("tables").encode(rows)
    search = GridSearchCV(DENSITIES["tables"](), {"alpha": [0.5, 2.0]}, cv=2)
    few = rows[["group", "flag", "few"]]
    codec = DensityCodec(search).fit(discrete_table(300, 0)[list(few)])
    assert_same(codec.decode(codec.encode(few)), few)
    nested = DensityCodec(HistogramDensity()).set_params(estimator__alpha=0.5)
    assert nested.estimator.alpha == 0.5


def test_not_fitted():
    codec = DensityCodec(HistogramDensity())
    for method in (codec.encode, codec.code_length, codec.decode):
        with pytest.raises(NotFittedError):
            method(np.zeros((2, 2)))


def test_a_failed_fit_leaves_the_earlier_one():
    codec = DensityCodec(HistogramDensity()).fit(discrete_table(60, 0))
    stream = codec.encode(discrete_table(5, 1))
    codec.set_params(estimator=KernelDensity())
    with pytest.raises(TypeError):
        codec.fit(np.zeros((5, 2)))
    assert_same(codec.decode(stream), discrete_table(5, 1))


def test_strange_objects_are_named():
    X = np.array([["tea"], ["milk"]] * 40, dtype=object)
    codec = DensityCodec(HistogramDensity()).fit(X)
    strange = X[:3].copy()
    strange[1, 0] = (1, 2)
    with pytest.raises(TypeError, match=r"column 0 holds \(1, 2\) in row 1"):
        codec.encode(strange)
    others = np.array([[1.0], [True], [2**70], ["x"], ["tea"]], dtype=object)
    decoded = codec.decode(codec.encode(others))
    assert [(type(v), v) for v in decoded.ravel()] == [(type(v), v) for v in others.ravel()]


def test_without_constriction(monkeypatch):
    monkeypatch.setattr(_blocks, "constriction", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-dgm\[codec\]"):
        DensityCodec(HistogramDensity()).fit(np.zeros((5, 2)))


def test_an_estimator_that_is_none():
    class Nothing(BaseEstimator):
        def fit(self, X, y=None):
            return self

    with pytest.raises(TypeError, match="Nothing does not"):
        DensityCodec(Nothing()).fit(np.zeros((5, 2)))
