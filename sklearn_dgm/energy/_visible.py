"""The visible units of a Boltzmann machine: what stands for the columns of a table, by their kinds.

Together they are an exponential family. A row is a vector of features F; given natural parameters eta, of the same
length, its density is ``exp(F @ eta - precision @ F**2 / 2 - A(eta))``, where only numbers have a precision. Two values
are a flag, a unit of Bernoulli; more categories, or whole numbers of a short range, are a choice, with one feature for
each of them (softmax); a number is a normal variable. A mixed column is a choice among its atoms and a last cell, the
gate, which opens a number.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._column import codes as codes_of
from sklearn_dgm.counts.axes import axes_of
from sklearn_dgm.counts.discrete_normal import discrete_normal_icdf
from sklearn_dgm.counts.edges import MAX_LEVELS

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
# Numbers farther out, in standard deviations, are as if they were there, so that no square overflows.
FARTHEST = 1e100
# Rows, spread as all rows are, that a cell without any counts as.
ALPHA = 0.5


def as_slice(places):
    """Return an array of increasing places as a slice, where it is one, so that products need no copy."""
    if len(places) and places[-1] - places[0] == len(places) - 1:
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


class ValueAxis(Stateful):
    """A cell for each of some values of a column of numbers, and, where they are atoms, a last one for the others.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Encoded values, increasing.
    has_others : bool
        Whether other values have a cell; else they are impossible.
    """

    def __init__(self, values, has_others):
        self.values, self.has_others = values, has_others

    @property
    def n_levels(self):
        """Number of cells."""
        return len(self.values) + self.has_others

    def encode(self, z):
        """Encode values as cells; see :meth:`~sklearn_dgm.counts.axes.CategoryAxis.encode`."""
        code, missing = codes_of(z, self.values), np.isnan(z)
        is_other = (code < 0) & ~missing
        if self.has_others:
            return np.where(is_other, len(self.values), code), np.zeros(len(z))
        return code, np.where(is_other, -np.inf, 0.0)

    def icdf_within(self, codes, uniforms):
        """Return the values of cells, NaN for other ones."""
        return np.append(self.values, np.nan)[codes]


def _axis_of(column, Z, j, weight):
    """Return the cells of a column, None where it has none."""
    if column.atoms is not None:
        return ValueAxis(column.encoded_atoms, has_others=True)
    if column.is_categorical:
        return axes_of([column], Z[:, [j]], weight, "quantiles")[0]
    if not column.is_whole:
        return None
    low, high = column.encoded(np.array([column.low, column.high]))
    if column.is_flag:  # whatever values these rows have
        return ValueAxis(np.array([low, high]), has_others=False)
    if high - low < MAX_LEVELS:
        return axes_of([column], Z[:, [j]], weight, "quantiles")[0]
    return None


class Place(NamedTuple):
    """The features of a column.

    Attributes
    ----------
    axis : ValueAxis, CategoryAxis, NumberAxis or None
        The cells of the column; None of numbers without any.
    first : int
        Its first feature.
    n_cells : int
        How many features its cells have: one for each, one of two cells, none of a single one.
    number : int
        Place of its number among all numbers, -1 without one; its feature is the last one.
    """

    axis: Any
    first: int
    n_cells: int
    number: int


class VisibleUnits(Stateful):
    """Units that stand for the columns of a table.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of them.
    Z : ndarray of shape (n, n_columns)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.

    Attributes
    ----------
    labels : list of str
        The columns as error messages name them.
    places : list of Place
        The features of each column.
    column_of : ndarray of int of shape (n_features,)
        The column of each feature; they stand in the order of the columns.
    flags, choices, numbers : ndarray of int, or slice
        Features of these units.
    starts : ndarray of int of shape (n_choices,)
        Where the cells of each choice begin among all `choices`.
    gates : ndarray of int of shape (n_numbers,)
        For each number the place among the `choices` of the cell that opens it; -1 where it is open.
    cell : ndarray of shape (n_numbers,)
        Width of the steps of whole numbers, in the units of features; 0 of others.
    """

    def __init__(self, columns, Z, weight):
        self.labels = [column.where for column in columns]
        self.places: list[Place] = []
        column_of, flags, choices, starts, numbers, gates = [], [], [], [], [], []
        for j, column in enumerate(columns):
            axis, first = _axis_of(column, Z, j, weight), len(column_of)
            has_number = axis is None or column.atoms is not None
            n_levels = 0 if axis is None else axis.n_levels
            n_cells = (0, 0, 1)[n_levels] if n_levels < 3 and not has_number else n_levels
            if n_cells == 1:
                flags.append(first)
            elif n_cells:
                starts.append(len(choices))
                choices.extend(range(first, first + n_cells))
            self.places.append(Place(axis, first, n_cells, len(numbers) if has_number else -1))
            if has_number:
                gates.append(len(choices) - 1 if n_cells else -1)
                numbers.append(first + n_cells)
            column_of.extend([j] * (n_cells + has_number))
        self.column_of = np.array(column_of, dtype=np.intp)
        self.starts = np.array(starts, dtype=np.intp)
        self.gates = np.array(gates, dtype=np.intp)
        self._features = [np.array(part, dtype=np.intp) for part in (flags, choices, numbers)]
        self._measure_numbers(columns, Z, weight)

    @property
    def flags(self):
        """Features of flags."""
        return as_slice(self._features[0])

    @property
    def choices(self):
        """Features of choices."""
        return as_slice(self._features[1])

    @property
    def numbers(self):
        """Features of numbers."""
        return as_slice(self._features[2])

    @property
    def n_features(self):
        """Number of features."""
        return len(self.column_of)

    @property
    def n_numbers(self):
        """Number of those that are numbers."""
        return len(self.gates)

    @property
    def is_binary(self):
        """Whether all units are flags."""
        return len(self._features[0]) == self.n_features

    @property
    def n_outcomes(self):
        """Number of rows that there are; infinite with numbers."""
        return math.inf if self.n_numbers else math.prod(of.axis.n_levels for of in self.places)

    def _measure_numbers(self, columns, Z, weight):
        """Learn the centre and the scale of numbers."""
        self.centre, self.scale = np.zeros(self.n_numbers), np.ones(self.n_numbers)
        self.cell = np.zeros(self.n_numbers)
        for i, j in enumerate(self.column_of[self._features[2]]):
            seen = ~np.isnan(Z[:, j])
            if columns[j].atoms is not None:
                seen &= ~np.isin(Z[:, j], columns[j].encoded_atoms)
            if not seen.any():
                continue
            z, w = Z[seen, j], weight[seen]
            largest = np.abs(z).max() or 1.0  # no sum nor square overflows
            self.centre[i] = np.average(z / largest, weights=w) * largest
            std = math.sqrt(np.average((z / largest - self.centre[i] / largest) ** 2, weights=w))
            step = 1.0 if columns[j].is_whole else 0.0
            self.scale[i] = max(std * largest, step) or 1.0
            self.cell[i] = step / self.scale[i]

    def encode(self, Z):
        """Encode rows as features.

        Parameters
        ----------
        Z : ndarray of shape (n, n_columns)
            Encoded rows, NaN where a cell is missing.

        Returns
        -------
        F : ndarray of shape (n, n_features)
            Features, zeros where a cell is missing.
        missing : ndarray of bool of shape (n, n_columns)
            Which cells are missing, or hold what no unit knows, be it rare or impossible.
        log_within : ndarray of shape (n,)
            What is to be added to log-densities of features: the log-density of values given their cells, `-inf` of
            rows with an impossible one, and of numbers the Jacobian.
        """
        F, log_within, missing = np.zeros((len(Z), self.n_features)), np.zeros(len(Z)), np.isnan(Z)
        for j, (axis, first, n_cells, number) in enumerate(self.places):
            is_number = ~missing[:, j]
            if axis is not None:
                code, within = axis.encode(Z[:, j])
                missing[:, j], log_within = (code < 0) | np.isneginf(within), log_within + within
                is_number = (code == axis.n_levels - 1) & ~missing[:, j]
                if n_cells == 1:
                    F[:, first] = (code == 1) & ~missing[:, j]
                elif n_cells:
                    (rows,) = np.nonzero(~missing[:, j])
                    F[rows, first + code[rows]] = 1.0
            if number >= 0:
                u = (Z[is_number, j] - self.centre[number]) / self.scale[number]
                F[is_number, first + n_cells] = u.clip(-FARTHEST, FARTHEST)
                log_within[is_number] -= math.log(self.scale[number])
        return F, missing, log_within

    def decode(self, F, rng):
        """Decode features, drawn for it, to rows; see :meth:`draw`."""
        Z = np.full((len(F), len(self.places)), np.nan)
        for j, (axis, first, n_cells, number) in enumerate(self.places):
            if axis is not None:
                cells = F[:, first : first + n_cells]
                code = np.zeros(len(F)) if not n_cells else cells[:, 0]
                code = code if n_cells < 2 else cells.argmax(axis=1)
                Z[:, j] = axis.icdf_within(code.astype(np.intp), rng.random(len(F)))
            if number >= 0:
                z = F[:, first + n_cells] * self.scale[number] + self.centre[number]
                if self.cell[number]:
                    z = discrete_normal_icdf(rng.random(len(F)), z)
                Z[:, j] = np.where(np.isnan(Z[:, j]), z, Z[:, j])
        return Z

    def std_of(self, precision, columns):
        """Return the standard deviations of numbers of these precisions, in the units of the table."""
        of_columns = [columns[j].scale for j in self.column_of[self._features[2]]]
        return precision**-0.5 * self.scale * np.array(of_columns)

    def base_rates(self, F, missing, weight):
        """Return the natural parameters of independent columns, with a precision of 1, of shape (n_features,)."""
        seen = weight @ ~missing
        total = weight @ F
        eta = np.zeros(self.n_features)
        flags, choices, _ = self._features
        n = seen[self.column_of]
        share = (total + ALPHA / 2) / (n + ALPHA)
        eta[flags] = np.log(share[flags]) - np.log1p(-share[flags])
        sizes = np.diff(np.append(self.starts, len(choices)))
        even = 1 / np.repeat(sizes, sizes)
        eta[choices] = np.log((total[choices] + ALPHA * even) / (n[choices] + ALPHA))
        eta[choices[self.gates[self.gates >= 0]]] -= LOG_ROOT_2PI
        return eta

    def log_normalisers(self, eta, precision):
        """Return for each row and column the logarithm of the normaliser of its units.

        Parameters
        ----------
        eta : ndarray of shape (n, n_features)
            Natural parameters.
        precision : ndarray of shape (n_numbers,)
            Precisions of the numbers.

        Returns
        -------
        log_normalisers : ndarray of shape (n, n_columns)
            Their sums over columns are A(eta).
        """
        log_normalisers = np.zeros((len(eta), len(self.places)))
        flags, choices, numbers = self._features
        log_normalisers[:, self.column_of[flags]] = np.logaddexp(0.0, eta[:, flags])
        of_numbers = self._of_numbers(eta, precision)
        if len(choices):
            x = self._with_gates(eta[:, choices], of_numbers)
            highest = np.maximum.reduceat(x, self.starts, axis=1)
            sizes = np.diff(np.append(self.starts, len(choices)))
            x = np.exp(x - np.repeat(highest, sizes, axis=1))
            of_choices = np.log(np.add.reduceat(x, self.starts, axis=1)) + highest
            log_normalisers[:, self.column_of[choices[self.starts]]] = of_choices
        is_open = self.gates < 0
        log_normalisers[:, self.column_of[numbers[is_open]]] = of_numbers[:, is_open]
        return log_normalisers

    def _of_numbers(self, eta, precision):
        """Return the logarithms of the normalisers of numbers, of shape (n, n_numbers)."""
        return eta[:, self.numbers] ** 2 / (2 * precision) - 0.5 * np.log(precision) + LOG_ROOT_2PI

    def _with_gates(self, x, of_numbers):
        """Add to the parameters of gates, in place, what the numbers behind them come to."""
        gated = self.gates >= 0
        x[:, self.gates[gated]] += of_numbers[:, gated]
        return x

    def draw(self, eta, precision, rng, *, to_decode=False):
        """Draw features.

        Parameters
        ----------
        eta : ndarray of shape (n, n_features)
            Natural parameters.
        precision : ndarray of shape (n_numbers,)
            Precisions of the numbers.
        rng : numpy.random.Generator
            Source of the draws.
        to_decode : bool, default=False
            Whether they are for :meth:`decode`, which rounds whole numbers, so that these spread less before.

        Returns
        -------
        F : ndarray of shape (n, n_features)
            Features, of the dtype of `eta`.
        """
        F = np.empty_like(eta)
        flags, choices, numbers = self._features
        if len(flags):
            x = eta[:, self.flags]
            with np.errstate(over="ignore"):
                F[:, self.flags] = rng.random(x.shape, dtype=x.dtype) * (1 + np.exp(-x)) < 1
        if len(choices):
            x = eta[:, choices].astype(np.float64)
            if (self.gates >= 0).any():
                self._with_gates(x, self._of_numbers(eta, precision))
            x += rng.gumbel(size=x.shape)
            highest = np.maximum.reduceat(x, self.starts, axis=1)
            sizes = np.diff(np.append(self.starts, len(choices)))
            F[:, self.choices] = x == np.repeat(highest, sizes, axis=1)
        if len(numbers):
            variance = 1 / precision
            spread = np.sqrt((variance - to_decode * self.cell**2).clip(0))
            noise = rng.standard_normal((len(eta), len(numbers)), dtype=eta.dtype)
            u = eta[:, self.numbers] * variance + noise * spread
            gated = self.gates >= 0
            u[:, gated] *= F[:, choices[self.gates[gated]]]
            F[:, self.numbers] = u
        return F

    def outcomes(self, index, columns=None):
        """Return the features of joint outcomes of columns.

        Parameters
        ----------
        index : ndarray of int of shape (n,)
            Numbers of the outcomes.
        columns : sequence of int, default=None
            Columns without numbers; all by default.

        Returns
        -------
        F : ndarray of shape (n, n_features)
            Features, zeros for other columns.
        """
        F = np.zeros((len(index), self.n_features))
        for j in range(len(self.places)) if columns is None else columns:
            axis, first, n_cells, _ = self.places[j]
            code, index = index % axis.n_levels, index // axis.n_levels
            if n_cells == 1:
                F[:, first] = code
            elif n_cells:
                F[np.arange(len(F)), first + code] = 1.0
        return F
