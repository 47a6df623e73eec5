"""The density of a Bayesian network, whose graph is given or learnt."""

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from sklearn_dgm import BayesianNetworkDensity
from sklearn_dgm._training.net import RowNet

QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 4, "dropout": 0.2, "random_state": 0}
EDGES = [("a", "b"), ("a", "c"), ("b", "c"), ("c", "d"), ("b", "d"), ("d", "e")]
NAMES = list("abcde")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def categories(n=400, seed=0):
    """Five columns of two or three categories each, which depend on each other."""
    rng = np.random.default_rng(seed)
    a = rng.integers(3, size=n)
    b = (a + (rng.random(n) < 0.3)) % 3
    c = np.where(rng.random(n) < 0.8, b == 0, a == 0)
    d = (c + b + (rng.random(n) < 0.2)) % 2
    e = (d + (rng.random(n) < 0.1)) % 2
    codes = np.column_stack([a, b, c, d, e])
    return pd.DataFrame(np.array(list("xyz"), dtype=object)[codes], columns=NAMES)


def all_cells(X):
    levels = [sorted(X[name].dropna().unique()) for name in X]
    return pd.DataFrame(list(itertools.product(*levels)), columns=X.columns)


def with_gaps(X, observed):
    return X.where(np.broadcast_to(observed, X.shape), None)


