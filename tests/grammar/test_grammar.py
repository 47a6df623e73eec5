"""Grammars as estimators: what they learn from trees and without, and the contract."""

import pickle
import warnings
from collections import deque
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sklearn_dgm import ContextFreeGrammarDensity, DensityOutlierDetector, HiddenMarkovDensity
from sklearn_dgm._state import fitted_state, set_fitted_state
from sklearn_dgm.grammar._inside import Pairs
from sklearn_dgm.grammar._learning import WeightedSentences, fit_rules, no_counts, random_rules
from sklearn_dgm.grammar._proper import partition_functions
from sklearn_dgm.grammar._rules import Rules
from sklearn_dgm.grammar._trees import Symbol
from tests.grammar.test_trees import Tree
from tests.grammar.toys import length_probabilities
from tests.sequence.toys import CONTAINERS

TREES = [
    "(S (NP (DT the) (NN dog)) (VP (VB barks)))",
    "(S (NP (DT the) (JJ old) (JJ grey) (NN cat)) (VP (VB sees) (NP (DT a) (NN dog))))",
    "(S (NP (DT a) (NN dog)) (VP (VB sees) (NP (DT the) (NN bird)) (PP (P with) (NP (DT a) (NN cat)))))",
    "(S (NP (DT the) (JJ old) (NN bird)) (VP (VB sings)))",
    "(NP (DT the) (NN cat))",
]


def words_in(tree):
    return [word.rstrip(")") for word in tree.split() if not word.startswith("(")]


SENTENCES = [words_in(tree) for tree in TREES]


def fitted(**params):
    return ContextFreeGrammarDensity(**{"alpha": 0.1} | params).fit(SENTENCES, TREES)


def nested(n=300, seed=0):
    """Draw strings of brackets that are closed in the order that they must be."""
    rng, texts = np.random.default_rng(seed), []
    for _ in range(n):
        text = "S"
        while "S" in text:
            inner = ["S" if rng.random() < 0.35 else "" for _ in range(2)]
            a, b = ("[", "]") if rng.random() < 0.5 else ("<", ">")
            text = text.replace("S", f"{a}{inner[0]}{b}{inner[1]}", 1)
        texts.append(text)
    return texts


def test_trees_are_counted():
    density = fitted(alpha=0.0, glue=0.0)
    names = density.symbols_.tolist()
    assert names[:4] == ["DT", "JJ", "NN", "NP"]
    assert density.root_probabilities_[names.index("S")] == pytest.approx(0.8)
    score = density.score_samples([["the", "dog", "barks"]])
    # A root S, of which two of four have a VP of a verb alone; NP of two children, "the", "dog" and "barks".
    p = (4 / 5) * (2 / 4) * (6 / 8) * (5 / 8) * (3 / 8) * (1 / 2)
    assert np.exp(score[0]) == pytest.approx(p, rel=1e-12)
    assert np.isneginf(density.score_samples([["dog", "the"]]))[0]
    assert density.predict([["dog", "the"]])[0] is None
    assert density.n_iter_ == 0


@pytest.mark.parametrize("params", [{}, {"alpha": 0.0, "glue": 0.0}, {"alpha": 30.0, "glue": 5.0}])
def test_probabilities_of_what_a_symbol_derives_sum_to_one(params):
    rules = fitted(**params)._rules
    np.testing.assert_allclose(rules.words.sum(axis=1), 1, rtol=1e-12)
    sums = rules.emits + np.bincount(rules.parent, rules.p, rules.n_symbols)
    np.testing.assert_allclose(sums, 1, rtol=1e-12)
    assert rules.root.sum() == pytest.approx(1)


def test_trees_of_fit_come_back():
    density = fitted()
    assert density.predict(SENTENCES).tolist() == TREES
    tuples = density.predict(SENTENCES[:1], form="tuples")[0]
    assert tuples == ("S", ("NP", ("DT", "the"), ("NN", "dog")), ("VP", ("VB", "barks")))
    again = ContextFreeGrammarDensity(alpha=0.1).fit(
        SENTENCES, list(density.predict(SENTENCES, form="tuples"))
    )
    np.testing.assert_array_equal(again.score_samples(SENTENCES), density.score_samples(SENTENCES))
    with pytest.raises(ValueError, match="form should be"):
        density.predict(SENTENCES, form="nltk")


