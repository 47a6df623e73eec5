"""What further rows bring that the first ones had not, alike in all densities that count."""

import copy
import pickle

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.mixture import GaussianMixture

from sklearn_dgm import (
    AutoregressiveDensity,
    AutoregressiveSequenceDensity,
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    ContextFreeGrammarDensity,
    ContinuousMixtureDensity,
    DeepBeliefDensity,
    EnergyDensity,
    HiddenMarkovDensity,
    HistogramDensity,
    LatentDirichletAllocationDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    RestrictedBoltzmannDensity,
    TabularGAN,
    TreeAugmentedNaiveBayesClassifier,
    VariationalAutoencoderDensity,
    load,
)
from sklearn_dgm._continuation import are_alike

DENSITIES = [
    BayesianNetworkDensity(conditional="table"),
    BayesianNetworkDensity(hidden_layer_sizes=(8,), max_epochs=3, random_state=0),
    MixtureDensity(2, random_state=0),
    MixtureDensity(2, "tree", random_state=0),
    MixtureDensity(2, "gaussian", random_state=0),
    NaiveBayesClassifier(),
    TreeAugmentedNaiveBayesClassifier(),
    AveragedOneDependenceClassifier(),
    RestrictedBoltzmannDensity(2, max_iter=1, random_state=0),
]
OF_TABLES = pytest.mark.parametrize("density", DENSITIES, ids=str)


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, n)
    return pd.DataFrame(
        {
            "a": np.array(["x", "y", "z"], dtype=object)[a],
            "b": np.array(["u", "v"], dtype=object)[(a + rng.integers(0, 2, n)) % 2],
            "c": a + rng.normal(size=n),
        }
    )


def learnt(density, *parts):
    density = clone(density)
    for X in parts:
        y = {"y": (np.arange(len(X)) % 2)} if is_classifier(density) else {}
        density.partial_fit(X, **y)
    return density


@OF_TABLES
def test_unknown_categories_are_as_missing_cells(density):
    first, further = table(), table(40, seed=1)
    further["a"] = np.where(np.arange(40) % 4 == 0, "new", further["a"])
    missing = further.assign(a=further["a"].replace("new", None))
    unknown = learnt(density, first, further)
    np.testing.assert_allclose(
        unknown.score_samples(first), learnt(density, first, missing).score_samples(first)
    )
    assert np.isneginf(unknown.score_samples(further[further["a"] == "new"])).all()
    strict = learnt(density.set_params(handle_unknown="error"), first)
    before = strict.score_samples(first)
    y = {"y": np.zeros(40, dtype=int)} if is_classifier(density) else {}
    with pytest.raises(ValueError, match="'a'"):
        strict.partial_fit(further, **y)
    np.testing.assert_array_equal(strict.score_samples(first), before)
    density.set_params(handle_unknown="impossible")


@OF_TABLES
def test_numbers_beyond_the_range_are_learnt_from(density):
    first, further = table(), table(40, seed=1)
    further["c"] = further["c"].max() + np.linspace(5, 10, 40)
    before, after = learnt(density, first), learnt(density, first, further)
    assert np.isfinite(after.score_samples(further)).all()
    assert after.score_samples(further).mean() > before.score_samples(further).mean()


BOUNDED = pytest.mark.parametrize(
    "density", [density for density in DENSITIES if hasattr(density, "bounds")], ids=str
)


def assert_refused(density, first, further, message):
    """Further rows are refused, unless the odd one has no weight; nothing of them is counted."""
    model, y = learnt(density, first), {}
    before = model.score_samples(first)
    if is_classifier(density):
        y = {"y": np.zeros(len(further), dtype=int)}
    with pytest.raises(ValueError, match=message):
        model.partial_fit(further, **y)
    np.testing.assert_array_equal(model.score_samples(first), before)
    model.partial_fit(further, **y, sample_weight=np.arange(len(further)) != 3)
    assert np.isfinite(model.score_samples(first)).all()


