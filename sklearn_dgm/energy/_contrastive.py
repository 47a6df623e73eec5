"""Training by persistent contrastive divergence (Tieleman, 2008), centred (Melchior, Fischer and Wiskott, 2016)."""

import copy
import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm._state import Stateful
from sklearn_dgm.energy._machine import BoltzmannMachine, blocks, sigmoid

# Standard deviations of numbers given the hidden units, in those of the column, and how much slower they are learnt.
LEAST_WIDTH, MOST_WIDTH, WIDTH_RATE = 0.05, 1.5, 0.2
# Share of a new batch in the mean of the hidden units.
MEAN_RATE = 0.01
# Weights are averaged every so many steps; the average forgets all but about the last fifth of them.
AVERAGED_EVERY, AVERAGED_POWER = 10, 4
# With as many weights, half the digits are enough, and half the time.
LARGE = 20_000
INITIAL_SPREAD = 0.01
# The rate that "auto" chooses is at most so large, and chosen by so many rows and power iterations.
LARGEST_RATE, MEASURED_ROWS, POWER_STEPS = 1.0, 2000, 30
# Passes and steps that "auto" takes at least.
LEAST_PASSES, LEAST_STEPS = 30, 10_000
# A gap of free energies beyond it, over the last tenth of the passes, is one of chains that have lost the rows.
LARGEST_GAP = 3.0
# One beyond this is that of weights that have diverged.
DIVERGED_GAP = 100.0


class Settings(NamedTuple):
    """How to train.

    Attributes
    ----------
    learning_rate : float
        Size of the first step.
    n_gibbs_steps : int
        Steps of the chains for each step of the weights.
    n_chains, batch_size : int
        Chains, and rows of a step.
    weight_decay : float
        Share of the weights that a step of size 1 takes away.
    """

    learning_rate: float
    n_gibbs_steps: int
    n_chains: int
    batch_size: int
    weight_decay: float


