"""Markov chains: kinds of steps, lengths, counts that add up, and the contract."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dgm import MarkovChainDensity
from sklearn_dgm._state import fitted_state, set_fitted_state
from sklearn_dgm.counts.ngrams import NGrams
from tests.sequence.toys import CONTAINERS

ONE_COLUMN = [
    name
    for name in CONTAINERS
    if name not in ("lists of lists", "2-D arrays", "3-D array", "frame of polars")
    and not name.startswith("frames")
]


def texts(n=300, seed=0):
    """Draw strings of a and b in which a symbol mostly differs from the one before."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        text = "ab"[rng.integers(2)]
        while rng.random() > 0.4:
            text += {"a": "b", "b": "a"}[text[-1]] if rng.random() < 0.8 else text[-1]
        rows.append(text if rng.random() > 0.1 else "")
    return rows


def numbers(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.normal(size=length)) for length in rng.integers(1, 9, n)]


@pytest.mark.parametrize("make", [MarkovChainDensity, lambda: MarkovChainDensity(3, bins=4)])
def test_scikit_learn_checks(make):
    results = check_estimator(make(), on_fail=None, on_skip=None)
    assert not [r["check_name"] for r in results if r["status"] == "failed"]


@pytest.mark.parametrize("name", ONE_COLUMN)
def test_all_containers_of_one_column(name):
    X = CONTAINERS[name]
    density = MarkovChainDensity(2).fit(X)
    drawn = density.sample(30, random_state=0)
    assert type(drawn) is type(X)
    scores = density.score_samples(drawn)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose([part.sum() for part in density.score_steps(drawn)], scores)
    twin = set_fitted_state(MarkovChainDensity(2), fitted_state(density))
    np.testing.assert_array_equal(twin.score_samples(drawn), scores)
    np.testing.assert_array_equal(twin.score_samples(twin.sample(30, random_state=0)), scores)


@pytest.mark.parametrize("handle_unknown", ["impossible", "rare"])
def test_all_strings_sum_to_one(handle_unknown):
    density = MarkovChainDensity(3, handle_unknown=handle_unknown).fit([*texts(), "c"])
    longest = 5
    # With a share for an unknown symbol, that is one more.
    symbols = "abc" if handle_unknown == "impossible" else "abc?"
    X = ["".join(s) for n in range(longest + 1) for s in product(symbols, repeat=n)]
    steps = density.score_steps(X)
    total = sum(np.exp(of_steps.sum()) for of_steps in steps)
    goes_on = [
        np.exp(of_steps[:-1].sum()) * (1 - np.exp(of_steps[-1]))
        for text, of_steps in zip(X, steps, strict=True)
        if len(text) == longest
    ]
    assert total + sum(goes_on) == pytest.approx(1, abs=1e-12)
    unknown = density.score_samples(["a?b"])[0]
    assert np.isneginf(unknown) == (handle_unknown == "impossible")
    with pytest.raises(ValueError, match=r"'\?' in sequence 1, step 1"):
        MarkovChainDensity(handle_unknown="error").fit(texts()).score_samples(["ab", "a?"])


def test_draws_follow_the_density():
    X = texts()
    density, n = MarkovChainDensity(3).fit(X), 5000
    drawn = pd.Series(density.sample(n, random_state=0)).value_counts()
    drawn = drawn[drawn > 20]
    expected = n * np.exp(density.score_samples(drawn.index.tolist()))
    observed = np.append(drawn.to_numpy(), n - drawn.sum())
    assert stats.chisquare(observed, np.append(expected, n - expected.sum())).pvalue > 1e-3


def test_lengths_are_given_fixed_or_modelled():
    X = texts()
    given = MarkovChainDensity(2, length="given").fit(X)
    table = np.array([list("abab"), list("bbba"), list("baba")], dtype=object)
    np.testing.assert_allclose(np.exp(given.score_samples(["a", "b"])).sum(), 1)
    words = ["".join(word) for word in product("ab", repeat=4)]
    np.testing.assert_allclose(np.exp(given.score_samples(words)).sum(), 1)
    counts = pd.Series([len(text) for text in X]).value_counts()
    drawn = pd.Series([len(text) for text in given.sample(5000, random_state=0)]).value_counts()
    expected = 5000 * (counts / counts.sum())[drawn.index]
    assert stats.chisquare(drawn, expected / expected.sum() * 5000).pvalue > 1e-3
    fixed = MarkovChainDensity(2).fit(table)
    assert fixed.schema_.length_ == "fixed"
    assert fixed.sample(3, random_state=0).shape == (3, 4)
    assert fixed.score_steps(table).shape == (3, 4)
    rows = np.array([list(word) for word in words], dtype=object)
    np.testing.assert_allclose(np.exp(fixed.score_samples(rows)).sum(), 1)


