"""From a directed acyclic graph over the columns to the masks of a network that computes its conditionals.

Every hidden unit is labelled with a column whose parents it may see. A connection exists where what the source has seen
is a subset of what the target may see, so a conditional depends on its parents and on nothing else. With the complete
graph this is MADE (Germain et al., 2015, https://arxiv.org/abs/1502.03509).
"""

import numpy as np


def complete_adjacency(order):
    """Return the adjacency matrix of the complete graph: every column depends on all that come before it.

    Parameters
    ----------
    order : array-like of shape (d,)
        A permutation of the columns.

    Returns
    -------
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    """
    position = np.argsort(order)
    return position[:, None] < position[None, :]


def topological_order(adjacency):
    """Return the columns of a graph in topological order: parents before their children.

    Parameters
    ----------
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.

    Returns
    -------
    order : list of int
        The columns.

    Raises
    ------
    ValueError
        If the graph has a cycle.
    """
    n_parents = adjacency.sum(axis=0)
    order, free = [], [int(j) for j in np.flatnonzero(n_parents == 0)]
    while free:
        parent = free.pop(0)
        order.append(parent)
        children = np.flatnonzero(adjacency[parent])
        n_parents[children] -= 1
        free += [int(j) for j in children if n_parents[j] == 0]
    if len(order) < len(adjacency):
        raise ValueError("The graph has a cycle.")
    return order


def steps_until_seen(adjacency):
    """Count the columns, in topological order, that must be known before all parents of each column are.

    Parameters
    ----------
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.

    Returns
    -------
    steps : ndarray of shape (d,)
        0 for columns without parents.
    """
    position = np.argsort(topological_order(adjacency))
    return np.where(adjacency, position[:, None] + 1, 0).max(axis=0)


def hidden_labels(adjacency, n_units, targets=None, has_context=False):
    """Spread hidden units evenly over the columns that have parents, or over all, if there is a context.

    Parameters
    ----------
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    n_units : int
        Number of hidden units of a layer.
    targets : list of int, default=None
        The columns that get units; None for all.
    has_context : bool, default=False
        Whether units see something beside the columns, so that those without parents have units, too.

    Returns
    -------
    labels : ndarray of shape (n_units,)
        For each unit the column whose parents it may see, sorted by `steps_until_seen`.
    """
    steps = steps_until_seen(adjacency)
    columns = np.argsort(steps, kind="stable")
    if targets is not None:
        columns = columns[np.isin(columns, targets)]
    if steps[columns].any() and not has_context:
        columns = columns[steps[columns] > 0]
    return columns[np.arange(n_units) * len(columns) // n_units]


def connections(adjacency, sources):
    """Mask from labelled hidden units to units of any label.

    Parameters
    ----------
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    sources : ndarray of shape (n_sources,)
        Labels of the units that the connections come from.

    Returns
    -------
    mask : ndarray of shape (n_sources, d)
        True where the parents of the source's label are all parents of the target's label.
    """
    # Counts the parents of the source that the target may not see.
    forbidden = adjacency.T.astype(np.float32) @ (~adjacency).astype(np.float32)
    return (forbidden == 0)[sources]
