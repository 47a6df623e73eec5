"""Networks of Bayesian networks that read a table a chunk at a time, or learn from further rows, beside tables."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_dgm import BayesianNetworkDensity, load
from sklearn_dgm._training import streams, trainer
from sklearn_dgm._training.partial import N_PASSES
from sklearn_dgm.chunks import _sampling, _shuffling
from tests.bayes_net.test_bayes_net import EDGES as OF_CATEGORIES
from tests.bayes_net.test_bayes_net import all_cells, categories
from tests.bayes_net.test_counting_on import assert_same_counts
from tests.chunks.tables import Parts

SAMPLE = 500
EDGES = [("a", "b"), ("a", "x"), ("x", "y"), ("y", "c")]
QUICK = {"hidden_layer_sizes": (8,), "n_components": 2, "max_epochs": 2, "random_state": 0}
GRAPH = BayesianNetworkDensity(EDGES, **QUICK)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def streamed(monkeypatch):
    """Let small tables be larger than a sample; returns how many rows each pass of a stream had."""
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", SAMPLE)
    monkeypatch.setattr(_shuffling, "BUFFER_ROWS", 800)
    for module in (streams, trainer):
        monkeypatch.setattr(module, "EPOCH_ROWS", 400)
    passes, before_pass = [], streams.StreamedRows.before_pass

    def noted(self, index):
        passes.append(len(index))
        before_pass(self, index)

    monkeypatch.setattr(streams.StreamedRows, "before_pass", noted)
    return passes


def table(n_rows, seed=0, *, gaps=False):
    """Categories, of which tables suffice, and numbers, in a chain."""
    rng = np.random.default_rng(seed)
    a = rng.integers(3, size=n_rows)
    b = (a + (rng.random(n_rows) < 0.3)) % 3
    x = a + rng.normal(size=n_rows)
    y = np.sin(2 * x) + 0.3 * rng.normal(size=n_rows)
    c = (y + 0.3 * rng.normal(size=n_rows) > 0).astype(int)
    a, b, c = (np.array(["u", "v", "w"], dtype=object)[code] for code in (a, b, c))
    X = pd.DataFrame({"a": a, "b": b, "x": x, "y": y, "c": c})
    return X.mask(rng.random(X.shape) < 0.1) if gaps else X


def conditionals(density):
    return dict(density.graph_.nodes(data="conditional"))


def strengths(density, kind):
    """Strengths of the edges to columns of which the conditional is a table, or a network."""
    edges = density.graph_.edges(data="strength")
    kinds = conditionals(density)
    return {(i, j): strength for i, j, strength in edges if kinds[j] == kind}


def n_counted(density):
    return {j: counts.alone.sum() for j, counts in density._counts.tables.items()}


def mean_score(density, X):
    return density.score(X) / len(X)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_tables_beside_a_network_count_all_rows(weighted, early_stopping, streamed):
    X = table(1500, gaps=True)
    weight = np.random.default_rng(1).integers(0, 3, len(X)) / 4 if weighted else None
    density = clone(GRAPH).set_params(max_epochs=1, early_stopping=early_stopping)
    whole = clone(density).fit(X, sample_weight=weight)
    assert not streamed
    read = density.fit(Parts(X, 700), sample_weight=weight)
    assert streamed == [400]
    assert conditionals(read) == conditionals(whole)
    assert [name for name, kind in conditionals(read).items() if kind == "table"] == ["a", "b"]
    for j, counts in read._counts.tables.items():
        joint = whole._counts.tables[j].joint
        np.testing.assert_array_equal(counts.joint.keys, joint.keys)
        np.testing.assert_allclose(counts.joint.counts, joint.counts, rtol=1e-12)
    only = X.assign(x=np.nan, y=np.nan, c=None)
    np.testing.assert_allclose(read.score_samples(only), whole.score_samples(only), rtol=1e-12)
    assert strengths(read, "table") == pytest.approx(strengths(whole, "table"))
    assert strengths(read, "network")["x", "y"] > 0.1


@pytest.mark.parametrize("conditional", ["auto", "network"])
def test_a_stream_is_as_good_as_a_table_in_memory(conditional, streamed):
    X, held_out = table(4000), table(2000, seed=1)
    density = BayesianNetworkDensity(
        EDGES, conditional=conditional, hidden_layer_sizes=(16,), max_epochs=10, random_state=0
    )
    whole = mean_score(clone(density).fit(X), held_out)
    read = mean_score(density.fit(Parts(X, 700)), held_out)
    assert streamed
    assert abs(read - whole) < 0.05


def test_a_sample_settles_the_graph_and_what_is_a_table(streamed):
    X = table(2000, gaps=True)
    density = BayesianNetworkDensity(**QUICK)
    sample = clone(density)._start_chunks(Parts(X, 700), None).sample_table
    assert len(sample) < len(X)
    of_sample = clone(density).fit(sample)
    read = density.fit(Parts(X, 700))
    assert list(read.graph_.edges) == list(of_sample.graph_.edges)
    assert conditionals(read) == conditionals(of_sample)
    assert strengths(read, "network") == strengths(of_sample, "network")
    assert n_counted(read) == {j: X.iloc[:, j].count() for j in n_counted(read)}


@pytest.mark.parametrize("conditional", ["auto", "network"])
def test_a_table_of_no_more_rows_than_a_sample_is_fitted_as_one_in_memory(conditional, streamed):
    X = table(SAMPLE, gaps=True)
    density = BayesianNetworkDensity(conditional=conditional, **QUICK)
    whole, read = clone(density).fit(X), clone(density).fit(Parts(X, 100))
    assert not streamed
    complete = X.dropna()
    np.testing.assert_array_equal(read.score_samples(complete), whole.score_samples(complete))
    assert read.history_[-1]["train_log_likelihood"] == whole.history_[-1]["train_log_likelihood"]
    assert list(read.graph_.edges(data=True)) == list(whole.graph_.edges(data=True))


def test_what_is_all_tables_is_counted_in_chunks_and_in_parts(streamed):
    X = categories(2000)
    density = BayesianNetworkDensity(OF_CATEGORIES)
    whole, read, parts = clone(density).fit(X), clone(density).fit(Parts(X, 300)), clone(density)
    for part in np.array_split(np.arange(len(X)), 3):
        assert parts.partial_fit(X.iloc[part]) is parts
    for other in (read, parts):
        assert_same_counts(other, whole)
        assert not hasattr(other, "net_")
        np.testing.assert_array_equal(
            other.score_samples(all_cells(X)), whole.score_samples(all_cells(X))
        )
        assert strengths(other, "table") == pytest.approx(strengths(whole, "table"))
    assert not streamed
    assert_same_counts(clone(density).set_params(conditional="table").fit(X), whole)
    assert not hasattr(density, "merge")


def test_further_rows_are_counted_and_trained_on():
    X, held_out, n = table(1000), table(1000, seed=1), 250
    density = BayesianNetworkDensity(
        EDGES, hidden_layer_sizes=(16,), max_epochs=10, batch_size=32, random_state=0
    )
    whole, first = clone(density).fit(X), clone(density).fit(X[:n])
    density.partial_fit(X[:n])
    np.testing.assert_array_equal(density.score_samples(X), first.score_samples(X))
    for k in range(1, 4):
        assert density.partial_fit(X[n * k : n * (k + 1)]) is density
    begun, reached, all_at_once = (mean_score(of, held_out) for of in (first, density, whole))
    assert reached > begun + 0.4 * (all_at_once - begun)
    assert density.n_iter_ == first.n_iter_ + 3 * N_PASSES
    assert conditionals(density) == conditionals(whole)
    assert_same_counts(density, whole)
    # Of a table they are of all rows, of a network, whose rows are gone, of the first.
    assert strengths(density, "table") == pytest.approx(strengths(whole, "table"))
    assert strengths(density, "network") == strengths(first, "network")


def test_a_learnt_graph_is_that_of_the_first_rows():
    X = table(600)
    density = BayesianNetworkDensity(**QUICK).partial_fit(X[:300])
    edges, kinds = list(density.graph_.edges), conditionals(density)
    n_rows = n_counted(density)
    # Another order of each column: they depend on nothing any more.
    apart = {name: X[name].sample(frac=1, random_state=j) for j, name in enumerate(X)}
    density.partial_fit(pd.DataFrame({name: of.to_numpy() for name, of in apart.items()}))
    assert (list(density.graph_.edges), conditionals(density)) == (edges, kinds)
    assert n_counted(density) == {j: n + 600 for j, n in n_rows.items()}


def test_weights_and_gaps_of_further_rows_count():
    X, further = table(400), table(300, seed=1, gaps=True)
    weight = np.random.default_rng(0).integers(0, 4, 300).astype(float)
    density = clone(GRAPH).partial_fit(X).partial_fit(further, sample_weight=weight)
    every = pd.concat([X, further])
    all_weights = np.concatenate([np.ones(400), weight])
    assert_same_counts(density, clone(GRAPH).fit(every, sample_weight=all_weights))
    kept = clone(GRAPH).partial_fit(X)
    kept.partial_fit(further[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_array_equal(kept.score_samples(X), density.score_samples(X))


def test_what_no_row_has_shown_is_learnt_without_a_pseudo_count():
    X = table(400)
    seen = X[(X["a"] != "u") | (X["b"] != "u")]
    density = clone(GRAPH).set_params(alpha=0.0).partial_fit(seen)
    assert np.isneginf(density.score_samples(X)).any()
    density.partial_fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert np.isfinite([record["train_log_likelihood"] for record in density.history_]).all()


class Fails(Callback):
    """A callback that ends a training by an error, once it has begun."""

    def on_batch_end(self, net, **kwargs):
        raise RuntimeError("out of luck")


def assert_as_before(density, before, X):
    """Scores, counts and graph are those of a copy, and the module has the tables of the estimator."""
    np.testing.assert_array_equal(density.score_samples(X), before.score_samples(X))
    assert_same_counts(density, before)
    assert list(density.graph_.edges(data=True)) == list(before.graph_.edges(data=True))
    (member,) = density.net_.module_.members
    assert member.tables is density._tables
    assert not hasattr(density, "_is_partial")


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"callbacks": [Fails()]}, RuntimeError, "out of luck"),
        (
            {"structure": EDGES[1:]},
            ValueError,
            "partial_fit continues a model with structure=.* call fit to start anew",
        ),
        ({"alpha": 2.0}, ValueError, "partial_fit continues a model with alpha=0.5"),
        (
            {"conditional": "table"},
            ValueError,
            "with conditional='auto', which cannot become 'table'; call fit",
        ),
    ],
    ids=["training", "structure", "alpha", "conditional"],
)
def test_a_call_that_fails_counts_nothing(params, error, message):
    X = table(300)
    density, before = clone(GRAPH).fit(X), clone(GRAPH).fit(X)
    kept = {name: density.get_params()[name] for name in params}
    with pytest.raises(error, match=message):
        density.set_params(**params).partial_fit(table(200, seed=1))
    density.set_params(**kept)
    assert_as_before(density, before, X)
    for other in (density, before):
        other.partial_fit(table(200, seed=1))
    assert_as_before(density, before, X)


def test_it_goes_on_from_a_file_as_from_memory(tmp_path):
    X, further = table(300), table(200, seed=1)
    density = clone(GRAPH).partial_fit(X).partial_fit(further)
    density.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    for _ in range(2):
        assert_as_before(loaded, density, X)
        pd.testing.assert_frame_equal(loaded.sample(20, 0), density.sample(20, 0))
        for one in (loaded, density):
            one.partial_fit(further)


def test_further_rows_of_a_memmap_are_in_memory(tmp_path, streamed, monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sources.SAMPLE_ROWS", SAMPLE)
    rng = np.random.default_rng(0)
    X = rng.integers(3, size=(2 * SAMPLE, 2)).astype(float)
    X = np.column_stack([X, X[:, :1] + rng.normal(size=(2 * SAMPLE, 1))])
    mapped = np.memmap(tmp_path / "rows", X.dtype, "w+", shape=X.shape)
    mapped[:] = X
    edges = [(0, 1), (0, 2)]
    density, other = (BayesianNetworkDensity(edges, **QUICK).partial_fit(X) for _ in range(2))
    density.partial_fit(mapped)
    other.partial_fit(X)
    assert not streamed
    np.testing.assert_array_equal(density.score_samples(X), other.score_samples(X))
    assert n_counted(density) == {0: 4 * SAMPLE, 1: 4 * SAMPLE}


def test_warm_start_goes_on_with_a_stream_and_the_graph(streamed):
    X = table(2000)
    density = clone(GRAPH).set_params(warm_start=True).fit(Parts(X, 700))
    schema, tables, before = density.schema_, density._tables, mean_score(density, X)
    density.fit(Parts(X, 700))
    assert density.schema_ is schema
    assert density._tables is tables
    assert density.n_iter_ == 4
    assert mean_score(density, X) > before
    for params, message in (
        (
            {"structure": EDGES[1:]},
            "warm_start continues a model with structure=.* set warm_start=False",
        ),
        ({"conditional": "table"}, "warm_start continues a model with conditional='auto'"),
    ):
        with pytest.raises(ValueError, match=message):
            density.set_params(**params).fit(Parts(X, 700))
        density.set_params(structure=EDGES, conditional="auto")
    assert density.n_iter_ == 4