def test_every_sequence_of_known_words_has_a_tree():
    density = fitted()
    assert density.predict([["barks", "the", "dog"]])[0].startswith("(GLUE ")
    rng, words = np.random.default_rng(0), sorted({w for s in SENTENCES for w in s})
    X = [rng.choice(words, n).tolist() for n in rng.integers(1, 12, 50)]
    assert all(tree is not None for tree in density.predict(X))
    assert np.isfinite(density.score_samples(X)).all()


def test_brackets_and_spaces_are_escaped():
    X, y = ["a (", "b ("], ["(S (L a) (R (X -SPACE-) (Y -LRB-)))", None]
    density = ContextFreeGrammarDensity(max_iter=2).fit(X[:1], y[:1])
    assert density.predict(X[:1])[0] == y[0]
    odd = ContextFreeGrammarDensity().fit([["a\u2003b"]], [("S", "a\u2003b")])
    assert odd.predict([["a\u2003b"]], form="tuples")[0] == ("S", "a\u2003b")
    with pytest.raises(ValueError, match="cannot be written in brackets"):
        odd.predict([["a\u2003b"]])


@pytest.mark.parametrize(
    "y",
    [
        np.array(TREES, dtype=object),
        pd.Series(TREES),
        np.array(TREES)[:, None],
        pd.DataFrame({"tree": TREES}),
        deque(TREES),
        [None, *TREES[1:]],
        [
            Tree(
                "S",
                [
                    Tree("NP", [Tree("DT", ["the"]), Tree("NN", ["dog"])]),
                    Tree("VP", [Tree("VB", ["barks"])]),
                ],
            ),
            *TREES[1:],
        ],
    ],
    ids=["array", "series", "column", "frame", "sequence", "one unknown", "objects"],
)
def test_containers_of_trees(y):
    density = ContextFreeGrammarDensity(alpha=0.1, max_iter=1).fit(SENTENCES, y)
    if density.n_iter_ == 0:
        np.testing.assert_array_equal(
            density.score_samples(SENTENCES), fitted().score_samples(SENTENCES)
        )
    assert density.predict(SENTENCES)[0] == TREES[0]


def test_tuples_in_an_array_are_trees():
    X = [["a", "b"], ["b", "a"]]
    y = [("S", ("A", own[0]), ("B", own[1])) for own in X]
    expected = ContextFreeGrammarDensity().fit(X, y)
    flat = np.empty((2, 3), dtype=object)
    for i, tree in enumerate(y):
        flat[i] = tree[0], tree[1], tree[2]
    density = ContextFreeGrammarDensity().fit(X, flat)
    assert density.symbols_.tolist() == ["A", "B", "GLUE", "S"]
    np.testing.assert_array_equal(density.score_samples(X), expected.score_samples(X))
    bare = np.array([("S", *own) for own in X], dtype=object)
    assert ContextFreeGrammarDensity().fit(X, bare).predict(X)[0] == "(S a b)"


def test_weights_are_repeats():
    weight = [2, 0, 1, 3, 1]
    rows = np.repeat(np.arange(5), weight)
    y = [*TREES[:2], None, TREES[3], None]
    params = {"alpha": 0.1, "max_iter": 5, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weighted = ContextFreeGrammarDensity(**params).fit(SENTENCES, y, weight)
        repeated = ContextFreeGrammarDensity(**params).fit(
            [SENTENCES[i] for i in rows], [y[i] for i in rows]
        )
    keep = [0, 2, 3, 4]
    X = [SENTENCES[i] for i in keep]
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), rtol=1e-9)
    assert "JJ" in weighted.symbols_


