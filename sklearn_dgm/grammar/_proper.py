"""Grammars whose derivations end with probability one."""

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

# Partition functions are found to this precision, in so many steps of Newton's method at most: one on the brink of
# never ending takes a step for each binary digit.
PRECISION, MAX_STEPS = 1e-14, 60


def solve(system, b):
    """Return the solution of a sparse system of linear equations."""
    # SciPy before 1.15 keeps wide indices, which its solver refuses.
    indices, indptr = system.indices.astype(np.intc), system.indptr.astype(np.intc)
    return linalg.spsolve(sparse.csc_array((system.data, indices, indptr), system.shape), b)


def partition_functions(rules):
    """Return the probabilities that symbols derive anything, which ends.

    They are the least solution of Z(A) = p(A emits) + sum over rules of p(A -> B C) Z(B) Z(C), which Newton's method
    reaches from below (Etessami and Yannakakis, 2009).

    Parameters
    ----------
    rules : Rules
        A grammar.

    Returns
    -------
    Z : ndarray of shape (n_symbols,)
        Probabilities.
    """
    n = rules.n_symbols
    Z, one = np.zeros(n), sparse.csc_array(sparse.identity(n))
    both = np.tile(rules.parent, 2), np.concatenate([rules.left, rules.right])
    for _ in range(MAX_STEPS):
        left, right = Z[rules.left], Z[rules.right]
        found = rules.emits + np.bincount(rules.parent, rules.p * left * right, n)
        slopes = np.concatenate([rules.p * right, rules.p * left])
        jacobian = sparse.csc_array((slopes, both), shape=(n, n))
        step = solve(one - jacobian, found - Z)
        Z = np.clip(Z + step, 0.0, 1.0)
        if np.abs(step).max() < PRECISION:
            break
    return Z


def expected_lengths(rules):
    """Return the mean lengths of what symbols derive.

    Parameters
    ----------
    rules : Rules
        A grammar.

    Returns
    -------
    lengths : ndarray of shape (n_symbols,) or None
        Mean numbers of words; None if some are not finite, since the spectral radius of the mean matrix is 1 or more.
    """
    system = sparse.csc_array(sparse.identity(rules.n_symbols)) - rules.mean_children().tocsc()
    # The radius is below 1 if, and only if, the mean numbers of descendants are positive.
    descendants = solve(system, np.ones(rules.n_symbols))
    if not (np.isfinite(descendants).all() and (descendants > 0).all()):
        return None
    return solve(system, rules.emits)


def made_proper(rules):
    """Return a grammar that derives the same sequences, as often among those that end, and always ends.

    A rule A -> B C has p Z(B) Z(C) / Z(A) for p (Nederhof and Satta, 2003).

    Parameters
    ----------
    rules : Rules
        A grammar.

    Returns
    -------
    proper : Rules
        The same one, if its derivations end with probability one.
    """
    if expected_lengths(rules) is not None:
        return rules
    Z = partition_functions(rules)
    own = np.where(Z > 0, Z, 1.0)
    root = rules.root * Z
    return rules.replaced(
        root=root / root.sum(),
        p=rules.p * Z[rules.left] * Z[rules.right] / own[rules.parent],
        emits=rules.emits / own,
    )
