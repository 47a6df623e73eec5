"""Rows with missing cells: these couple the hidden units, so that either side has to be enumerated."""

import math

import numpy as np
from scipy.special import logsumexp, softmax

from sklearn_dgm.energy._machine import binary_states, blocks, sigmoid

# So many states of the hidden units are enumerated for each row, else so many joint outcomes of its missing cells.
MOST_HIDDEN_STATES, MOST_OUTCOMES = 2**12, 256
REMEDY = (
    f"have at most {math.log2(MOST_HIDDEN_STATES):.0f} of these, with which any cells may be missing, or fill in such cells "
    "beforehand, as DensityImputer does"
)


def log_marginals(machine, F, missing):
    """Return the log-density of the observed cells of rows up to log Z.

    Parameters
    ----------
    machine : BoltzmannMachine
        The machine.
    F : ndarray of shape (n, n_features)
        Features, zeros where a cell is missing.
    missing : ndarray of bool of shape (n, n_columns)
        Which cells are missing.

    Returns
    -------
    log_p : ndarray of shape (n,)
        Log-densities.

    Raises
    ------
    ValueError
        If the missing cells of a row have too many joint outcomes; it names their columns.
    """
    log_p, complete = np.empty(len(F)), ~missing.any(axis=1)
    log_p[complete] = machine.log_unnormalised(F[complete])
    for rows, log_joint, _ in _joints(machine, F, missing):
        log_p[rows] = logsumexp(log_joint, axis=1)
    return log_p


def hidden_means(machine, F, missing):
    """Return the probabilities of the hidden units given the observed cells of rows; see :func:`log_marginals`."""
    means = np.empty((len(F), machine.n_hidden))
    for part in blocks(len(F), max(machine.weights.shape)):
        means[part] = sigmoid(machine.hidden_input(F[part]))
    for rows, log_joint, hidden in _joints(machine, F, missing):
        p = softmax(log_joint, axis=1)
        means[rows] = p @ hidden if hidden.ndim == 2 else np.einsum("ns,nsh->nh", p, hidden)
    return means


def _joints(machine, F, missing):
    """Yield rows with missing cells, and their joint log-densities with states that are summed over, (n, n_states).

    With them come the means of the hidden units in these states, of shape (n_states, n_hidden) if they are the same for
    all rows, else (n, n_states, n_hidden).
    """
    incomplete = np.flatnonzero(missing.any(axis=1))
    if not len(incomplete):
        return
    if machine.n_hidden <= math.log2(MOST_HIDDEN_STATES):
        yield from _with_hidden_states(machine, F, missing, incomplete)
        return
    patterns, place = np.unique(missing[incomplete], axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        of_pattern = incomplete[place == k]
        outcomes = _outcomes(machine.units, np.flatnonzero(pattern), of_pattern[0])
        for part in blocks(len(of_pattern), len(outcomes) * max(machine.weights.shape)):
            rows = of_pattern[part]
            filled = (F[rows, None] + outcomes).reshape(-1, F.shape[1])
            log_joint = machine.log_unnormalised(filled).reshape(len(rows), -1)
            hidden = sigmoid(machine.hidden_input(filled))
            yield rows, log_joint, hidden.reshape(*log_joint.shape, -1)


def _with_hidden_states(machine, F, missing, incomplete):
    H = binary_states(np.arange(2**machine.n_hidden), machine.n_hidden)
    log_prior = machine.log_unnormalised_hidden(H)
    for part in blocks(len(incomplete), len(H) + machine.units.n_features):
        rows = incomplete[part]
        yield rows, log_prior + machine.log_given_hidden(F[rows], H, ~missing[rows]), H


def _outcomes(units, columns, row):
    """Return the features of all joint outcomes of columns; `row` is one where they are missing."""
    numbers = [j for j in columns if units.places[j].number >= 0]
    if numbers:
        raise ValueError(
            f"Row {row}: a missing number in {units.labels[numbers[0]]} cannot be integrated out with so many hidden units; {REMEDY}."
        )
    n = math.prod(units.places[j].axis.n_levels for j in columns)
    if n > MOST_OUTCOMES:
        where = ", ".join(units.labels[j] for j in columns)
        raise ValueError(
            f"Row {row}: missing or unknown cells in {where} have {n} joint outcomes, more than {MOST_OUTCOMES}, and cannot be summed "
            f"over with so many hidden units; {REMEDY}."
        )
    return units.outcomes(np.arange(n), columns)
