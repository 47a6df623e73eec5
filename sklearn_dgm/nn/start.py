"""Where training starts: a simple density that has a closed form.

Numbers start from the Gaussian with a shrunk covariance, written as linear regressions on the parents; ordered levels
from its conditionals on the levels; categories from the table given the one parent that says most of them, as in the
tree of Chow and Liu (1968, https://doi.org/10.1109/TIT.1968.1054142); what is one of a few whole numbers, or has two
values beside numbers, from the better of the last two. Before its first gradient step the network IS that density, so
it has to learn only what it misses.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg

from sklearn_dgm.nn.outputs import MAX_LINEAR_FEATURES
from sklearn_dgm.nn.trees import Trees


@torch.no_grad()
def start_from(module, moments, regressed=()):
    """Set a :class:`~sklearn_dgm.nn.made.MADE` to the shrunk Gaussian and the trees of its order.

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


def _with_both_starts(module):
    """Yield the columns that start from a tree or a regression: few whole numbers, and two values beside numbers.

    Where no column is a number, trees leave nothing out, and training gets farther from them than from regressions on
    all columns, also if these are better at first.
    """
    beside_numbers = not all(variable.has_indicators for variable in module.variables)
    for j in module.targets:
        variable = module.variables[j]
        has_few = variable.whole if variable.n_levels != 2 else beside_numbers
        if variable.has_indicators and has_few:
            yield j


@torch.no_grad()
def better_regressed(build, moments, z, weight):
    """Return the columns that had better start from regressions than from trees, by rows unseen by the moments.

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
    if not both or module.inputs.n_features > MAX_LINEAR_FEATURES:
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


class Regression(NamedTuple):
    """Regression of the number that a column holds, in the units of its features.

    Attributes
    ----------
    features : ndarray of int of shape (k,)
        Features of the parents.
    slopes : ndarray of shape (k,)
        Their coefficients.
    intercept, variance : float
        The constant, and the variance that is left.
    mean, marginal_variance : float
        Those of the number itself.
    """

    features: np.ndarray
    slopes: np.ndarray
    intercept: float
    variance: float
    mean: float
    marginal_variance: float

    @property
    def spread(self):
        """Standard deviation of what is left."""
        return np.sqrt(self.variance)


class SimpleConditionals:
    """Conditionals of the density that training starts from: what heads ask in `start_from`.

    Parameters
    ----------
    inputs : TableInputs
        How the network sees the columns.
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    moments : Moments
        What the rows say.
    regressed : collection of int
        Of the columns with indicators, those that follow regressions and not trees.

    Attributes
    ----------
    variables : list of Variable
        The columns.
    marginals : dict of int to ndarray
        See :class:`~sklearn_dgm.nn.moments.Moments`.
    """

    def __init__(self, inputs, adjacency, moments, regressed=()):
        self._inputs, self._adjacency, self._moments = inputs, adjacency, moments
        self._regressed = regressed
        self._label = inputs.feature_label[moments.used]
        self._trees = Trees(inputs, adjacency, moments)
        self._regressions = {}
        self.variables, self.marginals = inputs.variables, moments.marginals

    def regression(self, j):
        """Return the :class:`Regression` of a column on all its parents, under the shrunk covariance."""
        if j not in self._regressions:
            self._regressions[j] = self._regression(j)
        return self._regressions[j]

    def logits(self, j):
        """Return the logits of the codes of a column as linear functions of features.

        Parameters
        ----------
        j : int
            A column with levels.

        Returns
        -------
        features : ndarray of int of shape (k,)
            The features that they depend on.
        weights : ndarray of shape (n_outcomes, k)
            How much.
        logits : ndarray of shape (n_outcomes,)
            What they are where all features are zero; of whole numbers two more, for all below and for all above.
        """
        if j in self._regressed or not self.variables[j].has_indicators:
            return self._regressed_logits(j)
        return self._trees.logits(j)

    def _regressed_logits(self, j):
        """Weigh levels as the normal of their regression does, relative to their marginal's own normal."""
        variable, of_normal = self.variables[j], self.regression(j)
        levels, location, scale = np.arange(variable.n_levels, dtype=float), 0.0, 1.0
        if variable.whole:
            levels = np.r_[levels, -1, variable.n_levels]
        if not variable.has_indicators:
            location, scale = variable.location, variable.scale
        u = (levels - location) / scale - of_normal.mean
        # Levels cannot be told apart better than by their distance.
        variance = max(of_normal.variance, 0.1 / scale**2)
        excess = 1 / variance - 1 / max(of_normal.marginal_variance, variance)
        logits = np.log(self.marginals[j]) - u**2 / 2 * excess
        logits = logits + u * (of_normal.intercept - of_normal.mean) / variance
        return of_normal.features, np.outer(u / variance, of_normal.slopes), logits

    @cached_property
    def _factor(self):
        """Features in the order of a complete graph, and the factor of their covariance; None in other graphs.

        The parents of a column are the first ones then, so that one factor serves for all columns.
        """
        adjacency = self._adjacency
        if adjacency.sum() < len(adjacency) * (len(adjacency) - 1) // 2:
            return None
        order = np.argsort(adjacency.sum(axis=0)[self._label], kind="stable")
        return order, np.linalg.cholesky(self._moments.covariance[np.ix_(order, order)])

    def _regression(self, j):
        moments, variable = self._moments, self.variables[j]
        own = self._inputs.features_at[j].start + np.arange(variable.n_features)
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
        features = moments.used[parents]
        return Regression(features, slopes, intercept, variance, mean, marginal_variance)

    def _solve(self, j, covariances):
        """Return the parents of a column, and the coefficients by its covariances with all features."""
        is_parent = self._adjacency[self._label, j]
        if self._factor is None:
            parents = np.flatnonzero(is_parent)
            covariance = self._moments.covariance[np.ix_(parents, parents)]
            return parents, np.linalg.solve(covariance, covariances[parents])
        order, factor = self._factor
        parents = order[: is_parent.sum()]
        if not len(parents):
            return parents, np.zeros(0)
        leading = factor[: len(parents), : len(parents)]
        return parents, linalg.cho_solve((leading, True), covariances[parents], check_finite=False)