def counts(n=120, seed=0):
    return table(n, seed).assign(d=np.random.default_rng(seed).integers(0, 9, n))


@OF_TABLES
def test_numbers_between_whole_ones_are_refused(density):
    further = counts(40, seed=1)
    further["d"] = np.where(np.arange(40) == 3, 2.5, further["d"])
    message = "Row 3 is impossible .*'d' holds .* no whole number"
    assert_refused(density, counts(), further, message)


@BOUNDED
def test_numbers_beyond_the_bounds_are_refused(density):
    density = clone(density).set_params(bounds={"c": (-9, 9)})
    further = table(40, seed=1)
    further.loc[3, "c"] = 9.5
    assert_refused(
        density, table(), further, "Row 3 is impossible .*'c' holds .* beyond its bounds"
    )
    # Those that were found, of a column of a single value as well.
    density.set_params(bounds=None)
    first, further = counts().assign(e=2.0), counts(40, seed=1).assign(e=2.0)
    further.loc[3, "d"] = -1
    assert_refused(density, first, further, "Row 3 is impossible .*'d' holds .* beyond its bounds")
    density.set_params(bounds={"e": (0, 3)})
    further = counts(40, seed=1).assign(e=np.where(np.arange(40) == 3, 4.0, 2.0))
    assert_refused(density, first, further, "Row 3 is impossible .*'e' holds .* beyond its bounds")


@OF_TABLES
def test_a_schema_announces_what_is_to_come(density):
    every = table(160)
    every["a"] = np.where(np.arange(160) < 120, every["a"], "new")
    every["c"] = np.where(np.arange(160) < 120, every["c"], every["c"] + 20)
    first, further = every[:120], every[120:]
    y = {"y": np.arange(120) % 2} if is_classifier(density) else {}
    schema = clone(density).learn_schema(every)
    model = clone(density).partial_fit(first, **y, schema=schema)
    further_y = {"y": np.zeros(40, dtype=int)} if y else {}
    before = model.score_samples(further)
    assert np.isfinite(before).all()
    with pytest.raises(ValueError, match="schema is for the first call"):
        model.partial_fit(further, **further_y, schema=schema)
    np.testing.assert_array_equal(model.score_samples(further), before)
    after = model.partial_fit(further, **further_y).score_samples(further)
    assert (after > before).all()
    # The same as of a dtype that brings the categories.
    assert set(model.sample(500, random_state=0)["a"]) == {"x", "y", "z", "new"}


def test_a_schema_announces_categories_to_histograms_and_chains():
    every = table(160).assign(a=np.where(np.arange(160) < 120, "x", "new"))
    density = HistogramDensity({"c": [-20.0, 0.0, 20.0]}, alpha=1.0)
    schema = density.learn_schema(every)
    density.partial_fit(every[:120], schema=schema).partial_fit(every[120:])
    whole = HistogramDensity({"c": [-20.0, 0.0, 20.0]}, alpha=1.0).fit(every)
    np.testing.assert_allclose(density.score_samples(every), whole.score_samples(every))
    with pytest.raises(TypeError, match="partial_fit takes rows in memory"):
        density.partial_fit(Parts(every))
    strings = ["abab", "ba", "bab", "cab"]
    chain = MarkovChainDensity(1)
    chain.partial_fit(strings[:3], schema=chain.learn_schema(strings)).partial_fit(strings[3:])
    np.testing.assert_allclose(
        chain.score_samples(strings), MarkovChainDensity(1).fit(strings).score_samples(strings)
    )


SEQUENCES = pytest.mark.parametrize(
    "density",
    [
        MarkovChainDensity(2),
        HiddenMarkovDensity(2, max_iter=20, tol=0.1, random_state=0),
        ContextFreeGrammarDensity(3, max_iter=5, tol=0.1, random_state=0),
    ],
    ids=lambda density: type(density).__name__,
)


