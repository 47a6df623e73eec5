"""Graphs as they are given and as they are learnt, against enumeration and plain counting."""

import functools
import itertools
import math

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_dgm.bayes_net import _structure
from sklearn_dgm.bayes_net._structure import (
    FamilyScores,
    adjacency_of,
    search,
)
from sklearn_dgm.counts.forests import maximum_spanning_forest

NAMES = ["a", "b", "c"]
V_STRUCTURE = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)


# Graphs as they are given.


@pytest.mark.parametrize(
    "structure",
    [
        nx.DiGraph([("a", "c"), ("b", "c")]),
        nx.DiGraph([(0, "c"), ("b", 2)]),
        nx.MultiDiGraph([("a", "c"), ("a", "c"), ("b", "c")]),
        [("a", "c"), ("b", "c")],
        [["a", "c"], ["b", "c"]],
        {("a", "c"), ("b", "c")},
        (edge for edge in [("a", "c"), ("b", "c"), ("a", "c")]),
        [(0, 2), (np.int64(1), np.int8(2))],
        [("a", 2), np.array([1, 2])],
        V_STRUCTURE,
        V_STRUCTURE.astype(float),
        V_STRUCTURE.tolist(),
        V_STRUCTURE.astype(int).tolist(),
        tuple(map(tuple, V_STRUCTURE)),
        sparse.csr_array(V_STRUCTURE),
        sparse.coo_matrix(V_STRUCTURE.astype(int)),
        pd.DataFrame(V_STRUCTURE),
        pd.DataFrame(V_STRUCTURE, index=NAMES, columns=NAMES),
        pd.DataFrame(V_STRUCTURE, index=NAMES, columns=NAMES).loc[["c", "a", "b"], ["b", "c", "a"]],
        pd.DataFrame(V_STRUCTURE, columns=NAMES)[["b", "c", "a"]],
    ],
)
def test_every_form_of_a_graph(structure):
    adjacency = adjacency_of(structure, NAMES)
    assert adjacency.dtype == bool
    np.testing.assert_array_equal(adjacency, V_STRUCTURE)


@pytest.mark.parametrize("structure", [[], (), set(), nx.DiGraph(), np.zeros((3, 3))])
def test_a_graph_without_edges(structure):
    assert not adjacency_of(structure, NAMES).any()


def test_columns_that_a_graph_leaves_out_stand_alone():
    graph = nx.DiGraph([("c", "a")])
    graph.add_node("b")
    assert np.argwhere(adjacency_of(graph, NAMES)).tolist() == [[2, 0]]


def test_labels_that_are_positions_of_others():
    with pytest.raises(
        ValueError, match="structure names 2, which is the label .* position 0, but"
    ):
        adjacency_of([(2, 0)], [2, 0, 1])
    assert np.argwhere(adjacency_of([(7, 1)], [7, 8, 9])).tolist() == [[0, 1]]


def test_two_lists_of_two_are_edges():
    assert np.argwhere(adjacency_of([[0, 1], [0, 1]], ["a", "b"])).tolist() == [[0, 1]]
    assert np.argwhere(adjacency_of(np.array([[0, 1], [0, 0]]), ["a", "b"])).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (
            [("a", "x")],
            "structure names 'x', which is not a column of X; its columns are 'a', 'b', 'c'.",
        ),
        ([("a", 3)], "structure names 3, which is not a column"),
        ([(-1, "a")], "structure names -1, which is not a column"),
        ([("a", ["b"])], r"structure names \['b'\], which is not a column"),
        (nx.DiGraph([("a", "x")]), "structure names 'x'"),
        (pd.DataFrame(V_STRUCTURE, columns=["a", "b", "x"]), "structure names 'x'"),
        (pd.DataFrame(V_STRUCTURE, index=["a", 0, "b"]), "two rows or two columns with the same"),
        ([("a", "b"), ("b", "b")], "structure has an edge from column 'b' to itself."),
        ([("a", "b"), ("b", "a")], "structure has a cycle: a -> b -> a."),
        (
            nx.DiGraph([("c", "b"), ("b", "a"), ("a", "c")]),
            "structure has a cycle: a -> c -> b -> a",
        ),
        (np.eye(3, k=1) + np.eye(3, k=-1), "structure has a cycle: a -> b -> a."),
        (
            nx.Graph([("a", "b")]),
            "structure should be a networkx.DiGraph, got an undirected graph.",
        ),
        (["ab"], "edges of structure should be pairs of a parent and a child, got 'ab'."),
        ([("a", "b", 1.0)], r"edges of structure should be pairs .* got \('a', 'b', 1.0\)."),
        ([{"a", "b"}], "edges of structure should be pairs"),
        ([0, 1], "edges of structure should be pairs of a parent and a child, got 0."),
        (
            5,
            "structure should be a networkx.DiGraph, a list of edges or an adjacency matrix, got 5.",
        ),
        (np.zeros((2, 2)), r"structure should have the shape \(3, 3\) as an .* got \(2, 2\)"),
        (np.array([["a", "b"]]), r"structure should have the shape \(3, 3\).*edges are a list"),
        (np.zeros((4, 4)).tolist(), r"structure should have the shape \(3, 3\)"),
        (0.5 * V_STRUCTURE, "structure should have zeros and ones .* got 0.5."),
        ((2 * V_STRUCTURE).tolist(), "structure should have zeros and ones .* got 2."),
        (np.full((3, 3), np.nan), "structure should have zeros and ones .* got nan."),
        (np.full((3, 3), "no"), "structure should have zeros and ones .* got 'no'."),
    ],
)
def test_what_is_no_graph_is_refused(structure, message):
    with pytest.raises(ValueError, match=message):
        adjacency_of(structure, NAMES)


