"""Picture of the graph of a Bayesian network."""

import re
from bisect import bisect_right, insort
from itertools import groupby, pairwise
from statistics import fmean

import numpy as np
from sklearn.isotonic import isotonic_regression
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm.base import last_step

# Lengths are in points.
FONT_SIZE, PADDING = 9, 5
BOX_GAP, EDGE_GAP, PART_GAP = 14, 9, 24
EDGE_WIDTHS = (0.75, 3.25)
# Longer labels are wrapped, if possible where a word ends.
MAX_LABEL_LENGTH = 16
# A layer is as wide as this, or as the number of nodes needs for a picture that is not much higher than wide.
MIN_ROOM, ROOM_PER_WIDTH = 700, 120
# Layers are further apart where edges reach far to the side.
LAYER_GAPS, LAYER_GAP_PER_REACH = (30, 100), 0.2
# Edges that share a side of a box are so far apart, if it is long enough.
PORT_GAP = 9
# How far an edge leans at a box: 0 is vertical, 0.5 straight to the other end.
LEAN = 0.4
# Parts of the graph are arranged in so much more width than height.
ASPECT = 2
MIN_SIZE, MAX_SIZE, MAX_COLORBAR = (250, 180), 30 * 72, 4 * 72

N_SWEEPS, N_PLACEMENTS = 24, 100
# Larger graphs are not legible anyway, and swapping neighbours takes time.
MAX_SWAPPED = 3000
# Weights of edges without a bend, with one end that is a bend, and between two bends.
STRAIGHTNESS = np.array([1, 3, 8])
# At this distance an edge without a bend pulls as it would if its weight were not kept.
SLACK = 20

CMAP, LINE_COLOR = "copper_r", "0.45"
NODE_COLORS = {"table": "#d5e5f2", "network": "#fddcc0", None: "#eeeeee"}


def _wrap(label):
    """A label in lines of similar length."""
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


def _depths(graph, widths):
    """Layer of each node, below its parents; layers that would be wide are divided."""
    import networkx as nx

    order = list(nx.topological_sort(graph))
    height = {}  # length of the longest path that starts at a node
    for node in reversed(order):
        height[node] = max((height[child] + 1 for child in graph.succ[node]), default=0)
    room = max(MIN_ROOM, np.sqrt(ROOM_PER_WIDTH * sum(widths.values())))
    depths, used, waiting = {}, [], order
    while waiting:
        ready = [v for v in waiting if all(parent in depths for parent in graph.pred[v])]
        used.append(0.0)
        layer = []
        # First those on which long paths depend.
        for node in sorted(ready, key=height.get, reverse=True):
            if not layer or used[-1] + widths[node] <= room:
                layer.append(node)
                used[-1] += widths[node] + BOX_GAP
        depths |= dict.fromkeys(layer, len(used) - 1)
        waiting = [node for node in waiting if node not in depths]
    # Lower is better where it shortens the edges.
    for node in reversed(order):
        if graph.out_degree(node) > graph.in_degree(node):
            lowest = min(depths[child] for child in graph.succ[node]) - 1
            fitting = [k for k in range(lowest, depths[node], -1) if used[k] + widths[node] <= room]
            if fitting:
                used[depths[node]] -= widths[node] + BOX_GAP
                used[fitting[0]] += widths[node] + BOX_GAP
                depths[node] = fitting[0]
    return depths


def _chain(parent, child, depths):
    """Nodes of the way from parent to child; in each layer between them the edge has a bend (parent, child, layer)."""
    bends = [(parent, child, k) for k in range(depths[parent] + 1, depths[child])]
    return [parent, *bends, child]


def _layers(graph, widths):
    """Nodes of each layer, and the graph with bends as nodes, in which edges lead to the next layer only."""
    import networkx as nx

    depths, proper = _depths(graph, widths), nx.DiGraph()
    layers = [[] for _ in range(max(depths.values()) + 1)]
    for node in graph:
        layers[depths[node]].append(node)
    for parent, child in graph.edges:
        chain = _chain(parent, child, depths)
        for bend in chain[1:-1]:
            layers[bend[2]].append(bend)
        nx.add_path(proper, chain)
    proper.add_nodes_from(graph)
    return layers, proper


def _n_inversions(values):
    """Number of pairs of which the first is larger than the second."""
    seen, count = [], 0
    for value in values:
        count += len(seen) - bisect_right(seen, value)
        insort(seen, value)
    return count


