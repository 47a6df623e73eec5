"""The restricted Boltzmann machine: visible units, hidden ones, and weights between these.

Visible and hidden units together have the density ``exp(F @ a - precision @ F**2 / 2 + (F @ W + c) @ h) / Z``.
"""

from typing import Any

import numpy as np

from sklearn_dgm._state import Stateful

# Numbers that a block of rows takes up.
NUMBERS_AT_ONCE = 2**22


def softplus(x):
    """Return log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x):
    """Return 1 / (1 + exp(-x)); by the tangent, which is faster and never overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def blocks(n, n_columns):
    """Yield slices of rows, so that a block has no more than `NUMBERS_AT_ONCE` numbers."""
    step = max(NUMBERS_AT_ONCE // max(n_columns, 1), 1)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def binary_states(index, n_units):
    """Return states of binary units by their numbers, of shape (len(index), n_units), float64."""
    return (index[:, None] >> np.arange(n_units) & 1).astype(np.float64)


class BinaryUnits(Stateful):
    """Visible units that are the hidden ones of the machine below; each feature is one of them.

    Parameters
    ----------
    n_features : int
        Number of units.
    """

    n_numbers, is_binary = 0, True

    def __init__(self, n_features):
        self.n_features = n_features

    @property
    def n_outcomes(self):
        """Number of states."""
        return 2**self.n_features

    def outcomes(self, index):
        """Return states by their numbers."""
        return binary_states(index, self.n_features)

    def draw(self, eta, precision, rng, *, to_decode=False):
        """Draw features; see :meth:`~sklearn_dgm.energy._visible.VisibleUnits.draw`."""
        return (rng.random(eta.shape, dtype=eta.dtype) < sigmoid(eta)).astype(eta.dtype)

    def log_normalisers(self, eta, precision):
        """Return the normalisers; see :meth:`~sklearn_dgm.energy._visible.VisibleUnits.log_normalisers`."""
        return softplus(eta)


class BoltzmannMachine(Stateful):
    """A restricted Boltzmann machine.

    Parameters
    ----------
    units : VisibleUnits or BinaryUnits
        Visible units.
    weights : ndarray of shape (n_features, n_hidden)
        Weights W between features and hidden units.
    visible : ndarray of shape (n_features,)
        Natural parameters a of the visible units.
    hidden : ndarray of shape (n_hidden,)
        Biases c of the hidden units.
    precision : ndarray of shape (n_numbers,)
        Precisions of numbers.
    """

    def __init__(
        self,
        units: Any,
        weights: np.ndarray,
        visible: np.ndarray,
        hidden: np.ndarray,
        precision: np.ndarray,
    ):
        self.units, self.weights, self.visible = units, weights, visible
        self.hidden, self.precision = hidden, precision

    @property
    def n_hidden(self):
        """Number of hidden units."""
        return len(self.hidden)

    def astype(self, dtype):
        """Return the machine with parameters of a dtype, as a copy."""
        parts = (self.weights, self.visible, self.hidden, self.precision)
        return BoltzmannMachine(self.units, *(part.astype(dtype) for part in parts))

    def hidden_input(self, F):
        """Return the natural parameters of the hidden units given features, of shape (n, n_hidden)."""
        return F @ self.weights + self.hidden

    def visible_input(self, H):
        """Return the natural parameters of the visible units given hidden ones, of shape (n, n_features)."""
        return H @ self.weights.T + self.visible

    def draw_visible(self, H, rng, *, to_decode=False):
        """Draw features given hidden units."""
        return self.units.draw(self.visible_input(H), self.precision, rng, to_decode=to_decode)

    def draw_hidden(self, F, rng):
        """Draw hidden units given features."""
        p = sigmoid(self.hidden_input(F))
        return (rng.random(p.shape, dtype=p.dtype) < p).astype(p.dtype)

    def run(self, F, n_steps, rng):
        """Return features after steps of Gibbs sampling."""
        for _ in range(n_steps):
            F = self.draw_visible(self.draw_hidden(F, rng), rng)
        return F

    def log_visible(self, F):
        """Return the part of the logarithm of the unnormalised density that knows no hidden unit, of shape (n,)."""
        log_p = F @ self.visible
        if self.units.n_numbers:
            log_p = log_p - 0.5 * F[:, self.units.numbers] ** 2 @ self.precision
        return log_p

    def log_unnormalised(self, F):
        """Return the log-density of features up to the constant log Z: minus the free energy, of shape (n,)."""
        log_p = np.empty(len(F), dtype=F.dtype)
        for rows in blocks(len(F), max(self.weights.shape)):
            of_hidden = softplus(self.hidden_input(F[rows])).sum(axis=1)
            log_p[rows] = self.log_visible(F[rows]) + of_hidden
        return log_p

    def log_unnormalised_hidden(self, H):
        """Return the log-probability of hidden units up to the constant log Z, of shape (n,)."""
        log_p = H @ self.hidden
        for rows in blocks(len(H), max(self.weights.shape)):
            eta = self.visible_input(H[rows])
            log_p[rows] += self.units.log_normalisers(eta, self.precision).sum(axis=1)
        return log_p

    def log_given_hidden(self, F, H, observed):
        """Return the log-density of features given hidden units.

        Parameters
        ----------
        F : ndarray of shape (n, n_features)
            Features, zeros where a cell is missing.
        H : ndarray of shape (m, n_hidden)
            Hidden units.
        observed : ndarray of bool of shape (n, n_columns)
            Which cells are not missing.

        Returns
        -------
        log_p : ndarray of shape (n, m)
            Log-densities of the observed cells.
        """
        eta = self.visible_input(H)
        normalisers = self.units.log_normalisers(eta, self.precision)
        log_p = F @ eta.T - observed.astype(F.dtype) @ normalisers.T
        if self.units.n_numbers:
            log_p -= 0.5 * (F[:, self.units.numbers] ** 2 @ self.precision)[:, None]
        return log_p
