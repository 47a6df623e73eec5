"""Where training starts: a simple density that has a closed form.

Numbers start from the Gaussian with a shrunk covariance, or from a mixture of several that share one, whose
conditionals are parallel regressions on the parents and a softmax; ordered levels from the Gaussian's conditionals on
the levels; categories from the table given the one parent that says most of them, as in the tree of Chow and Liu (1968,
https://doi.org/10.1109/TIT.1968.1054142); what is one of a few whole numbers, or has two values beside numbers, from
the better of the last two. Before its first gradient step the network IS that density, so it has to learn only what it
misses.
"""

import numpy as np
import torch

from sklearn_dgm.nn.simple import SimpleConditionals


@torch.no_grad()
def start_from(module, moments, regressed=()):
    """Set a :class:`~sklearn_dgm.nn.made.MADE` to the Gaussians and the trees of its order.

    Parameters
    ----------
    module : MADE
        The network, on the CPU, which has not started yet.
    moments : Moments
        What to start from.
    regressed : collection of int
        Of the columns with two values, or with a few whole numbers, those that start from regressions and not from
        trees.
    """
    module.out.weight.mul_(0.01)
    simple = SimpleConditionals(module.inputs, module.adjacency, moments, regressed)
    for params, start in module.bank.start_from(simple):
        module.bias[params] = torch.from_numpy(start.bias).to(module.bias)
        rows = np.searchsorted(module.bank.linear_rows, params.start + np.asarray(start.rows))
        for row, weights in zip(rows.tolist(), start.weights, strict=True):
            weights = torch.from_numpy(weights).to(module.skip.start)
            module.skip.start[row, torch.from_numpy(start.features)] = weights
    for j in module.residuals.label.tolist():
        module.residuals.start_from(j, simple.regression(j))