@SEQUENCES
def test_a_schema_announces_symbols_to_densities_of_sequences(density):
    first, further = ["abab", "ba", "bab", "abb"] * 6, ["cab", "c"] * 6
    schema = clone(density).learn_schema(first + further)
    model = clone(density).partial_fit(first, schema=schema)
    before = model.score_samples(further)
    with pytest.raises(ValueError, match="schema is for the first call"):
        model.partial_fit(further, schema=schema)
    np.testing.assert_array_equal(model.score_samples(further), before)
    assert (model.partial_fit(further).score_samples(further) > before).all()


@pytest.mark.parametrize("is_first", [True, False])
@SEQUENCES
def test_sequences_that_are_read_a_chunk_at_a_time_are_for_fit(density, is_first):
    model, X = clone(density), ["abab", "ba", "bab", "abb"] * 6
    if not is_first:
        model.partial_fit(X)
    for rows in (Parts(X), "X.parquet"):
        with pytest.raises(TypeError, match="partial_fit takes rows in memory, .* Call fit"):
            model.partial_fit(rows)
    assert hasattr(model, "schema_") != is_first


def test_documents_take_a_schema_and_are_in_memory():
    X = np.random.default_rng(0).poisson(1.0, (40, 6))
    density = LatentDirichletAllocationDensity(2, max_iter=50, tol=0.1, random_state=0)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    schema = clone(density).learn_schema(frame)
    model = clone(density).partial_fit(X[:20], schema=schema)
    assert list(model.sample(2).columns) == list("abcdef")
    with pytest.raises(ValueError, match="schema is for the first call"):
        model.partial_fit(X[20:], schema=schema)
    for rows in (Parts(X), "X.parquet"):
        for one in (clone(density), model):
            with pytest.raises(TypeError, match="partial_fit takes rows in memory, .* Call fit"):
                one.partial_fit(rows)


class Parts:
    """A table that is read a chunk at a time."""

    def __init__(self, *parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)


@OF_TABLES
@pytest.mark.parametrize("is_first", [True, False])
def test_tables_that_are_read_a_chunk_at_a_time_are_for_fit(is_first, density):
    X = table()
    model = clone(density) if is_first else learnt(density, X)
    y = {"y": np.arange(120) % 2} if is_classifier(density) else {}
    for rows in (Parts(X), "X.parquet"):
        with pytest.raises(TypeError, match="partial_fit takes rows in memory, .* Call fit"):
            model.partial_fit(rows, **y)
    assert hasattr(model, "schema_") != is_first


def test_what_is_refused_is_what_is_impossible():
    X = counts().assign(e=np.arange(120) % 2, f=np.round(np.arange(120) / 7, 1))
    density = NaiveBayesClassifier(bounds={"c": (-9, None)}).partial_fit(X, np.arange(120) % 2)
    columns = {column.label: column for column in density.schema_.columns_}
    for name in "cdef":
        values = np.array([-20.0, -1.0, 0.0, 0.5, 1.0, 2.0, 300.0])
        rows = X.iloc[[0] * len(values)].astype({name: float}).assign(**{name: values})
        Z = density.schema_.encode(rows)[0][:, list(X).index(name)]
        scores = density.score_samples(rows)
        np.testing.assert_array_equal(columns[name].impossible(Z), np.isneginf(scores))


@pytest.mark.parametrize(
    "density",
    [
        MarkovChainDensity(1, integer_features=[0]),
        HiddenMarkovDensity(2, integer_features=[0], random_state=0),
    ],
)
def test_steps_between_whole_numbers_are_refused(density):
    first = [[1, 2, 3], [2, 3, 1, 0], [1, 1]] * 10
    further = [[1], [2, 3], [0, 1], [1, 2, 2.5, 1], [3, 1]]
    assert_refused(density, first, further, "Sequence 3, step 2, is impossible")


