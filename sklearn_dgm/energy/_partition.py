"""The logarithm of the normaliser, log Z: by enumeration, or by annealed importance sampling (Neal, 2001)."""

import math
import warnings
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm.energy._machine import binary_states, blocks, softplus

# So many states of hidden or visible units are enumerated.
MOST_STATES = 2**20
# Steps of Gibbs sampling that draws are away from the particles that they start from.
SETTLING_STEPS = 100
# Parts of all temperatures that are tried one after the other, until both errors are below this.
PARTS, GOOD_ERROR = (16, 4, 1), 0.1
# Fewer particles, or a wider bracket, say little about log Z.
LEAST_PARTICLES, WIDEST_BRACKET = 20, 0.5


class Partition(NamedTuple):
    """The logarithm of the normaliser, and where draws start from.

    Attributes
    ----------
    log_z : float
        The logarithm.
    std_error : float
        Standard error, 0 where it is exact, and at least half the width of the bracket.
    bracket : tuple of float
        Estimates by annealing forwards and backwards, of which the one tends to be too low and the other too high.
    of : {"hidden", "visible", "particles"}
        What was enumerated; else particles were annealed.
    log_p : ndarray of shape (n_states,) or (n_particles,)
        Log-probabilities of the states, or weights of the particles, which sum to one.
    particles : ndarray of shape (n_particles, n_features) or None
        Features of the particles.
    """

    log_z: float
    std_error: float
    bracket: tuple[float, float]
    of: str
    log_p: np.ndarray
    particles: np.ndarray | None = None

    @property
    def effective_sample_size(self):
        """How many particles the weighted ones are worth."""
        return float(np.exp(-logsumexp(2 * self.log_p)))

    @property
    def width(self):
        """Width of the bracket."""
        lower, upper = self.bracket
        return abs(upper - lower)


def enumerable(units, n_hidden):
    """Return whether "hidden" or "visible" states are few enough to be enumerated, or None."""
    sizes = {"hidden": 2**n_hidden, "visible": units.n_outcomes}
    of = min(sizes, key=sizes.__getitem__)
    return of if sizes[of] <= MOST_STATES else None


def states(machine, of, index):
    """Return the states, of the hidden or of the visible units, that have some numbers."""
    if of == "hidden":
        return binary_states(index, machine.n_hidden)
    return machine.units.outcomes(index)


def exact_partition(machine, of):
    """Enumerate the states of the hidden or of the visible units."""
    if of == "hidden":
        n, log_unnormalised = 2**machine.n_hidden, machine.log_unnormalised_hidden
    else:
        n, log_unnormalised = machine.units.n_outcomes, machine.log_unnormalised
    log_p = np.concatenate(
        [
            log_unnormalised(states(machine, of, np.arange(part.start, part.stop)))
            for part in blocks(n, max(machine.weights.shape))
        ]
    )
    log_z = float(logsumexp(log_p))
    return Partition(log_z, 0.0, (log_z, log_z), of, log_p - log_z)


class _Path:
    """The path from independent columns to the machine, half the digits of both."""

    def __init__(self, machine, base):
        self.machine, self.base = machine.astype(np.float32), base.astype(np.float32)

    def at(self, beta):
        """Return the machine at an inverse temperature; its weights and hidden biases are still to be multiplied."""
        visible = (1 - beta) * self.base + beta * self.machine.visible
        precision = (1 - beta) + beta * self.machine.precision
        return visible.astype(np.float32), precision.astype(np.float32)

    def log_base(self):
        """Return the logarithm of the normaliser at the start."""
        units = self.machine.units
        base = units.log_normalisers(self.base[None].astype(np.float64), np.ones(units.n_numbers))
        return base.sum() + self.machine.n_hidden * math.log(2)

    def anneal(self, F, betas, rng):
        """Take particles along the path, forwards or backwards.

        Parameters
        ----------
        F : ndarray of shape (n, n_features)
            Draws from where the path begins.
        betas : ndarray of shape (n_betas,)
            Inverse temperatures, increasing or decreasing.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        log_weights : ndarray of shape (n,)
            Logarithms of the importance weights: their mean is that of the ratio of the normalisers.
        F : ndarray of shape (n, n_features)
            Where they have come to.
        """
        units, machine = self.machine.units, self.machine
        log_weights = np.zeros(len(F))
        difference = machine.visible - self.base
        for before, beta in pairwise(betas):
            x = F @ machine.weights + machine.hidden
            change = softplus(np.float32(beta) * x) - softplus(np.float32(before) * x)
            log_weights += change.sum(axis=1) + (beta - before) * (F @ difference)
            if units.n_numbers:
                u = F[:, units.numbers]
                log_weights -= 0.5 * (beta - before) * (u**2 @ (machine.precision - 1))
            with np.errstate(over="ignore"):
                H = rng.random(x.shape, dtype=np.float32) * (1 + np.exp(-np.float32(beta) * x)) < 1
            visible, precision = self.at(beta)
            eta = np.float32(beta) * (H.astype(np.float32) @ machine.weights.T) + visible
            F = units.draw(eta, precision, rng)
        return log_weights, F


