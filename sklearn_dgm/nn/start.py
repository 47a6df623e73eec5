"""Where training starts: a simple density that has a closed form.

Numbers start from the Gaussian with a shrunk covariance, written as linear regressions on the parents; ordered levels
from its conditionals on the levels; categories from the table given the one parent that says most of them, as in the
tree of Chow and Liu (1968, https://doi.org/10.1109/TIT.1968.1054142); what is one of a few whole numbers, or has two values
beside numbers, from the better of the last two. Before its first gradient step the network IS that density, so it has to learn only what
it misses.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg, special

from sklearn_dgm.nn.heads import EmbeddedHead, MixtureHead
from sklearn_dgm.nn.made import MAX_LINEAR_FEATURES

# Standard deviations beyond which a value does not count as part of the bulk.
FAR_OUT = 10.0
# With more numbers than these, some of the rows give the covariance well enough.
MAX_NUMBERS = 2**25


def shrunk_covariance(F, sample_weight):
    """Covariance shrunk towards a multiple of the identity (Ledoit and Wolf, 2004), with weights.

    Parameters
    ----------
    F : ndarray of shape (n, p)
        Centred rows.
    sample_weight : ndarray of shape (n,)
        Weights; a weight of 2 counts as the row twice.

    Returns
    -------
    covariance : ndarray of shape (p, p)
        The shrunk covariance.
    """
    n, p = sample_weight.sum(), F.shape[1]
    S = (F * sample_weight[:, None]).T @ F / n
    mu = np.trace(S) / max(p, 1)  # there may be none
    distance = np.sum(S**2) - p * mu**2
    noise = (sample_weight @ np.sum(F**2, axis=1) ** 2 / n - np.sum(S**2)) / n
    shrinkage = min(noise / distance, 1.0) if distance > 0 else 1.0
    return (1 - shrinkage) * S + shrinkage * mu * np.eye(p)


class Moments(NamedTuple):
    """What a start needs to know of the rows; the order of the columns plays no part.

    Attributes
    ----------
    used : ndarray of int
        The features that the moments are of; those of very many categories are left out.
    mean : ndarray of shape (p,)
        Means of the features.
    covariance : ndarray of shape (p, p)
        Their shrunk covariance.
    marginals : dict of int to ndarray
        For each column with levels their smoothed shares; for one with atoms those of the atoms and of all that is none.
    counts : ndarray of shape (q, q)
        How often two categories occur together; the categories of a column stand side by side.
    block : dict of int to slice
        Where the categories of a column stand in `counts`.
    sums : ndarray of shape (p, q)
        Sums of the features over the rows of each category.
    """

    used: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    marginals: dict
    counts: np.ndarray
    block: dict
    sums: np.ndarray


@torch.no_grad()
def moments(module, Z, weight):
    """Means, covariances and counts from which any order of the columns can start.

    The Gaussian is that of the bulk: values far out count as if they stood at its edge, and some components of the
    mixtures start wide enough to reach them.

    Parameters
    ----------
    module : MADE
        A network for the columns.
    Z : Tensor of shape (n, d)
        Encoded rows.
    weight : ndarray of shape (n,)
        Weights of the rows.

    Returns
    -------
    moments : Moments
        For :func:`start_from`.
    """
    marginals = {
        j: _smoothed_shares(variable, Z[:, j], weight)
        for j, variable in enumerate(module.variables)
        if variable.n_levels or variable.atoms
    }
    every = slice(None, None, 1 + len(Z) * len(module.feature_label) // MAX_NUMBERS)
    Z, weight = Z[every], weight[every]
    # A covariance of very many categories would be large, and says little.
    is_used = [not module.variables[j].is_embedded for j in module.feature_label]
    used = np.flatnonzero(is_used)
    F = module.features(Z)[:, used].double().cpu().numpy()
    bulk = F.clip(-FAR_OUT, FAR_OUT)
    mean = np.average(bulk, axis=0, weights=weight)
    std = np.sqrt(np.average((bulk - mean) ** 2, axis=0, weights=weight))
    std[std < 1e-6] = 1.0  # constant, but for rounding and for rows with hardly any weight
    covariance = shrunk_covariance((bulk - mean) / std, weight)
    covariance[np.diag_indices_from(covariance)] += 1e-6
    covariance *= np.outer(std, std)
    indicators, block = _indicators(module, Z)
    weighted = indicators * weight[:, None]
    return Moments(
        used,
        mean,
        covariance,
        marginals,
        weighted.T @ indicators,
        block,
        bulk.T @ weighted,
    )


def _indicators(module, Z):
    """Which categories rows have, and which columns of the result belong to a column of the table."""
    block, parts, start = {}, [], 0
    for j, variable in enumerate(module.variables):
        if variable.has_indicators and not variable.is_embedded:
            block[j] = slice(start, start + variable.n_levels)
            start += variable.n_levels
            parts.append(Z[:, j, None].cpu().numpy() == np.arange(variable.n_levels))
    return np.concatenate(parts or [np.zeros((len(Z), 0))], axis=1).astype(np.float64), block


def _smoothed_shares(variable, z, weight):
    z = z.cpu().numpy()
    if variable.atoms:
        is_atom = z[:, None] == np.array(variable.atoms)
        counts = weight @ np.column_stack([is_atom, ~is_atom.any(axis=1)])
    else:
        codes, n_levels = z.astype(np.int64), variable.n_levels
        inside = (codes >= 0) & (codes < n_levels)  # a warm start may have others
        counts = np.bincount(codes[inside], weight[inside], n_levels + 2 * variable.whole)
    return (counts + 0.5) / (counts + 0.5).sum()


@torch.no_grad()
def start_from(module, moments, regressed=()):
    """Set a :class:`~sklearn_dgm.nn.made.MADE` to the shrunk Gaussian and the trees of its order.

    Parameters
    ----------
    module : MADE
        The network, on the CPU.
    moments : Moments
        What to start from.
    regressed : collection of int
        Of the columns with two values, or with a few whole numbers, those that start from regressions and not from trees.
    """
    module.out.weight.mul_(0.01)
    row_of = {row: i for i, row in enumerate(module.linear_rows.tolist())}
    regression = Regression(module, moments)
    for head, columns, rows in zip(
        module.heads, module.head_columns, module.head_rows, strict=True
    ):
        if isinstance(head, MixtureHead):
            biases = _start_mixtures(module, head, columns, rows, row_of, regression)
        elif isinstance(head, EmbeddedHead):
            biases = _start_embedded(head, columns, moments)
        else:
            biases = _start_softmax(module, head, columns, rows, row_of, regression, regressed)
        module.bias[rows] = torch.as_tensor(biases, dtype=module.bias.dtype).flatten()


def _with_both_starts(module):
    """Columns that start from a tree or from a regression: a few whole numbers, and two values beside numbers.

    Where no column is a number, trees leave nothing out, and training gets farther from them than from regressions on all
    columns, also if these are better at first.
    """
    beside_numbers = not all(variable.has_indicators for variable in module.variables)
    for j in module.targets:
        variable = module.variables[j]
        has_few = variable.whole if variable.n_levels != 2 else beside_numbers
        if variable.has_indicators and has_few:
            yield j


@torch.no_grad()
def better_regressed(build, moments, z, weight):
    """The columns that had better start from regressions than from trees, by rows that the moments have not seen.

    Parameters
    ----------
    build : callable
        Returns a new network, on the CPU.
    moments : Moments
        What to start from.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    weight : Tensor of shape (n,)
        Their weights.

    Returns
    -------
    regressed : frozenset of int
        What is better for all of them together, but for columns that differ from that by two standard errors.
    """
    module = build()
    both = list(_with_both_starts(module))
    if not both or len(module.feature_label) > MAX_LINEAR_FEATURES:
        # Where features are many, training does not get far from regressions on all of them.
        return frozenset()
    # An unknown category, or a number in the middle, stands in for a parent that is missing.
    variables = module.variables
    middle = torch.tensor([-1.0 if v.has_indicators else v.location for v in variables]).to(z)
    filled = torch.where(z.isnan(), middle, z)
    scores = []
    for regressed in ((), both):
        module = build().eval()
        start_from(module, moments, regressed)
        log_p = module.log_prob_features(filled)[:, both]
        scores.append(torch.where(z[:, both].isnan(), 0, log_p).double())
    share = (weight / weight.sum()).double()[:, None]
    gain = scores[1] - scores[0]
    mean = (share * gain).sum(dim=0)
    error = (share * (gain - mean)).square().sum(dim=0) / (1 - share.square().sum())
    error = error.sqrt()  # of a single row undefined, and no column differs by that
    sign = 1 if mean.sum() > 0 else -1
    is_regressed = (sign * mean < -2 * error) != (sign > 0)
    return frozenset(j for j, chosen in zip(both, is_regressed.tolist(), strict=True) if chosen)


class Regression:
    """Regressions of columns on all their parents, under the shrunk covariance.

    Parameters
    ----------
    module : MADE
        The network, which knows the graph.
    moments : Moments
        What the rows say.
    """

    def __init__(self, module, moments):
        self.module, self.moments = module, moments
        self._label = module.feature_label[moments.used]

    @cached_property
    def _factor(self):
        """Features in the order of a complete graph, and the factor of their covariance; None in other graphs.

        The parents of a column are the first ones then, so that one factor serves for all columns.
        """
        adjacency = self.module.adjacency
        if adjacency.sum() < len(adjacency) * (len(adjacency) - 1) // 2:
            return None
        order = np.argsort(adjacency.sum(axis=0)[self._label], kind="stable")
        return order, np.linalg.cholesky(self.moments.covariance[np.ix_(order, order)])

    def of_column(self, j):
        """Regress the number that a column holds, in the units of its features.

        Parameters
        ----------
        j : int
            The column.

        Returns
        -------
        parents : ndarray of int
            Features of the parents.
        slopes : ndarray of shape (n_parents,)
            Their coefficients.
        intercept, variance : float
            The constant, and the variance that is left.
        mean, marginal_variance : float
            Those of the number itself.
        """
        moments, variable = self.moments, self.module.variables[j]
        own = self.module.first_feature[j] + np.arange(variable.n_features)
        # Of categories the number is their code, of which one of two has the sign and others an indicator.
        one_hot = np.arange(len(own)) if len(own) > 1 else np.array([0.5])
        weights = one_hot if variable.has_indicators else np.ones(1)
        offset = 0.5 if variable.has_indicators and len(own) == 1 else 0.0
        covariances = weights @ moments.covariance[own]
        marginal_variance = covariances[own] @ weights
        parents, slopes = self._solve(j, covariances)
        mean = offset + weights @ moments.mean[own]
        intercept = mean - slopes @ moments.mean[parents]
        variance = marginal_variance - covariances[parents] @ slopes
        return moments.used[parents], slopes, intercept, variance, mean, marginal_variance

    def _solve(self, j, covariances):
        """Parents of a column, and the coefficients that follow from its covariances with all features."""
        is_parent = self.module.adjacency[self._label, j]
        if self._factor is None:
            parents = np.flatnonzero(is_parent)
            covariance = self.moments.covariance[np.ix_(parents, parents)]
            return parents, np.linalg.solve(covariance, covariances[parents])
        order, factor = self._factor
        parents = order[: is_parent.sum()]
        if not len(parents):
            return parents, np.zeros(0)
        leading = factor[: len(parents), : len(parents)]
        return parents, linalg.cho_solve((leading, True), covariances[parents], check_finite=False)


def _set_path(module, row, features, weights):
    module.skip.start[row, torch.from_numpy(features)] = torch.from_numpy(weights).to(
        module.skip.start
    )


def _set_residual(module, j, parents, intercept, slopes, spread):
    """Let the hidden units see what the regression of a column leaves of it."""
    k = module.residual_of[j]
    module.residual_weight[k] /= spread
    module.residual_weight[k, torch.from_numpy(parents)] = -torch.from_numpy(slopes / spread).to(
        module.residual_weight
    )
    module.residual_bias[k] = -intercept / spread


def _start_mixtures(module, head, columns, rows, row_of, regression):
    """Write the regressions of a group of numeric columns into the linear path, and return their biases."""
    fits = [regression.of_column(j)[:4] for j in columns]
    spread = np.sqrt([variance for *_, variance in fits])
    farthest = np.array([module.variables[j].farthest for j in columns])
    widest = np.maximum(np.where(farthest > FAR_OUT, farthest / FAR_OUT, 0.0), spread)
    start = head.start(*torch.from_numpy(np.array([spread, widest])).to(head.spread))
    for i, (j, (parents, slopes, intercept, _)) in enumerate(zip(columns, fits, strict=True)):
        _set_path(module, row_of[rows.start + i * head.n_params], parents, slopes / spread[i])
        start[i, 0] = intercept / spread[i]
        _set_residual(module, j, parents, intercept, slopes, spread[i])
        if module.variables[j].atoms:
            log_p = torch.from_numpy(np.log(regression.moments.marginals[j])).to(start)
            start[i, 1 : len(log_p)] = log_p[:-1]
            start[i, 1 + head.atoms.shape[1]] = log_p[-1]
        if module.variables[j].grid:
            start[i, head.n_shared - 1] = special.logit(module.variables[j].grid[2])
    return start


def _start_softmax(module, head, columns, rows, row_of, regression, regressed):
    """Write the starts of categories and levels into the linear path, and return their biases."""
    biases = np.zeros((len(columns), head.n_params))
    for i, j in enumerate(columns):
        variable = module.variables[j]
        if j in regressed or not variable.has_indicators:
            features, weights, logits = _given_regression(variable, j, regression)
        else:
            features, weights, logits = _given_tree(module, j, regression.moments)
        outcomes = np.arange(len(logits))
        if head.is_binary:
            outcomes, weights, logits = [0], weights[1:] - weights[:1], logits[1:] - logits[:1]
        elif head.tails:
            outcomes[-2:] = head.max_levels, head.max_levels + 1
        biases[i, outcomes] = logits
        for k, outcome in enumerate(outcomes):
            row = row_of[rows.start + i * head.n_params + outcome]
            _set_path(module, row, features, weights[k])
    return biases


def _given_regression(variable, j, regression):
    """Levels weigh as the normal of their regression does there, times what their marginal is to its own normal."""
    parents, slopes, intercept, variance, mean, marginal_variance = regression.of_column(j)
    levels, location, scale = np.arange(variable.n_levels, dtype=float), 0.0, 1.0
    if variable.whole:
        levels = np.r_[levels, -1, variable.n_levels]
    if not variable.has_indicators:
        location, scale = variable.location, variable.scale
    u = (levels - location) / scale - mean
    # Levels cannot be told apart better than by their distance.
    variance = max(variance, 0.1 / scale**2)
    excess = 1 / variance - 1 / max(marginal_variance, variance)
    logits = np.log(regression.moments.marginals[j]) - u**2 / 2 * excess
    return parents, np.outer(u / variance, slopes), logits + u * (intercept - mean) / variance


def _start_embedded(head, columns, moments):
    """Very many categories start from their marginals, whatever the parents are."""
    for i, j in enumerate(columns):
        log_p = np.log(moments.marginals[j])
        head.start[i, : len(log_p)] = torch.from_numpy(log_p)
    return np.zeros((len(columns), head.n_params))


def _joint(parent, j, moments):
    """Counts of the categories of a parent (rows) and of a column."""
    return moments.counts[moments.block[parent], moments.block[j]]


def _best_parent(module, j, moments):
    """The parent with most mutual information, less what as many parameters gain by chance; None if there is none."""
    n = np.diag(_joint(j, j, moments)).sum()
    candidates = np.array(list(moments.block) + module.numeric, dtype=int)
    gains = np.concatenate(
        [_gains_of_categories(j, n, moments), _gains_of_numbers(module, j, n, moments)]
    )
    is_parent = module.adjacency[candidates, j]
    if not is_parent.any() or gains[is_parent].max() <= 0:
        return None
    return candidates[is_parent][gains[is_parent].argmax()]


def _gains_of_categories(j, n, moments):
    """For each column of categories the log-likelihood that it adds to column j."""
    N = moments.counts[:, moments.block[j]]
    expected = np.diag(moments.counts)[:, None] * np.diag(_joint(j, j, moments)) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(N > 0, N * np.log(N / expected), 0).sum(axis=1)
    starts = [block.start for block in moments.block.values()]
    n_levels = np.diff([*starts, len(N)])
    penalty = (n_levels - 1) * (N.shape[1] - 1) * np.log(max(n, 2)) / 2
    # A single category says nothing, whatever rounding makes of that.
    return np.where(n_levels > 1, np.add.reduceat(terms, starts) - penalty, -np.inf)


def _gains_of_numbers(module, j, n, moments):
    """For each column of numbers the log-likelihood that it adds to column j, from normals of one variance."""
    explained = np.array([_explained(module, parent, j, moments) for parent in module.numeric])
    gains = -n / 2 * np.log1p(-np.minimum(explained, 1 - 1e-6))
    n_levels = moments.block[j].stop - moments.block[j].start
    return gains - (n_levels - 1) * np.log(max(n, 2)) / 2


def _class_means(module, parent, j, moments):
    """Shares of the categories, and the means of a number in each, shrunk to its mean."""
    counts = np.diag(_joint(j, j, moments))
    feature = module.first_feature[parent]
    mean = moments.mean[feature]
    means = (moments.sums[feature, moments.block[j]] + mean) / (counts + 1)
    return counts / counts.sum(), means - mean


def _explained(module, parent, j, moments):
    """Share of the variance of a number that lies between the categories of a column."""
    share, means = _class_means(module, parent, j, moments)
    feature = module.first_feature[parent]
    return share @ means**2 / moments.covariance[feature, feature]


def _given_tree(module, j, moments):
    """Categories follow the parent that says most of them: its features, their weights for each outcome, and biases."""
    log_p = np.log(moments.marginals[j])
    parent = _best_parent(module, j, moments)
    if parent is None:
        return np.zeros(0, dtype=int), np.zeros((len(log_p), 0)), log_p
    first = module.first_feature[parent]
    n_beside = len(log_p) - module.variables[j].n_levels  # the tails, which no row has
    if parent not in moments.block:
        _, means = _class_means(module, parent, j, moments)
        means = np.append(means, np.zeros(n_beside))
        variance = moments.covariance[first, first]
        within = variance * max(1 - _explained(module, parent, j, moments), 0.01)
        # Bayes' rule with a normal of the same variance in each category.
        slopes = means / within
        bias = log_p - slopes * moments.mean[first] - means**2 / (2 * within)
        return np.array([first]), slopes[:, None], bias
    N = np.pad(_joint(parent, j, moments), ((0, 0), (0, n_beside)))
    table = np.log((N + np.exp(log_p)) / (N.sum(axis=1, keepdims=True) + 1))
    if module.variables[parent].n_features == 1:
        return np.array([first]), (table[1:] - table[:1]).T / 2, table.mean(axis=0)
    return first + np.arange(len(table)), (table - log_p).T, log_p