def test_predictions_keep_what_is_checked_of_numbers():
    X, y = SENTENCES * 2, [*TREES, *[None] * 5]
    density = ContextFreeGrammarDensity(alpha=0.1, max_iter=5, tol=1e-2)
    trees = density.fit(X, y).predict(X).tolist()
    assert pickle.loads(pickle.dumps(density)).predict(X).tolist() == trees
    order = np.random.default_rng(0).permutation(len(X))
    assert density.predict([X[i] for i in order]).tolist() == [trees[i] for i in order]
    assert [density.predict([own])[0] for own in X] == trees
    assert clone(density).fit(X, y).predict(X).tolist() == trees
    assert clone(density).fit(X, y, np.full(len(X), 3)).predict(X).tolist() == trees
    numbers = np.random.default_rng(0).normal(size=(30, 4))
    found = ContextFreeGrammarDensity(3, max_iter=20, tol=1e-3, random_state=0).fit(numbers)
    assert found.predict(numbers[::-1]).tolist() == found.predict(numbers).tolist()[::-1]


def test_unknown_trees_are_found_by_known_ones():
    """Sentences without trees teach where a preposition belongs."""
    y = [*TREES[:3], None, None]
    density = ContextFreeGrammarDensity(alpha=0.1).fit(SENTENCES, y)
    assert (np.diff(density.lower_bounds_) > -1e-12).all()
    assert density.predict(SENTENCES[3:4])[0].startswith("(S (NP (DT the) (JJ old)")


def test_expectation_and_maximisation_never_lower_the_objective():
    texts = nested(40)
    letters = sorted(set("".join(texts)))
    codes = [np.array([letters.index(c) for c in text]) for text in texts]
    data = WeightedSentences.of(codes, np.ones(len(codes)))
    base = np.full(4, 0.25)
    rules = random_rules(4, 4, 5.0, base, np.random.default_rng(0))
    fit = fit_rules(rules, no_counts(rules), data, None, 0.5, base, 15, 0.0)
    assert (np.diff(fit.lower_bounds) > -1e-12).all()
    assert fit.lower_bounds[-1] > fit.lower_bounds[0] + 0.1
    # After each step the derivations end, and sequences are as long as those seen (Chi and Geman).
    np.testing.assert_allclose(partition_functions(fit.rules), 1, atol=1e-9)
    mean = np.arange(400) @ length_probabilities(fit.rules, 399)
    assert mean == pytest.approx(np.mean([len(text) for text in texts]), rel=1e-3)
    assert data.log_likelihood(Pairs(fit.rules)) > data.log_likelihood(Pairs(rules))


def test_nesting_is_learnt_without_trees():
    """What a chain of as many states cannot know: which bracket is to be closed."""
    texts, held_out = nested(300), nested(200, seed=1)
    grammar = ContextFreeGrammarDensity(
        6, n_init=2, max_iter=60, early_stopping=False, tol=1e-3, random_state=0
    ).fit(texts)
    chain = HiddenMarkovDensity(12, early_stopping=False, random_state=0).fit(texts)
    n = sum(map(len, held_out)) + len(held_out)
    assert grammar.score(held_out) / n > chain.score(held_out) / n + 0.05
    swapped = [text.translate(str.maketrans("]>", ">]")) for text in held_out]
    assert grammar.score(held_out) > grammar.score(swapped) + 2 * len(held_out)
    assert len(grammar.lower_bounds_) == grammar.n_iter_ + 1


def as_rules(chain, words):
    """Write a hidden Markov model as a grammar all of whose left children are leaves."""
    n = len(chain.start)
    state, after = np.indices((n, n)).reshape(2, -1)
    return Rules(
        np.append(chain.start, np.zeros(n)),
        state,
        n + state,
        after,
        ((1 - chain.stop)[:, None] * chain.transition).ravel(),
        np.arange(2 * n),
        np.tile(words, (2, 1)),
        np.append(chain.stop, np.ones(n)),
    )