def test_a_histogram_refuses_what_is_outside_its_grid():
    first = table()
    density = HistogramDensity({"c": [-10.0, 0.0, 1.0, 10.0]}).partial_fit(first)
    before = density.score_samples(first)
    for name, value in (("a", "new"), ("c", 11.0)):
        with pytest.raises(ValueError, match=f"'{name}'"):
            density.partial_fit(first.assign(**{name: value}))
        np.testing.assert_array_equal(density.score_samples(first), before)


@pytest.mark.parametrize("density", [MarkovChainDensity(2), HiddenMarkovDensity(2, random_state=0)])
def test_unknown_symbols_of_sequences_are_not_counted_or_raise(density):
    first = ["abab", "ba", "bab"]
    counted = learnt(density, first, ["?"])
    # Of a step that is unknown, the end that follows it is seen.
    assert np.isneginf(counted.score_samples(["a?"])).all()
    assert np.isfinite(counted.score_samples(first)).all()
    strict = learnt(clone(density).set_params(handle_unknown="error"), first)
    with pytest.raises(ValueError, match="'\\?'"):
        strict.partial_fit(["a?"])
    assert np.isfinite(strict.score_samples(first)).all()


def test_numbers_of_sequences_beyond_the_range_are_counted_in_outer_cells():
    rng = np.random.default_rng(0)
    first, further = rng.normal(size=(50, 4)), np.full((20, 4), 9.0)
    for density in (MarkovChainDensity(2), HiddenMarkovDensity(2, "tree", random_state=0)):
        before, after = learnt(density, first), learnt(density, first, further)
        assert after.score_samples(further)[0] > before.score_samples(further)[0]


TABLE = table(60)
NUMBERS = np.random.default_rng(0).normal(size=(60, 2))
BITS = np.random.default_rng(0).integers(0, 2, (60, 4))
WORDS = ["abab", "ba", "bab", "abb"] * 5
EDGES = {"c": [-20.0, 0.0, 20.0]}
QUICK = {"max_epochs": 1, "random_state": 0}
TABLES = BayesianNetworkDensity([("a", "b")], conditional="table")
HIDDEN = HiddenMarkovDensity(2, max_iter=2, tol=9.0, random_state=0)
DECODER = ContinuousMixtureDensity(2, n_points=8, n_points_fit=8, hidden_layer_sizes=4, **QUICK)

