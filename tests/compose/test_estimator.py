"""TransformedDensity as an estimator: searches, weights, errors, and what it keeps of the contracts."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
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
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityImputer,
    HistogramDensity,
    TransformedDensity,
    mean_log_likelihood,
)
from sklearn_dgm.utils._global_state import global_state_unchanged
from sklearn_dgm.utils.estimator_checks import check_density_estimator
from tests.compose.transformers import (
    ELEMENTWISE,
    skewed,
)


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
    with global_state_unchanged():
        density = TransformedDensity(StandardScaler(), GaussianMixture(2, random_state=0)).fit(X)
        assert not np.array_equal(density.sample(5), density.sample(5))
        assert np.array_equal(density.sample(5, random_state=1), density.sample(5, random_state=1))


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


def test_training_that_goes_on():
    X = skewed(d=2)
    network = AutoregressiveDensity(
        (8,), n_orders=1, max_epochs=4, early_stopping=False, warm_start=True, random_state=0
    )
    density = TransformedDensity(StandardScaler(), network).fit(X)
    scaler, first = density.transformer_, density.estimator_
    density.fit(X[:100])
    assert density.transformer_ is scaler
    assert density.estimator_.n_iter_ == 2 * first.n_iter_ == 8
    alone = AutoregressiveDensity(**{**network.get_params(), "bounds": first.bounds})
    alone.fit(scaler.transform(X))
    alone.fit(scaler.transform(X[:100]))
    expected = alone.score_samples(scaler.transform(X)) - np.log(scaler.scale_).sum()
    np.testing.assert_allclose(density.score_samples(X), expected)
    anew = TransformedDensity(StandardScaler(), clone(network).set_params(warm_start=False))
    assert anew.fit(X).fit(X[:100]).estimator_.n_iter_ == 4
