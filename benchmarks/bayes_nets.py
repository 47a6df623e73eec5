"""Held-out log-likelihood of Bayesian networks with learnt graphs: masked networks beside tables.

Tables and splits are those of `likelihood`. All are fitted to training and validation rows together; nothing is set but
what is named, and random_state.

network           structure="learn", conditional="network"
table             the graph that was learnt for the first, with conditional="table"
auto              the same graph, with conditional="auto"
Chow-Liu, tables  structure="chow-liu", conditional="table"

The time of the first has the search for the graph in it. Binary tables have the first and the last alone.
"""

import warnings
from functools import partial
from pathlib import Path

from sklearn.exceptions import ConvergenceWarning

from benchmarks import likelihood
from benchmarks.peers import Fitted, Peer, both_parts
from benchmarks.results import Results
from sklearn_dgm import BayesianNetworkDensity

NETWORK, TABLE, AUTO, TREE = "network", "table", "auto", "Chow-Liu, tables"
PEERS = {"mixed": (NETWORK, TABLE, AUTO, TREE), "binary": (NETWORK, TREE)}
MAX_ROWS = {"mixed": 5000, "binary": None}


def add_arguments(parser):
    parser.add_argument("--suite", choices=list(PEERS), required=True, help="kind of tables")
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as titanic")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of split and fit")
    parser.add_argument(
        "--max-rows", type=int, help=f"rows of a table at most; of mixed ones {MAX_ROWS['mixed']}"
    )


def run(args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results(f"bayes_nets_{args.suite}", args.results)
    args.max_rows = args.max_rows or MAX_ROWS[args.suite]
    for split in likelihood.SPLITS[args.suite](args):
        if split.only_ours:
            continue
        shared = SharedGraph()
        for name in PEERS[args.suite]:
            fit = fit_tree if name == TREE else partial(shared.fit, name)
            likelihood.measure(results, split, Peer(name, "sklearn-dgm", fit), NETWORK)


class SharedGraph:
    """Fits to one split, on the graph that the first of them learns."""

    def __init__(self):
        self.structure = "learn"

    def fit(self, conditional, train, valid, seed):
        """Fit conditionals of one kind; see :class:`~benchmarks.peers.Peer`."""
        density = BayesianNetworkDensity(
            self.structure, conditional=conditional, random_state=seed
        ).fit(both_parts(train, valid))
        self.structure = density.graph_
        return as_fitted(density)


def fit_tree(train, valid, seed):
    density = BayesianNetworkDensity("chow-liu", conditional="table", random_state=seed)
    return as_fitted(density.fit(both_parts(train, valid)))


def as_fitted(density):
    kinds = [kind for _, kind in density.graph_.nodes(data="conditional")]
    figures = {
        "edges": density.graph_.number_of_edges(),
        "tables": kinds.count("table"),
        "parameters": density.n_params_,
    }
    return Fitted(density.score_samples, figures=figures)
