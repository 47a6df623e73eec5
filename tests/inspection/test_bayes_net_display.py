"""What the picture of a graph shows: places and sizes of the artists, in pixels."""

import subprocess
import sys
from itertools import combinations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import BayesianNetworkDensity, BayesianNetworkDisplay
from sklearn_dgm.inspection._bayes_net import _wrap

draw = BayesianNetworkDisplay.from_estimator

LONG_NAMES = (
    "a column whose name has many words",
    "onehot__category__with_a_long_value",
    "Supercalifragilisticexpialidocious",
    "$x^2$ price",
    "x",
    "",
    "Länge (cm)",
    "income.per.capita.of.households",
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def X():
    return load_iris(as_frame=True).data


@pytest.fixture(scope="module")
def density(X):
    return BayesianNetworkDensity("chow-liu", conditional="table").fit(X)


class Network(BaseEstimator):
    """An estimator that is given a graph."""

    def fit(self, X, y=None):
        self.graph_ = a_graph(["a", "b"])
        return self


def a_graph(nodes, max_parents=3, seed=0, conditionals=()):
    rng, graph = np.random.default_rng(seed), nx.DiGraph()
    for j, node in enumerate(nodes):
        graph.add_node(node)
        if conditionals:
            graph.nodes[node]["conditional"] = conditionals[j % len(conditionals)]
        for i in rng.permutation(j)[: rng.integers(max_parents + 1)]:
            graph.add_edge(nodes[i], node, strength=rng.exponential(0.2))
    return graph


def a_star(n_leaves):
    graph = nx.DiGraph()
    for j in range(n_leaves):
        graph.add_edge("class", f"feature {j}", strength=j / n_leaves)
    return graph


def extents(artists):
    return {key: artist.get_window_extent() for key, artist in artists.items()}


def overlap(a, b):
    return min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)


GRAPHS = {
    "one": nx.empty_graph(1, create_using=nx.DiGraph),
    "empty": nx.empty_graph(15, create_using=nx.DiGraph),
    "tree": a_graph(range(20), 1),
    "dense": a_graph(range(12), 4),
    "names": a_graph(LONG_NAMES, conditionals=("table", "network")),
    "star": a_star(15),
    "complete": a_graph(range(6), 6),
}


# What is where


def check_labels(display, boxes):
    """Labels are in boxes, which are in the axes and do not overlap."""
    labels, frame = extents(display.labels_), display.ax_.get_window_extent().padded(1)
    for node, box in boxes.items():
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1
        if display.labels_[node].get_text():
            box = box.padded(1)  # the size of a text is in whole pixels
            assert box.x0 <= labels[node].x0 < labels[node].x1 <= box.x1
            assert box.y0 <= labels[node].y0 < labels[node].y1 <= box.y1
    assert not any(overlap(a, b) for a, b in combinations(boxes.values(), 2))


def check_arrows(display, boxes):
    """Arrows lead downwards from box to box and around the others."""
    for (parent, child), arrow in display.arrows_.items():
        path = arrow.get_transform().transform_path(arrow.get_path())
        line = path.to_polygons(closed_only=False)[0]  # and then the head
        (x0, y0), (x1, y1) = line[0], line[-1]
        assert boxes[parent].x0 < x0 < boxes[parent].x1
        assert y0 == pytest.approx(boxes[parent].y0, abs=1)
        assert boxes[child].x0 < x1 < boxes[child].x1
        assert boxes[child].y1 < y1 < y0
        assert (np.diff(line[:, 1]) <= 1e-6).all()
        x, y = line.T
        for node in set(boxes) - {parent, child}:
            box = boxes[node]
            assert not ((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1)).any()