# What the first call settles, with another value, and what each call heeds, of all who take further rows.
SHAPED = [
    (HistogramDensity(EDGES), TABLE, {"bins": {"c": [-20.0, 1.0, 20.0]}}, {"alpha": 1.0}),
    (NaiveBayesClassifier(), TABLE, {"bins": 3, "handle_unknown": "error"}, {"alpha": 1.0}),
    (TreeAugmentedNaiveBayesClassifier(), TABLE, {"bins": 3, "bounds": "observed"}, {"tol": 1.0}),
    (AveragedOneDependenceClassifier(), TABLE, {"bins": 3}, {"min_frequency": 2}),
    (
        TABLES,
        TABLE,
        {
            **{"structure": [("b", "a")], "max_parents": 1, "conditional": "auto", "bins": 3},
            "column_kinds": {"c": "rounded"},
        },
        {"alpha": 1.0, "hidden_layer_sizes": (3,), "warm_start": True},
    ),
    (
        MixtureDensity(2, "gaussian", random_state=0),
        NUMBERS,
        {
            **{"n_components": 3, "component": "independent", "covariance_type": "diag"},
            **{"n_factors": 1, "alpha": 1.0, "reg_covar": 1.0},
        },
        {"max_iter": 3, "init": "random", "n_init": 2, "tol": 1.0, "random_state": 1},
    ),
    (
        DECODER,
        BITS,
        {"n_points": 4, "n_latents": 3, "component": "tree", "alpha": 1.0},
        {"lr": 0.1, "batch_size": 20, "weight_decay": 0.0},
    ),
    (
        RestrictedBoltzmannDensity(3, max_iter=1, random_state=0),
        BITS,
        {"n_components": 4, "n_chains": 9},
        {"learning_rate": 0.1, "batch_size": 20, "n_temperatures": 20},
    ),
    (
        DeepBeliefDensity((3, 2), max_iter=1, random_state=0),
        BITS,
        {"hidden_layer_sizes": (3, 2, 2), "n_chains": 9},
        {"n_importance_samples": 9, "hidden_layer_sizes": [3, 2]},
    ),
    (
        LatentDirichletAllocationDensity(2, max_iter=2, tol=9.0, random_state=0),
        BITS,
        {"n_components": 3, "doc_topic_prior": 0.1, "topic_word_prior": 0.1},
        {"log_likelihood": "bound", "n_particles": 64},
    ),
    (
        HIDDEN,
        WORDS,
        {
            **{"n_states": 3, "emission": "tree", "covariance_type": "diag", "n_factors": 1},
            **{"alpha": 2.0, "reg_covar": 1.0, "length": "given"},
        },
        {"transition_alpha": 3.0, "max_iter": 9},
    ),
    (
        MarkovChainDensity(2),
        WORDS,
        {"order": 3, "smoothing": "witten-bell", "bins": 3, "length": "given"},
        {},
    ),
    (
        ContextFreeGrammarDensity(2, max_iter=2, tol=9.0, random_state=0),
        WORDS,
        {"n_symbols": 3, "markov_order": 0, "length": "given"},
        {"alpha": 1.0, "glue": 2.0},
    ),
    (
        AutoregressiveSequenceDensity(hidden_size=4, ngram_order=1, **QUICK),
        WORDS,
        {"hidden_size": 5, "ngram_order": 2, "length": "given"},
        {"lr": 0.1},
    ),
    (
        AutoregressiveDensity((4,), **QUICK),
        TABLE,
        {"hidden_layer_sizes": (5,), "handle_unknown": "error", "integer_features": None},
        {"lr": 0.1, "callbacks": [], "verbose": 0, "hidden_layer_sizes": np.array([4])},
    ),
    (
        BayesianNetworkDensity([("a", "c")], hidden_layer_sizes=(4,), **QUICK),
        TABLE,
        {"structure": "empty", "bins": 3, "alpha": 1.0, "hidden_layer_sizes": (5,)},
        {"lr": 0.1},
    ),
    (
        VariationalAutoencoderDensity(2, (4,), **QUICK),
        BITS,
        {"n_latents": 3, "n_importance_samples_fit": 2},
        {"n_importance_samples": 9},
    ),
    (TabularGAN(4, n_latents=2, **QUICK), TABLE, {"n_latents": 3}, {"lr": 0.1}),
    (
        EnergyDensity(GaussianMixture(2), hidden_layer_sizes=4, n_partition_samples=99, **QUICK),
        NUMBERS,
        {"estimator__n_components": 3, "hidden_layer_sizes": 5},
        {"noise_ratio": 2},
    ),
]
OF_ALL = pytest.mark.parametrize(
    ("density", "X", "settled", "heeded"),
    SHAPED,
    ids=[f"{type(density).__name__}{k}" for k, (density, *_) in enumerate(SHAPED)],
)


@pytest.mark.filterwarnings("ignore")
@OF_ALL
def test_what_the_first_call_settles_cannot_change(density, X, settled, heeded, tmp_path):
    model = learnt(density, X)
    params, y = model.get_params(), {"y": np.arange(len(X)) % 2} if is_classifier(density) else {}
    model.save(tmp_path / "model")
    for one in (model, pickle.loads(pickle.dumps(model)), load(tmp_path / "model")):
        for name, other in settled.items():
            before = vars(one.set_params(**{name: other})).copy()
            message = f"partial_fit continues a model with {name.split('__')[0]}=.* cannot become"
            with pytest.raises(ValueError, match=message + ".* call fit to start anew"):
                one.partial_fit(X, **y)
            assert vars(one).keys() == before.keys()
            assert all(vars(one)[key] is before[key] for key in before)
            one.set_params(**{name: params[name]})
    assert clone(model).get_params().keys() == params.keys()
    model.set_params(**heeded).partial_fit(X, **y)
    # Whoever calls fit starts anew, and models that were saved before they remembered learn on.
    model.set_params(**dict([next(iter(settled.items()))])).fit(X, **y).partial_fit(X, **y)
    del model._shape
    model.partial_fit(X, **y)