class Rows:
    """Rows that come up in batches, each as often as its weight says.

    Parameters
    ----------
    F : ndarray of shape (n, n_features)
        Features; those of missing cells are drawn anew each time, from where they stand.
    missing : ndarray of bool of shape (n, n_features) or None
        Features of missing cells, if there are any.
    weight : ndarray of shape (n,)
        Weights.
    """

    def __init__(self, F, missing, weight):
        self.F, self.missing, self.weight = F, missing, weight
        below = np.cumsum(weight)
        self._upper = below / below[-1]

    def __len__(self):
        return len(self.F)

    def means(self, rng):
        """Return the means of the features."""
        return self.weight @ self.F / self.weight.sum()

    def sample(self, n):
        """Return places of n rows, in order, each as often as its weight says."""
        return self._places((np.arange(n) + 0.5) / n)

    def _places(self, points):
        return np.searchsorted(self._upper, points, side="right").clip(max=len(self.F) - 1)

    def batches(self, batch_size, rng):
        """Yield places of rows, in one pass: a row of average weight is in one batch."""
        n_batches = -(-len(self.F) // batch_size)
        n = n_batches * batch_size
        points = (rng.permutation(n) + rng.random()) / n
        yield from self._places(points).reshape(n_batches, batch_size)

    def features(self, places, machine, rng):
        """Return features of rows, after missing ones are drawn anew given the hidden units."""
        F = self.F[places].astype(machine.weights.dtype)
        if self.missing is not None and self.missing[places].any():
            drawn = machine.draw_visible(machine.draw_hidden(F, rng), rng)
            F = np.where(self.missing[places], drawn, F)
            self.F[places] = F
        return F


class StreamedRows(Rows):
    """Rows of which each pass takes the next of a stream, as many as there were at first.

    Parameters
    ----------
    first : Rows
        Rows of the same table.
    reader : BlockReader
        What reads further encoded rows, and their weights.
    rows_of : callable
        Makes :class:`Rows` of them.
    """

    def __init__(self, first, reader, rows_of):
        super().__init__(first.F, first.missing, first.weight)
        self._reader, self._rows_of = reader, rows_of

    def batches(self, batch_size, rng):
        """Yield places of the next rows; see :meth:`Rows.batches`."""
        rows = self._rows_of(*self._reader.next_rows(len(self.F)))
        super().__init__(rows.F, rows.missing, rows.weight)
        yield from super().batches(batch_size, rng)


class HiddenRows:
    """The hidden units of a machine, drawn anew for each batch of rows: what a machine above it learns from.

    Parameters
    ----------
    rows : Rows or HiddenRows
        What the machine below learnt from.
    below : BoltzmannMachine
        That machine.
    """

    def __init__(self, rows, below):
        self.rows, self.below = rows, below
        self.batches, self.sample = rows.batches, rows.sample

    def __len__(self):
        return len(self.rows)

    @property
    def weight(self):
        """Weights of the rows, which may be others in each pass."""
        return self.rows.weight

    def features(self, places, machine, rng):
        """Return hidden units of rows."""
        F = self.rows.features(places, self.below, rng)
        return self.below.draw_hidden(F, rng).astype(machine.weights.dtype)

    def means(self, rng):
        """Return the means of the hidden units."""
        total = np.zeros(self.below.n_hidden)
        for part in blocks(len(self), max(self.below.weights.shape)):
            F = self.rows.features(np.arange(part.start, part.stop), self.below, rng)
            total += self.weight[part] @ sigmoid(self.below.hidden_input(F))
        return total / self.weight.sum()


def initial_machine(units, n_hidden, visible, rng):
    """Return a machine that is nearly the product of independent columns."""
    weights = rng.normal(0, INITIAL_SPREAD, (units.n_features, n_hidden))
    visible = visible - 0.5 * weights.sum(axis=1)  # half of the hidden units are on
    return BoltzmannMachine(units, weights, visible, np.zeros(n_hidden), np.ones(units.n_numbers))


def gradient(machine, F, weight, chains, chain_weight, centres):
    """Return the centred gradient of the log-likelihood, the model's expectations taken over chains.

    Parameters
    ----------
    machine : BoltzmannMachine
        The machine.
    F : ndarray of shape (n, n_features)
        Features of rows.
    weight : ndarray of shape (n,)
        Their weights, which sum to one.
    chains : ndarray of shape (m, n_features)
        Features drawn from the machine, or all there are.
    chain_weight : ndarray of shape (m,)
        Their weights, which sum to one.
    centres : tuple of ndarray
        Features and hidden units that are taken for zero, about their means.

    Returns
    -------
    weights, visible, hidden : ndarray
        Directions of the parameters; those of `visible` and `hidden` are what is left of their gradients when that of
        the weights is taken from the centres.
    width : ndarray of shape (n_numbers,)
        Gradient of the logarithm of the standard deviations of numbers, whose means stay.
    means : ndarray of shape (n_hidden,)
        Means of the hidden units given the rows.
    """
    both = np.concatenate([F, chains])
    signed = np.concatenate([weight, -chain_weight]).astype(both.dtype)
    p = sigmoid(machine.hidden_input(both))
    of_visible, of_hidden = centres
    weights = ((both - of_visible) * signed[:, None]).T @ (p - of_hidden)
    visible = signed @ both - weights @ of_hidden
    hidden = signed @ p - of_visible @ weights
    width = np.zeros(0)
    if machine.units.n_numbers:
        u = both[:, machine.units.numbers]
        eta = p @ machine.weights[machine.units.numbers].T + machine.visible[machine.units.numbers]
        width = signed @ (machine.precision * u**2 - 2 * u * eta)
    return weights, visible, hidden, width, weight.astype(both.dtype) @ p[: len(F)]


class ContrastiveDivergence(Stateful):
    """A machine in training, with its chains.

    Parameters
    ----------
    machine : BoltzmannMachine
        Where to start.
    means : ndarray of shape (n_features,)
        Means of the features.
    n_chains : int
        Number of chains.
    rng : numpy.random.Generator
        Source of their starts.

    Attributes
    ----------
    averaged : BoltzmannMachine
        Average of the machine over steps.
    """

    def __init__(self, machine, means, n_chains, rng):
        dtype = np.float32 if machine.weights.size >= LARGE else np.float64
        self.machine, self.averaged = machine.astype(dtype), machine.astype(dtype)
        self.means = np.full(machine.n_hidden, 0.5, dtype)
        self.centre = means.astype(dtype)
        hidden = (rng.random((n_chains, machine.n_hidden)) < 0.5).astype(dtype)
        self.chains = self.machine.draw_visible(hidden, rng)
        self.n_steps = self.n_averaged = 0

    def step(self, F, rate, settings, rng):
        """Take a step of the chains, and then one of the parameters, for a batch of features."""
        machine = self.machine
        self.chains = machine.run(self.chains, settings.n_gibbs_steps, rng)
        even = [np.full(len(of), 1 / len(of)) for of in (F, self.chains)]
        weights, visible, hidden, width, means = gradient(
            machine, F, even[0], self.chains, even[1], (self.centre, self.means)
        )
        self.means += MEAN_RATE * (means - self.means)
        if machine.units.n_numbers:  # steps of their means, whatever their precision
            numbers = machine.units.numbers
            weights[numbers] *= machine.precision[:, None]
            visible[numbers] *= machine.precision
        machine.weights *= 1 - rate * settings.weight_decay
        weights *= rate
        machine.weights += weights
        machine.visible += rate * visible
        machine.hidden += rate * hidden
        if machine.units.n_numbers:
            self._widen(WIDTH_RATE * rate * width)
        self.n_steps += 1
        if self.n_steps % AVERAGED_EVERY == 0:
            self._average()

    def finish(self):
        """Take the last steps into the average."""
        if self.n_steps % AVERAGED_EVERY:
            self._average()

    def _widen(self, change):
        """Change the logarithms of the standard deviations of numbers, and leave their means where they are."""
        machine = self.machine
        numbers, least = machine.units.numbers, np.maximum(machine.units.cell, LEAST_WIDTH)
        width = machine.precision**-0.5 * np.exp(change.clip(-0.1, 0.1))
        precision = width.clip(least, MOST_WIDTH) ** -2.0
        ratio = (precision / machine.precision).astype(machine.weights.dtype)
        machine.weights[numbers] *= ratio[:, None]
        machine.visible[numbers] *= ratio
        machine.precision = precision.astype(machine.weights.dtype)

    def _average(self):
        self.n_averaged += 1
        share = (AVERAGED_POWER + 1) / (AVERAGED_POWER + self.n_averaged)
        for name in ("weights", "visible", "hidden", "precision"):
            average, now = getattr(self.averaged, name), getattr(self.machine, name)
            if share >= 1:
                average[:] = now
            else:
                average += share * (now - average)

    def free_energy_gap(self, F):
        """Return by how many standard deviations of rows the free energy of rows lies above that of the chains."""
        of_rows, of_chains = map(self.machine.log_unnormalised, (F, self.chains))
        return float((of_chains.mean() - of_rows.mean()) / max(of_rows.std(), 1.0))


def automatic_rate(rows, machine, rng):
    """Return the inverse of the largest variance of rows along any direction: how steep the likelihood is at most."""
    F = rows.features(rows.sample(MEASURED_ROWS), machine, rng).astype(np.float64)
    F -= F.mean(axis=0)
    direction = np.random.default_rng(0).normal(size=F.shape[1])
    for _ in range(POWER_STEPS):
        direction = F.T @ (F @ direction)
        variance = np.linalg.norm(direction) / len(F)
        direction /= np.linalg.norm(direction) or 1.0
    return 1 / max(float(variance), 1 / LARGEST_RATE)


def passes(max_iter, n_rows, batch_size):
    """Return how often to go through the rows, which "auto" decides by their number."""
    if max_iter != "auto":
        return max_iter
    n_batches = -(-n_rows // batch_size)
    return max(LEAST_PASSES, -(-LEAST_STEPS // n_batches))


def train(training, rows, settings, n_passes, rng, *, falls=True, tell=None):
    """Train a machine.

    Parameters
    ----------
    training : ContrastiveDivergence
        The machine, which is changed in place.
    rows : Rows or HiddenRows
        What to learn from.
    settings : Settings
        How.
    n_passes : int
        Passes through the rows.
    rng : numpy.random.Generator
        Source of randomness.
    falls : bool, default=True
        Whether the rate falls to zero, in even steps.
    tell : callable, default=None
        Called after each pass with its number, the gap of free energies and the seconds that it took.

    Returns
    -------
    gaps : ndarray of shape (n_passes,)
        By how many standard deviations the free energy of rows lay above that of the chains after each pass.

    Warns
    -----
    ConvergenceWarning
        If the weights have diverged, where those are kept that the chains had not lost the rows with, or the chains
        have lost the rows.
    """
    gaps, n_kept, kept = [], 0, copy.deepcopy(vars(training))
    for i in range(n_passes):
        start = time.perf_counter()
        batches = list(rows.batches(settings.batch_size, rng))
        with np.errstate(all="ignore"):  # the gap says so
            for b, places in enumerate(batches):
                F = rows.features(places, training.machine, rng)
                done = (i + b / len(batches)) / n_passes if falls else 0.0
                training.step(F, settings.learning_rate * (1 - done), settings, rng)
            gap = training.free_energy_gap(F)
        if not abs(gap) < DIVERGED_GAP:
            vars(training).update(kept)
            gaps = gaps[:n_kept]
            _warn(
                f"the weights have diverged in pass {i + 1}, and those after pass {n_kept} are kept"
            )
            break
        gaps.append(gap)
        if abs(gap) < LARGEST_GAP:
            n_kept, kept = i + 1, copy.deepcopy(vars(training))
        if tell is not None:
            tell(i + 1, gap, time.perf_counter() - start)
    training.finish()
    last = np.mean(gaps[-max(len(gaps) // 10, 1) :]) if gaps else 0.0
    if abs(last) > LARGEST_GAP:
        _warn(
            f"the chains have lost the rows: their free energies are {abs(last):.1f} standard deviations apart"
        )
    return np.array(gaps)


def _warn(what):
    warnings.warn(
        f"Contrastive divergence: {what}; lower learning_rate.", ConvergenceWarning, stacklevel=2
    )
