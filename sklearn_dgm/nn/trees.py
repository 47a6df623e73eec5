"""Categories given the one parent that says most of them, as in the tree of Chow and Liu (1968)."""

import numpy as np


class Trees:
    """Conditionals of columns of categories, each given its best parent.

    Parameters
    ----------
    inputs : TableInputs
        How a network sees the columns.
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    moments : Moments
        What the rows say.
    """

    def __init__(self, inputs, adjacency, moments):
        self._inputs, self._adjacency, self._moments = inputs, adjacency, moments

    def logits(self, j):
        """Return the logits of the outcomes of a column; see :class:`~sklearn_dgm.nn.simple.SimpleConditionals`."""
        log_p = np.log(self._moments.marginals[j])
        parent = self.best_parent(j)
        if parent is None:
            return np.zeros(0, dtype=int), np.zeros((len(log_p), 0)), log_p
        variables, at = self._inputs.variables, self._inputs.features_at[parent]
        n_beside = len(log_p) - variables[j].n_levels  # the tails, which no row has
        if parent not in self._moments.block:
            return self._given_number(parent, j, log_p, n_beside)
        N = np.pad(self._joint(parent, j), ((0, 0), (0, n_beside)))
        table = np.log((N + np.exp(log_p)) / (N.sum(axis=1, keepdims=True) + 1))
        if variables[parent].n_features == 1:
            features = np.array([at.start])
            return features, (table[1:] - table[:1]).T / 2, table.mean(axis=0)
        return at.start + np.arange(len(table)), (table - log_p).T, log_p

    def _given_number(self, parent, j, log_p, n_beside):
        """Apply Bayes' rule to a normal of the same variance in each category."""
        feature = self._inputs.features_at[parent].start
        _, means = self._class_means(parent, j)
        means = np.append(means, np.zeros(n_beside))
        variance = self._moments.covariance[feature, feature]
        within = variance * max(1 - self._explained(parent, j), 0.01)
        slopes = means / within
        bias = log_p - slopes * self._moments.mean[feature] - means**2 / (2 * within)
        return np.array([feature]), slopes[:, None], bias

    def best_parent(self, j):
        """Return the parent with most mutual information, less that by chance; None without one."""
        n = np.diag(self._joint(j, j)).sum()
        candidates = np.array(list(self._moments.block) + self._inputs.numeric, dtype=int)
        gains = np.concatenate([self._gains_of_categories(j, n), self._gains_of_numbers(j, n)])
        is_parent = self._adjacency[candidates, j]
        if not is_parent.any() or gains[is_parent].max() <= 0:
            return None
        return candidates[is_parent][gains[is_parent].argmax()]

    def _joint(self, parent, j):
        """Return the joint counts of the categories of a parent (rows) and of a column."""
        return self._moments.counts[self._moments.block[parent], self._moments.block[j]]

    def _gains_of_categories(self, j, n):
        """Return for each column of categories the log-likelihood that it adds to column j."""
        counts, block = self._moments.counts, self._moments.block
        N = counts[:, block[j]]
        expected = np.diag(counts)[:, None] * np.diag(self._joint(j, j)) / n
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(N > 0, N * np.log(N / expected), 0).sum(axis=1)
        starts = [of_column.start for of_column in block.values()]
        n_levels = np.diff([*starts, len(N)])
        penalty = (n_levels - 1) * (N.shape[1] - 1) * np.log(max(n, 2)) / 2
        # A single category says nothing, whatever rounding makes of that.
        return np.where(n_levels > 1, np.add.reduceat(terms, starts) - penalty, -np.inf)

    def _gains_of_numbers(self, j, n):
        """Return for each column of numbers the log-likelihood that it adds to column j, by normals of one variance."""
        explained = np.array([self._explained(parent, j) for parent in self._inputs.numeric])
        gains = -n / 2 * np.log1p(-np.minimum(explained, 1 - 1e-6))
        n_levels = self._moments.block[j].stop - self._moments.block[j].start
        return gains - (n_levels - 1) * np.log(max(n, 2)) / 2

    def _class_means(self, parent, j):
        """Return the shares of the categories, and the means of a number in each, shrunk to its mean."""
        moments, feature = self._moments, self._inputs.features_at[parent].start
        counts, mean = np.diag(self._joint(j, j)), moments.mean[feature]
        means = (moments.sums[feature, moments.block[j]] + mean) / (counts + 1)
        return counts / counts.sum(), means - mean

    def _explained(self, parent, j):
        """Return the share of the variance of a number that lies between the categories of a column."""
        share, means = self._class_means(parent, j)
        feature = self._inputs.features_at[parent].start
        return share @ means**2 / self._moments.covariance[feature, feature]
