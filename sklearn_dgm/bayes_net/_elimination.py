"""Exact sums over the missing cells of rows: variable elimination on tables of log-probabilities.

A factor is a pair of a scope, the variables it depends on, and an array of shape (n_rows, n_levels of each variable).

N. L. Zhang, D. Poole, "Exploiting causal independence in Bayesian network inference", Journal of Artificial
Intelligence Research 5 (1996), https://doi.org/10.1613/jair.305
"""

from functools import reduce

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm.counts.tables import choose


def plan(scopes, n_levels):
    """Choose the order of elimination: the variable with the smallest table next.

    Parameters
    ----------
    scopes : list of tuple of int
        The variables of each factor.
    n_levels : dict of int to int
        Levels of each variable.

    Returns
    -------
    order : list of int
        The variables.
    n_cells : float
        Size of the largest table on the way.
    """
    neighbours = {v: {v} for v in n_levels}
    for scope in scopes:
        for v in scope:
            neighbours[v].update(scope)
    sizes = {v: _size(neighbours[v], n_levels) for v in n_levels}
    order, n_cells = [], 1.0
    while sizes:
        v = min(sizes, key=lambda v: (sizes[v], v))
        n_cells = max(n_cells, sizes.pop(v))
        order.append(v)
        around = neighbours.pop(v) - {v}
        for u in around:
            neighbours[u] = (neighbours[u] | around) - {v}
            sizes[u] = _size(neighbours[u], n_levels)
    return order, n_cells


def _size(scope, n_levels):
    return float(np.prod([float(n_levels[v]) for v in scope]))


def multiply(factors):
    """Multiply factors.

    Parameters
    ----------
    factors : list of tuple
        Pairs of a scope and a table; at least one.

    Returns
    -------
    factor : tuple
        The scope, sorted, and the table.
    """
    scope = tuple(sorted(set().union(*(scope for scope, _ in factors))))
    return scope, reduce(np.add, (_aligned(factor, scope) for factor in factors))


def _aligned(factor, scope):
    """Return the table of a factor with an axis for each variable of a sorted scope."""
    own, table = factor
    table = table.transpose(0, *(1 + i for i in np.argsort(own)))
    lengths = iter(table.shape[1:])
    return table.reshape(len(table), *(next(lengths) if v in own else 1 for v in scope))


def eliminate(factors, order):
    """Sum variables out.

    Parameters
    ----------
    factors : list of tuple
        Pairs of a scope and a table.
    order : list of int
        All variables, as :func:`plan` gives them.

    Returns
    -------
    log_total : ndarray of shape (n_rows,) or (1,)
        Logarithm of the sum over all variables.
    trail : list of tuple
        For each variable itself, and the factor that it was summed out of; for :func:`draw`.
    """
    trail = []
    for v in order:
        scope, table = multiply([factor for factor in factors if v in factor[0]])
        trail.append((v, (scope, table)))
        rest = tuple(u for u in scope if u != v)
        factors = [factor for factor in factors if v not in factor[0]]
        with np.errstate(divide="ignore"):
            factors.append((rest, logsumexp(table, axis=1 + scope.index(v))))
    return multiply(factors)[1], trail


def draw(trail, uniforms):
    """Draw variables from their joint distribution, as an elimination has left it behind.

    Parameters
    ----------
    trail : list of tuple
        What :func:`eliminate` returned, for n rows.
    uniforms : ndarray of shape (n, n_variables)
        Numbers between 0 and 1.

    Returns
    -------
    drawn : dict of int to tuple
        For each variable its levels, of shape (n,), and what is left of the random numbers.
    """
    drawn, rows = {}, np.arange(len(uniforms))
    for (v, (scope, table)), u in zip(reversed(trail), uniforms.T, strict=True):
        table = np.broadcast_to(table, (len(rows), *table.shape[1:]))
        # Advanced indices around a slice would put its axis last, and so it stands there in any case.
        table = np.moveaxis(table, 1 + scope.index(v), -1)
        given = tuple(drawn[other][0] for other in scope if other != v)
        drawn[v] = choose(table[(rows, *given)], u)
    return drawn
