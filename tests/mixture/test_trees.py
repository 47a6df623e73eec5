"""Components that are trees, against loops over cells, enumeration and networkx."""

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.metrics import mutual_info_score

from sklearn_dgm import MixtureDensity
from tests.mixture.test_tables import all_cells, mixed_table, small_table


@pytest.fixture(scope="module")
def density():
    return MixtureDensity(3, "tree", alpha=2.0, random_state=0).fit(small_table())


def test_scores_are_those_of_a_loop_over_edges(density):
    cells = all_cells()
    categories = [list(column.categories) for column in density.schema_.columns_]
    edges = density._mixture.tables.log_edges
    expected = []
    for row in cells.itertuples(index=False):
        code = [levels.index(cell) for levels, cell in zip(categories, row, strict=True)]
        terms = [
            np.log(weight)
            + sum(
                edges[k][j][code[parent] if parent >= 0 else 0, code[j]]
                for j, parent in enumerate(density.parents_[k])
            )
            for k, weight in enumerate(density.weights_)
        ]
        expected.append(logsumexp(terms))
    np.testing.assert_allclose(density.score_samples(cells), expected)
    np.testing.assert_allclose(np.exp(expected).sum(), 1)


def test_every_marginal_is_the_sum_over_all_cells(density):
    cells = all_cells()
    p = np.exp(density.score_samples(cells))
    for size in range(1, 4):
        for names in itertools.combinations("ABCD", size):
            marginal = cells.assign(p=p).groupby(list(names))["p"].sum()
            frame = marginal.index.to_frame(index=False)
            actual = density.marginal(list(names)).score_samples(frame)
            np.testing.assert_allclose(actual, np.log(marginal.to_numpy()))


def test_tables_are_the_marginals_of_components(density):
    cells = all_cells()
    joint = np.exp(density.predict_joint_log_proba(cells)) / density.weights_
    for j, name in enumerate("ABCD"):
        for place, level in enumerate(sorted(cells[name].unique())):
            expected = joint[(cells[name] == level).to_numpy()].sum(axis=0)
            np.testing.assert_allclose(density.tables_[j][:, place], expected)


def test_conditionals_are_those_of_enumeration(density):
    row = pd.DataFrame({"A": [None], "B": ["x"], "C": [None], "D": ["q"]})
    pairs = [(a, c) for a in "ab" for c in "kl"]
    every = pd.DataFrame([(a, "x", c, "q") for a, c in pairs], columns=list("ABCD"))
    p = np.exp(density.score_samples(every))
    p /= p.sum()
    drawn = density.conditional_sample(row, 20_000, random_state=0)
    share = [((drawn["A"] == a) & (drawn["C"] == c)).mean() for a, c in pairs]
    np.testing.assert_allclose(share, p, atol=0.015)
    mean = density.conditional_mean(row).iloc[0]
    of_first = p.reshape(2, 2).sum(axis=1)
    of_third = p.reshape(2, 2).sum(axis=0)
    assert (mean["A"], mean["C"]) == ("ab"[of_first.argmax()], "kl"[of_third.argmax()])


def test_one_component_is_the_tree_of_chow_and_liu():
    rng = np.random.default_rng(0)
    X = np.zeros((3000, 7), dtype=bool)
    X[:, 0] = rng.random(3000) < 0.5
    for j in range(1, 7):  # each a noisy copy of an earlier one
        X[:, j] = X[:, (j - 1) // 2] ^ (rng.random(3000) < 0.05 * (j + 1))
    density = MixtureDensity(1, "tree", alpha=0.0).fit(X)
    graph = nx.Graph()
    for i, j in itertools.combinations(range(7), 2):
        graph.add_edge(i, j, weight=mutual_info_score(X[:, i], X[:, j]))
    expected = {frozenset(edge) for edge in nx.maximum_spanning_tree(graph).edges}
    found = {frozenset((i, j)) for j, i in enumerate(density.parents_[0].tolist()) if i >= 0}
    assert found == expected
    # What trees gain over independent columns is the information along their edges; tables are smoothed a little.
    alone = MixtureDensity(1, "independent", alpha=0.0).fit(X)
    gain = (density.score(X) - alone.score(X)) / len(X)
    information = sum(graph.edges[tuple(edge)]["weight"] for edge in expected)
    assert gain == pytest.approx(information, abs=2e-3)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_the_objective_never_falls(alpha):
    density = MixtureDensity(3, "tree", alpha=alpha, tol=1e-7, max_iter=1000, random_state=0)
    density.fit(small_table(300))
    assert np.diff(density.lower_bounds_[0]).min() > -1e-9


def test_trees_see_more_than_independent_columns():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 1500)
    chain = np.column_stack([first] * 10)
    for j in range(1, 10):
        chain[:, j] = np.where(rng.random(1500) < 0.9, chain[:, j - 1], 1 - chain[:, j - 1])
    X = chain.astype(bool)
    tree = MixtureDensity(1, "tree").fit(X[:1000])
    independent = MixtureDensity(4, random_state=0).fit(X[:1000])
    assert tree.score(X[1000:]) / 500 > independent.score(X[1000:]) / 500 + 0.5


def test_missing_cells_and_mixed_columns():
    table = mixed_table()
    gaps = table.mask(np.random.default_rng(0).random(table.shape) < 0.2)
    density = MixtureDensity(2, "tree", random_state=0).fit(gaps)
    assert np.isfinite(density.score_samples(gaps)).all()
    drawn = density.sample(3000, random_state=0)
    halves = [density.score_samples(drawn[i::2]).mean() for i in (0, 1)]
    assert abs(halves[0] - halves[1]) < 0.3
    row = table.iloc[[0]].assign(length=np.nan, amount=np.nan)
    many = density.conditional_sample(row, 20_000, random_state=0)
    mean = density.conditional_mean(row)
    for name in ("length", "amount"):
        error = many[name].std() / np.sqrt(len(many))
        assert abs(mean[name].iloc[0] - many[name].mean()) < 5 * error


def test_only_trees_have_parents():
    assert not hasattr(MixtureDensity(2, alpha=1.0, random_state=0).fit(small_table()), "parents_")


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_counts_are_those_of_a_loop_over_pairs(density, share):
    X = small_table(60)
    X = X.mask(np.random.default_rng(0).random(X.shape) < share)
    tables, Z = density._mixture.tables, density.schema_.encode(X)[0]
    weights = np.random.default_rng(1).random((len(X), 3)) * [1, 1, 0]
    expected = np.zeros((3, tables.starts[-1], tables.starts[-1]))
    for row, of_row in zip(Z, weights, strict=True):
        cells = [int(s + z) for s, z in zip(tables.starts[:-1], row, strict=True) if z >= 0]
        for pair in itertools.product(cells, cells):
            expected[(slice(None), *pair)] += of_row
    counts = tables.count(tables.prepare(Z), weights)
    np.testing.assert_allclose(counts, expected, atol=1e-12)
    np.testing.assert_array_equal(counts == 0, expected == 0)
