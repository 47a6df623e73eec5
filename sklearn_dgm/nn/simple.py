"""Conditionals of the simple density that training starts from."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import linalg

from sklearn_dgm.nn.trees import Trees


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


class GatedRegression(NamedTuple):
    """Conditional of a number under a mixture with one covariance: parallel regressions, and a softmax over these.

    Attributes
    ----------
    features : ndarray of int of shape (p,)
        Features of the parents.
    slopes : ndarray of shape (p,)
        The coefficients that the k regressions share.
    intercepts : ndarray of shape (k,)
        Their constants.
    variance : float
        The variance that each of them leaves.
    gate_slopes : ndarray of shape (k, p)
        Coefficients of the logits with which a row belongs to each of them.
    gate_bias : ndarray of shape (k,)
        Constants of the logits.
    """

    features: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray
    variance: float
    gate_slopes: np.ndarray
    gate_bias: np.ndarray

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
        self._total = ParentCovariance(adjacency, self._label, moments.covariance)
        self._within = ParentCovariance(adjacency, self._label, moments.mixture.covariance)
        self._regressions = {}
        self.variables, self.marginals = inputs.variables, moments.marginals

    def regression(self, j):
        """Return the :class:`Regression` of a column on all its parents, under the shrunk covariance."""
        if j not in self._regressions:
            self._regressions[j] = self._regression(j)
        return self._regressions[j]

    def gated_regression(self, j):
        """Return the :class:`GatedRegression` of a number on all its parents, under the mixture of the moments."""
        shares, means, covariance = self._moments.mixture
        own = self._inputs.features_at[j].start
        targets = np.column_stack([covariance[own], means.T])
        parents, coefficients = self._within.solve(j, targets)
        slopes, gate_slopes = coefficients[:, 0], coefficients[:, 1:].T
        at_parents = means[:, parents]
        # The terms of Bayes' rule that are squares in the parents are the same for all.
        gate_bias = np.log(shares) - np.sum(at_parents * gate_slopes, axis=1) / 2
        return GatedRegression(
            self._moments.used[parents],
            slopes,
            means[:, own] - at_parents @ slopes,
            covariance[own, own] - covariance[parents, own] @ slopes,
            gate_slopes - shares @ gate_slopes,
            gate_bias - shares @ gate_bias,
        )

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

    def _regression(self, j):
        moments, variable = self._moments, self.variables[j]
        own = self._inputs.features_at[j].start + np.arange(variable.n_features)
        # Of categories the number is their code, of which one of two has the sign and others an indicator.
        one_hot = np.arange(len(own)) if len(own) > 1 else np.array([0.5])
        weights = one_hot if variable.has_indicators else np.ones(1)
        offset = 0.5 if variable.has_indicators and len(own) == 1 else 0.0
        covariances = weights @ moments.covariance[own]
        marginal_variance = covariances[own] @ weights
        parents, slopes = self._total.solve(j, covariances)
        mean = offset + weights @ moments.mean[own]
        intercept = mean - slopes @ moments.mean[parents]
        variance = marginal_variance - covariances[parents] @ slopes
        features = moments.used[parents]
        return Regression(features, slopes, intercept, variance, mean, marginal_variance)


class ParentCovariance:
    """Covariance of the features, of which each column has those of its parents.

    Parameters
    ----------
    adjacency : ndarray of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    label : ndarray of int of shape (p,)
        The column that each feature is made of.
    covariance : ndarray of shape (p, p)
        Their covariance.
    """

    def __init__(self, adjacency, label, covariance):
        self._adjacency, self._label, self._covariance = adjacency, label, covariance

    @cached_property
    def _factor(self):
        """Features in the order of a complete graph, and the factor of their covariance; None in other graphs.

        The parents of a column are the first ones then, so that one factor serves for all columns.
        """
        adjacency = self._adjacency
        if adjacency.sum() < len(adjacency) * (len(adjacency) - 1) // 2:
            return None
        order = np.argsort(adjacency.sum(axis=0)[self._label], kind="stable")
        return order, np.linalg.cholesky(self._covariance[np.ix_(order, order)])

    def solve(self, j, targets):
        """Divide by the covariance of the parents of a column.

        Parameters
        ----------
        j : int
            The column.
        targets : ndarray of shape (p, ...)
            What is divided, of which the features of its parents are taken.

        Returns
        -------
        parents : ndarray of int of shape (k,)
            These features.
        coefficients : ndarray of shape (k, ...)
            The quotients.
        """
        is_parent = self._adjacency[self._label, j]
        if self._factor is None:
            parents = np.flatnonzero(is_parent)
            covariance = self._covariance[np.ix_(parents, parents)]
            return parents, np.linalg.solve(covariance, targets[parents])
        order, factor = self._factor
        parents = order[: is_parent.sum()]
        if not len(parents):
            return parents, targets[:0]
        leading = factor[: len(parents), : len(parents)]
        return parents, linalg.cho_solve((leading, True), targets[parents], check_finite=False)
