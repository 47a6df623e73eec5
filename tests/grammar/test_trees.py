"""Trees: what is read, the rules that they are of, and the way back."""

import pytest

from sklearn_dgm.grammar._trees import (
    Symbol,
    as_tuples,
    built,
    productions,
    read_tree,
    read_trees,
    unique_names,
)

TREE = "(S (NP (DT the) (JJ old) (JJ grey) (NN dog)) (VP (VP (VB barks))))"
WORDS = ["the", "old", "grey", "dog", "barks"]


class Tree(list):
    """What nltk.Tree is: a list of children, with a label."""

    def __init__(self, label, children):
        super().__init__(children)
        self._label = label

    def label(self):
        return self._label


def names(tree, words, markov_order=1):
    """Return the rules of a tree by the names of symbols."""
    return [
        tuple(part if isinstance(part, int) else part.name for part in production)
        for production in productions(read_tree(tree, words), markov_order)
    ]


def test_further_children_hang_below_symbols_that_know_a_few_of_them():
    assert ("NP", "DT", "NP|<JJ>") in names(TREE, WORDS)
    assert ("NP|<JJ>", "JJ", "NP|<JJ>") in names(TREE, WORDS)
    assert ("NP|<JJ>", "JJ", "NN") in names(TREE, WORDS)
    assert {("NP", "DT", "NP|<>"), ("NP|<>", "JJ", "NP|<>"), ("NP|<>", "JJ", "NN")} == {
        rule
        for rule in names(
            "(NP (DT the) (JJ a) (JJ b) (JJ c) (NN d))", ["the", "a", "b", "c", "d"], 0
        )
        if len(rule) == 3
    }
    of_two = names(TREE, WORDS, 2)
    assert ("NP", "DT", "NP|<JJ-JJ>") in of_two
    assert ("NP|<JJ-JJ>", "JJ", "NP|<JJ-NN>") in of_two
    # A chain of nodes with one child each is one symbol.
    assert ("S", "NP", "VP+VP+VB") in of_two
    assert ("VP+VP+VB", 4) in of_two


@pytest.mark.parametrize(
    "tree",
    [
        ("S", ("NP", ("DT", "the"), ("NN", "dog")), ("VB", "barks")),
        Tree("S", [Tree("NP", [Tree("DT", ["the"]), Tree("NN", ["dog"])]), Tree("VB", ["barks"])]),
        " ( (S (NP (DT the)\n (NN dog))(VB barks) ) )",
    ],
    ids=["tuples", "objects", "brackets"],
)
def test_forms_of_trees_are_read_alike(tree):
    words = ["the", "dog", "barks"]
    expected = read_tree("(S (NP (DT the) (NN dog)) (VB barks))", words)
    assert read_tree(tree, words) == expected


def test_leaves_may_have_siblings_and_brackets_have_names():
    assert ("S", "a", "S|<S>") in names("(S a (S a b) b)", list("aabb"))
    assert names("(S (X -LRB-) (Y -SPACE-))", ["(", " "]) == names(
        "(S (X -LRB-) (Y s))", ["-LRB-", "s"]
    )


def test_derivations_are_built_as_trees():
    symbols = sorted(
        {
            part
            for p in productions(read_tree(TREE, WORDS), 1)
            for part in p
            if not isinstance(part, int)
        }
    )
    number = {symbol.name: k for k, symbol in enumerate(symbols)}
    spans = [("S", 0, 5), ("NP", 0, 4), ("DT", 0, 1), ("NP|<JJ>", 1, 3), ("JJ", 1, 1)]
    nodes = [(number[name], start, n) for name, start, n in spans]
    nodes += [(number["NP|<JJ>"], 2, 2), (number["JJ"], 2, 1), (number["NN"], 3, 1)]
    nodes += [(number["VP+VP+VB"], 4, 1)]
    expected = (
        "S",
        ("NP", ("DT", "the"), ("JJ", "old"), ("JJ", "grey"), ("NN", "dog")),
        ("VP", ("VP", ("VB", "barks"))),
    )
    assert built(nodes, symbols, WORDS, as_tuples) == expected


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("(S (NP the) (VP barks)", r"lacks 1 closing bracket"),
        ("(S (NP the) (VP barks)))", r"goes on after its end"),
        ("(S (NP the) (VP barks)) (S x)", r"goes on after its end"),
        ("barks", r"begins with 'barks'"),
        ("", r"is empty"),
        ("(S (NP) (VP the barks))", r"has a node 'NP' without children"),
        ("()", r"has a node '' without children"),
        ("(S (NP a) (VP barks))", r"has the leaf 'a' where the sequence has 'the'"),
        (
            "(S (NP the) (VP barks) (X now))",
            r"has the leaf 'now' where the sequence has no step more",
        ),
        ("(S the)", r"has 1 leaves, the sequence 2 steps"),
        (("a b", "the", "barks"), r"has the label 'a b'"),
        (("S", "the", ("X",)), r"has a node 'X' without children"),
        (("", "the", "barks"), r"has a node without a label that begins with the leaf 'the'"),
        (("S", ("", "the"), "barks"), r"has a node without a label that begins with the leaf"),
        (3, r"y has 3 for sequence 1; it should be a tree"),
    ],
)
def test_errors_name_the_sequence(tree, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_trees([None, tree], [["a"], ["the", "barks"]])
    assert "sequence 1" in str(raised.value)


def test_names_of_symbols_are_unique():
    symbols = [Symbol(("X",)), Symbol((), ("X",)), Symbol(("X#2",)), Symbol(("S", "V"))]
    symbols += [Symbol(("S+V",)), Symbol((), ("X",))]
    assert unique_names(symbols) == ["X", "X#3", "X#2", "S+V", "S+V#2", "X#4"]
    ahead = [Symbol(("S",), ("|", "A-B", "C")), Symbol(("S",), ("|", "A", "B-C"))]
    assert unique_names(ahead) == ["S|<A-B-C>", "S|<A-B-C>#2"]


def test_deep_trees_need_no_recursion():
    n = 5000
    tree = "(S a " * n + "(S a)" + ")" * n
    assert len(list(productions(read_tree(tree, ["a"] * (n + 1)), 1))) == 2 * n + 1