def _n_crossings(layers, proper, place):
    return sum(
        _n_inversions(
            [place[child] for node in layer for child in sorted(proper.succ[node], key=place.get)]
        )
        for layer in layers
    )


def _swap_neighbours(layer, proper, place):
    """Exchange neighbours in a layer where fewer edges cross so."""

    def n_crossings(left, right):
        return sum(
            place[i] > place[j]
            for side in (proper.pred, proper.succ)
            for i in side[left]
            for j in side[right]
        )

    for i in range(len(layer) - 1):
        left, right = layer[i : i + 2]
        if n_crossings(left, right) > n_crossings(right, left):
            layer[i : i + 2] = right, left
            place[left], place[right] = place[right], place[left]


def _ordered(layers, proper):
    """Layers with their nodes in an order in which few edges cross.

    Up and down again, each layer is sorted by the mean place of the neighbours (the method of barycentres).
    """
    place = {}

    def set_places(layer):
        # From 0 to 1, so that nodes with neighbours go among those without.
        place.update((node, (i + 0.5) / len(layer)) for i, node in enumerate(layer))

    for layer in layers:
        set_places(layer)
    best, fewest = layers, np.inf
    for sweep in range(N_SWEEPS):
        neighbours, step = (proper.succ, -1) if sweep % 2 == 0 else (proper.pred, 1)
        layers = [list(layer) for layer in layers]
        for layer in layers[::step]:
            mean = {v: fmean(place[u] for u in neighbours[v] or [v]) for v in layer}
            layer.sort(key=mean.get)
            set_places(layer)
            if len(place) <= MAX_SWAPPED:
                _swap_neighbours(layer, proper, place)
        n_crossings = _n_crossings(layers, proper, place)
        if n_crossings < fewest:
            best, fewest = layers, n_crossings
        # After both directions.
        if not fewest and sweep:
            break
    return best


def _abscissae(layers, proper, widths):
    """Where each node stands in its layer: near its neighbours, long edges straight, no overlaps.

    Layer by layer, the weighted squared distances to the neighbours are minimised: apart from the room that nodes take,
    this is an isotonic regression. Where an edge bends, the weight is the inverse of the last distance, so that in the
    end distances are absolute, which leaves few bends.
    """
    nodes = [node for layer in layers for node in layer]
    index = {node: i for i, node in enumerate(nodes)}
    is_bend = np.array([node not in widths for node in nodes])

    def ends(layer, neighbours):
        pairs = [(index[node], index[other]) for node in layer for other in neighbours[node]]
        mine, other = np.array(pairs, dtype=int).reshape(-1, 2).T
        return mine, other, is_bend[mine].astype(int) + is_bend[other]

    x, blocks = np.zeros(len(nodes)), []
    for layer in layers:
        block = slice(index[layer[0]], index[layer[0]] + len(layer))
        half = np.array([widths.get(node, 0) / 2 for node in layer])
        gap = np.where(is_bend[block][1:] | is_bend[block][:-1], EDGE_GAP, BOX_GAP)
        room = np.concatenate([[0], np.cumsum(half[1:] + half[:-1] + gap)])
        x[block] = room - room[-1] / 2
        blocks.append((block, room, (ends(layer, proper.pred), ends(layer, proper.succ))))
    for k in range(N_PLACEMENTS if len(layers) > 1 else 0):
        step = 1 if k % 2 == 0 else -1
        before = x.copy()
        for block, room, (above, below) in blocks[::step]:
            # Looking back only, the first rounds take a change through all layers at once.
            sides = ((above,), (below,))[k % 2] if k < N_PLACEMENTS // 4 else (above, below)
            mine, other, n_bends = (np.concatenate(side) for side in zip(*sides, strict=True))
            distance = np.where(n_bends, np.maximum(np.abs(x[mine] - x[other]), 1), SLACK)
            pull = STRAIGHTNESS[n_bends] / distance
            # What nothing pulls at stays where it is.
            total = 1e-6 + np.bincount(mine - block.start, pull, len(room))
            wanted = 1e-6 * x[block] + np.bincount(mine - block.start, pull * x[other], len(room))
            offset = isotonic_regression(wanted / total - room, sample_weight=total)
            x[block] = offset + room
        if k > N_PLACEMENTS // 4 and np.abs(x - before).max() < 0.1:
            break
    return dict(zip(nodes, x.tolist(), strict=True))


