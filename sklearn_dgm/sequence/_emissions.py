"""What hidden states emit: the components of a finite mixture of steps, or any densities."""

import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.mixture._densities import schema_for
from sklearn_dgm.mixture._finite import FiniteMixture


def reads_columns(density):
    """Tell whether a density is one of the columns of a step; any other one is given encoded numbers."""
    return isinstance(schema_for(density), ColumnSchema)


class DensityEmissions(Stateful):
    """A density of a step for each state; it answers those verbs of a finite mixture that do not learn.

    Parameters
    ----------
    densities : list of estimator instances
        The densities.
    """

    tables = normals = None

    def __init__(self, densities):
        self.densities = densities

    def prepare(self, Z):
        """Return encoded steps, as densities take them."""
        return Z

    def log_conditional(self, Z):
        """Return the log-density of steps given each state, of shape (n, n_states)."""
        with np.errstate(over="ignore", divide="ignore"):
            return np.column_stack([_log_density(density, Z) for density in self.densities])

    @property
    def n_parameters_of_components(self):
        """Number of free parameters, where the densities count theirs."""
        return sum(density.n_parameters_ for density in self.densities)


def _log_density(density, Z):
    """Return the log-density of encoded steps, of shape (n,); steps without any cell have none."""
    if not reads_columns(density):
        return density.score_samples(Z)
    missing = np.isnan(Z).all(axis=1)
    log_p = np.zeros(len(Z))
    log_p[~missing] = density._log_density(Z[~missing])
    return log_p


def fill_states(emissions, Z, states, rng):
    """Draw the missing cells of encoded steps given their states.

    Parameters
    ----------
    emissions : {FiniteMixture, DensityEmissions}
        What states emit.
    Z : ndarray of shape (n_steps, n_columns)
        Encoded steps, NaN where a cell is missing.
    states : ndarray of int of shape (n_steps,)
        Their states.
    rng : Generator
        Where random numbers come from.

    Returns
    -------
    Z : ndarray of shape (n_steps, n_columns)
        Steps without missing cells.
    """
    Z = Z.copy()
    if isinstance(emissions, FiniteMixture):
        emissions.fill_given(states, Z, rng.random((len(Z), 2 * Z.shape[1])))
        return Z
    gaps, nothing = np.isnan(Z).any(axis=1), np.isnan(Z).all(axis=1)
    for k in np.unique(states[gaps]):
        density = emissions.densities[k]
        (new,) = np.nonzero((states == k) & nothing)
        if len(new):
            Z[new] = _draw(density, len(new), rng)
        (rows,) = np.nonzero((states == k) & gaps & ~nothing)
        if len(rows):
            Z[rows] = density._conditional_draws(Z[rows], 1, rng)[0][:, 0]
    return Z


def _draw(density, n, rng):
    if reads_columns(density):
        return density._draw(n, rng)
    return density.sample(n, random_state=int(rng.integers(2**31)))
