"""Where training starts: the Gaussian with a shrunk covariance, written as linear regressions on the parents.

Before its first gradient step the network IS that Gaussian (and smoothed marginals in the discrete columns), so it has
to learn only what the covariance misses.
"""

import numpy as np
import torch

from sklearn_dgm.nn.heads import MAX_LINEAR_LEVELS

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


@torch.no_grad()
def start_from_gaussian(module, Z, weight):
    """Set a :class:`~sklearn_dgm.nn.made.MADE` to the shrunk Gaussian and the smoothed marginals of the rows.

    The Gaussian is that of the bulk: values far out count as if they stood at its edge, and some components of the
    mixtures start wide enough to reach them.

    Parameters
    ----------
    module : MADE
        The network, on any device.
    Z : Tensor of shape (n, d)
        Encoded rows.
    weight : ndarray of shape (n,)
        Weights of the rows.
    """
    every = slice(None, None, 1 + len(Z) * len(module.feature_label) // MAX_NUMBERS)
    # A covariance of very many categories would be large, and says little.
    n_features = np.array([module.variables[j].n_features for j in module.feature_label])
    used = np.flatnonzero(n_features <= MAX_LINEAR_LEVELS)
    F = module.features(Z[every])[:, used].double().cpu().numpy()
    bulk = F.clip(-FAR_OUT, FAR_OUT)
    mean = np.average(bulk, axis=0, weights=weight[every])
    std = np.sqrt(np.average((bulk - mean) ** 2, axis=0, weights=weight[every]))
    std[std < 1e-6] = 1.0  # constant, but for rounding and for rows with hardly any weight
    covariance = shrunk_covariance((bulk - mean) / std, weight[every])
    covariance[np.diag_indices_from(covariance)] += 1e-6
    covariance *= np.outer(std, std)
    farthest = np.abs(F).max(axis=0)

    module.skip.weight.zero_()
    module.out.weight.mul_(0.01)
    bias = torch.zeros_like(module.bias)
    for head, columns, rows in zip(
        module.heads, module.head_columns, module.head_rows, strict=True
    ):
        if hasattr(head, "start"):
            start = _start_mixtures(module, head, columns, rows, used, mean, covariance, farthest)
        else:
            start = torch.stack([_smoothed_logits(head, Z[:, j], weight) for j in columns])
        bias[rows] = start.flatten().to(bias)
    module.bias.copy_(bias)


def _start_mixtures(module, head, columns, rows, used, mean, covariance, farthest):
    """Write the regressions of a group of columns into the linear path, and return their biases.

    The moments are those of the `used` features, the numbers first among them.
    """
    targets = [module.first_feature[j] for j in columns]
    parents_of = {
        target: np.flatnonzero(module.adjacency[module.feature_label[used], j])
        for target, j in zip(targets, columns, strict=True)
    }
    slopes_of, variances = regressions(covariance, parents_of)
    spread = np.sqrt([variances[target] for target in targets])
    reach = np.where(farthest > FAR_OUT, farthest / FAR_OUT, 0.0)[targets]
    widest = np.maximum(reach, spread)
    start = head.start(*torch.from_numpy(np.array([spread, widest])).to(head.spread)).clone()
    row_of = {row: i for i, row in enumerate(module.linear_rows.tolist())}
    for i, target in enumerate(targets):
        parents, slopes = parents_of[target], slopes_of[target]
        row = row_of[rows.start + i * head.n_params]
        weights = torch.from_numpy(slopes / spread[i]).to(module.skip.weight)
        module.skip.weight[row, torch.from_numpy(used[parents])] = weights
        start[i, 0] = (mean[target] - slopes @ mean[parents]) / spread[i]
    return start


def _smoothed_logits(head, z, weight):
    codes = z.long().cpu().numpy()
    counts = np.bincount(codes, weights=weight, minlength=head.n_params) + 0.5
    return torch.from_numpy(np.log(counts / counts.sum()))