def test_many_columns_are_not_all_listed():
    with pytest.raises(ValueError, match=r"18, 19, \.\.\.\."):
        adjacency_of([(0, "x")], range(1000))


# Spanning forests.


def is_forest(edges):
    return not edges or nx.is_forest(nx.Graph(edges))


EDGES_OF_FOUR = list(itertools.combinations(range(4), 2))
FORESTS_OF_FOUR = [
    edges
    for k in range(4)
    for edges in itertools.combinations(EDGES_OF_FOUR, k)
    if is_forest(list(edges))
]


@given(st.lists(st.integers(-2, 4), min_size=6, max_size=6))
@settings(max_examples=50, deadline=None)
def test_no_forest_of_four_columns_weighs_more(upper):
    weights = dict(zip(EDGES_OF_FOUR, upper, strict=True))
    matrix = np.zeros((4, 4))
    for (i, j), weight in weights.items():
        matrix[i, j] = matrix[j, i] = weight
    parents = maximum_spanning_forest(matrix)
    edges = [tuple(sorted((p, j))) for j, p in enumerate(parents.tolist()) if p >= 0]
    assert is_forest(edges)
    assert all(weights[edge] > 0 for edge in edges)
    heaviest = max(sum(weights[edge] for edge in forest) for forest in FORESTS_OF_FOUR)
    assert sum(weights[edge] for edge in edges) == heaviest


def test_roots_are_the_smallest_of_their_trees():
    weights = np.zeros((6, 6))
    for i, j in [(5, 1), (1, 3), (4, 2)]:
        weights[i, j] = weights[j, i] = i + j
    assert maximum_spanning_forest(weights).tolist() == [-1, -1, -1, 1, 2, 1]
    assert maximum_spanning_forest(-weights).tolist() == [-1] * 6
    assert maximum_spanning_forest(np.ones((1, 1))).tolist() == [-1]


# The search.


def table(d, n, rng, n_levels=None):
    """Codes of columns that depend on up to two columns before them."""
    n_levels = rng.integers(2, 4, d) if n_levels is None else np.asarray(n_levels)
    codes = np.empty((n, d), dtype=int)
    for j in range(d):
        parents = rng.choice(j, min(j, 2), replace=False)
        key = codes[:, parents] @ np.array([1, 3])[: len(parents)]
        cumulated = rng.dirichlet(np.full(n_levels[j], 0.5), 9)[key].cumsum(axis=1)
        codes[:, j] = (rng.random((n, 1)) > cumulated[:, :-1]).sum(axis=1)
    return codes, n_levels


def slow_family(codes, n_levels, child, parents, weight):
    """The same score, with a dictionary for counts."""
    counts, totals = {}, {}
    for row, w in zip(codes.tolist(), weight, strict=True):
        key = tuple(row[i] for i in parents)
        totals[key] = totals.get(key, 0) + w
        counts[key, row[child]] = counts.get((key, row[child]), 0) + w
    log_likelihood = sum(c * math.log(c / totals[key]) for (key, _), c in counts.items() if c > 0)
    n_parameters = (n_levels[child] - 1) * math.prod(n_levels[i] for i in parents)
    return log_likelihood - math.log(sum(weight)) / 2 * n_parameters


def slow_score(codes, n_levels, adjacency, weight=None):
    weight = np.ones(len(codes)) if weight is None else weight
    return sum(
        slow_family(codes, n_levels, j, np.flatnonzero(adjacency[:, j]), weight)
        for j in range(len(adjacency))
    )