def _ports(nodes, neighbours, x, widths):
    """Where edges meet their box: side by side in the order of their other ends."""
    ports = {}
    for node in nodes:
        others = sorted(neighbours[node], key=x.get)
        gap = min(PORT_GAP, 0.8 * widths[node] / max(len(others), 1))
        for i, other in enumerate(others):
            ports[node, other] = x[node] + (i - (len(others) - 1) / 2) * gap
    return ports


def _lay_out(graph, sizes):
    """Boxes (left, bottom, width, height) of the nodes of a connected graph, and the corners of its edges.

    The corners are where an edge enters and leaves the space between two layers; between them the edge is vertical.
    """
    widths = {node: width for node, (width, _) in sizes.items()}
    layers, proper = _layers(graph, widths)
    layers = _ordered(layers, proper)
    x = _abscissae(layers, proper, widths)
    low, high, y = [], [], 0.0
    for layer in layers:
        # Boxes of one height leave edges between layers alone.
        height = max((sizes[node][1] for node in layer if node in sizes), default=0)
        high.append(y)
        low.append(y - height)
        reach = max((abs(x[v] - x[child]) for v in layer for child in proper.succ[v]), default=0)
        y -= height + np.clip(LAYER_GAP_PER_REACH * reach, *LAYER_GAPS)
    boxes = {
        node: (x[node] - widths[node] / 2, low[k], widths[node], high[k] - low[k])
        for k, layer in enumerate(layers)
        for node in layer
        if node in sizes
    }
    depths = {node: k for k, layer in enumerate(layers) for node in layer}
    leave, enter = (_ports(graph, side, x, widths) for side in (proper.succ, proper.pred))
    routes = {}
    for parent, child in graph.edges:
        routes[parent, child] = [
            corner
            for u, v in pairwise(_chain(parent, child, depths))
            for corner in (
                (leave.get((u, v), x[u]), low[depths[u]]),
                (enter.get((v, u), x[v]), high[depths[v]]),
            )
        ]
    return boxes, routes


def _corners(boxes, routes):
    """Corners of boxes and of edges, of shape (n_corners, 2)."""
    of_boxes = [
        corner
        for x, y, width, height in boxes.values()
        for corner in ((x, y), (x + width, y + height))
    ]
    return np.array([*of_boxes, *(corner for route in routes.values() for corner in route)])


def _connected_parts(graph):
    """Graphs of the weakly connected components, nodes and edges in the order of the graph."""
    import networkx as nx

    parts, part_of = [], {}
    for nodes in nx.weakly_connected_components(graph):
        parts.append(nx.DiGraph())
        part_of |= dict.fromkeys(nodes, parts[-1])
    for node in graph:
        part_of[node].add_node(node)
    for parent, child in graph.edges:
        part_of[parent].add_edge(parent, child)
    return parts


def _lay_out_parts(graph, sizes):
    """As `_lay_out`, of a graph in parts, which stand side by side in rows, single nodes last."""

    def is_single(part):
        return len(part[0]) == 1

    laid_out = []
    for part in _connected_parts(graph):
        boxes, routes = _lay_out(part, {node: sizes[node] for node in part})
        corners = _corners(boxes, routes)
        laid_out.append((boxes, routes, corners[:, 0].min(), np.ptp(corners, axis=0) + PART_GAP))
    laid_out.sort(key=lambda part: (is_single(part), -part[-1][1]))

    all_boxes, all_routes, right, next_y = {}, {}, MIN_SIZE[0], 0.0
    for _, group in groupby(laid_out, is_single):
        group = list(group)
        area = sum(size.prod() for *_, size in group)
        right = max(right, np.sqrt(ASPECT * area), *(size[0] for *_, size in group))
        x, y = 0.0, next_y
        for boxes, routes, left, (width, height) in group:
            if x + width > right:
                x, y = 0.0, next_y
            if x == 0:
                next_y = y - height
            dx, dy = x - left, y
            all_boxes |= {v: (a + dx, b + dy, *size) for v, (a, b, *size) in boxes.items()}
            all_routes |= {e: [(a + dx, b + dy) for a, b in route] for e, route in routes.items()}
            x += width
    return all_boxes, all_routes


def _curve(route):
    """Path along the corners of an edge, which bends between layers and is straight within them."""
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

    def __init__(self, graph):
        self.graph = graph

    @classmethod
    def from_estimator(cls, estimator, *, min_strength=0.0, cmap=CMAP, ax=None):
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

    def plot(self, ax=None, *, min_strength=0.0, cmap=CMAP):
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
        boxes, routes = _lay_out_parts(shown, self._draw_labels())
        corners = _corners(boxes, routes)
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
