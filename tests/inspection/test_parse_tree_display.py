"""The picture of a tree shows its nodes, above what they consist of."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklearn_dgm import ContextFreeGrammarDensity, HistogramDensity, ParseTreeDisplay
from tests.grammar.test_grammar import SENTENCES, TREES
from tests.grammar.test_trees import Tree


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def density():
    return ContextFreeGrammarDensity(alpha=0.1).fit(SENTENCES, TREES)


def test_it_shows_the_tree(density):
    display = ParseTreeDisplay.from_estimator(density, SENTENCES[1])
    assert display.tree == density.predict(SENTENCES[1:2], form="tuples")[0]
    assert [leaf.get_text() for leaf in display.leaves_] == SENTENCES[1]
    labels = [label.get_text() for label in display.labels_]
    assert labels == [part[1:] for part in TREES[1].split() if part.startswith("(")]
    assert len(display.lines_) == len(display.labels_) + len(display.leaves_) - 1
    x, y = np.array([leaf.get_position() for leaf in display.leaves_]).T
    assert (np.diff(x) > 0).all()
    assert len(set(y)) == 1
    # The axes point downwards.
    assert max(label.get_position()[1] for label in display.labels_) < y[0]
    root = display.labels_[0].get_position()
    assert root[1] == 0
    assert x[0] < root[0] < x[-1]


@pytest.mark.parametrize("wide", [True, False])
def test_nothing_overlaps(wide):
    name = "A long label above a short word" if wide else "X"
    tree = ("S", (name, "a"), ("B", (name, "b"), (name, "c d e f g h i j k l m n o p q r s t")))
    display = ParseTreeDisplay(tree).plot()
    display.figure_.draw_without_rendering()
    boxes = [text.get_window_extent() for text in display.labels_ + display.leaves_]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    inside = display.figure_.bbox
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)


def test_it_draws_on_given_axes(density):
    _, ax = plt.subplots()
    display = ParseTreeDisplay.from_estimator(density, SENTENCES[0], ax=ax)
    assert display.ax_ is ax
    assert len(plt.get_fignums()) == 1


def test_forms_of_trees_are_drawn_alike(density):
    tree = density.predict(SENTENCES[:1])[0]
    tuples = density.predict(SENTENCES[:1], form="tuples")[0]
    objects = Tree(
        "S",
        [
            Tree("NP", [Tree("DT", ["the"]), Tree("NN", ["dog"])]),
            Tree("VP", [Tree("VB", ["barks"])]),
        ],
    )
    pictures = [ParseTreeDisplay(form).plot() for form in (tuples, tree, objects)]
    for display in pictures[1:]:
        for kind in ("labels_", "leaves_"):
            mine, first = getattr(display, kind), getattr(pictures[0], kind)
            assert [(t.get_text(), t.get_position()) for t in mine] == [
                (t.get_text(), t.get_position()) for t in first
            ]
    for odd in ("(S a", "(S a))", "(S a) (S b)", "a", ""):
        with pytest.raises(ValueError, match="not one tree whose brackets match"):
            ParseTreeDisplay(odd).plot()
    with pytest.raises(TypeError, match="tree should be a tree in brackets"):
        ParseTreeDisplay(["S", "a"]).plot()


def test_what_cannot_be_drawn_is_said(density):
    with pytest.raises(TypeError, match="HistogramDensity is no grammar"):
        ParseTreeDisplay.from_estimator(HistogramDensity().fit([[0.0], [1.0]]), [0.0])
    with pytest.raises(ValueError, match="the sequence has no tree to draw"):
        ParseTreeDisplay.from_estimator(density, [])