def numbers(n=300, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    b = rng.normal(size=n)
    c = a - b + 0.5 * rng.normal(size=n)
    d = c + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": d})


COLLIDER = [("a", "c"), ("b", "c"), ("c", "d")]


@pytest.mark.parametrize("conditional", ["table", "network", "auto"])
def test_probabilities_of_all_cells_sum_to_one(conditional):
    X = categories()
    density = BayesianNetworkDensity(EDGES, conditional=conditional, **QUICK).fit(X)
    assert np.exp(density.score_samples(all_cells(X))).sum() == pytest.approx(1)


@pytest.mark.usefixtures("in_double_precision")
@pytest.mark.parametrize("conditional", ["table", "network", "auto"])
@pytest.mark.parametrize("structure", [EDGES, "chow-liu", "learn"])
def test_marginals_are_sums_over_all_cells(conditional, structure):
    X = categories()
    density = BayesianNetworkDensity(structure, conditional=conditional, **QUICK).fit(X)
    every = all_cells(X)
    p = np.exp(density.score_samples(every))
    for observed in itertools.product([False, True], repeat=5):
        agrees = np.ones((len(every), len(every)), dtype=bool)
        for name in every.columns[list(observed)]:
            agrees &= every[name].to_numpy()[:, None] == every[name].to_numpy()
        scores = density.score_samples(with_gaps(every, observed))
        np.testing.assert_allclose(scores, np.log(agrees @ p), atol=1e-10)


def test_a_conditional_depends_on_nothing_but_its_parents():
    X = numbers()
    density = BayesianNetworkDensity(COLLIDER, conditional="network", **QUICK).fit(X)
    graph, before = density.graph_, density.score_features(X)
    for changed in X:
        moved = X.assign(**{changed: X[changed] + 0.7})
        difference = (density.score_features(moved) - before).abs().max()
        for name in X:
            depends = name == changed or graph.has_edge(changed, name)
            assert (difference[name] > 1e-6) == depends


def test_networks_and_tables_know_their_parts_of_the_graph():
    X = pd.concat([categories(300), numbers()], axis=1).iloc[:, :6]
    X.columns = list("abcdef")
    edges = [("a", "b"), ("b", "f"), ("f", "c")]
    density = BayesianNetworkDensity(edges, **QUICK).fit(X)
    kinds = nx.get_node_attributes(density.graph_, "conditional")
    assert [name for name in X if kinds[name] == "network"] == ["c", "f"]
    assert list(density.graph_) == list(X)
    features = density.score_features(X)
    np.testing.assert_allclose(features.sum(axis=1), density.score_samples(X))
    table = BayesianNetworkDensity(edges, conditional="table").fit(X)
    pd.testing.assert_frame_equal(features[["a", "b"]], table.score_features(X)[["a", "b"]])
    drawn = density.sample(4000, random_state=0)
    counts = pd.crosstab(drawn["a"], drawn["b"]).to_numpy()
    every = all_cells(X[["a", "b"]]).assign(c=None, d=None, e=None, f=np.nan)
    expected = 4000 * np.exp(density.score_samples(every)).reshape(counts.shape)
    assert stats.chisquare(counts.ravel(), expected.ravel()).pvalue > 1e-3


def test_missing_numbers_are_summed_out_of_tables():
    X = numbers().assign(k=lambda X: np.where(X["c"] > 0, "up", "down"))
    density = BayesianNetworkDensity([*COLLIDER, ("c", "k")], conditional="table").fit(X)
    row = X.head(1).assign(b=np.nan, c=np.nan)
    grid = np.linspace(-6, 6, 1201)[:-1] + 0.005
    b, c = np.meshgrid(grid, grid)
    every = row.loc[[0] * b.size].assign(b=b.ravel(), c=c.ravel())
    expected = np.log(np.exp(density.score_samples(every)).sum() * 0.01**2)
    assert density.score_samples(row)[0] == pytest.approx(expected, abs=0.01)


def test_what_nothing_observed_descends_from_is_left_out_of_networks():
    X = numbers()
    density = BayesianNetworkDensity(COLLIDER, conditional="network", **QUICK).fit(X)
    features = density.score_features(X)
    scores = density.score_samples(X.assign(c=np.nan, d=np.nan))
    np.testing.assert_allclose(scores, features[["a", "b"]].sum(axis=1))
    assert density.score_samples(X.head(2) * np.nan).tolist() == [0.0, 0.0]


def test_what_has_no_exact_marginal_says_so():
    X = numbers()
    density = BayesianNetworkDensity(COLLIDER, conditional="network", **QUICK).fit(X)
    gap = X.copy()
    gap.loc[7, "b"] = np.nan
    with pytest.raises(ValueError, match=r"Row 7: column 'b' is missing, and a network asks"):
        density.score_samples(gap)
    drawn, ess = density.conditional_sample(gap.iloc[[7]], 5, random_state=0, return_ess=True)
    assert (drawn["c"] == X.loc[7, "c"]).all()
    assert 1 < ess[0] < np.inf


def test_too_large_a_marginal_says_so():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((200, 20)) < 0.5).astype(str)
    X.columns = [f"v{j}" for j in range(20)]
    edges = [(f"v{i}", "v19") for i in range(19)]
    density = BayesianNetworkDensity(edges, conditional="table").fit(X)
    row = X.head(1).copy()
    row.iloc[0, :19] = None
    with pytest.raises(ValueError, match="exact marginal needs a table of 5.24e"):
        density.score_samples(row)
    row.iloc[0, 3:19] = "True"
    assert np.isfinite(density.score_samples(row)).all()


def test_whole_numbers_of_few_values_are_summed_out_of_networks():
    rng = np.random.default_rng(0)
    k = rng.integers(4, size=400)
    X = pd.DataFrame({"k": k, "x": k + rng.normal(size=400)})
    density = BayesianNetworkDensity([("k", "x")], conditional="network", **QUICK).fit(X)
    every = pd.DataFrame({"k": np.arange(-60, 65), "x": 1.5})
    expected = np.log(np.exp(density.score_samples(every)).sum())
    gap = pd.DataFrame({"k": [np.nan], "x": [1.5]})
    assert density.score_samples(gap)[0] == pytest.approx(expected, abs=1e-5)


