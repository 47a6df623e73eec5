"""Where training starts: a simple density that has a closed form.

Numbers start from the Gaussian with a shrunk covariance, written as linear regressions on the parents; ordered levels
from its conditionals on the levels; categories from the table given the one parent that says most of them, as in the
tree of Chow and Liu (1968, https://doi.org/10.1109/TIT.1968.1054142). Before its first gradient step the network IS
that density, so it has to learn only what it misses.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import special

from sklearn_dgm.nn.heads import EmbeddedHead, MixtureHead

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


def regressions(covariance, parents_of):
    """Regress columns on their parents.

    Parameters
    ----------
    covariance : ndarray of shape (p, p)
        Covariance of the features.
    parents_of : dict of int to ndarray
        For the index of each target the indices of its parents.

    Returns
    -------
    coefficients : dict of int to ndarray
        Coefficients of the parents.
    variances : dict of int to float
        Conditional variances.
    """
    coefficients, variances = {}, {}
    for target, parents in parents_of.items():
        cross = covariance[parents, target]
        coefficients[target] = np.linalg.solve(covariance[np.ix_(parents, parents)], cross)
        variances[target] = covariance[target, target] - cross @ coefficients[target]
    return coefficients, variances


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
    farthest : ndarray of shape (p,)
        Largest absolute values, but for atoms.
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
    farthest: np.ndarray
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
        _farthest(module, Z, F),
        marginals,
        weighted.T @ indicators,
        block,
        bulk.T @ weighted,
    )


def _farthest(module, Z, F):
    """Largest absolute values of features; atoms do not count, which no component has to reach."""
    F = np.abs(F)
    for i, j in enumerate(module.numeric):
        F[np.isin(Z[:, j].cpu().numpy(), module.variables[j].atoms), i] = 0
    return F.max(axis=0)


def _indicators(module, Z):
    """Which categories rows have, and which columns of the result belong to a column of the table."""
    block, parts, start = {}, [], 0
    for j, variable in enumerate(module.variables):
        if variable.is_categorical and not variable.is_embedded:
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
def start_from(module, moments):
    """Set a :class:`~sklearn_dgm.nn.made.MADE` to the shrunk Gaussian and the trees of its order.

    Parameters
    ----------
    module : MADE
        The network, on the CPU.
    moments : Moments
        What to start from.
    """
    module.out.weight.mul_(0.01)
    row_of = {row: i for i, row in enumerate(module.linear_rows.tolist())}
    for head, columns, rows in zip(
        module.heads, module.head_columns, module.head_rows, strict=True
    ):
        if isinstance(head, MixtureHead):
            biases = _start_mixtures(module, head, columns, rows, row_of, moments)
        elif isinstance(head, EmbeddedHead):
            biases = _start_embedded(head, columns, moments)
        elif head.tails:
            biases = _start_levels(module, head, columns, rows, row_of, moments)
        else:
            biases = _start_categories(module, head, columns, rows, row_of, moments)
        module.bias[rows] = torch.as_tensor(biases, dtype=module.bias.dtype).flatten()


def _regressions(module, columns, moments):
    """Regressions of numeric columns on all their parents: intercept, slopes and variance of each."""
    parents_of = {
        module.first_feature[j]: np.flatnonzero(
            module.adjacency[module.feature_label[moments.used], j]
        )
        for j in columns
    }
    slopes_of, variances = regressions(moments.covariance, parents_of)
    for target, parents in parents_of.items():
        slopes = slopes_of[target]
        intercept = moments.mean[target] - slopes @ moments.mean[parents]
        yield moments.used[parents], intercept, slopes, variances[target]


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


def _start_mixtures(module, head, columns, rows, row_of, moments):
    """Write the regressions of a group of numeric columns into the linear path, and return their biases."""
    fits = list(_regressions(module, columns, moments))
    spread = np.sqrt([variance for *_, variance in fits])
    farthest = moments.farthest[[module.first_feature[j] for j in columns]]
    widest = np.maximum(np.where(farthest > FAR_OUT, farthest / FAR_OUT, 0.0), spread)
    start = head.start(*torch.from_numpy(np.array([spread, widest])).to(head.spread))
    for i, (j, (parents, intercept, slopes, _)) in enumerate(zip(columns, fits, strict=True)):
        _set_path(module, row_of[rows.start + i * head.n_params], parents, slopes / spread[i])
        start[i, 0] = intercept / spread[i]
        _set_residual(module, j, parents, intercept, slopes, spread[i])
        if module.variables[j].atoms:
            log_p = torch.from_numpy(np.log(moments.marginals[j])).to(start)
            start[i, 1 : len(log_p)] = log_p[:-1]
            start[i, 1 + head.atoms.shape[1]] = log_p[-1]
        if module.variables[j].grid:
            start[i, head.n_shared - 1] = special.logit(module.variables[j].grid[2])
    return start


def _start_levels(module, head, columns, rows, row_of, moments):
    """Levels weigh as the normal of their regression does there, times what their marginal is to its own normal."""
    biases = np.zeros((len(columns), head.n_params))
    for i, (j, fit) in enumerate(zip(columns, _regressions(module, columns, moments), strict=True)):
        parents, intercept, slopes, variance = fit
        target, variable = module.first_feature[j], module.variables[j]
        levels = np.r_[np.arange(variable.n_levels), -1, variable.n_levels]
        outcomes = np.r_[np.arange(variable.n_levels), head.max_levels, head.max_levels + 1]
        u = (levels - variable.location) / variable.scale - moments.mean[target]
        # Levels cannot be told apart better than by their distance.
        variance = max(variance, 0.1 / variable.scale**2)
        excess = 1 / variance - 1 / max(moments.covariance[target, target], variance)
        bias = np.log(moments.marginals[j]) - u**2 / 2 * excess
        biases[i, outcomes] = bias + u * (intercept - moments.mean[target]) / variance
        for k, row in enumerate(rows.start + i * head.n_params + outcomes):
            _set_path(module, row_of[row], parents, u[k] / variance * slopes)
    return biases


def _start_embedded(head, columns, moments):
    """Very many categories start from their marginals, whatever the parents are."""
    for i, j in enumerate(columns):
        log_p = np.log(moments.marginals[j])
        head.start[i, : len(log_p)] = torch.from_numpy(log_p)
    return np.zeros((len(columns), head.n_params))


def _start_categories(module, head, columns, rows, row_of, moments):
    """Categories follow the parent that says most of them."""
    biases = np.zeros((len(columns), head.n_params))
    for i, j in enumerate(columns):
        logits = _contrasts(np.log(moments.marginals[j]), head)
        parent = _best_parent(module, j, moments)
        if parent is not None:
            features, weights, logits = _logits_given(module, head, j, parent, moments)
            first = rows.start + i * head.n_params
            for k in range(len(logits)):
                _set_path(module, row_of[first + k], features, weights[k])
        biases[i, : len(logits)] = logits
    return biases


def _contrasts(log_p, head):
    """Parameters of a head from log-probabilities (last axis)."""
    return log_p[..., 1:] - log_p[..., :1] if head.is_binary else log_p


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


def _logits_given(module, head, j, parent, moments):
    """Features of a parent, weights of shape (n_params, n_features) and biases."""
    first = module.first_feature[parent]
    log_p = np.log(moments.marginals[j])
    if parent not in moments.block:
        _, means = _class_means(module, parent, j, moments)
        variance = moments.covariance[first, first]
        within = variance * max(1 - _explained(module, parent, j, moments), 0.01)
        # Bayes' rule with a normal of the same variance in each category.
        slopes = means / within
        bias = log_p - slopes * moments.mean[first] - means**2 / (2 * within)
        return (
            np.array([first]),
            _contrasts(slopes, head)[:, None],
            _contrasts(bias, head),
        )
    N = _joint(parent, j, moments)
    table = np.log((N + np.exp(log_p)) / (N.sum(axis=1, keepdims=True) + 1))
    table = _contrasts(table, head)
    if module.variables[parent].n_features == 1:
        return np.array([first]), (table[1:] - table[:1]).T / 2, table.mean(axis=0)
    marginal = _contrasts(log_p, head)
    return first + np.arange(len(table)), (table - marginal).T, marginal
