"""Tables of Bayesian networks that go on counting: `partial_fit` and `merge` against one fit, and dictionaries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sklearn_dgm import BayesianNetworkDensity
from tests.bayes_net.test_bayes_net import EDGES, NAMES, QUICK, all_cells, categories
from tests.counts.test_tables import slow_probability


class InParts:
    """A table that is read a few rows at a time, as often as one likes."""

    def __init__(self, X, n_rows=70):
        self.X, self.n_rows = X, n_rows

    def __iter__(self):
        return (self.X[i : i + self.n_rows] for i in range(0, len(self.X), self.n_rows))


TABLES = BayesianNetworkDensity(EDGES, conditional="table")


def parts(X, *ends):
    return [X.iloc[first:last] for first, last in itertools.pairwise([0, *ends, len(X)])]


def strengths(density):
    return {(i, j): of["strength"] for i, j, of in density.graph_.edges(data=True)}


def assert_same_counts(one, other):
    for j, counts in one._counts.tables.items():
        theirs = other._counts.tables[j]
        np.testing.assert_array_equal(counts.joint.keys, theirs.joint.keys)
        np.testing.assert_array_equal(counts.joint.counts, theirs.joint.counts)
        np.testing.assert_array_equal(counts.alone, theirs.alone)


@pytest.mark.parametrize("with_gaps", [False, True])
def test_parts_are_counted_as_all_rows_at_once(with_gaps):
    X = categories()
    if with_gaps:
        X = X.mask(np.random.default_rng(1).random(X.shape) < 0.1)
    whole, counted = clone(TABLES).fit(X), clone(TABLES)
    for part in parts(X, 150, 151):
        counted.partial_fit(part)
    first, *others = [clone(TABLES).fit(part) for part in parts(X, 150, 280)]
    merged = first
    for other in others:
        merged = merged.merge(other)
    for density in (counted, merged):
        assert_same_counts(density, whole)
        np.testing.assert_array_equal(
            density.score_samples(all_cells(X)), whole.score_samples(all_cells(X))
        )
        assert strengths(density) == pytest.approx(strengths(whole))
        pd.testing.assert_frame_equal(density.sample(20, 0), whole.sample(20, 0))
    # What was merged is as it was.
    assert_same_counts(first, clone(TABLES).fit(parts(X, 150)[0]))


def test_numbers_are_counted_in_the_cells_of_the_first_rows_and_beyond_in_outer_ones():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    X[:, 1] += X[:, 0]
    X[400:] *= 4
    X[rng.random(X.shape) < 0.1] = np.nan
    edges = [-1.0, 0.0, 0.5, 1.0]
    density = BayesianNetworkDensity([(0, 1), (0, 2), (1, 2)], conditional="table", bins=edges)
    for part in np.split(X, [300, 450]):
        density.partial_fit(part)
    codes = np.where(np.isnan(X), -1, np.digitize(X, edges[1:-1]))
    for child, parents in [(0, []), (1, [0]), (2, [0, 1])]:
        slow = slow_probability(codes, np.ones(600), [3] * 3, child, parents, 0.5)
        for key in itertools.product(range(3), repeat=len(parents)):
            p = np.exp(density._tables[child].log_mass(np.arange(3), *key))
            np.testing.assert_allclose(p, [slow(v, key) for v in range(3)])
    assert np.isfinite(density.score_samples(X)).all()


def test_unknown_categories_are_not_counted_or_raise():
    X = categories()
    further = X.iloc[:50].copy()
    further.loc[further.index[:20], "b"] = "new"
    counted = clone(TABLES).partial_fit(X).partial_fit(further)
    left_out = clone(TABLES).partial_fit(X).partial_fit(further.replace("new", None))
    assert_same_counts(counted, left_out)
    strict = clone(TABLES).set_params(handle_unknown="error").partial_fit(X)
    before = strict.score_samples(X)
    with pytest.raises(ValueError, match="'b'"):
        strict.partial_fit(further)
    np.testing.assert_array_equal(strict.score_samples(X), before)


def test_weights_are_repeats_and_shares_are_rows():
    X, weight = categories(), np.random.default_rng(0).integers(0, 4, 100)
    counted = clone(TABLES).partial_fit(X).partial_fit(X.iloc[:100], sample_weight=weight)
    repeated = X.iloc[:100].loc[np.repeat(X.index[:100], weight)]
    expected = clone(TABLES).partial_fit(X).partial_fit(repeated)
    of_shares = clone(TABLES).partial_fit(X)
    of_shares.partial_fit(repeated, sample_weight=np.full(len(repeated), 1e-3))
    for density in (counted, of_shares):
        np.testing.assert_allclose(density.score_samples(X), expected.score_samples(X), rtol=1e-12)


def test_a_learnt_graph_is_that_of_the_first_rows():
    X = categories()
    density = BayesianNetworkDensity("chow-liu", conditional="table").partial_fit(X)
    edges = list(density.graph_.edges)
    density.partial_fit(X[NAMES].sample(frac=1, random_state=0).set_axis(X.index))
    assert list(density.graph_.edges) == edges
    assert density._counts.tables[0].alone.sum() == 800


def test_networks_are_not_merged():
    X = categories(100)
    density = BayesianNetworkDensity(EDGES, conditional="network", **QUICK)
    assert not hasattr(density, "merge")
    with pytest.raises(AttributeError) as caught:
        density.merge  # noqa: B018
    assert "set conditional='table' in place of 'network'" in str(caught.value.__cause__)
    density.fit(X).set_params(conditional="table")
    tables = clone(TABLES).fit(X)
    for one, other in itertools.permutations([density, tables]):
        with pytest.raises(ValueError, match="a network was fitted; call fit first"):
            one.merge(other)
    assert hasattr(density.fit(X), "merge")
    assert not hasattr(density, "net_")
    assert_same_counts(density.merge(tables), tables.merge(density))


def test_other_graphs_and_cells_are_not_merged():
    X = categories()
    density = clone(TABLES).fit(X)
    with pytest.raises(ValueError, match="different graphs"):
        density.merge(clone(TABLES).set_params(structure=EDGES[:-1]).fit(X))
    with pytest.raises(ValueError, match="different grids in column 'a'"):
        density.merge(clone(TABLES).fit(X.replace({"a": {"z": "y"}})))


@pytest.mark.parametrize("n_sampled", [50, 10_000])
def test_chunks_are_counted_as_all_rows_at_once(n_sampled, monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", n_sampled)
    X = categories()
    X = X.mask(np.random.default_rng(1).random(X.shape) < 0.1)
    for weight in (None, np.random.default_rng(2).integers(0, 3, len(X))):
        whole = clone(TABLES).fit(X, sample_weight=weight)
        read = clone(TABLES).fit(InParts(X), sample_weight=weight)
        for j, counts in read._counts.tables.items():
            joint = whole._counts.tables[j].joint
            np.testing.assert_allclose(counts.joint.counts, joint.counts, rtol=1e-12)
        np.testing.assert_allclose(
            read.score_samples(all_cells(X)), whole.score_samples(all_cells(X)), rtol=1e-12
        )
        assert strengths(read) == pytest.approx(strengths(whole))


def test_a_sample_settles_graph_and_cells_and_chance_makes_no_edges(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 400)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 6))
    X[:, 5] = X[:, 2] + rng.normal(size=len(X))
    density = BayesianNetworkDensity(conditional="table").fit(InParts(X, 3000))
    assert set(map(frozenset, density.graph_.edges)) == {frozenset({2, 5})}
    assert {axis.n_levels for axis in density._axes} <= {7, 8}  # the cube root of so many rows
    whole = BayesianNetworkDensity([(2, 5)], conditional="table").fit(X)
    new = rng.normal(size=(2000, 6))
    assert density.score(new) / 2000 == pytest.approx(whole.score(new) / 2000, abs=0.15)
    density.partial_fit(X[:10])
    assert density._counts.tables[0].alone.sum() == 20_010
