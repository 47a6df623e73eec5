"""Plain forms of generators, graphs, and of what estimators of scikit-learn hold."""

import sys

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import MetadataRequest

from sklearn_dgm._sklearn import estimator_of_scorer
from sklearn_dgm._state import FURTHER_KINDS, KINDS, Kind, check_attributes

GRAPHS = ("Graph", "DiGraph")
# Numbers of a state of MT19937; as many are drawn from it before the next state.
N_OF_MT19937 = 624
POOL_SIZE = np.random.SeedSequence(0).pool_size


def _kind_of_numpy(value):
    if type(value) is np.random.RandomState:
        of_legacy = value.get_state(legacy=False)["bit_generator"] == "MT19937"
        return "RandomState" if of_legacy else None
    if type(value) is np.random.Generator and type(value.bit_generator) is np.random.PCG64:
        seeds = value.bit_generator.seed_seq
        is_plain = type(seeds) is np.random.SeedSequence and seeds.pool_size == POOL_SIZE
        return "Generator" if is_plain else None
    return "MaskedArray" if type(value) is np.ma.MaskedArray else None


def _random_state(parts):
    [state] = parts
    key, position = state["state"]["key"], state["state"]["pos"]
    # NumPy reads memory beyond the key where a state says so.
    if key.shape != (N_OF_MT19937,) or not 0 <= position <= N_OF_MT19937:
        raise ValueError("a RandomState is in no state.")
    random_state = np.random.RandomState(0)
    random_state.set_state(state)
    return random_state


def _parts_of_generator(rng):
    seeds = rng.bit_generator.seed_seq
    return [
        rng.bit_generator.state,
        seeds.entropy,
        tuple(seeds.spawn_key),
        seeds.n_children_spawned,
    ]


def _generator(parts):
    state, entropy, key, n_spawned = parts
    seeds = np.random.SeedSequence(entropy, spawn_key=key, n_children_spawned=n_spawned)
    rng = np.random.Generator(np.random.PCG64(seeds))
    rng.bit_generator.state = state
    return rng


def _kind_of_networkx(value):
    nx = sys.modules.get("networkx")
    is_graph = nx and any(type(value) is getattr(nx, name) for name in GRAPHS)
    return type(value).__name__ if is_graph else None


def _parts_of_graph(graph):
    return [list(graph.nodes(data=True)), list(graph.edges(data=True)), graph.graph]


def _graph(name, parts):
    import networkx as nx

    nodes, edges, attributes = parts
    graph = getattr(nx, name)()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    graph.graph.update(attributes)
    return graph


def _kind_of_sklearn(value):
    if type(value) in (Bunch, MetadataRequest):
        return type(value).__name__
    if estimator_of_scorer(value) is not None:
        return "scorer"
    compose, neighbors = (sys.modules.get(f"sklearn.{name}") for name in ("compose", "neighbors"))
    if compose and type(value) is compose.make_column_selector:
        return "make_column_selector"
    is_kernels = neighbors and type(value) is neighbors.KernelDensity
    return "KernelDensity" if is_kernels and hasattr(value, "tree_") else None


def _scorer(parts):
    from sklearn.metrics import check_scoring

    return check_scoring(*parts)


def _column_selector(parts):
    from sklearn.compose import make_column_selector

    pattern, include, exclude = parts
    return make_column_selector(pattern, dtype_include=include, dtype_exclude=exclude)


def _parts_of_request(request):
    """Return what is asked of each method; whose it is is said in errors alone."""
    asked = {name: dict(of.requests) for name, of in vars(request).items() if name != "owner"}
    return [str(request.owner), asked]


def _request(parts):
    owner, asked = parts
    request = MetadataRequest(owner)
    for name, requests in asked.items():
        for param, alias in requests.items():
            vars(request)[name].add_request(param=param, alias=alias)
    return request


def _parts_of_kernel_density(density):
    held = dict(vars(density))
    tree = held.pop("tree_")
    weight = tree.sample_weight
    return [held, np.asarray(tree.data), None if weight is None else np.asarray(weight)]


def _kernel_density(parts):
    """Grow the tree anew, whose indices compiled code would trust: it follows from the rows."""
    from sklearn.neighbors import KernelDensity

    held, rows, weight = parts
    check_attributes(KernelDensity, held)
    density = KernelDensity()
    density.set_params(**{name: held[name] for name in density.get_params() if name in held})
    density.fit(rows, sample_weight=weight)
    vars(density).update(held)
    return density


KINDS |= {
    "RandomState": Kind(lambda of: [of.get_state(legacy=False)], _random_state),
    "Generator": Kind(_parts_of_generator, _generator),
    "MaskedArray": Kind(
        lambda of: [of.data, np.ma.getmaskarray(of)], lambda parts: np.ma.MaskedArray(*parts)
    ),
    "Graph": Kind(_parts_of_graph, lambda parts: _graph("Graph", parts)),
    "DiGraph": Kind(_parts_of_graph, lambda parts: _graph("DiGraph", parts)),
    "Bunch": Kind(lambda of: [dict(of)], lambda parts: Bunch(**parts[0])),
    "MetadataRequest": Kind(_parts_of_request, _request),
    "scorer": Kind(lambda of: [estimator_of_scorer(of)], _scorer),
    "make_column_selector": Kind(
        lambda of: [of.pattern, of.dtype_include, of.dtype_exclude], _column_selector
    ),
    "KernelDensity": Kind(_parts_of_kernel_density, _kernel_density),
}
FURTHER_KINDS += [_kind_of_numpy, _kind_of_networkx, _kind_of_sklearn]