def test_a_right_linear_grammar_is_a_hidden_markov_model():
    texts = [*nested(100), "", ""]
    chain = HiddenMarkovDensity(3, max_iter=5, early_stopping=False, tol=0.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        chain.fit(texts)
        grammar = ContextFreeGrammarDensity(1, max_iter=1).fit(texts)
    grammar._rules = as_rules(chain._chain, chain.tables_[0])
    grammar._symbols = [Symbol((f"{k}",)) for k in range(6)]
    grammar.empty_probability_ = chain.empty_probability_
    X = [*texts, "[<]>", "[[[[[[[[", "[]" * 30]
    np.testing.assert_allclose(grammar.score_samples(X), chain.score_samples(X), rtol=1e-10)
    for mine, its in zip(grammar.score_steps(X), chain.score_steps(X), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-10)


@pytest.mark.parametrize("length", ["stop", "given"])
@pytest.mark.parametrize("handle_unknown", ["impossible", "rare"])
def test_all_sequences_sum_to_one(length, handle_unknown):
    X = ["a", "ab", "abb", "aabb", "", "b", "c"]
    density = ContextFreeGrammarDensity(
        3, max_iter=3, length=length, handle_unknown=handle_unknown, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(X)
    symbols = "abc" if handle_unknown == "impossible" else "abc?"
    every = [["".join(s) for s in product(symbols, repeat=n)] for n in range(5)]
    for n, texts in enumerate(every):
        steps = density.score_steps(texts)
        scores = density.score_samples(texts)
        np.testing.assert_allclose([own.sum() for own in steps], scores, atol=1e-10)
        total = np.exp(scores).sum()
        if length == "given":
            assert total == pytest.approx(1, rel=1e-10)
        else:
            # Those of this length, and those that begin so and go on.
            begun = [np.exp(own[:-1].sum()) for own in steps]
            shorter = sum(np.exp(density.score_samples(part)).sum() for part in every[:n])
            assert np.sum(begun) == pytest.approx(1 - shorter, rel=1e-9)
    assert density.empty_probability_ == pytest.approx(1 / 7)
    assert np.isneginf(density.score_samples(["a?"])[0]) == (handle_unknown == "impossible")


def test_steps_of_tables_are_given_their_number():
    table = np.array([list("abab"), list("abba"), list("bbaa"), list("abab")], dtype=object)
    density = ContextFreeGrammarDensity(3, max_iter=20, tol=1e-2, random_state=0).fit(table)
    rows = np.array(list(product("ab", repeat=4)), dtype=object)
    assert np.exp(density.score_samples(rows)).sum() == pytest.approx(1, rel=1e-10)
    np.testing.assert_allclose(
        density.score_steps(rows).sum(axis=1), density.score_samples(rows), atol=1e-10
    )
    assert density.sample(5, random_state=0).shape == (5, 4)


def test_impossible_steps_end_what_is_known():
    density = fitted(alpha=0.0, glue=0.0)
    (steps,) = density.score_steps([["the", "dog", "the", "dog"]])
    assert np.isfinite(steps[:2]).all()
    assert np.isneginf(steps[2])
    np.testing.assert_array_equal(steps[3:], 0)


def test_draws_follow_the_density_and_end():
    density = fitted()
    drawn = density.sample(4000, random_state=0)
    assert np.isfinite(density.score_samples(drawn[:200])).all()
    counts = pd.Series([" ".join(row) for row in drawn]).value_counts()
    counts = counts[counts > 20]
    expected = 4000 * np.exp(density.score_samples([key.split() for key in counts.index]))
    observed = np.append(counts.to_numpy(), 4000 - counts.sum())
    assert stats.chisquare(observed, np.append(expected, 4000 - expected.sum())).pvalue > 1e-3
    mean = np.mean([len(row) for row in drawn])
    assert mean == pytest.approx(density.expected_length_, rel=0.1)
    assert density.sample(3, random_state=1) == density.sample(3, random_state=1)


@pytest.mark.parametrize(
    "name",
    ["list of strings", "tuples of words", "polars, lists", "arrays", "array", "frame of pandas"],
)
def test_containers(name):
    X = CONTAINERS[name]
    density = ContextFreeGrammarDensity(2, max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(X)
    drawn = density.sample(10, random_state=0)
    assert type(drawn) is type(X)
    scores = density.score_samples(drawn)
    np.testing.assert_allclose([part.sum() for part in density.score_steps(drawn)], scores)
    assert len(density.predict(drawn)) == 10
    twin = set_fitted_state(ContextFreeGrammarDensity(2), fitted_state(density))
    np.testing.assert_array_equal(twin.score_samples(drawn), scores)
    assert twin.predict(drawn).tolist() == density.predict(drawn).tolist()


def test_what_is_no_tree_is_ignored_or_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density = ContextFreeGrammarDensity(2, max_iter=2, random_state=0)
        same = density.fit(SENTENCES, [0, 1, 0, 1, 0]).score_samples(SENTENCES)
        np.testing.assert_array_equal(density.fit(SENTENCES).score_samples(SENTENCES), same)
        np.testing.assert_array_equal(
            density.fit(SENTENCES, [None] * 5).score_samples(SENTENCES), same
        )
    before = vars(density).copy()
    for y, message in (
        (TREES[0], "y is a single tree"),
        (TREES[:2], "y has 2 entries, X has 5"),
        ([["DT", "NN", "VB"], *TREES[1:]], "for sequence 0; it should be a tree"),
        (["dog", *TREES[1:]], "the tree of sequence 0 in y begins with 'dog'"),
        ([*TREES[:4], "(S x)"], "the tree of sequence 4 in y has the leaf 'x'"),
        (np.zeros((5, 2)), r"for sequence 0; it should be a tree"),
        (pd.DataFrame({"a": TREES, "b": TREES}), r"for sequence 0; it should be a tree"),
        ([("S", np.array(["the", "dog"]), "barks"), *TREES[1:]], r"has the leaf array\("),
        ([(None, *SENTENCES[0]), *TREES[1:]], "has a node whose label is None"),
    ):
        with pytest.raises(ValueError, match=message):
            density.fit(SENTENCES, y)
        assert vars(density) == before
    for y in ((tree for tree in TREES), map(str, TREES), set(TREES), dict.fromkeys(TREES)):
        with pytest.raises(TypeError, match=r"hand in list\(y\)"):
            density.fit(SENTENCES, y)
    with pytest.raises(ValueError, match="steps of X have 2 columns"):
        density.fit([np.zeros((3, 2))])


def test_searches_split_trees_with_sequences():
    search = GridSearchCV(ContextFreeGrammarDensity(alpha=0.1), {"markov_order": [0, 1]}, cv=2)
    X, y = SENTENCES * 4, TREES * 4
    search.fit(X, y)
    assert search.best_estimator_.predict(X[:1])[0] == TREES[0]
    detector = DensityOutlierDetector(search.best_estimator_).fit(X)
    assert len(detector.explain(X[:2])) == 2


def test_improbable_lengths_do_not_underflow():
    density = ContextFreeGrammarDensity(1, length="given").fit(["a", "ab"], None, [1e6, 1])
    text = "a" * 70
    score = density.score_samples([text])[0]
    # Given their number the words are independent.
    assert score == pytest.approx(70 * np.log(density._rules.words[0, 0]), rel=1e-9)
    assert score == pytest.approx(density.score_steps([text])[0].sum(), rel=1e-9)
    drawn = density._rules.draw_of_lengths(np.array([70, 3]), np.random.default_rng(0))
    assert len(drawn) == 73


def test_draws_have_lengths_that_the_grammar_derives():
    X, y = [["a", "b"], ["a", "b", "c"]], ["(S (A a) (B b))", None]
    with pytest.warns(UserWarning, match="1 distinct sequence"):
        density = ContextFreeGrammarDensity(glue=0.0, length="given").fit(X, y)
    assert {len(row) for row in density.sample(20, random_state=0)} == {2}


def test_trees_of_single_words_are_a_grammar():
    density = ContextFreeGrammarDensity(glue=0.0, alpha=0.0).fit([["a"], ["b"]], ["(S a)", "(S b)"])
    np.testing.assert_allclose(density.score_samples([["a"], ["b"]]), np.log(0.5))
    assert density.predict([["a"], ["a", "b"]]).tolist() == ["(S a)", None]


def test_validation_sequences_that_cannot_be_derived_are_left_out():
    """Without smoothing a sequence with a word of its own is impossible in any fit without it."""
    density = ContextFreeGrammarDensity(
        2, alpha=0.0, early_stopping=True, max_iter=6, tol=0.0, random_state=0
    )
    own = [["a", "b", f"w{i}"] for i in range(10)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(own)
        assert density.validation_scores_ is None
        assert density.n_iter_ == 6
        assert np.isfinite(density.score_samples(own)).all()
        density.set_params(validation_fraction=0.5).fit([*own[:5], *map(list, product("ab", "ab"))])
    assert np.isfinite(density.validation_scores_).all()


def test_sequences_that_the_grammar_of_trees_does_not_derive_are_told():
    y = [*TREES[:3], None, None, None]
    X = [*SENTENCES, ["dog", "the"]]
    with pytest.warns(UserWarning, match=r"does not derive 2 distinct sequence\(s\)"):
        density = ContextFreeGrammarDensity(glue=0.0).fit(X, y)
    assert np.isfinite(density.lower_bounds_).all()
    derived = ContextFreeGrammarDensity(glue=0.0).fit(X[:4], y[:4], schema=density.schema_)
    np.testing.assert_allclose(density.root_probabilities_, derived.root_probabilities_)


@pytest.mark.parametrize("length", ["stop", "given"])
def test_leaves_without_a_label_are_their_words(length):
    """They are parts of the rule, and no words are more probable by smoothing."""
    X = ["ab", "aabb", "aaabbb", "ab"]
    y = ["(S a b)", "(S a (S a b) b)", "(S a (S a (S a b) b) b)", None]
    density = ContextFreeGrammarDensity(glue=0.0, length=length, max_iter=3, tol=0.1).fit(X, y)
    assert density._rules.words.shape == (0, 2)
    odd = ["ba", "aa", "bbaa", "abb"]
    assert np.isneginf(density.score_samples(odd)).all()
    assert density.predict(odd).tolist() == [None] * 4
    assert density.predict(X).tolist() == [*y[:3], "(S a b)"]
    scores = density.score_samples(["ab", "aabb"])
    # A root, or a node below, is the last one four times of seven.
    expected = np.log(4 / 7) + np.array([0, np.log(3 / 7)]) if length == "stop" else 0
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    for text, score in zip(("ab", "aabb"), scores, strict=True):
        assert density.score_steps([text])[0].sum() == pytest.approx(score, abs=1e-12)
    assert np.isfinite(density.score_samples(density.sample(20, random_state=0))).all()
    glued = ContextFreeGrammarDensity(length=length).fit(X[:3], y[:3])
    assert np.isfinite(glued.score_samples(odd)).all()


def test_an_unknown_word_may_be_any_to_what_follows():
    density = fitted()
    (steps,) = density.score_steps([["the", "zebra", "barks"]])
    assert np.isneginf(steps[1])
    known = [density.score_steps([["the", word, "barks"]])[0] for word in ("dog", "cat")]
    assert min(own[2] for own in known) - 1 < steps[2] < max(own[2] for own in known) + 1
    assert (
        density.predict([["the", "zebra", "barks"]])[0]
        == "(S (NP (DT the) (NN zebra)) (VP (VB barks)))"
    )


def test_left_corners_are_inverted_once(monkeypatch):
    density, calls, inv = fitted(), [], np.linalg.inv
    monkeypatch.setattr(np.linalg, "inv", lambda matrix: calls.append(0) or inv(matrix))
    density.score_steps(SENTENCES)
    assert len(calls) == 1