def all_graphs(d, max_parents):
    """Adjacency of every acyclic graph."""
    of_column = [
        [p for k in range(max_parents + 1) for p in itertools.combinations(range(d), k)]
        for _ in range(d)
    ]
    for choice in itertools.product(*of_column):
        adjacency = np.zeros((d, d), dtype=bool)
        for j, parents in enumerate(choice):
            adjacency[list(parents), j] = True
        if not adjacency.diagonal().any() and is_acyclic(adjacency):
            yield adjacency


def is_acyclic(adjacency):
    return nx.is_directed_acyclic_graph(nx.DiGraph(np.argwhere(adjacency).tolist()))


@pytest.mark.parametrize("max_keys", [1, 2**16])
def test_family_scores_are_those_of_plain_counting(max_keys, monkeypatch):
    monkeypatch.setattr(_structure, "MAX_KEYS", max_keys)
    rng = np.random.default_rng(0)
    codes, n_levels = table(5, 60, rng, [2, 3, 1, 4, 2])
    n_levels[4] = 3  # a level that no row has
    weight = rng.integers(0, 3, len(codes)) * 0.7
    scores = FamilyScores(codes, n_levels, weight)
    for child in range(5):
        for parents in [(), (0,), (1, 3), (4, 0, 2), (0, 1, 3)]:
            if child in parents:
                continue
            score = slow_family(codes, n_levels, child, parents, weight)
            assert scores.score(child, parents) == pytest.approx(score)
            gains = scores.gains(child, parents)
            for i in set(range(5)) - {child, *parents}:
                wider = slow_family(codes, n_levels, child, (*parents, i), weight)
                assert gains[i] == pytest.approx(wider - score)


GRAPHS_OF_FOUR = list(all_graphs(4, 3))


def test_there_are_543_graphs_of_four_columns():
    assert len(GRAPHS_OF_FOUR) == 543


