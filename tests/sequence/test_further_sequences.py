"""Hidden Markov models that take further sequences, beside sums over all paths of states."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sklearn_dgm import HiddenMarkovDensity, MixtureDensity

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
    ends = expected["pairs"].sum(axis=1) + expected["stop"]
    for mine, theirs in [
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
    ]:
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
    for emission in ("network", MixtureDensity(2)):
        assert not hasattr(HiddenMarkovDensity(emission=emission), "partial_fit")


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
