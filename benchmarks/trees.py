"""Distributions over tables of codes: independent columns, and the Chow-Liu tree.

C. Chow, C. Liu, "Approximating discrete probability distributions with dependence trees", IEEE Transactions on
Information Theory 14 (1968), https://doi.org/10.1109/TIT.1968.1054142
"""

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree


class CodeTables:
    """Smoothed one- and two-column tables of a matrix of codes.

    A pseudo-count `alpha` is spread evenly over the cells of each two-column table, and so over those of each column:
    the tables agree with each other, and every cell has a probability above zero.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows, n_columns)
        Codes from 0 in each column.
    n_levels : sequence of int
        Number of codes of each column.
    alpha : float
        Pseudo-count, in rows.
    """

    def __init__(self, codes, n_levels, alpha):
        n_levels = np.asarray(n_levels)
        self.starts = np.append(0, np.cumsum(n_levels)[:-1])
        one_hot = np.zeros((len(codes), n_levels.sum()), dtype=np.float32)
        np.put_along_axis(one_hot, codes + self.starts, 1, axis=1)
        share = np.repeat(1 / n_levels, n_levels)
        total = len(codes) + alpha
        # Whole numbers below 2**24 are exact in float32.
        pairs = (one_hot.T @ one_hot).astype(np.float64)
        self.log_pairs = np.log((pairs + alpha * np.outer(share, share)) / total)
        self.log_singles = np.log((pairs.diagonal() + alpha * share) / total)

    def mutual_information(self):
        """Mutual information of each two columns, in nats; the diagonal has no meaning."""
        terms = np.exp(self.log_pairs)
        terms *= self.log_pairs - self.log_singles[:, None] - self.log_singles
        return np.add.reduceat(np.add.reduceat(terms, self.starts, axis=0), self.starts, axis=1)


class Independent:
    """Columns that know nothing of each other.

    Parameters
    ----------
    codes, n_levels, alpha
        As for :class:`CodeTables`.
    """

    def __init__(self, codes, n_levels, alpha=1.0):
        counts = [np.bincount(c, minlength=k) for c, k in zip(codes.T, n_levels, strict=True)]
        self.log_tables = [np.log((c + alpha / len(c)) / (c.sum() + alpha)) for c in counts]

    def log_prob(self, codes):
        """Log-probability of each row."""
        return sum(table[c] for table, c in zip(self.log_tables, codes.T, strict=True))


class ChowLiuTree:
    """The tree over the columns that maximises the likelihood of the smoothed tables.

    Parameters
    ----------
    codes, n_levels, alpha
        As for :class:`CodeTables`.

    Attributes
    ----------
    parents : ndarray of int, shape (n_columns,)
        Parent of each column; -1 for the root, column 0.
    """

    def __init__(self, codes, n_levels, alpha=1.0):
        self.tables = CodeTables(codes, n_levels, alpha)
        self.parents = maximum_spanning_tree(self.tables.mutual_information())

    def log_prob(self, codes):
        """Log-probability of each row: that of its edges over those of their upper ends."""
        cells = codes + self.tables.starts
        children = np.flatnonzero(self.parents >= 0)
        upper = cells[:, self.parents[children]]
        edges = self.tables.log_pairs[upper, cells[:, children]] - self.tables.log_singles[upper]
        return self.tables.log_singles[cells[:, 0]] + edges.sum(axis=1)


def maximum_spanning_tree(weights):
    """Parents in the spanning tree of the largest total weight, rooted at 0.

    Parameters
    ----------
    weights : ndarray of shape (n, n)
        Symmetric weights; the diagonal is left out.

    Returns
    -------
    parents : ndarray of int, shape (n,)
        -1 for the root.
    """
    # All costs are positive, since SciPy takes a zero for an edge that is not there.
    costs = weights.max() + 1 - weights
    np.fill_diagonal(costs, 0)
    tree = minimum_spanning_tree(costs)
    _, parents = breadth_first_order(tree, 0, directed=False)
    return np.where(parents < 0, -1, parents)


def best_pseudo_count(model, train, valid, n_levels, alphas=(0.1, 1.0, 10.0)):
    """Return a model of codes, with the pseudo-count that is best for the validation rows.

    Parameters
    ----------
    model : {Independent, ChowLiuTree}
        Class of the model.
    train, valid : ndarray of int
        Codes.
    n_levels : sequence of int
        Number of codes of each column.
    alphas : sequence of float
        Pseudo-counts to choose from.

    Returns
    -------
    best : object
        The model, fitted to the training rows.
    score : float
        Mean log-probability of the validation rows.
    alpha : float
        The pseudo-count.
    """
    fitted = [(model(train, n_levels, alpha), alpha) for alpha in alphas]
    scores = [tree.log_prob(valid).mean() for tree, _ in fitted]
    best = int(np.argmax(scores))
    return fitted[best][0], scores[best], fitted[best][1]
