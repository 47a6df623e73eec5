"""Layout of a directed graph in layers: places of boxes and routes of edges, so that every edge points down."""

from bisect import bisect_right, insort
from itertools import groupby, pairwise
from statistics import fmean

import numpy as np
from sklearn.isotonic import isotonic_regression

# Lengths are in points.
BOX_GAP, EDGE_GAP, PART_GAP = 14, 9, 24
# Pictures are so large at least.
MIN_SIZE = (250, 180)
# A layer is as wide as this, or as the number of nodes needs for a picture that is not much higher than wide.
MIN_ROOM, ROOM_PER_WIDTH = 700, 120
# Layers are further apart where edges reach far to the side.
LAYER_GAPS, LAYER_GAP_PER_REACH = (30, 100), 0.2
# Edges that share a side of a box are so far apart, if it is long enough.
PORT_GAP = 9
# Parts of the graph are arranged in so much more width than height.
ASPECT = 2
N_SWEEPS, N_PLACEMENTS = 24, 100
# Larger graphs are not legible anyway, and swapping neighbours takes time.
MAX_SWAPPED = 3000
# Weights of edges without a bend, with one end that is a bend, and between two bends.
STRAIGHTNESS = np.array([1, 3, 8])
# At this distance an edge without a bend pulls as it would if its weight were not kept.
SLACK = 20


def _depths(graph, widths):
    """Return the layer of each node, below its parents; layers that would be wide are divided."""
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
    """List the nodes from parent to child, with a bend (parent, child, layer) in each layer between them."""
    bends = [(parent, child, k) for k in range(depths[parent] + 1, depths[child])]
    return [parent, *bends, child]


def _layers(graph, widths):
    """Return the nodes of each layer, and the graph with bends as nodes, whose edges lead to the next layer only."""
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
    """Count the pairs of which the first is larger than the second."""
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
    """Order the nodes of each layer so that few edges cross.

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
    """Place each node in its layer: near its neighbours, long edges straight, no overlaps.

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
    """Return where edges meet their box: side by side in the order of their other ends."""
    ports = {}
    for node in nodes:
        others = sorted(neighbours[node], key=x.get)
        gap = min(PORT_GAP, 0.8 * widths[node] / max(len(others), 1))
        for i, other in enumerate(others):
            ports[node, other] = x[node] + (i - (len(others) - 1) / 2) * gap
    return ports


def _lay_out(graph, sizes):
    """Lay out a connected graph: boxes (left, bottom, width, height) of nodes, and corners of edges.

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


def corners_of(boxes, routes):
    """Return the corners of boxes, and points of routes.

    Parameters
    ----------
    boxes, routes : dict
        As :func:`lay_out_parts` gives them.

    Returns
    -------
    points : ndarray of shape (n_points, 2)
        In points.
    """
    of_boxes = [
        corner
        for x, y, width, height in boxes.values()
        for corner in ((x, y), (x + width, y + height))
    ]
    return np.array([*of_boxes, *(corner for route in routes.values() for corner in route)])


def _connected_parts(graph):
    """Return the weakly connected components, nodes and edges in the order of the graph."""
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


def lay_out_parts(graph, sizes):
    """Lay out a graph in parts, which stand side by side in rows, single nodes last.

    Parameters
    ----------
    graph : networkx.DiGraph
        The graph, without cycles.
    sizes : dict
        Width and height of the box of each node, in points.

    Returns
    -------
    boxes : dict
        The box of each node: left, bottom, width and height.
    routes : dict
        The points that each edge goes through, from its parent to its child.
    """

    def is_single(part):
        return len(part[0]) == 1

    laid_out = []
    for part in _connected_parts(graph):
        boxes, routes = _lay_out(part, {node: sizes[node] for node in part})
        corners = corners_of(boxes, routes)
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