def test_long_trees_are_no_trouble():
    rng = np.random.default_rng(0)
    steps = rng.random((500, 40)) < 0.1
    X = np.cumsum(steps, axis=1) % 2 == 0
    density = BayesianNetworkDensity("chow-liu", conditional="table").fit(X)
    rows = X[:20].astype(object)
    rows[:, 1:-1] = None
    scores = density.score_samples(rows)
    # Of a chain the transition matrices multiply.
    assert sorted(map(sorted, density.graph_.edges)) == [[j, j + 1] for j in range(39)]
    edges = [(j, j + 1) for j in range(39)]
    chain = BayesianNetworkDensity(edges, conditional="table").fit(X)
    matrix = np.eye(2)
    for j in range(39):
        pair = np.full((2, 40), None)
        pair[:, j] = [False, True]
        given = chain.score_samples(pair)
        joint = np.repeat(pair, 2, axis=0)
        joint[:, j + 1] = [False, True, False, True]
        matrix = matrix @ np.exp(chain.score_samples(joint).reshape(2, 2) - given[:, None])
    first = np.full((2, 40), None)
    first[:, 0] = [False, True]
    joint = np.exp(chain.score_samples(first))[:, None] * matrix
    expected = np.log(joint[rows[:, 0].astype(int), rows[:, -1].astype(int)])
    np.testing.assert_allclose(chain.score_samples(rows), expected)
    np.testing.assert_allclose(scores, expected, atol=0.2)


@pytest.mark.parametrize("conditional", ["table", "network"])
def test_draws_given_descendants_follow_the_posterior(conditional, monkeypatch):
    # So few outcomes would be enumerated.
    monkeypatch.setattr("sklearn_dgm.nn.completion.OUTCOMES_PER_PARTICLE", 0)
    X = categories()
    density = BayesianNetworkDensity(EDGES, conditional=conditional, **QUICK).fit(X)
    every = all_cells(X)
    p = np.exp(density.score_samples(every)) * (every["e"] == "y")
    gap = pd.DataFrame([[None] * 4 + ["y"]], columns=NAMES)
    drawn, ess = density.conditional_sample(gap, 4000, random_state=0, return_ess=True)
    assert ess[0] >= 4000  # independent draws
    counts = drawn.value_counts().reindex(pd.MultiIndex.from_frame(every), fill_value=0)
    possible = p.to_numpy() > 1e-12
    expected = 4000 * (p / p.sum())[possible]
    assert counts.to_numpy()[~possible].sum() == 0
    assert stats.chisquare(counts.to_numpy()[possible], expected).pvalue > 1e-3
    expected = np.array([p[every["a"] == level].sum() for level in "xyz"]) / p.sum()
    probabilities = density.predict_column(gap, "a").probabilities[0]
    np.testing.assert_allclose(probabilities, expected, atol=1e-10)


def test_mode_and_mean_of_a_row():
    X = categories()
    density = BayesianNetworkDensity(EDGES, conditional="table").fit(X)
    every = all_cells(X)
    given = every[every["e"] == "y"]
    best = given.iloc[[density.score_samples(given).argmax()]]
    gap = pd.DataFrame([[None] * 4 + ["y"]], columns=NAMES)
    assert density.conditional_mode(gap).to_numpy().tolist() == best.to_numpy().tolist()
    X = numbers()
    density = BayesianNetworkDensity(COLLIDER, conditional="table").fit(X)
    mean = density.conditional_mean(pd.DataFrame([[1.0, np.nan, 1.0, np.nan]], columns=list(X)))
    assert abs(mean["b"][0]) < 0.5
    assert abs(mean["d"][0] - 1) < 0.5
    assert density.marginal(["a", "d"]).score_kind_ == "exact"
    marginal = density.marginal(["d", "a"])
    gaps = X.assign(b=np.nan, c=np.nan)
    np.testing.assert_allclose(
        marginal.score_samples(X[["d", "a"]]), density.score_samples(gaps), atol=1e-10
    )


def test_the_tree_has_the_highest_likelihood_of_all_trees():
    X = categories()[["a", "b", "c", "d"]]
    best = BayesianNetworkDensity("chow-liu", conditional="table", alpha=1e-6).fit(X).score(X)
    scores = []
    for tree in itertools.combinations(itertools.combinations("abcd", 2), 3):
        graph = nx.Graph(tree)
        if len(graph) == 4 and nx.is_connected(graph):
            directed = nx.bfs_tree(graph, "a")
            density = BayesianNetworkDensity(directed, conditional="table", alpha=1e-6)
            scores.append(density.fit(X).score(X))
    assert len(scores) == 16
    assert best == pytest.approx(max(scores))


