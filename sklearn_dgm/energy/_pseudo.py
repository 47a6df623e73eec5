"""The pseudo-log-likelihood: the log-probability of each cell given all others."""

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm.energy._machine import blocks, softplus


def pseudo_log_likelihoods(machine, F, missing, log_within):
    """Return the sums over columns of the log-probabilities of cells given the other cells of their rows.

    Parameters
    ----------
    machine : BoltzmannMachine
        The machine.
    F, missing, log_within
        Rows as its units encode them.

    Returns
    -------
    log_p : ndarray of shape (n,)
        The sums.

    Raises
    ------
    ValueError
        If a column has numbers, or a cell is missing.
    """
    units, total = machine.units, log_within.copy()
    for j, place in enumerate(units.places):
        if place.number >= 0:
            raise ValueError(
                f"The pseudo-log-likelihood needs columns of few values, but {units.labels[j]} has numbers."
            )
        if missing[:, j].any():
            raise ValueError(
                f"The pseudo-log-likelihood needs complete rows, but {units.labels[j]} has missing cells."
            )
    for part in blocks(len(F), 4 * max(machine.weights.shape)):
        total[part] += _of_rows(machine, F[part])
    return total


def _of_rows(machine, F):
    total, of_hidden = np.zeros(len(F)), machine.hidden_input(F)
    rows = np.arange(len(F))
    for _, first, n_cells, _ in machine.units.places:
        if not n_cells:
            continue
        features = slice(first, first + n_cells)
        without = of_hidden - F[:, features] @ machine.weights[features]
        # Of two cells the first one has no feature.
        weights = machine.weights[features]
        visible = machine.visible[features]
        code = F[:, features].argmax(axis=1)
        if n_cells == 1:
            weights = np.concatenate([np.zeros_like(weights), weights])
            visible, code = np.append(0.0, visible), F[:, first].astype(np.intp)
        log_p = np.stack(
            [a + softplus(without + w).sum(axis=1) for a, w in zip(visible, weights, strict=True)],
            axis=1,
        )
        total += log_p[rows, code] - logsumexp(log_p, axis=1)
    return total