@pytest.mark.parametrize("is_given", [False, True], ids=["own figure", "given axes"])
@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_labels_and_arrows_are_in_their_places(name, is_given):
    graph = GRAPHS[name]
    display = BayesianNetworkDisplay(graph).plot(plt.figure().add_subplot() if is_given else None)
    display.figure_.draw_without_rendering()
    assert list(display.labels_) == list(graph)
    assert set(display.boxes_) == set(graph)
    assert set(display.arrows_) == set(graph.edges)
    boxes = extents(display.boxes_)
    check_labels(display, boxes)
    check_arrows(display, boxes)


def test_edges_of_a_tree_do_not_cross():
    tree = nx.DiGraph()
    tree.add_nodes_from("abcdef")
    # In the order of the columns they would.
    tree.add_edges_from(["ab", "ac", "be", "bf", "cd"], strength=0.1)
    x = {
        v: text.get_position()[0] for v, text in BayesianNetworkDisplay(tree).plot().labels_.items()
    }
    assert (x["b"] < x["c"]) == (x["e"] < x["d"]) == (x["f"] < x["d"])


def test_a_chain_is_straight():
    graph = nx.path_graph(5, create_using=nx.DiGraph)
    nx.set_edge_attributes(graph, 0.1, "strength")
    places = [text.get_position() for text in BayesianNetworkDisplay(graph).plot().labels_.values()]
    x, y = np.transpose(places)
    np.testing.assert_allclose(x, x[0], atol=0.1)
    assert (np.diff(y) < 0).all()


def test_nodes_alike_stand_in_the_order_of_the_columns():
    """And not in that of a set, which changes from run to run."""
    display = BayesianNetworkDisplay(a_star(6)).plot()
    x = [text.get_position()[0] for text in display.labels_.values()]
    assert (np.diff(x[1:]) > 0).all()


# Labels


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("capital_gain", ["capital_gain"]),
        ("worst fractal dimension", ["worst fractal", "dimension"]),
        ("onehot__category__with_a_long_value", ["onehot__", "category__", "with_a_long_value"]),
        ("Supercalifragilisticexpialidocious", ["Supercalifr", "agilisticex", "pialidocious"]),
        ("two\nlines", ["two lines"]),
        ("", [""]),
    ],
)
def test_labels_are_wrapped_and_never_cut(label, lines):
    wrapped = _wrap(label).split("\n")
    assert "".join(wrapped).replace(" ", "") == "".join(label.split())
    assert max(map(len, wrapped)) <= 16
    assert len(wrapped) == len(lines)


def test_columns_without_names_are_called_as_elsewhere(X):
    display = draw(BayesianNetworkDensity("empty", conditional="table").fit(X.to_numpy()))
    assert [text.get_text() for text in display.labels_.values()] == ["x0", "x1", "x2", "x3"]


# Strengths


def test_widths_and_colors_follow_the_strength():
    display = BayesianNetworkDisplay(GRAPHS["dense"]).plot(cmap="viridis")
    strengths = {edge: GRAPHS["dense"].edges[edge]["strength"] for edge in display.arrows_}
    order = sorted(strengths, key=strengths.get)
    widths = [display.arrows_[edge].get_linewidth() for edge in order]
    assert (np.diff(widths) > 0).all()
    assert widths[0] > 0
    share = np.sort([*strengths.values()]) / max(strengths.values())
    colors = matplotlib.colormaps["viridis"](np.sqrt(share))
    np.testing.assert_allclose([display.arrows_[edge].get_edgecolor() for edge in order], colors)
    assert display.colorbar_.ax.get_ylabel() == "strength (nats)"
    assert display.colorbar_.vmin == 0
    assert display.colorbar_.vmax == max(strengths.values())


def test_edges_of_no_strength_are_drawn():
    graph = nx.path_graph(4, create_using=nx.DiGraph)
    nx.set_edge_attributes(graph, 0.0, "strength")
    assert len(BayesianNetworkDisplay(graph).plot().arrows_) == 3