def annealed_partition(machine, base, n_chains, n_temperatures, rng):
    """Anneal particles from independent columns to the machine, and back.

    Parameters
    ----------
    machine : BoltzmannMachine
        The machine.
    base : ndarray of shape (n_features,)
        Natural parameters of the independent columns.
    n_chains : int
        Number of particles.
    n_temperatures : int
        Number of temperatures at most; a part of them is tried first.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    partition : Partition
        The estimate.

    Warns
    -----
    ConvergenceWarning
        If the particles are worth less than 20, or the bracket is wider than 0.5.
    """
    path = _Path(machine, base)
    for part in PARTS:
        partition = _annealed(path, n_chains, max(n_temperatures // part, 2), rng)
        n_worth = partition.effective_sample_size
        if max(partition.std_error, partition.width) < GOOD_ERROR and n_worth >= LEAST_PARTICLES:
            break
    if n_worth < LEAST_PARTICLES or partition.width > WIDEST_BRACKET:
        warnings.warn(
            f"log Z is uncertain: the {n_chains} annealed particles are worth {n_worth:.0f}, and its bracket is "
            f"{partition.width:.2f} wide; raise n_temperatures or n_ais_chains.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return partition


def _annealed(path, n_chains, n_temperatures, rng):
    """Estimate forwards, and for the other end of the bracket backwards, from resampled particles, some steps later."""
    machine, betas = path.machine, np.linspace(0, 1, n_temperatures)
    eta = np.tile(path.base, (n_chains, 1))
    start = machine.units.draw(eta, np.ones(machine.units.n_numbers, np.float32), rng)
    log_weights, particles = path.anneal(start, betas, rng)
    log_total = logsumexp(log_weights)
    log_p = log_weights - log_total
    log_z = float(path.log_base() + log_total - math.log(n_chains))
    std_error = float(np.std(np.exp(log_p), ddof=1) * math.sqrt(n_chains))
    partition = Partition(log_z, std_error, (log_z, log_z), "particles", log_p, particles)
    settled = draw_features(machine, partition, n_chains, rng)
    backwards, _ = path.anneal(settled, betas[::-1], rng)
    upper = float(path.log_base() - logsumexp(backwards) + math.log(n_chains))
    # The spread of the weights knows nothing of a mode that no particle has found.
    std_error = max(std_error, abs(upper - log_z) / 2)
    return partition._replace(std_error=std_error, bracket=(log_z, upper))


def draw_features(machine, partition, n, rng, *, to_decode=False):
    """Draw features of the machine: independently of enumerated states, else some steps after resampled particles.

    Parameters
    ----------
    machine : BoltzmannMachine
        The machine.
    partition : Partition
        Its partition.
    n : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.
    to_decode : bool, default=False
        Whether the features are to be decoded; see :meth:`~sklearn_dgm.energy._visible.VisibleUnits.draw`.

    Returns
    -------
    F : ndarray of shape (n, n_features)
        Features.
    """
    index = rng.choice(len(partition.log_p), n, p=np.exp(partition.log_p))
    if partition.of == "visible":
        return states(machine, "visible", index)
    drawn = np.empty((n, machine.units.n_features), machine.weights.dtype)
    for rows in blocks(n, max(machine.weights.shape)):
        if partition.of == "hidden":
            H = states(machine, "hidden", index[rows])
        else:
            F = partition.particles[index[rows]].astype(machine.weights.dtype)
            H = machine.draw_hidden(machine.run(F, SETTLING_STEPS, rng), rng)
        drawn[rows] = machine.draw_visible(H, rng, to_decode=to_decode)
    return drawn