def test_a_learnt_graph_finds_a_collider_and_keeps_to_max_parents():
    X = numbers(2000)
    density = BayesianNetworkDensity(conditional="table", bins=3).fit(X)
    assert set(density.graph_.edges) == set(COLLIDER)
    learnt = BayesianNetworkDensity(max_parents=1, conditional="table").fit(X)
    assert max(dict(learnt.graph_.in_degree).values()) == 1
    none = BayesianNetworkDensity(max_parents=0, conditional="table").fit(X)
    empty = BayesianNetworkDensity("empty", conditional="table").fit(X)
    np.testing.assert_array_equal(none.score_samples(X), empty.score_samples(X))


def test_graphs_come_in_several_forms():
    X = categories()
    scores = BayesianNetworkDensity(EDGES, conditional="table").fit(X).score_samples(X)
    by_index = [(NAMES.index(i), NAMES.index(j)) for i, j in EDGES]
    graph = nx.DiGraph(EDGES)
    matrix = nx.to_numpy_array(graph, nodelist=NAMES)
    for structure in (by_index, graph, matrix, pd.DataFrame(matrix, NAMES, NAMES)):
        density = BayesianNetworkDensity(structure, conditional="table").fit(X)
        np.testing.assert_array_equal(density.score_samples(X), scores)
        assert set(density.graph_.edges) == set(EDGES)
        clone(density)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ([("a", "b"), ("b", "a")], "cycle.*'a'.*'b'.*'a'|a -> b -> a"),
        ([("a", "bb")], "'bb'"),
        ([("a", "a")], "'a' to itself"),
        ([(0, 9)], "9"),
        ("chow", "'chow'"),
        (np.zeros((2, 2)), "structure"),
        (nx.Graph(EDGES), "directed"),
    ],
)
def test_a_bad_structure_is_shown(structure, message):
    density = BayesianNetworkDensity(structure)
    with pytest.raises(ValueError, match=message):
        density.fit(categories())
    assert not hasattr(density, "graph_")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"conditional": "tables"}, "conditional"),
        ({"max_parents": -1}, "max_parents"),
        ({"alpha": -1}, "alpha"),
        ({"bins": "quantile", "conditional": "table"}, "column 'a': bins='quantile' is no rule"),
        ({"bins": {"z": 3}}, "'z', which is not a column"),
        ({"bins": {"a": [0, 0]}}, "column 'a'"),
    ],
)
def test_a_bad_parameter_is_named(params, message):
    with pytest.raises(ValueError, match=message):
        BayesianNetworkDensity(**params).fit(numbers())


def test_strengths_are_information_beyond_the_other_parents():
    rng = np.random.default_rng(0)
    a, b, noise = (rng.random(5000) < 0.5 for _ in range(3))
    X = pd.DataFrame({"a": a, "b": b, "n": noise, "c": a ^ b})
    density = BayesianNetworkDensity([("a", "c"), ("b", "c"), ("n", "c")], conditional="table")
    strength = nx.get_edge_attributes(density.fit(X).graph_, "strength")
    assert strength["a", "c"] == pytest.approx(np.log(2), abs=0.01)
    assert strength["b", "c"] == pytest.approx(np.log(2), abs=0.01)
    assert strength["n", "c"] == pytest.approx(0, abs=1e-3)


def test_each_of_several_parents_has_its_strength():
    rng = np.random.default_rng(0)
    parents = rng.normal(size=(3000, 3))
    X = np.column_stack([parents, parents.sum(axis=1) + rng.normal(size=3000)])
    edges = [(0, 3), (1, 3), (2, 3)]
    graph = BayesianNetworkDensity(edges, conditional="table").fit(X).graph_
    strengths = [strength for *_, strength in graph.edges(data="strength")]
    # Of the normal distribution it is log(2) / 2; few cells see a part of it.
    assert min(strengths) > 0.1
    assert max(strengths) < np.log(2) / 2
    noise = np.column_stack([parents, rng.normal(size=3000)])
    graph = BayesianNetworkDensity(edges, conditional="table").fit(noise).graph_
    assert max(strength for *_, strength in graph.edges(data="strength")) < 0.01


