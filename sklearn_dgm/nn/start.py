"""Where training starts: the Gaussian with a shrunk covariance, written as linear regressions on the parents.

Before its first gradient step the network IS that Gaussian (and smoothed marginals in the discrete columns), so it has to learn
only what the covariance misses.
"""

import numpy as np
import torch


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
    mu = np.trace(S) / p
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

    Parameters
    ----------
    module : MADE
        The network, on any device.
    Z : Tensor of shape (n, d)
        Encoded rows.
    weight : ndarray of shape (n,)
        Weights of the rows.
    """
    F = module.features(Z).double().cpu().numpy()
    mean = np.average(F, axis=0, weights=weight)
    std = np.sqrt(np.average((F - mean) ** 2, axis=0, weights=weight))
    std[std == 0] = 1.0
    covariance = shrunk_covariance((F - mean) / std, weight)
    covariance[np.diag_indices_from(covariance)] += 1e-6

    module.skip.weight.zero_()
    module.out.weight.mul_(0.01)
    bias = torch.zeros_like(module.bias)
    row_of = {row: i for i, row in enumerate(module.linear_rows.tolist())}
    for head, columns, rows in zip(
        module.heads, module.head_columns, module.head_rows, strict=True
    ):
        if hasattr(head, "start"):
            targets = [module.first_feature[j] for j in columns]
            parents_of = {
                target: np.flatnonzero(module.adjacency[module.feature_label, j])
                for target, j in zip(targets, columns, strict=True)
            }
            coefficients, variances = regressions(covariance, parents_of)
            spread = np.array([np.sqrt(variances[t]) * std[t] for t in targets])
            start = head.start(torch.from_numpy(spread).to(head.spread)).clone()
            for i, target in enumerate(targets):
                parents = parents_of[target]
                slope = coefficients[target] * std[target] / std[parents]
                row = row_of[rows.start + i * head.n_params]
                slopes = torch.from_numpy(slope / spread[i]).to(module.skip.weight)
                module.skip.weight[row, torch.from_numpy(parents)] = slopes
                start[i, 0] = (mean[target] - slope @ mean[parents]) / spread[i]
        else:
            start = torch.stack([_smoothed_logits(head, Z[:, j], weight) for j in columns])
        bias[rows] = start.flatten().to(bias)
    module.bias.copy_(bias)


def _smoothed_logits(head, z, weight):
    codes = z.long().cpu().numpy()
    counts = np.bincount(codes, weights=weight, minlength=head.n_params) + 0.5
    return torch.from_numpy(np.log(counts / counts.sum()))
