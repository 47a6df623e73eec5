"""Bayesian networks for other libraries."""

import numpy as np

from sklearn_dgm.bayes_net._inference import Values
from sklearn_dgm.counts.axes import CategoryAxis

# Entries of a table at most.
MAX_ENTRIES = 2**20


def to_pgmpy(columns, adjacency, axes, inference):
    """Return a network of tables as pgmpy's; see :meth:`sklearn_dgm.BayesianNetworkDensity.to_pgmpy`.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    axes : list of {CategoryAxis, NumberAxis}
        Cells of the columns.
    inference : Inference
        What knows the conditionals.

    Returns
    -------
    network : pgmpy.models.DiscreteBayesianNetwork
        The network.
    """
    try:
        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.models import DiscreteBayesianNetwork
    except ImportError as error:
        raise ImportError(
            "to_pgmpy needs pgmpy; install it with: pip install 'sklearn-dgm[pgmpy]'"
        ) from error
    network, labels = DiscreteBayesianNetwork(), [column.label for column in columns]
    network.add_nodes_from(labels)
    network.add_edges_from((labels[i], labels[j]) for i, j in np.argwhere(adjacency))
    names = {
        column.label: state_names(column, axis) for column, axis in zip(columns, axes, strict=True)
    }
    for j, label in enumerate(labels):
        parents = np.flatnonzero(adjacency[:, j]).tolist()
        p = _probabilities(j, parents, columns, axes, inference)
        network.add_cpds(
            TabularCPD(
                label,
                axes[j].n_levels,
                p.reshape(axes[j].n_levels, -1),
                evidence=[labels[i] for i in parents] or None,
                evidence_card=[axes[i].n_levels for i in parents] or None,
                state_names={labels[i]: names[labels[i]] for i in (j, *parents)},
            )
        )
    network.check_model()
    return network


def _probabilities(j, parents, columns, axes, inference):
    """Return the probabilities of a column's cells, on the first axis, given those of its parents, on the others."""
    family = [j, *parents]
    sizes = [axes[i].n_levels for i in family]
    if np.prod([float(size) for size in sizes]) > MAX_ENTRIES:
        raise ValueError(
            f"The table of {columns[j].where} would have {np.prod([float(s) for s in sizes]):.3g} entries."
        )
    if j in inference.tables:
        return np.exp(inference.tables[j].log_mass(*np.indices(sizes)))
    for i in family:
        if not (isinstance(axes[i], CategoryAxis) or axes[i].is_one_each):
            raise ValueError(
                f"A network computes the conditional of {columns[j].where}, and {columns[i].where} holds numbers "
                "that no table can tell apart; set conditional='table'."
            )
    states = {
        i: Values(axes[i], axes[i].icdf_within(np.arange(axes[i].n_levels), 0.5)) for i in family
    }
    scope = tuple(sorted(family))
    log_p = inference.network_factor(scope, [j], states, np.zeros((1, len(columns))))[0]
    p = np.exp(log_p.transpose([scope.index(i) for i in family]))
    return p / p.sum(axis=0)  # whole numbers beyond the fitted range are left out


def state_names(column, axis):
    """Return names of the cells of a column.

    Parameters
    ----------
    column : Column
        What the schema knows of it.
    axis : {CategoryAxis, NumberAxis}
        Its cells.

    Returns
    -------
    names : list
        Categories, whole numbers, or intervals as strings.
    """
    if isinstance(axis, CategoryAxis):
        is_time = column.categories.dtype.kind in "mM"
        return (column.categories.astype(str) if is_time else column.categories).tolist()
    text = column.clock.text if column.clock else "{:.6g}".format
    if axis.is_one_each:
        values = column.decoded(axis.edges[:-1] + 0.5)
        return values.tolist() if column.clock is None else [text(value) for value in values]
    edges = [text(edge) for edge in axis.edges * column.scale + column.location]
    lower = ["(-inf", *(f"[{edge}" for edge in edges[1:-1])]
    upper = [*(f"{edge})" for edge in edges[1:-1]), "inf)"]
    atoms = [] if column.atoms is None else [text(atom) for atom in column.atoms]
    return atoms + [f"{low}, {high}" for low, high in zip(lower, upper, strict=True)]
