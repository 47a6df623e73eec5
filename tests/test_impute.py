"""DensityImputer: a transformer that fills in."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import AutoregressiveDensity, DensityImputer, HistogramDensity


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


def density(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "n_orders": 2, "max_epochs": 4, "dropout": 0.0}
    return AutoregressiveDensity(**{**defaults, "random_state": 0, **parameters})


@parametrize_with_checks([DensityImputer(density(), random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    return np.column_stack([x, x.sum(axis=1) + 0.1 * rng.normal(size=500)])


@pytest.fixture(scope="module")
def X(truth):
    return np.where(np.random.default_rng(1).random(truth.shape) < 0.2, np.nan, truth)


@pytest.fixture(scope="module")
def fitted(X):
    return DensityImputer(density(), random_state=0).fit(X)


def test_draws_keep_the_spread_and_means_come_closest(X, truth):
    missing = np.isnan(X)
    errors, spreads = {}, {}
    for strategy in ("draw", "mean"):
        imputer = DensityImputer(density(), strategy=strategy, random_state=0)
        completed = imputer.fit_transform(X)
        assert np.array_equal(completed[~missing], X[~missing])
        errors[strategy] = np.sqrt(np.mean((completed - truth)[missing] ** 2))
        spreads[strategy] = np.std(completed[:, 0][missing[:, 0]])
    by_columns = np.sqrt(np.mean((np.nanmean(X, axis=0) - truth)[missing] ** 2))
    assert errors["mean"] < errors["draw"] < by_columns
    assert errors["mean"] < 0.6 * by_columns
    assert spreads["draw"] > spreads["mean"]


def test_seeds(fitted, X):
    assert np.array_equal(fitted.transform(X), fitted.transform(X))
    free = clone(fitted).set_params(random_state=None).fit(X)
    assert not np.array_equal(free.transform(X), free.transform(X))
    other = fitted.set_params(random_state=1).transform(X)
    assert not np.array_equal(other, fitted.set_params(random_state=0).transform(X))


def test_multiple_imputations_differ_where_cells_are_missing(fitted, X):
    imputations = fitted.multiple_impute(X, 3)
    assert len(imputations) == 3
    changes = np.ptp(imputations, axis=0)
    assert (changes[np.isnan(X)] > 0).all()
    assert (changes[~np.isnan(X)] == 0).all()
    with pytest.raises(ValueError, match="n_imputations should be a positive integer"):
        fitted.multiple_impute(X, 0)


def mixed(n=200):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=n), "city": rng.choice(["Oslo", "Rome"], n)})
    frame["count"] = pd.array(rng.poisson(3, n), dtype="Int64")
    return frame.mask(rng.random(frame.shape) < 0.2)


def as_polars(frame):
    columns = {name: x.astype(object).where(x.notna(), None) for name, x in frame.items()}
    return pl.DataFrame({name: x.tolist() for name, x in columns.items()})


@pytest.mark.parametrize("strategy", ["draw", "mean", "mode"])
@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars], ids=["pandas", "polars"])
def test_frames_keep_names_and_dtypes(strategy, convert):
    frame = convert(mixed())
    completed = DensityImputer(density(), strategy=strategy).fit_transform(frame)
    assert type(completed) is type(frame)
    assert list(completed.columns) == ["x", "city", "count"]
    assert list(completed.dtypes) == list(frame.dtypes)
    assert all(
        value == value and value is not None for row in completed.to_numpy() for value in row
    )


def test_in_a_pipeline_with_set_output(X, truth):
    frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(len(X)) + 5)
    imputer = DensityImputer(density(), strategy="mean").set_output(transform="pandas")
    completed = imputer.fit(X).transform(X)
    assert list(completed.columns) == ["x0", "x1", "x2"]
    completed = clone(imputer).fit(frame).transform(frame)
    assert completed.index.equals(frame.index)
    assert imputer.fit(frame).get_feature_names_out().tolist() == list("abc")
    pipeline = make_pipeline(imputer, LinearRegression()).fit(X[:, :2], truth[:, 2])
    assert pipeline.score(X[:, :2], truth[:, 2]) > 0.7


def test_a_search_over_a_density(X):
    search = GridSearchCV(density(max_epochs=2), {"n_components": [1, 2]}, cv=2)
    completed = DensityImputer(search).fit_transform(X)
    assert np.isfinite(completed).all()


def test_what_cannot_condition_is_refused(X):
    for estimator in (HistogramDensity(), KernelDensity()):
        with pytest.raises(TypeError, match=f"{type(estimator).__name__} has\n?.*none"):
            DensityImputer(estimator).fit(X)


def test_parameters_are_checked_and_y_is_ignored(X):
    with pytest.raises(ValueError, match="'strategy' parameter"):
        DensityImputer(density(), strategy="median").fit(X)
    imputer = DensityImputer(density(), random_state=0)
    expected = imputer.fit(X).transform(X)
    assert np.array_equal(imputer.fit(X, "no target").transform(X), expected)


def test_a_failed_fit_leaves_the_imputer_as_it_was(fitted, X):
    expected = fitted.transform(X)
    with pytest.raises(ValueError, match="no observed value"):
        fitted.fit(np.column_stack([np.arange(5.0), np.full(5, np.nan)]))
    assert np.array_equal(fitted.transform(X), expected)


def test_it_imports_no_torch():
    code = "import sklearn_dgm, sys; sklearn_dgm.DensityImputer; print('torch' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "False"


def test_a_fitted_density_can_be_reused(fitted, X):
    imputer = DensityImputer(FrozenEstimator(fitted.estimator_), random_state=0).fit(X)
    np.testing.assert_array_equal(imputer.transform(X[:20]), fitted.transform(X[:20]))
