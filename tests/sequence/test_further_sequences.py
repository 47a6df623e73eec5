"""Hidden Markov models that take further sequences, beside sums over all paths of states."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import sklearn_dgm
from sklearn_dgm import AutoregressiveSequenceDensity, HiddenMarkovDensity, MixtureDensity
from sklearn_dgm.chunks import _sampling
from tests.chunks.tables import Given, Parts

WORDS = ["abba", "babba", "abab", "bbbba", "", "aab"]
FURTHER = ["ba", "abb", "b", ""]
PLAIN = {"alpha": 0.0, "transition_alpha": 0.0, "early_stopping": False, "random_state": 0}


def sums_over_paths(density, words, weight):
    """Expected counts of starts, of pairs of states, of stops and of letters, by the probability of every path."""
    k = len(density.states_)
    of = {name: np.zeros(k) for name in ("start", "stop")}
    of |= {"pairs": np.zeros((k, k)), "letters": np.zeros((k, 2)), "empty": 0.0}
    start, move, stop = (
        density.start_probabilities_,
        density.transition_matrix_,
        density.stop_probabilities_,
    )
    (emits,) = density.tables_
    for word, w in zip(words, weight, strict=True):
        if not word:
            of["empty"] += w
            continue
        letters = ["ab".index(letter) for letter in word]
        paths = list(itertools.product(range(k), repeat=len(word)))
        p = []
        for path in paths:
            steps = [emits[s, x] for s, x in zip(path, letters, strict=True)]
            moves = [(1 - stop[i]) * move[i, j] for i, j in itertools.pairwise(path)]
            p.append(start[path[0]] * np.prod(steps) * np.prod(moves) * stop[path[-1]])
        for path, share in zip(paths, w * np.array(p) / sum(p), strict=True):
            of["start"][path[0]] += share
            of["stop"][path[-1]] += share
            for i, j in itertools.pairwise(path):
                of["pairs"][i, j] += share
            for s, x in zip(path, letters, strict=True):
                of["letters"][s, x] += share
    return of


def test_further_sequences_add_what_all_paths_expect():
    density = HiddenMarkovDensity(2, "tree", max_iter=3, tol=0.0, **PLAIN)
    with pytest.warns(match="max_iter=3"):
        density.partial_fit(WORDS)
    before = density._chain.counts
    letters = density._mixture.counts.weight
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    expected = sums_over_paths(density, FURTHER, weight)
    (emits,) = density.tables_  # without smoothing: its counts, over their sums
    expected["letters"] += emits * letters[:, None]
    density.partial_fit(FURTHER, sample_weight=weight)
    for name in ("start", "stop", "pairs", "empty"):
        expected[name] = expected[name] + getattr(before, name)
        np.testing.assert_allclose(getattr(density._chain.counts, name), expected[name])
    for mine, theirs in shares_of(density, expected):
        np.testing.assert_allclose(mine, theirs)


@pytest.mark.parametrize("emission", ["auto", "gaussian", "tree"])
def test_labelled_sequences_are_counted_as_all_at_once(emission):
    rng = np.random.default_rng(0)
    y = [rng.integers(0, 2, rng.integers(1, 9)) for _ in range(40)]
    X = [3.0 * labels + rng.normal(size=len(labels)) for labels in y]
    names = [np.array(["low", "high"])[labels] for labels in y]
    density = HiddenMarkovDensity(emission=emission, random_state=0)
    schema = density.learn_schema(X[:25])
    whole = clone(density).fit(X, names, schema=schema)
    counted = clone(density)
    counted.partial_fit(X[:25], names[:25]).partial_fit(X[25:], names[25:])
    for name in ("start", "pairs", "stop"):
        np.testing.assert_allclose(
            getattr(counted._chain.counts, name), getattr(whole._chain.counts, name)
        )
    if emission != "tree":  # whose cells are those of the first sequences
        np.testing.assert_allclose(counted.means_, whole.means_)


def shares_of(density, expected):
    """Probabilities without smoothing, and what counts say of them."""
    ends = expected["pairs"].sum(axis=1) + expected["stop"]
    return [
        (density.start_probabilities_, expected["start"] / expected["start"].sum()),
        (
            density.transition_matrix_,
            expected["pairs"] / expected["pairs"].sum(axis=1, keepdims=True),
        ),
        (density.stop_probabilities_, expected["stop"] / ends),
        (density.tables_[0], expected["letters"] / expected["letters"].sum(axis=1, keepdims=True)),
        (
            density.empty_probability_,
            expected["empty"] / (expected["empty"] + expected["stop"].sum()),
        ),
    ]


def letters_of(n, seed=0):
    """Words of two letters, in which runs are long, and weights."""
    rng = np.random.default_rng(seed)
    rows = []
    for n_letters in rng.integers(0, 6, n):
        letter, word = rng.integers(2), ""
        for _ in range(n_letters):
            letter = letter if rng.random() < 0.8 else 1 - letter
            word += "ab"[letter]
        rows.append(word)
    return rows, rng.integers(0, 3, n).astype(float)


@pytest.mark.parametrize("sample_rows", [40, 131_072])
def test_passes_over_chunks_come_to_what_all_paths_expect(sample_rows, monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", sample_rows)
    X, weight = letters_of(300)
    density = HiddenMarkovDensity(2, "tree", max_iter=3000, tol=1e-9, **PLAIN)
    density.fit(Parts(X, 70), sample_weight=weight)
    for mine, theirs in shares_of(density, sums_over_paths(density, X, weight)):
        np.testing.assert_allclose(mine, theirs, atol=2e-3)
    n_steps = weight @ list(map(len, X))
    mean = density.score(X, sample_weight=weight) / n_steps
    np.testing.assert_allclose(density.lower_bounds_[-1], mean)
    assert (np.diff(density.lower_bounds_) > -1e-12).all()
    assert len(density.lower_bounds_) == density.n_iter_ + 1
    assert density.converged_


@pytest.mark.parametrize("emission", ["auto", "gaussian", "tree"])
def test_few_sequences_in_chunks_are_fitted_as_in_memory(emission):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in rng.integers(1, 6, 80)]
    density = HiddenMarkovDensity(2, emission, max_iter=10, tol=0.1, random_state=0)
    whole, chunked = clone(density).fit(X), clone(density).fit(Parts(X, 30))
    np.testing.assert_array_equal(chunked.score_samples(X), whole.score_samples(X))
    assert vars(chunked).keys() == vars(whole).keys()


def test_how_chunks_are_cut_is_no_matter(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 60)
    X, weight = letters_of(300)
    density = HiddenMarkovDensity(3, max_iter=5, tol=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        one, other = (clone(density).fit(Parts(X, n), sample_weight=weight) for n in (7, 300))
    np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), rtol=1e-9)
    assert one.n_iter_ == 5
    # Pseudo-counts of ends are as frequent as ends are in all sequences.
    n, n_steps = weight.sum(), weight @ list(map(len, X))
    n_empty = weight[[not word for word in X]].sum()
    expected = (n_empty + 3 * n / (n + n_steps)) / (n + 3)
    assert one.empty_probability_ == pytest.approx(expected, rel=1e-12)
    # What was counted goes on.
    one.partial_fit(X)
    assert one._chain.counts.n_sequences == pytest.approx(weight.sum() + len(X))


def test_chunks_without_steps_are_no_matter(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 40)
    X, _ = letters_of(200)
    density = HiddenMarkovDensity(2, max_iter=5, tol=0.1, random_state=0)
    X[100:102] = "", ""
    parts = [X[:100], X[100:102], X[102:]]
    one, other = (clone(density).fit(Given(*of)) for of in (parts, [X]))
    np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("params", "y", "error", "message"),
    [
        ({"emission": MixtureDensity(2)}, None, TypeError, "emission=MixtureDensity"),
        ({}, WORDS, ValueError, "y labels the states of sequences in memory"),
    ],
    ids=["density", "labels"],
)
def test_what_learns_from_sequences_in_memory_says_so(params, y, error, message):
    density = HiddenMarkovDensity(2, random_state=0).fit(WORDS)
    state = vars(density.set_params(**params)).copy()
    with pytest.raises(error, match=message):
        density.fit(Parts(WORDS, 2), y)
    assert vars(density) == state


def test_unknown_labels_and_letters():
    density = HiddenMarkovDensity(random_state=0)
    density.partial_fit(["ab", "ba"], [["x", "y"], ["y", "x"]])
    before = density.score_samples(["ab", "bb"])
    with pytest.raises(
        ValueError, match="label 'z', which is none of the states of the first call"
    ):
        density.partial_fit(["ab"], [["x", "z"]])
    np.testing.assert_array_equal(density.score_samples(["ab", "bb"]), before)
    # An unknown letter is as a missing one.
    missing, unknown = clone(density), clone(density)
    for one, word in [(missing, ["a", None, "b"]), (unknown, ["a", "?", "b"])]:
        one.partial_fit([["a", "b"], ["b", "a"]], [["x", "y"], ["y", "x"]])
        one.partial_fit([word])
    np.testing.assert_allclose(
        unknown.score_samples([["b", "b"]]), missing.score_samples([["b", "b"]])
    )


def test_what_is_fitted_otherwise_has_no_counts():
    assert not hasattr(HiddenMarkovDensity(emission=MixtureDensity(2)), "partial_fit")
    density = HiddenMarkovDensity(emission=MixtureDensity(2), max_iter=1).fit(WORDS)
    with pytest.raises(ValueError, match="adds to expected counts, which this model"):
        density.set_params(emission="auto").partial_fit(WORDS)


def switching(n, seed=0):
    """Sequences of letters that come in runs, of two kinds."""
    rng = np.random.default_rng(seed)
    kinds = (rng.random((n, 12)) < 0.15).cumsum(axis=1) % 2
    letters = np.where(rng.random((n, 12)) < 0.8, kinds, 1 - kinds)
    return ["".join("ab"[k] for k in row) for row in letters]


def test_a_network_adds_to_the_counts_that_it_learns_from(tmp_path):
    held_out, further = switching(400, seed=1), switching(300, seed=2)
    density = HiddenMarkovDensity(2, "network", random_state=0, max_iter=4, tol=0.0)
    density.fit(switching(12))
    before, counts = density.score(held_out) / 400, density._mixture.counts
    density.save(tmp_path / "model")
    loaded = sklearn_dgm.load(tmp_path / "model")
    assert density.partial_fit(further).score(held_out) / 400 > before + 0.05
    added = density._mixture.counts.weight.sum() - counts.weight.sum()
    assert added == pytest.approx(12 * 300)
    # The network says of the states what their counts are, but for the pseudo-counts.
    shares = np.exp(density._mixture.tables.log_cells).reshape(2, 2)
    of_counts = density._mixture.counts.cells.reshape(2, 2)
    np.testing.assert_allclose(shares, of_counts / of_counts.sum(axis=1, keepdims=True), atol=0.02)
    for other in (loaded, pickle.loads(pickle.dumps(loaded))):
        other.partial_fit(further)
        np.testing.assert_array_equal(
            other.score_samples(held_out), density.score_samples(held_out)
        )


def test_a_network_learns_from_sequences_in_chunks(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 60)
    X, held_out = switching(600), switching(400, seed=1)
    density = HiddenMarkovDensity(2, "network", random_state=0, early_stopping=False)
    whole, few = (clone(density).fit(of).score(held_out) / 400 for of in (X, X[:60]))
    streamed = density.fit(Parts(X, 130)).score(held_out) / 400
    assert few < streamed
    assert streamed == pytest.approx(whole, abs=0.02)


def test_of_a_step_with_an_unknown_category_the_other_columns_tell():
    rng = np.random.default_rng(0)
    X = [
        pd.DataFrame({"a": rng.choice(["x", "y"], 6), "b": rng.normal(size=6)}).astype(
            {"a": object}
        )
        for _ in range(12)
    ]
    density = HiddenMarkovDensity(2, random_state=0, max_iter=3, tol=0.0)
    further = X[0].assign(a=["new", *X[0]["a"][1:]]), X[0].assign(a=[None, *X[0]["a"][1:]])
    scores = []
    for one in further:
        with pytest.warns(match="max_iter"):
            learnt = clone(density).partial_fit(X)
        scores.append(learnt.partial_fit([one]).score_samples(X))
    np.testing.assert_array_equal(*scores)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_another_order_of_n_grams_is_refused_before_anything_is_counted():
    texts = ["abba", "baab", "ab", "ba"] * 10
    density = AutoregressiveSequenceDensity(
        hidden_size=4, max_epochs=1, ngram_order=2, random_state=0
    ).fit(texts)
    before = density.score(texts)
    with pytest.raises(ValueError, match="partial_fit continues a model with ngram_order=2"):
        density.set_params(ngram_order=3).partial_fit(texts)
    assert density.score(texts) == before