def test_whole_numbers_are_symbols_and_continue_beyond_their_range():
    rng = np.random.default_rng(0)
    X = [(rng.integers(3) + 40 * np.arange(rng.integers(1, 6))).tolist() for _ in range(500)]
    density = MarkovChainDensity(2).fit(X)
    assert density.n_symbols_ == 163 + 1
    # After 40 comes 80, and never 81.
    assert density.score_samples([[0, 40, 80]])[0] > density.score_samples([[0, 40, 81]])[0] + 3
    assert np.isfinite(density.score_samples([[200]])[0])
    assert all(isinstance(step, int) for row in density.sample(5, random_state=0) for step in row)
    labels = MarkovChainDensity(2, categorical_features=[0]).fit(X)
    assert labels.n_symbols_ == 15 + 1
    assert np.isneginf(labels.score_samples([[200]])[0])
    flags = MarkovChainDensity(2).fit([[True, False], [False]])
    assert flags.n_symbols_ == 3
    assert isinstance(flags.sample(1, random_state=1)[0], list)


@pytest.mark.parametrize("length", ["stop", "given"])
def test_numbers_integrate_to_one_in_the_units_of_the_user(length):
    X = [1000 * row for row in numbers()]
    density = MarkovChainDensity(2, bins=6, length=length).fit(X)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    edges = np.linspace(-60_000, 60_000, 2001)  # finer than the pieces of cells
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1, None] + half * (1 + nodes)).ravel()
    steps = density.score_steps([np.array([1000.0, x]) for x in points])
    p = np.exp([of_steps[1] for of_steps in steps])
    goes_on = -np.expm1(density.score_steps([np.array([1000.0])])[0][-1]) if length == "stop" else 1
    total = np.sum(p * np.tile(weights, len(half)) * np.repeat(half, 4))
    assert total == pytest.approx(goes_on, abs=2e-3)
    drawn = np.concatenate(density.sample(2000, random_state=0))
    assert stats.ks_2samp(drawn, np.concatenate(X)).pvalue > 1e-4


@pytest.mark.parametrize("smoothing", ["kneser-ney", "witten-bell"])
@pytest.mark.parametrize("kind", ["strings", "numbers"])
def test_parts_add_up(kind, smoothing):
    X = texts() if kind == "strings" else numbers()
    weight = np.arange(len(X)) % 3 + 1
    parts = [slice(0, 120), slice(120, 130), slice(130, None)]
    by_parts = MarkovChainDensity(3, smoothing=smoothing, length="given")
    for part in parts:
        by_parts.partial_fit(X[part], sample_weight=weight[part])
    first = MarkovChainDensity(3, smoothing=smoothing, length="given").fit(
        X[parts[0]], sample_weight=weight[parts[0]]
    )
    probe = X[:50]
    if kind == "strings":
        whole = MarkovChainDensity(3, smoothing=smoothing, length="given").fit(
            X, sample_weight=weight
        )
        merged = [
            MarkovChainDensity(3, smoothing=smoothing, length="given").fit(
                X[part], sample_weight=weight[part]
            )
            for part in parts
        ]
        merged = merged[0].merge(merged[1]).merge(merged[2])
        for density in (by_parts, merged):
            np.testing.assert_array_equal(density.score_samples(probe), whole.score_samples(probe))
            assert density.sample(50, random_state=0) == whole.sample(50, random_state=0)
    else:  # the first rows settle the cells
        symbols = [first._codes(first.schema_.encode(X[part])[0])[0] for part in parts]
        lengths = np.array([len(row) for row in X])
        ngrams = NGrams(first._axis.n_levels, 3, smoothing)
        ngrams.fit(np.concatenate(symbols), lengths, weight)
        Z, _ = by_parts.schema_.encode(probe)
        log_p = by_parts._log_prob_steps(Z)[0] - by_parts._codes(Z)[1]
        expected = ngrams.log_prob(by_parts._codes(Z)[0], Z.lengths)
        np.testing.assert_allclose(log_p, expected)


