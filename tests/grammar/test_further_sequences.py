"""Grammars that take further sequences: trees as in one fit, and sums over all parses where there are none."""

import warnings
from collections import Counter

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm import ContextFreeGrammarDensity
from sklearn_dgm.chunks import _sampling
from tests.chunks.tables import Parts
from tests.grammar.test_grammar import SENTENCES, TREES, nested, words_in
from tests.grammar.toys import all_parses

# Of known words, with further symbols and rules.
FURTHER = [
    "(Q (DT the) (NN dog))",
    "(S (NP (DT the) (NN cat)) (VP (VB sings) (Q (DT a) (NN bird) with)))",
    "(S (NP (DT the) (NN dog)) (VP (VB barks)))",
]
FURTHER_SENTENCES = [
    ["the", "dog"],
    ["the", "cat", "sings", "a", "bird", "with"],
    words_in(TREES[0]),
]


@pytest.mark.parametrize("glue", [0.0, 2.0])
def test_trees_are_counted_as_all_at_once(glue):
    density = ContextFreeGrammarDensity(alpha=0.5, glue=glue)
    weight = np.array([1.0, 2.0, 0.0])
    whole = clone(density).fit(
        SENTENCES + FURTHER_SENTENCES, TREES + FURTHER, sample_weight=[1] * len(TREES) + [*weight]
    )
    counted = clone(density).partial_fit(SENTENCES, TREES)
    assert "Q" not in counted.symbols_
    counted.partial_fit(FURTHER_SENTENCES, FURTHER, sample_weight=weight)
    np.testing.assert_array_equal(counted.symbols_, whole.symbols_)
    assert counted.n_rules_ == whole.n_rules_
    for name in ("root", "p", "words", "emits"):
        np.testing.assert_allclose(
            getattr(counted._rules, name), getattr(whole._rules, name), rtol=1e-12
        )
    every = SENTENCES + FURTHER_SENTENCES
    np.testing.assert_allclose(counted.score_samples(every), whole.score_samples(every))


def without_trees():
    density = ContextFreeGrammarDensity(
        3, alpha=0.0, max_iter=3, early_stopping=False, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return density.partial_fit(["", *nested(40)])


def uses(spans, words):
    """What one derivation uses: its root, rules and words, from spans of which each stands before its parts."""
    used, spans, words = Counter({("root", spans[0][0]): 1}), iter(spans), iter(words)

    def symbol_below():
        symbol, length = next(spans)
        if length == 1:
            used["word", symbol, next(words)] += 1
        else:
            used["rule", symbol, symbol_below(), symbol_below()] += 1
        return symbol

    symbol_below()
    return used


def test_sequences_without_trees_add_what_all_parses_use():
    density, further, weight = without_trees(), ["[]", "[<>]", ""], np.array([3.0, 0.5, 2.0])
    rules, before = density._rules, density._expected
    letters = list(density.schema_.columns_[0].categories)
    total = expected_uses(rules, letters, dict(zip(further[:2], weight, strict=False)))
    root = before.root + [total["root", k] for k in range(3)]
    keys = zip(rules.parent, rules.left, rules.right, strict=True)
    of_rules = before.rules + [total["rule", a, b, c] for a, b, c in keys]
    of_words = before.words + [
        [total["word", k, word] for word in range(len(letters))] for k in rules.emitters
    ]
    n_empty = density.empty_probability_ * 41
    density.partial_fit(further, sample_weight=weight)
    of_parents = np.bincount(rules.parent, of_rules, 3)
    of_parents[rules.emitters] += of_words.sum(axis=1)
    np.testing.assert_allclose(density.root_probabilities_, root / root.sum())
    np.testing.assert_allclose(density._rules.p, of_rules / of_parents[rules.parent])
    np.testing.assert_allclose(
        density._rules.words, of_words / of_words.sum(axis=1, keepdims=True), atol=1e-12
    )
    assert density.empty_probability_ == pytest.approx((n_empty + 2) / (41 + 5.5))


def expected_uses(rules, letters, weights):
    """What all parses of texts use, by weight."""
    total = Counter()
    for text, weight in weights.items():
        words = tuple(map(letters.index, text))
        found, p = all_parses(rules, words)
        for spans, share in zip(found, weight * p / p.sum(), strict=True):
            for key, count in uses(spans, words).items():
                total[key] += share * count
    return total


def test_passes_over_chunks_come_to_what_all_parses_use(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 30)
    X = ["", *(text for text in nested(300) if len(text) <= 4), ""]
    density = ContextFreeGrammarDensity(
        2, alpha=0.0, max_iter=500, tol=1e-7, early_stopping=False, random_state=0
    ).fit(Parts(X, 40))
    rules, letters = density._rules, list(density.schema_.columns_[0].categories)
    total = expected_uses(rules, letters, Counter(filter(None, X)))
    root = np.array([total["root", k] for k in range(2)])
    of_rules = np.array(
        [
            total["rule", a, b, c]
            for a, b, c in zip(rules.parent, rules.left, rules.right, strict=True)
        ]
    )
    of_words = np.array([[total["word", k, word] for word in range(4)] for k in rules.emitters])
    of_parents = np.bincount(rules.parent, of_rules, 2)
    of_parents[rules.emitters] += of_words.sum(axis=1)
    for mine, theirs in [
        (rules.root, root / root.sum()),
        (rules.p, of_rules / of_parents[rules.parent]),
        (rules.words, of_words / of_words.sum(axis=1, keepdims=True)),
    ]:
        np.testing.assert_allclose(mine, theirs, atol=2e-3)
    filled = list(filter(None, X))
    log_p = density.score(filled) - len(filled) * np.log1p(-density.empty_probability_)
    np.testing.assert_allclose(density.lower_bounds_[-1], log_p / sum(map(len, X)))
    assert density.empty_probability_ == pytest.approx(1 - len(filled) / len(X))
    assert (np.diff(density.lower_bounds_) > -1e-12).all()
    assert density.converged_


def test_how_chunks_are_cut_is_no_matter(monkeypatch):
    X, weight = nested(120), np.arange(120) % 3.0
    density = ContextFreeGrammarDensity(3, max_iter=3, tol=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        whole, few = (clone(density).fit(of, sample_weight=weight) for of in (X, Parts(X, 50)))
    np.testing.assert_array_equal(few.score_samples(X), whole.score_samples(X))
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 40)
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        one, other = (clone(density).fit(Parts(X, n), sample_weight=weight) for n in (7, 120))
    np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), rtol=1e-9)
    np.testing.assert_array_equal(one._words, whole._words)
    assert vars(one).keys() == vars(whole).keys()
    assert one.partial_fit(X)._words.sum() == pytest.approx(whole._words.sum() + sum(map(len, X)))