@pytest.mark.parametrize("max_parents", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_no_graph_of_four_columns_is_better(seed, max_parents):
    codes, n_levels = table(4, 400, np.random.default_rng(seed))
    score_of = score_by_families(FamilyScores(codes, n_levels))
    best = max(score_of(g) for g in GRAPHS_OF_FOUR if g.sum(axis=0).max() <= max_parents)
    adjacency = search(codes, n_levels, max_parents)
    assert slow_score(codes, n_levels, adjacency) == pytest.approx(best)


def score_by_families(scores):
    """Score of any graph, from scores of families that are computed once."""
    family = functools.cache(lambda child, parents: scores.score(child, parents))
    return lambda adjacency: sum(
        family(j, tuple(np.flatnonzero(column).tolist())) for j, column in enumerate(adjacency.T)
    )


def neighbours(adjacency, max_parents):
    """Every graph that differs by one edge, and the pair of columns that it differs in."""
    for i, j in itertools.permutations(range(len(adjacency)), 2):
        changed = adjacency.copy()
        changed[i, j] = not adjacency[i, j]
        graphs = [changed]
        if adjacency[i, j]:
            graphs.append(changed.copy())
            graphs[1][j, i] = True
        for graph in graphs:
            if is_acyclic(graph) and graph.sum(axis=0).max() <= max_parents:
                yield frozenset((i, j)), graph


@pytest.mark.parametrize("seed", range(4))
def test_each_move_is_the_best_and_gains_what_it_says(seed):
    rng = np.random.default_rng(seed)
    codes, n_levels = table(5, 150, rng)
    climb = _structure._Climb(FamilyScores(codes, n_levels), max_parents=2, n_tabu=4)
    score_of = score_by_families(climb.scores)
    changed = []
    for _ in range(30):
        graph = climb.is_parent.T.copy()
        assert climb.family.sum() == pytest.approx(slow_score(codes, n_levels, graph))
        free = [g for pair, g in neighbours(graph, 2) if pair not in changed[-4:]]
        gain, removed, added = climb.best_move(np.inf)
        climb.make(removed, added)
        assert gain == pytest.approx(max(map(score_of, free)) - score_of(graph))
        assert gain == pytest.approx(score_of(climb.is_parent.T) - score_of(graph))
        changed.append(frozenset(map(int, added or removed)))
    assert len(set(changed)) > 4


def test_descendants_are_kept():
    rng = np.random.default_rng(0)
    codes, n_levels = table(9, 20, rng)
    climb = _structure._Climb(FamilyScores(codes, n_levels), max_parents=8, n_tabu=0)
    order = rng.permutation(9)
    pairs = list(itertools.combinations(order.tolist(), 2))
    for k in rng.integers(0, len(pairs), 200):
        parent, child = pairs[k]
        change = climb.disconnect if climb.is_parent[child, parent] else climb.connect
        change(parent, child)
        graph = nx.from_numpy_array(climb.is_parent.T, create_using=nx.DiGraph)
        closure = nx.to_numpy_array(nx.transitive_closure(graph), nodelist=range(9))
        np.testing.assert_array_equal(climb.is_descendant, closure.astype(bool))


def test_ties_go_to_the_smallest_child():
    """An edge and its reverse gain the same, but for rounding."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, [3, 5], (300, 2))
        codes[:, 1] = np.where(rng.random(300) < 0.5, codes[:, 0], codes[:, 1])
        climb = _structure._Climb(FamilyScores(codes, [3, 5]), max_parents=1, n_tabu=0)
        _, removed, added = climb.best_move(0)
        assert (removed, added) == (None, (1, 0))


def test_a_held_pair_may_lead_to_the_best_graph():
    codes, n_levels = table(3, 500, np.random.default_rng(0), [2, 2, 2])
    climb = _structure._Climb(FamilyScores(codes, n_levels), max_parents=2, n_tabu=10)
    gain, removed, added = climb.best_move(0)
    climb.make(removed, added)
    climb.make(added, None)
    held = climb.best_move(gain - 1e-3)
    assert held[1:] == (removed, added)
    assert climb.best_move(gain + 1e-3)[1:] != (removed, added)


@pytest.mark.parametrize("max_parents", [0, 1, 2, 4])
@pytest.mark.parametrize("seed", range(2))
def test_a_learnt_graph_is_acyclic_and_keeps_to_the_limit(seed, max_parents):
    codes, n_levels = table(10, 200, np.random.default_rng(seed))
    adjacency = search(codes, n_levels, max_parents)
    assert adjacency.dtype == bool
    assert is_acyclic(adjacency)
    assert adjacency.sum(axis=0).max() <= max_parents
    assert adjacency.any() == (max_parents > 0)
    forest = np.zeros_like(adjacency)
    assert slow_score(codes, n_levels, adjacency) >= slow_score(codes, n_levels, forest)


def test_waiting_longer_is_never_worse():
    codes, n_levels = table(10, 200, np.random.default_rng(7))
    scores = [
        slow_score(codes, n_levels, search(codes, n_levels, 3, max_no_improvement=patience))
        for patience in (0, 5, 50)
    ]
    assert scores == sorted(scores)


@pytest.mark.parametrize("seed", range(2))
def test_weights_are_repeats(seed):
    rng = np.random.default_rng(seed)
    codes, n_levels = table(6, 200, rng)
    weight = rng.integers(0, 4, len(codes))
    np.testing.assert_array_equal(
        search(codes, n_levels, 3, sample_weight=weight),
        search(np.repeat(codes, weight, axis=0), n_levels, 3),
    )


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    codes, n_levels = table(6, 200, rng)
    weight = rng.random(len(codes))
    order = rng.permutation(len(codes))
    np.testing.assert_array_equal(
        search(codes, n_levels, 3, sample_weight=weight),
        search(codes[order], n_levels, 3, sample_weight=weight[order]),
    )


def test_two_causes_of_one_effect():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (2000, 3))
    codes[:, 2] = (codes[:, 0] | codes[:, 1]) ^ (rng.random(2000) < 0.1)
    np.testing.assert_array_equal(search(codes, [2, 2, 2], 2), V_STRUCTURE)
    assert search(codes, [2, 2, 2], 1).sum() == 2


def test_columns_that_know_nothing_of_each_other():
    codes = np.random.default_rng(0).integers(0, 3, (3000, 6))
    assert not search(codes, [3] * 6, 3).any()


def test_columns_with_one_level():
    codes, n_levels = table(5, 300, np.random.default_rng(1))
    codes[:, [1, 3]] = 0
    n_levels[[1, 3]] = 1
    adjacency = search(codes, n_levels, 3)
    assert not adjacency[[1, 3]].any()
    assert not adjacency[:, [1, 3]].any()
    rest = [0, 2, 4]
    np.testing.assert_array_equal(
        adjacency[np.ix_(rest, rest)], search(codes[:, rest], n_levels[rest], 3)
    )


def test_nothing_to_learn_from():
    assert search(np.zeros((5, 1), dtype=int), [1], 3).tolist() == [[False]]
    assert not search(np.array([[0, 1]]), [2, 2], 3).any()
    assert not search(np.array([[0, 1], [1, 0]]), [2, 2], 3, sample_weight=[0.0, 0.5]).any()


def test_many_levels():
    """Far more combinations of levels than rows."""
    rng = np.random.default_rng(0)
    n_levels = [3000, 3000, 3000, 2]
    codes = rng.integers(0, n_levels, (500, 4))
    assert not search(codes, n_levels, 3).any()
    scores = FamilyScores(codes, n_levels)
    for child, parents in [(3, (0, 1, 2)), (0, (3,)), (1, ())]:
        expected = slow_family(codes, n_levels, child, parents, np.ones(500))
        assert scores.score(child, parents) == pytest.approx(expected)