def test_a_graph_may_be_given_in_another_form():
    X = table()
    density = learnt(TABLES, X).set_params(structure=nx.DiGraph([("a", "b")])).partial_fit(X)
    graph = nx.DiGraph([("a", "b")])
    density = clone(TABLES).set_params(structure=graph).fit(X)
    graph.add_edge("b", "c")
    with pytest.raises(ValueError, match="with structure=.* cannot become"):
        density.partial_fit(X)


class Incomparable:
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((3, 4), np.array([3, 4]), True),
        ([3, 4], [3, 5], False),
        ([3, 4], [3], False),
        ([True, False], [1, 0], False),
        (np.nan, float("nan"), True),
        ([1.0, np.nan], np.array([1.0, np.nan]), True),
        (pd.NA, 3, False),
        ("auto", 0.5, False),
        ("ab", ["a", "b"], False),
        ({"a": np.arange(3), 1: None}, {1: None, "a": [0, 1, 2]}, True),
        ({"a": 1}, {"b": 1}, False),
        (pd.Index(["a", "b"]), ["a", "b"], True),
        (pd.DataFrame([[1, 2]]), np.array([[1, 3]]), False),
        (range(3), range(4), False),
        (GaussianMixture(2), GaussianMixture(2), True),
        (GaussianMixture(2), GaussianMixture(3), False),
        (GaussianMixture(2), HistogramDensity(2), False),
        (GaussianMixture(2), "auto", False),
        (GaussianMixture, GaussianMixture(), False),
        (GaussianMixture, MixtureDensity, False),
        (np.random.RandomState(0), np.random.RandomState(0), True),
        (len, max, False),
        (Incomparable(), Incomparable(), True),
        (Incomparable(), 3, False),
    ],
)
def test_values_of_parameters_are_compared(one, other, expected):
    assert are_alike(one, other) is expected
    assert are_alike(other, one) is expected
    assert are_alike(one, one)


class Scale:
    """A map of rows, and its way back, as methods of an object without an equality."""

    def there(self, X):
        return 2 * X

    def back(self, X):
        return X / 2


def test_what_says_the_same_in_another_form_is_unchanged():
    held = Scale()
    for one, other in (
        (held, copy.deepcopy(held)),
        (held.there, copy.deepcopy(held).there),
        ({held}, copy.deepcopy({held})),
        ([1, 2], np.array([1, 2])),
        (np.nan, float("nan")),
    ):
        assert are_alike(one, other)
    for one, other in (
        (1, 2),
        (np.sin, np.cos),
        ("a", "b"),
        ([1], [1, 2]),
        (list, dict),
        ({1}, {2}),
    ):
        assert not are_alike(one, other)


def test_a_graph_that_was_learnt_may_be_given():
    X = np.random.default_rng(0).integers(0, 2, (60, 3))
    density = BayesianNetworkDensity("learn", conditional="table").fit(X)
    density.set_params(structure=density.graph_).partial_fit(X)
    other = [] if density.graph_.edges else [(0, 1)]
    with pytest.raises(ValueError, match="structure"):
        density.set_params(structure=other).partial_fit(X)


def test_columns_are_listed_in_any_order():
    X = pd.DataFrame(np.random.default_rng(0).integers(0, 2, (60, 3)), columns=["a", "b", "c"])
    density = HistogramDensity(bins=3, alpha=1, categorical_features=["a", "b"]).fit(X)
    for same in (["b", "a"], {"a", "b"}, np.array(["a", "b"])):
        density.set_params(categorical_features=same).partial_fit(X)
    with pytest.raises(ValueError, match="categorical_features"):
        density.set_params(categorical_features=["a"]).partial_fit(X)