def test_trees_are_of_sequences_in_memory():
    density = ContextFreeGrammarDensity().fit(SENTENCES, TREES)
    before = vars(density).copy()
    with pytest.raises(ValueError, match="y has trees of sequences in memory"):
        density.fit(Parts(SENTENCES, 2), TREES)
    assert vars(density) == before


def test_an_unknown_word_may_be_any():
    unknown, known = without_trees(), without_trees()
    texts = [f"[{letter}" for letter in "[]<>"]
    p = np.exp(known.score_samples(texts))
    known.partial_fit(texts, sample_weight=p / p.sum())
    unknown.partial_fit(["[?"])
    for name in ("root", "p", "words", "emits"):
        np.testing.assert_allclose(
            getattr(unknown._rules, name), getattr(known._rules, name), atol=1e-12
        )
    # A tree with such a word is none that is known.
    of_trees = ContextFreeGrammarDensity().partial_fit(SENTENCES, TREES)
    alike = clone(of_trees).partial_fit(SENTENCES, TREES)
    of_trees.partial_fit([["the", "fish"]], ["(NP (DT the) (NN fish))"])
    alike.partial_fit([["the", "fish"]])
    np.testing.assert_array_equal(of_trees._rules.p, alike._rules.p)


def test_trees_after_none_are_refused():
    density = without_trees()
    before = density.score_samples(["[]"])
    with pytest.raises(ValueError, match="y has trees, but the first call had none"):
        density.partial_fit(["[]"], ["(S [ ])"])
    np.testing.assert_array_equal(density.score_samples(["[]"]), before)


def test_sequences_without_trees_learn_from_the_trees_of_others():
    density = ContextFreeGrammarDensity(alpha=0.0, glue=0.0).partial_fit(SENTENCES, TREES)
    with pytest.warns(UserWarning, match=r"does not derive 1 distinct sequence\(s\)"):
        density.partial_fit([["the", "dog", "sings"], ["sings", "the"]])
    counts = density._expected
    assert counts.root.sum() == pytest.approx(1)
    assert counts.words.sum() == pytest.approx(3)
    density.partial_fit(FURTHER_SENTENCES, FURTHER)
    assert density._expected.rules.sum() == pytest.approx(2)
    assert "Q" in density.symbols_