def test_min_strength_hides_the_weaker_edges():
    graph = GRAPHS["dense"]
    strengths = nx.get_edge_attributes(graph, "strength")
    limit = sorted(strengths.values())[len(strengths) // 2]
    display = BayesianNetworkDisplay(graph).plot(min_strength=limit)
    assert set(display.arrows_) == {edge for edge, s in strengths.items() if s >= limit}
    assert set(display.boxes_) == set(graph)
    assert display.graph is graph
    display = BayesianNetworkDisplay(graph).plot(min_strength=10)
    assert not display.arrows_
    assert display.colorbar_ is None


# Conditionals


def test_legend_tells_the_conditionals():
    graph = a_graph(range(6), conditionals=("table", "table", "network"))
    display = BayesianNetworkDisplay(graph).plot()
    assert [text.get_text() for text in display.legend_.get_texts()] == ["table", "network"]
    for text, patch in zip(display.legend_.get_texts(), display.legend_.get_patches(), strict=True):
        for node, conditional in graph.nodes.data("conditional"):
            is_same = display.boxes_[node].get_facecolor() == patch.get_facecolor()
            assert is_same == (conditional == text.get_text())


def test_legend_is_left_out_where_conditionals_are_not_told():
    display = BayesianNetworkDisplay(a_graph(range(6))).plot()
    assert display.legend_ is None
    assert len({box.get_facecolor() for box in display.boxes_.values()}) == 1


# Figures


def test_figure_is_as_large_as_the_graph_needs():
    small, large = (BayesianNetworkDisplay(a_graph(range(n))).plot() for n in (5, 40))
    for display in (small, large):
        for label in display.labels_.values():
            assert label.get_fontsize() == pytest.approx(9, abs=0.1)
    assert (large.figure_.get_size_inches() > small.figure_.get_size_inches()).all()


@pytest.mark.parametrize("place", ["axes", "subfigure"])
def test_given_axes_keep_their_figure(place):
    figure = plt.figure(figsize=(7, 4), layout="constrained")
    home = figure.subfigures(1, 2)[1] if place == "subfigure" else figure
    ax = home.add_subplot()
    display = BayesianNetworkDisplay(GRAPHS["dense"]).plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is home
    np.testing.assert_array_equal(figure.get_size_inches(), [7, 4])
    assert display.labels_[0].get_fontsize() < 9


def test_many_columns():
    display = BayesianNetworkDisplay(a_graph(range(100), 2)).plot()
    assert len(display.boxes_) == 100
    assert max(display.figure_.get_size_inches()) < 35


# Estimators


def test_graph_of_a_density(X, density):
    display = draw(density)
    assert display.graph is density.graph_
    assert set(display.arrows_) == set(density.graph_.edges)
    assert list(display.labels_) == list(X.columns)
    assert display.legend_ is not None
    assert draw(density, min_strength=0.4).arrows_.keys() < display.arrows_.keys()


def test_network_is_found_inside(X):
    for wrapped in (
        make_pipeline(StandardScaler(), Network()),
        GridSearchCV(Network(), {}, scoring=lambda *_: 0.0),
        make_pipeline("passthrough", make_pipeline(StandardScaler(), Network())),
    ):
        assert list(draw(wrapped.fit(X)).boxes_) == ["a", "b"]


def test_axes_are_handed_on(density):
    ax = plt.figure().add_subplot()
    assert draw(density, ax=ax).ax_ is ax


def test_nothing_to_draw(X):
    with pytest.raises(TypeError, match="KernelDensity is no Bayesian network: it has no graph_"):
        draw(make_pipeline(StandardScaler(), KernelDensity()).fit(X))
    with pytest.raises(NotFittedError):
        draw(BayesianNetworkDensity())


def test_matplotlib_is_asked_for():
    script = """
import sys
import sklearn_dgm.inspection as inspection
assert not {"torch", "matplotlib", "networkx"} & set(sys.modules)
sys.modules["matplotlib"] = None
try:
    inspection.BayesianNetworkDisplay.from_estimator(None)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "BayesianNetworkDisplay.from_estimator requires matplotlib" in run.stdout, run.stderr
