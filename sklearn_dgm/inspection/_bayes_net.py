"""Picture of the graph of a Bayesian network."""

import re
from itertools import pairwise
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm.inspection._layers import MIN_SIZE, corners_of, lay_out_parts
from sklearn_dgm.tags import last_step

# Lengths are in points.
FONT_SIZE, PADDING = 9, 5
EDGE_WIDTHS = (0.75, 3.25)
# Longer labels are wrapped, if possible where a word ends.
MAX_LABEL_LENGTH = 16
# How far an edge leans at a box: 0 is vertical, 0.5 straight to the other end.
LEAN = 0.4
CMAP, LINE_COLOR = "copper_r", "0.45"
NODE_COLORS = {"table": "#d5e5f2", "network": "#fddcc0", None: "#eeeeee"}
MAX_SIZE, MAX_COLORBAR = 30 * 72, 4 * 72


def _wrap(label):
    """Wrap a label into lines of similar length."""
    words = re.split(r"(?<=[\s_\-./:=,)])", " ".join(label.split()))
    pieces = []
    for word in words:
        n_pieces = -(-len(word) // MAX_LABEL_LENGTH)
        cuts = [len(word) * i // n_pieces for i in range(n_pieces + 1)] if word else []
        pieces += [word[start:stop] for start, stop in pairwise(cuts)]

    def filled(width):
        lines = [""]
        for piece in pieces:
            if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
        return [line.rstrip() for line in lines]

    n_lines = len(filled(MAX_LABEL_LENGTH))
    longest = max(map(len, pieces), default=0)
    candidates = map(filled, range(longest, MAX_LABEL_LENGTH + 1))
    return "\n".join(next(lines for lines in candidates if len(lines) <= n_lines))


def _curve(route):
    """Return the path along the corners of an edge, which bends between layers and is straight within them."""
    from matplotlib.path import Path

    vertices, codes = [route[0]], [Path.MOVETO]
    for k in range(0, len(route), 2):
        (x0, y0), (x1, y1) = route[k : k + 2]
        if k:
            vertices.append((x0, y0))
            codes.append(Path.LINETO)
        middle, dx = (y0 + y1) / 2, x1 - x0
        # At a bend the direction is vertical, at a box it leans towards the other end.
        first = x0 + (LEAN * dx if k == 0 else 0)
        second = x1 - (LEAN * dx if k == len(route) - 2 else 0)
        vertices += [(first, middle), (second, middle), (x1, y1)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


class BayesianNetworkDisplay:
    """The graph of a Bayesian network, with its edges by strength.

    Edges point downwards, from parents to children, and are the wider the stronger they are. Parts of the graph that no
    edge connects stand side by side, and single nodes at the foot.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    graph : networkx.DiGraph
        The graph, without cycles. Its nodes are labels of columns; each edge has a `strength`, not negative, in nats. A
        node may say by its attribute `conditional`, "table" or "network", what its conditional distribution is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure or SubFigure
        The figure.
    boxes_ : dict of matplotlib FancyBboxPatch
        The box of each node.
    labels_ : dict of matplotlib Text
        The label of each node.
    arrows_ : dict of matplotlib FancyArrowPatch
        The arrow of each edge that is shown, by its parent and child.
    colorbar_ : matplotlib Colorbar or None
        The colors of the strengths; None if no edge is shown.
    legend_ : matplotlib Legend or None
        The colors of the nodes; None if their conditionals are not told.

    See Also
    --------
    DensityDisplay : The density itself.
    TrainingDisplay : The log-likelihood in the course of training.

    Notes
    -----
    The strength of an edge is the mutual information of child and parent given the other parents of the child, as it is
    counted in few cells of each column. Widths and colors of the arrows follow its
    square root, which for a weak linear dependence is proportional to the correlation.

    A direction does not say what causes what.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import BayesianNetworkDensity, BayesianNetworkDisplay
    >>> X = load_iris(as_frame=True).data
    >>> density = BayesianNetworkDensity("chow-liu", conditional="table").fit(X)
    >>> display = BayesianNetworkDisplay.from_estimator(density)
    >>> len(display.boxes_), len(display.arrows_)
    (4, 3)
    >>> plt.close("all")
    """

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, min_strength: float = 0.0, cmap: str = CMAP, ax: Any = None
    ) -> Self:
        """Draw the graph of a fitted Bayesian network.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with a `graph_`, such as :class:`~sklearn_dgm.BayesianNetworkDensity`; or a
            :class:`~sklearn.pipeline.Pipeline` or a search that ends in one.
        min_strength : float, default=0.0
            Edges that are weaker are not shown.
        cmap : str or matplotlib Colormap, default="copper_r"
            Colors of the edges.
        ax : matplotlib Axes, default=None
            Axes to draw on, which the graph is made to fit; by default a new figure, as large as the graph needs.

        Returns
        -------
        display : BayesianNetworkDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator has no graph.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        estimator = last_step(estimator)
        if not hasattr(estimator, "graph_"):
            raise TypeError(
                f"{type(estimator).__name__} is no Bayesian network: it has no graph_ to draw."
            )
        return cls(estimator.graph_).plot(ax=ax, min_strength=min_strength, cmap=cmap)

    def plot(self, ax: Any = None, *, min_strength: float = 0.0, cmap: str = CMAP) -> Self:
        """Draw the graph.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, which the graph is made to fit; by default a new figure, as large as the graph needs.
        min_strength : float, default=0.0
            Edges that are weaker are not shown.
        cmap : str or matplotlib Colormap, default="copper_r"
            Colors of the edges.

        Returns
        -------
        display : BayesianNetworkDisplay
            The display, with its artists.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        import networkx as nx
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import PowerNorm

        has_own_figure = ax is None
        if has_own_figure:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        ax.set_axis_off()

        strengths = {
            (parent, child): strength
            for parent, child, strength in self.graph.edges.data("strength")
            if strength >= min_strength
        }
        shown = nx.DiGraph()
        shown.add_nodes_from(self.graph)
        shown.add_edges_from(strengths)
        boxes, routes = lay_out_parts(shown, self._draw_labels())
        corners = corners_of(boxes, routes)
        low, high = corners.min(axis=0) - PADDING, corners.max(axis=0) + PADDING
        if has_own_figure:
            size = np.maximum((high - low) * min(1, MAX_SIZE / max(high - low)), MIN_SIZE)
            self.figure_.set_size_inches(size / 72)
        else:
            size = self._size_of_axes()
        colors = ScalarMappable(PowerNorm(0.5, 0, max(strengths.values(), default=0) or 1), cmap)
        self.colorbar_ = self._draw_colorbar(colors, size[1]) if strengths else None
        self.legend_ = self._draw_legend()
        if has_own_figure:
            self._resize_axes(size)
        scale = self._set_limits(low, high)
        self._draw_boxes(boxes, scale)
        self._draw_arrows(routes, strengths, colors, scale)
        return self

    def _size_of_axes(self):
        self.figure_.canvas.figure.draw_without_rendering()  # which settles the layout
        return np.array(self.ax_.get_window_extent().size) / self.figure_.dpi * 72

    def _resize_axes(self, size):
        """Make the figure so large that colorbar and legend leave the axes this size."""
        for _ in range(2):
            missing = (size - self._size_of_axes()) / 72
            self.figure_.set_size_inches(self.figure_.get_size_inches() + missing)

    def _set_limits(self, low, high):
        """Show the corners from `low` to `high`, and give the scale at which they are shown."""
        size = self._size_of_axes()
        scale = min(1, *(size / (high - low)))
        left, bottom = (low + high - size / scale) / 2
        right, top = (low + high + size / scale) / 2
        self.ax_.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        return scale

    def _draw_colorbar(self, colors, height):
        return self.figure_.colorbar(
            colors,
            ax=self.ax_,
            label="strength (nats)",
            fraction=0.1,
            shrink=min(1, MAX_COLORBAR / height),
            anchor=(0, 1),
        )

    def _draw_legend(self):
        from matplotlib.patches import Patch

        told = set(dict(self.graph.nodes.data("conditional")).values())
        handles = [
            Patch(facecolor=color, edgecolor=LINE_COLOR, label=conditional)
            for conditional, color in NODE_COLORS.items()
            if conditional is not None and conditional in told
        ]
        if not handles:
            return None
        return self.ax_.legend(
            handles=handles,
            title="conditional",
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=len(handles),
            fontsize=FONT_SIZE,
            title_fontsize=FONT_SIZE,
        )

    def _draw_labels(self):
        """Write the labels, and give the size of the box that each needs."""
        self.labels_, sizes = {}, {}
        for node in self.graph:
            # As elsewhere, columns without a name are called x0, x1, ...
            label = node if isinstance(node, str) else f"x{node}"
            self.labels_[node] = text = self.ax_.text(
                0,
                0,
                _wrap(label),
                fontsize=FONT_SIZE,
                ha="center",
                va="center",
                linespacing=1.1,
                parse_math=False,
                clip_on=True,
                zorder=3,
            )
            extent = text.get_window_extent()
            size = np.array([extent.width, extent.height]) / self.figure_.dpi * 72
            sizes[node] = tuple(size + 2 * PADDING)
        return sizes

    def _draw_boxes(self, boxes, scale):
        from matplotlib.patches import FancyBboxPatch

        self.boxes_ = {}
        for node, (x, y, width, height) in boxes.items():
            self.boxes_[node] = box = FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle=f"round,pad=0,rounding_size={PADDING}",
                facecolor=NODE_COLORS[self.graph.nodes[node].get("conditional")],
                edgecolor=LINE_COLOR,
                linewidth=0.8 * scale,
                zorder=2,
            )
            self.ax_.add_patch(box)
            self.labels_[node].set(
                position=(x + width / 2, y + height / 2), fontsize=FONT_SIZE * scale
            )

    def _draw_arrows(self, routes, strengths, colors, scale):
        from matplotlib.patches import FancyArrowPatch

        self.arrows_ = {}
        # The strongest above the others.
        for edge in sorted(strengths, key=strengths.get):
            width = np.interp(colors.norm(strengths[edge]), (0, 1), EDGE_WIDTHS) * scale
            self.arrows_[edge] = arrow = FancyArrowPatch(
                path=_curve(routes[edge]),
                arrowstyle="-|>,head_length=0.5,head_width=0.25",
                mutation_scale=8 * scale + 2 * width,
                linewidth=width,
                color=colors.to_rgba(strengths[edge]),
                capstyle="butt",
                joinstyle="miter",
                zorder=1,
            )
            self.ax_.add_patch(arrow)