def test_parameters_are_counted():
    X = categories()
    density = BayesianNetworkDensity(EDGES, conditional="table").fit(X)
    # a 2, b 3 * 2, c 9 * 1, d 6 * 1, e 2 * 1
    assert density.n_params_ == 25
    linear = BayesianNetworkDensity(
        [("c", "d"), ("d", "e")], conditional="network", hidden_layer_sizes=(), max_epochs=2
    ).fit(X[["c", "d", "e"]])
    # Biases, the linear path, and a path from bounded inputs.
    assert linear.n_params_ == 3 + 2 + 2


def test_a_second_fit_forgets_the_first():
    X = categories()
    density = BayesianNetworkDensity(EDGES, conditional="network", **QUICK).fit(X)
    assert hasattr(density, "net_")
    tables = density.set_params(conditional="table").fit(X)
    assert not hasattr(tables, "net_")
    assert not hasattr(tables, "history_")
    fresh = BayesianNetworkDensity(EDGES, conditional="table").fit(X)
    np.testing.assert_array_equal(tables.score_samples(X), fresh.score_samples(X))


def test_a_warm_start_trains_on():
    X = numbers()
    density = BayesianNetworkDensity(COLLIDER, conditional="network", warm_start=True, **QUICK)
    n_first = density.fit(X).n_iter_
    assert density.fit(X).n_iter_ > n_first
    for other in ("empty", "learn", nx.DiGraph([("a", "c"), ("b", "c"), ("a", "d")]), COLLIDER[:2]):
        with pytest.raises(ValueError, match="warm_start continues a model with structure="):
            density.set_params(structure=other).fit(X)
    density.set_params(structure=nx.DiGraph(COLLIDER)).fit(X)
    learnt = BayesianNetworkDensity(conditional="network", warm_start=True, **QUICK).fit(X)
    graph = learnt.graph_
    assert learnt.fit(X[::2]).graph_ is graph


def test_a_warm_start_takes_missing_numbers():
    X = numbers()
    X.loc[::5, "c"] = np.nan
    density = BayesianNetworkDensity(COLLIDER, conditional="network", warm_start=True, **QUICK)
    n_first = density.fit(X).n_iter_
    assert density.fit(X).n_iter_ > n_first


def test_any_column_is_predicted_where_no_marginal_is_exact():
    X = numbers(1000).assign(k=lambda X: np.where(X["a"] + X["b"] > 0, "up", "down"))
    edges = [*COLLIDER, ("a", "k"), ("b", "k")]
    density = BayesianNetworkDensity(edges, conditional="network", **QUICK).fit(X)
    gap = X.head(6).assign(b=np.nan)
    prediction = density.predict_column(gap, "k")
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1)
    draws = density.conditional_sample(gap.assign(k=None), 500, random_state=0)
    share = (draws["k"] == "up").to_numpy().reshape(6, 500).mean(axis=1)
    np.testing.assert_allclose(prediction.probabilities[:, 1], share, atol=0.15)
    with pytest.raises(ValueError, match=r"no exact marginal of \['a', 'c'\]"):
        density.marginal(["a", "c"])
    assert density.marginal(["a", "b"]).score_samples(X[["a", "b"]]).shape == (1000,)


def test_fits_with_missing_cells():
    rng = np.random.default_rng(0)
    X = pd.concat([categories(300), numbers().drop(columns="a").add_prefix("x")], axis=1)
    gaps = X.mask(rng.random(X.shape) < 0.1)
    for conditional in ("table", "auto"):
        density = BayesianNetworkDensity(conditional=conditional, **QUICK).fit(gaps)
        assert np.isfinite(density.score_samples(X)).all()
        assert not density.sample(20, random_state=0).isna().any(axis=None)
        alone = BayesianNetworkDensity("empty", conditional=conditional, **QUICK).fit(gaps)
        assert density.score(X) > alone.score(X)


def test_a_grid_search_chooses_the_structure():
    X = load_iris().data
    grid = {"structure": ["empty", "chow-liu"], "bins": [3, "quantiles"]}
    search = GridSearchCV(BayesianNetworkDensity(conditional="table"), grid).fit(X)
    assert search.best_params_["structure"] == "chow-liu"