def test_models_of_other_symbols_are_not_merged():
    one = MarkovChainDensity(2).fit(["ab", "ba"])
    for other, message in (
        (
            MarkovChainDensity(2).fit(["ac"]),
            "different grids in column 0; fit them with one schema",
        ),
        (MarkovChainDensity(3).fit(["ab"]), "order is 2 and 3"),
        (MarkovChainDensity(2, length="given").fit(["ab"]), "length is stop and given"),
    ):
        with pytest.raises(ValueError, match=message):
            one.merge(other)
    X = ["ab", "ca"]
    schema = MarkovChainDensity(2).learn_schema(X)
    parts = [MarkovChainDensity(2).fit([text], schema=schema) for text in X]
    whole = MarkovChainDensity(2).fit(X)
    np.testing.assert_array_equal(parts[0].merge(parts[1]).score_samples(X), whole.score_samples(X))


def test_later_symbols_are_unknown_and_a_failed_part_counts_nothing():
    density = MarkovChainDensity(2).partial_fit(["ab", "ba"])
    n_grams = density.n_grams_
    with pytest.raises(ValueError, match="row 1 of X is missing"):
        density.partial_fit(["ab", None])
    assert density.n_grams_ == n_grams
    density.partial_fit(["acb"])
    assert density.n_symbols_ == 3
    assert np.isneginf(density.score_samples(["ac"])[0])
    assert np.isfinite(density.score_samples(["ab"])[0])


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (CONTAINERS["2-D arrays"], {}, r"steps of X have 2 columns.*AutoregressiveSequenceDensity"),
        ([[1.0, np.nan]], {}, "NaN in column 0, sequence 0, step 1"),
        (["ab"], {"order": 0}, "'order' parameter"),
        (["ab"], {"bins": [3]}, "column 0: it is categorical and takes no bins"),
    ],
)
def test_errors_name_what_is_wrong(X, params, message):
    density = MarkovChainDensity(**params)
    with pytest.raises(ValueError, match=message):
        density.fit(X)
    assert not hasattr(density, "schema_")


def test_the_order_is_chosen_and_searched():
    X = texts(1000)
    density = MarkovChainDensity().fit(X)
    assert density.order_ == 2
    np.testing.assert_array_equal(
        density.score_samples(X), MarkovChainDensity(2).fit(X).score_samples(X)
    )
    search = GridSearchCV(MarkovChainDensity(), {"order": [1, 2]}, cv=3).fit(X)
    assert search.best_params_ == {"order": 2}


def test_the_order_rests_neither_on_the_unit_of_weights_nor_on_repeats_of_all():
    rng = np.random.default_rng(0)
    step = rng.dirichlet(np.full(6, 0.3), 36)
    X = []
    for _ in range(300):
        text = [0, 1]
        for _ in range(rng.integers(3, 9)):
            text.append(rng.choice(6, p=step[6 * text[-2] + text[-1]]))
        X.append("".join("abcdef"[k] for k in text))
    order = MarkovChainDensity().fit(X).order_
    assert order > 1
    for weight in (2.0, 10.0, 1 / 300, 1e-300):
        weighted = MarkovChainDensity().fit(X, sample_weight=np.full(len(X), weight))
        assert weighted.order_ == order
    assert MarkovChainDensity().fit(X * 3).order_ == order


def test_chains_of_other_lengths_are_not_merged():
    A = np.array([["a", "b"], ["b", "a"]], dtype=object)
    B = np.array([["a", "b", "b"], ["b", "a", "a"]], dtype=object)
    with pytest.raises(ValueError, match="length is fixed, 2 and fixed, 3"):
        MarkovChainDensity(2).fit(A).merge(MarkovChainDensity(2).fit(B))
    chain = MarkovChainDensity(2, length="given").fit(A[:, :, None])
    assert chain.schema_.length_ == "fixed"
    with pytest.raises(ValueError, match="all should have 2"):
        chain.partial_fit(B[:, :, None])
