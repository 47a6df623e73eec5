"""Networks that learn from further rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    FlowDensity,
    VariationalAutoencoderDensity,
)
from sklearn_dgm._training.partial import N_PASSES
from tests._training.toy import ToyDensity

N = 300


def rows(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    return np.column_stack([x, np.sin(2 * x) + 0.2 * rng.normal(size=n_rows)])


def drinks(n_rows=N, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["tea", "coffee"], n_rows)
    return pd.DataFrame({"kind": kind, "x": rng.normal(size=n_rows) + 2 * (kind == "tea")})


SMALL = {"n_orders": 1, "effort": "fast", "dropout": 0.1, "random_state": 0}


@pytest.mark.parametrize(
    "estimator",
    [
        AutoregressiveDensity((16,), **SMALL),
        FlowDensity(hidden_layer_sizes=(16,), max_epochs=6, random_state=0),
        VariationalAutoencoderDensity(2, (16,), max_epochs=20, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_likelihood_rises_towards_that_of_one_fit(estimator):
    n_chunks = 4
    X, held_out = rows(n_chunks * N), rows(1000, seed=1)
    density, scores = clone(estimator), []
    for part in np.split(X, n_chunks):
        scores.append(density.partial_fit(part).score(held_out) / len(held_out))
    whole = clone(estimator).fit(X).score(held_out) / len(held_out)
    assert scores[-1] > scores[0]
    assert scores[-1] > scores[0] + 0.5 * (whole - scores[0])
    assert not hasattr(density, "_is_partial")


@pytest.mark.parametrize("is_first", [True, False])
def test_tables_that_are_read_a_chunk_at_a_time_are_for_fit(is_first):
    density = ToyDensity() if is_first else ToyDensity().partial_fit(rows(N))
    with pytest.raises(TypeError, match="partial_fit takes rows in memory, .* Call fit"):
        density.partial_fit([rows(N), rows(N)])
    assert hasattr(density, "net_") != is_first


def test_first_call_is_a_fit_and_further_ones_go_on():
    X = rows(N)
    density, whole = ToyDensity().partial_fit(X), ToyDensity().fit(X)
    np.testing.assert_array_equal(density.score_samples(X), whole.score_samples(X))
    schema, n_iter = density.schema_, density.n_iter_
    assert density.partial_fit(X + 0.1) is density
    assert density.schema_ is schema
    assert density.n_iter_ == n_iter + N_PASSES
    assert "valid_log_likelihood" not in density.history_[-1]
    # Not a warm start: another fit starts anew.
    np.testing.assert_array_equal(density.fit(X).score_samples(X), whole.score_samples(X))


def test_a_pickle_and_a_clone_learn_the_same():
    X, further = rows(N), rows(N, seed=1)
    density = ToyDensity().partial_fit(X)
    restored = pickle.loads(pickle.dumps(density)).partial_fit(further)
    other = clone(density).partial_fit(X).partial_fit(further)
    density.partial_fit(further)
    for same in (restored, other):
        np.testing.assert_array_equal(same.score_samples(X), density.score_samples(X))


def test_rows_of_weight_zero_teach_nothing():
    X, further = rows(N), rows(N, seed=1)
    weight = np.arange(N) % 3 > 0
    weighted = ToyDensity().partial_fit(X).partial_fit(further, sample_weight=weight)
    part = ToyDensity().partial_fit(X).partial_fit(further[weight])
    np.testing.assert_array_equal(weighted.score_samples(X), part.score_samples(X))


def test_unknown_categories_are_as_missing():
    first, further = drinks(), drinks(seed=1)
    gaps = further.assign(kind=further["kind"].where(further["x"] < 2))
    cocoa = gaps.assign(kind=gaps["kind"].fillna("cocoa"))
    with_gaps, with_cocoa = (
        AutoregressiveDensity((8,), **SMALL).partial_fit(first).partial_fit(part)
        for part in (gaps, cocoa)
    )
    scores = [density.score_samples(first) for density in (with_gaps, with_cocoa)]
    np.testing.assert_array_equal(*scores)
    density = AutoregressiveDensity((8,), handle_unknown="error", **SMALL).partial_fit(first)
    with pytest.raises(ValueError, match="cocoa"):
        density.partial_fit(cocoa)


MASKED = pytest.mark.parametrize(
    "estimator",
    [
        AutoregressiveDensity((8,), **SMALL),
        AutoregressiveDensity((8,), **(SMALL | {"n_orders": 2})),
        AutoregressiveDensity((8,), order="any", max_epochs=5, dropout=0.1, random_state=0),
        BayesianNetworkDensity(conditional="network", hidden_layer_sizes=(8,), random_state=0),
        BayesianNetworkDensity(hidden_layer_sizes=(8,), random_state=0),
    ],
    ids=["one order", "two orders", "any order", "network", "table and network"],
)


@MASKED
@pytest.mark.parametrize("gap", [{"kind": "cocoa"}, {"kind": "cocoa", "x": np.nan}], ids=str)
def test_columns_without_a_known_cell_stay_as_they_were(gap, estimator):
    X = drinks()
    density = clone(estimator).fit(X)
    before = density.sample(2000, random_state=0)
    for n_rows in (1, 600):
        density.partial_fit(drinks(n_rows, seed=1).assign(**gap))
    drawn = density.sample(2000, random_state=0)
    assert np.isfinite(density.score_samples(X)).all()
    assert abs((drawn["kind"] == "tea").mean() - (before["kind"] == "tea").mean()) < 0.1
    assert "x" not in gap or stats.ks_2samp(drawn["x"], before["x"]).statistic < 0.25


@MASKED
def test_arrays_without_a_known_cell_of_a_column(estimator):
    X = rows(N)
    density = clone(estimator).fit(X)
    before = density.sample(2000, random_state=0)
    for n_rows in (1, 100):
        further = rows(n_rows, seed=1)
        further[:, 1] = np.nan
        density.partial_fit(further)
    drawn = density.sample(2000, random_state=0)
    assert np.isfinite(density.score_samples(X)).all()
    assert stats.ks_2samp(drawn[:, 1], before[:, 1]).statistic < 0.25


def test_the_density_of_a_column_without_a_known_cell_is_as_before():
    X, estimator = drinks(), AutoregressiveDensity((8,), **SMALL)
    alone = X.assign(x=np.nan)
    for further in (drinks(1, seed=1), drinks(seed=1)):
        density = clone(estimator).fit(X)
        before = density.score_samples(alone)
        density.partial_fit(further.assign(kind="cocoa"))
        np.testing.assert_allclose(density.score_samples(alone), before, atol=0.2)


def test_a_warm_start_takes_columns_without_a_known_cell():
    X, further = drinks(), drinks(seed=1).assign(kind=None)
    alone = X.assign(x=np.nan)
    density = AutoregressiveDensity((8,), warm_start=True, **SMALL).fit(X)
    before = density.score_samples(alone)
    density.fit(further)
    np.testing.assert_allclose(density.score_samples(alone), before, atol=0.2)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_first_call_refuses_columns_without_a_known_cell(method):
    density = AutoregressiveDensity((8,), **SMALL)
    schema = density.learn_schema(drinks())
    with pytest.raises(ValueError, match="column 'x' has no observed value"):
        getattr(density, method)(drinks().assign(x=np.nan), schema=schema)


def test_a_schema_of_more_rows_settles_the_categories():
    first, further = drinks(), drinks(seed=1)
    cocoa = further.assign(kind=further["kind"].where(further["x"] < 2, "cocoa"))
    density = AutoregressiveDensity((8,), **SMALL)
    schema = density.learn_schema(pd.concat([first, cocoa]))
    density.partial_fit(first, schema=schema).partial_fit(cocoa)
    assert np.isfinite(density.score_samples(cocoa)).all()
    with pytest.raises(ValueError, match="schema is for the first call"):
        density.partial_fit(cocoa, schema=schema)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda density, X: density.partial_fit(X[:, :1]), "features"),
        (lambda density, X: density.partial_fit(X, sample_weight=-np.ones(N)), "sample_weight"),
        (lambda density, X: density.partial_fit(np.where(X > 2, np.inf, X)), "infinity"),
        (
            lambda density, X: density.set_params(n_members=2).partial_fit(X),
            "partial_fit continues a model with n_members=1, .* call fit to start anew",
        ),
    ],
)
def test_a_call_that_fails_leaves_it_as_it_was(change, message):
    X = rows(N)
    density = ToyDensity().partial_fit(X)
    before, n_iter = density.score_samples(X), density.n_iter_
    with pytest.raises(ValueError, match=f"(?i){message}"):
        change(density, X)
    density.set_params(n_members=1)
    np.testing.assert_array_equal(density.score_samples(X), before)
    assert density.n_iter_ == n_iter
    assert not hasattr(density, "_is_partial")


def test_impossible_rows_are_refused():
    counts = np.random.default_rng(0).integers(0, 2, (N, 2)).astype(float)
    density = FlowDensity(hidden_layer_sizes=(8,), max_epochs=2, random_state=0).fit(counts)
    with pytest.raises(ValueError, match="impossible under the model that partial_fit continues"):
        density.partial_fit(counts + 0.5)


def test_a_category_that_cannot_be_left_out_is_named():
    density = FlowDensity(hidden_layer_sizes=(8,), max_epochs=2, random_state=0).fit(drinks())
    further = drinks(30)
    further.loc[7, "kind"] = "water"
    with pytest.raises(ValueError, match="Row 7 is impossible .*'kind' holds a category that it"):
        density.partial_fit(further)