def test_unknown_categories_are_impossible_or_rare():
    X = categories()
    new = X.head(1).assign(b="w")
    assert BayesianNetworkDensity(EDGES, conditional="table").fit(X).score_samples(new) == -np.inf
    for conditional in ("table", "network"):
        density = BayesianNetworkDensity(
            EDGES, conditional=conditional, handle_unknown="rare", **QUICK
        ).fit(X)
        assert np.isfinite(density.score_samples(new)).all()
        assert np.isfinite(density.score_samples(new.assign(a=None))).all()


def queries(network):
    inference = pytest.importorskip("pgmpy.inference")
    return inference.VariableElimination(network)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("conditional", ["table", "network"])
def test_pgmpy_answers_as_we_do(conditional):
    X = categories()
    density = BayesianNetworkDensity(EDGES, conditional=conditional, **QUICK).fit(X)
    answer = queries(density.to_pgmpy()).query(["b"], {"e": "y", "c": "x"}, show_progress=False)
    gap = pd.DataFrame([[None, None, "x", None, "y"]], columns=NAMES)
    expected = density.predict_column(gap, "b").probabilities[0]
    np.testing.assert_allclose(answer.values, expected, atol=1e-8)
    assert answer.state_names["b"] == list("xyz")


@pytest.mark.filterwarnings("ignore")
def test_pgmpy_gets_bins_as_states():
    X = numbers().assign(k=np.arange(300) % 4)
    density = BayesianNetworkDensity(COLLIDER, conditional="table", bins=3).fit(X)
    network = density.to_pgmpy()
    states = network.get_cpds("c").state_names
    assert [len(states[name]) for name in ("c", "a", "b")] == [3, 3, 3]
    assert states["c"][0].startswith("(-inf, ")
    assert network.get_cpds("k").state_names["k"] == [0, 1, 2, 3]
    density = BayesianNetworkDensity(COLLIDER, conditional="network", **QUICK).fit(X)
    with pytest.raises(ValueError, match="column 'a' holds numbers"):
        density.to_pgmpy()


@pytest.mark.parametrize("conditional", ["table", "network"])
def test_rows_of_hardly_any_weight_are_hardly_there(conditional):
    """As in expectation and maximisation, where few rows of a class have labels, and many a small share in it."""
    X, y = load_iris(return_X_y=True)
    of_class = X[y == 2]
    density = BayesianNetworkDensity(
        "empty", conditional=conditional, hidden_layer_sizes=(), max_epochs=5, random_state=0
    )
    schema = density.learn_schema(X)
    rows = np.concatenate([of_class[:5], np.repeat(of_class[:1], 45, axis=0)])
    weight = np.repeat([1.0, 1e-6], [5, 45])
    scores = density.fit(rows, sample_weight=weight, schema=schema).score_samples(of_class)
    alone = clone(density).fit(of_class[:5], schema=schema).score_samples(of_class)
    assert scores.mean() == pytest.approx(alone.mean(), abs=0.01 if conditional == "table" else 3)


@pytest.mark.parametrize("scale", [1e-3, 0.5])
def test_shares_of_rows_are_scaled_to_rows(scale):
    X = load_iris().data
    density = BayesianNetworkDensity("chow-liu", conditional="table")
    expected = density.fit(X).score_samples(X)
    scores = density.fit(X, sample_weight=np.full(150, scale)).score_samples(X)
    np.testing.assert_allclose(scores, expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_default_is_trained_in_few_steps(monkeypatch):
    """An epoch takes five; a trial of dropout would double them."""
    steps, train_step = [], RowNet.train_step

    def counted(net, batch, **params):
        steps.append(len(batch[1]))
        return train_step(net, batch, **params)

    monkeypatch.setattr(RowNet, "train_step", counted)
    X = numbers(400)[["a"]].assign(k=["a", "b"] * 200)
    BayesianNetworkDensity("empty", max_epochs=2, random_state=0).fit(X)
    assert steps == [72] * 10
