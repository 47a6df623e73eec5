"""Trees over columns."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree


def maximum_spanning_forest(weights):
    """Return the parents in the forest of the largest total weight, all of whose edges weigh more than zero.

    Parameters
    ----------
    weights : ndarray of shape (d, d)
        Symmetric weights; only those above the diagonal are read.

    Returns
    -------
    parents : ndarray of int, shape (d,)
        -1 for the roots, which are the smallest columns of their trees.
    """
    d = len(weights)
    # Older releases of SciPy walk along int32 indices alone.
    i, j = (indices.astype(np.int32) for indices in np.nonzero(np.triu(weights > 0, 1)))
    # Ranks are costs that differ, so that the answer does not depend on how SciPy breaks ties.
    rank = np.empty(len(i))
    rank[np.argsort(-weights[i, j], kind="stable")] = np.arange(1, len(i) + 1)
    forest = minimum_spanning_tree(sparse.csr_array((rank, (i, j)), shape=(d, d)))
    roots = np.unique(connected_components(forest, directed=False)[1], return_index=True)[1]
    # One walk from a node above all roots.
    edges = forest.tocoo()
    start = np.append(edges.row, np.full(len(roots), d, dtype=np.int32))
    end = np.append(edges.col, roots.astype(np.int32))
    tree = sparse.csr_array((np.ones(len(start)), (start, end)), shape=(d + 1, d + 1))
    parents = breadth_first_order(tree, d, directed=False)[1][:d]
    return np.where(parents == d, -1, parents).astype(int)


def roots_first(parents):
    """Return the columns of a forest, parents before children.

    Parameters
    ----------
    parents : ndarray of int, shape (d,)
        Parent of each column, -1 for the roots.

    Returns
    -------
    order : list of int
        The columns.
    """
    children = [[] for _ in parents]
    for j, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(j)
    order = np.flatnonzero(parents < 0).tolist()
    for j in order:
        order.extend(children[j])
    return order
