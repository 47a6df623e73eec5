"""Grammars beside NLTK's."""

import numpy as np
import pytest

from sklearn_dgm import ContextFreeGrammarDensity
from tests.grammar.test_grammar import SENTENCES, TREES, words_in

nltk = pytest.importorskip("nltk")


def test_inside_chart_finds_as_much():
    trees = [
        *TREES[:3],
        "(S (NP (DT a) (NN bird)) (VP (VB sees) (NP (NP (DT a) (NN cat)) (PP (P with) (NP (DT a) (NN dog))))))",
    ]
    density = ContextFreeGrammarDensity(alpha=0.0, glue=0.0).fit(
        [words_in(tree) for tree in trees], trees
    )
    grammar = density.to_nltk()
    sentence = ["the", "dog", "sees", "a", "cat", "with", "a", "bird"]
    parses = list(nltk.parse.pchart.InsideChartParser(grammar).parse(sentence))
    assert len(parses) == 2
    total = sum(tree.prob() for tree in parses)
    assert density.score_samples([sentence])[0] == pytest.approx(np.log(total), rel=1e-12)
    (best,) = nltk.ViterbiParser(grammar).parse(sentence)
    assert best.prob() == max(tree.prob() for tree in parses)
    expected = nltk.Tree.fromstring(density.predict([sentence])[0])
    assert best.leaves() == expected.leaves()
    pp = [tree.leaves() for tree in expected.subtrees() if tree.label() == "NP"]
    own = [tree.leaves() for tree in best.subtrees() if tree.label() == "NP"]
    assert pp == own


def test_its_trees_are_taken_and_read():
    trees = [nltk.Tree.fromstring(tree) for tree in TREES]
    density = ContextFreeGrammarDensity(alpha=0.1).fit(SENTENCES, trees)
    predicted = density.predict(SENTENCES)
    assert [nltk.Tree.fromstring(tree) for tree in predicted] == trees
    lazy = nltk.collections.LazyMap(nltk.Tree.fromstring, TREES)
    np.testing.assert_array_equal(
        ContextFreeGrammarDensity(alpha=0.1).fit(SENTENCES, lazy).score_samples(SENTENCES),
        density.score_samples(SENTENCES),
    )
    with pytest.raises(ValueError, match="y is a single tree"):
        density.fit(SENTENCES, trees[0])


@pytest.mark.parametrize(
    "trees",
    [
        ["(START (A a) (B b))", "(START' b a)"],
        ["(S (S+VP a) (X b))", "(S (S (VP a)) (Y b))"],
        ["(S a (X b))", "(S X (X b))"],
        ["(S (a c) (X b))", "(S a (X b))"],
        ["(S (X a) (A-B a) (C b))", "(S (X a) (A a) (B-C b))"],
    ],
)
def test_symbols_of_one_name_are_told_apart(trees):
    X = [words_in(tree) for tree in trees]
    density = ContextFreeGrammarDensity(alpha=0.0, glue=0.0, markov_order=2).fit(X, trees)
    assert len(set(density.symbols_)) == len(density.symbols_)
    parser = nltk.parse.pchart.InsideChartParser(density.to_nltk())
    for own in X:
        total = sum(tree.prob() for tree in parser.parse(own))
        assert density.score_samples([own])[0] == pytest.approx(np.log(total), rel=1e-12)


def test_numbers_are_no_words():
    density = ContextFreeGrammarDensity(2, random_state=0, tol=0.1).fit([[0.5, 1.5], [2.5]])
    with pytest.raises(ValueError, match="needs steps that are categories"):
        density.to_nltk()
