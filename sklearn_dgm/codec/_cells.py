"""Columns as whole numbers: the cells of a grid that the values of a table lie on, exactly."""

import math
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns import INTEGER, LARGEST_INTEGER, ROUNDED
from sklearn_dgm.columns._values import as_categories, as_float, codes

# Powers of ten that are tried as resolutions, coarsest first.
EXPONENTS = range(6, -16, -1)
# What a row that is stored apart costs, about, and each of its cells, in bits.
STORED_ROW_BITS, STORED_BITS = 40, 64
# Farther out there is no probability.
FARTHEST = 1e100
# Cells are coded digit by digit, each of so many symbols at most.
RADIX = 16
# Probabilities too small to be the difference of others, and half the width over which a density is looked at then.
NARROW, HALF_WIDTH = 1e-10, 1e-5
# Floating-point numbers in steps of their last bit, as whole numbers of the same size.
WHOLE = {2: np.int16, 4: np.int32, 8: np.int64}


class Cells(Stateful):
    """Cells of a column, numbered from that of the smallest value.

    Parameters
    ----------
    column : Column
        What the schema knows of it.
    first, n_cells : int, default=None
        The first cell, and how many there are; None for those from the smallest to the largest fitted value.
    """

    # What a stream says of the grid, before the range.
    grid = None

    def __init__(self, column, first=None, n_cells=None):
        self.column = column
        if first is None:
            first, n_cells = self._default_range()
        self.first, self.n_cells = first, n_cells

    def _fitted_range(self):
        """Return the cells of the smallest and of the largest fitted value."""
        return self._nearest(np.array([self.column.low, self.column.high])).tolist()

    def _default_range(self):
        """Return the first cell and the number of cells, with room for digits on both sides of the fitted ones."""
        first, last = self._fitted_range()
        n = last - first + 1
        room = 0 if n <= RADIX else min(RADIX * _steps(n)[0] - n, 2 * n)
        return first - room // 2, n + room

    def cover(self, numbers):
        """Make room for some cells beyond, if need be."""
        if len(numbers):
            first, last = int(numbers.min()), int(numbers.max())
            if first < self.first or last >= self.first + self.n_cells:
                self.first, self.n_cells = first, last - first + 1

    def spec_beside(self, fitted):
        """Return the specification of the cells for a stream, beside those that `fit` knows.

        Parameters
        ----------
        fitted : Cells
            What is known already.

        Returns
        -------
        spec : list or None
            The grid, and the range if it does not follow from that; None for what is known.
        """
        ranges = (self.first, self.n_cells), (fitted.first, fitted.n_cells)
        if self.grid == fitted.grid and ranges[0] == ranges[1]:
            return None
        return [self.grid] if ranges[0] == self._default_range() else [self.grid, *ranges[0]]

    @property
    def steps(self):
        """Number of cells that one step of each digit spans, highest digit first."""
        return _steps(self.n_cells)

    @property
    def width(self):
        """Width of a cell in units of the table, which tells how many bits it costs beside those of other grids."""
        return self.column.resolution or 1.0

    def numbers(self, cells):
        """Return whole numbers on the grid, from cells counted from the first."""
        return (cells + np.uint64(self.first % 2**64)).view(np.int64)

    def cells(self, numbers):
        """Return cells, counted from the first, of type uint64, from whole numbers on the grid."""
        return numbers.astype(np.uint64) - np.uint64(self.first % 2**64)

    def encoded(self, numbers):
        """Return the encoded values of whole numbers on the grid, of shape (n,)."""
        return numbers.astype(np.float64)

    def cdf(self, conditional, numbers):
        """Return the probabilities below the lower edges of cells, of shape (n, m)."""
        return conditional.cdf(numbers - 0.5)

    def mass(self, conditional, numbers):
        """Return the probabilities of cells, of shape (n,)."""
        edges = numbers[:, None] + np.arange(2)
        return np.diff(self.cdf(conditional, edges), axis=1)[:, 0]

    def values(self, numbers):
        """Return the values of the table that whole numbers on the grid stand for."""
        return self.column.decoded(numbers.astype(np.float64))


class CategoryCells(Cells):
    """A cell for each category that was fitted."""

    def _default_range(self):
        """Return the range of all categories."""
        return 0, 1 if self.column.empty else len(self.column.categories)

    def of(self, raw):
        """Return the cell of each observed value of a column, -1 for an unknown category."""
        if self.column.empty:
            return np.full(len(raw.values), -1)
        return codes(as_categories(raw), self.column.categories)


class WholeCells(Cells):
    """A cell for each whole number that the model sees: counts, and the grid of a rounded column."""

    def of(self, raw):
        """Return the cell of each observed value of a column."""
        return self._nearest(as_float(raw, self.column.clock))

    def _nearest(self, x):
        return _whole(self.column.encoded(x))


class StepCells(Cells):
    """A cell for each multiple of a resolution.

    Parameters
    ----------
    resolution : float
        Width of the cells.
    """

    def __init__(self, column, resolution, first=None, n_cells=None):
        self.grid = resolution
        # Divided by a whole number a value is the nearest float, as it is when it is read as a decimal.
        inverse = 1 / resolution
        self._inverse = round(inverse) if math.isclose(inverse, round(inverse)) else None
        super().__init__(column, first, n_cells)

    @property
    def width(self):
        """Width of a cell in units of the table."""
        return self.grid

    def of(self, raw):
        """Return the cell of each observed value of a column."""
        return self._nearest(as_float(raw, self.column.clock))

    def _nearest(self, x):
        with np.errstate(over="ignore"):
            return _whole(x / self.grid)

    def _at(self, numbers):
        """Return multiples of the resolution."""
        return numbers / self._inverse if self._inverse else numbers * self.grid

    def _edge(self, numbers):
        return self._at(numbers - 0.5)

    def values(self, numbers):
        """Return the values of the table that whole numbers on the grid stand for."""
        x = self._at(numbers)
        return self.column.clock.times(x) if self.column.clock else x

    def encoded(self, numbers):
        """Return the encoded values of whole numbers on the grid."""
        return self.column.encoded(self._at(numbers))

    def _scaled(self, x):
        """Standardise values as the model does, but without rounding to its grid."""
        with np.errstate(over="ignore"):
            return ((x - self.column.location) / self.column.scale).clip(-FARTHEST, FARTHEST)

    def mass(self, conditional, numbers):
        """Return the probabilities of cells; of those too narrow for a difference, by the density around them."""
        mass = super().mass(conditional, numbers)
        edges = self._edge(numbers[:, None] + np.arange(2))
        middle = self._scaled(edges.mean(axis=1))[:, None]
        around = self._cdf(conditional, middle + HALF_WIDTH * np.array([-1, 1]))
        width = np.diff(edges, axis=1)[:, 0] / self.column.scale
        density = np.diff(around, axis=1)[:, 0] / (2 * HALF_WIDTH)
        return np.where((mass < NARROW) & (width < HALF_WIDTH), density * width, mass)

    def cdf(self, conditional, numbers):
        """Return the probabilities below the lower edges of cells."""
        return self._cdf(conditional, self._scaled(self._edge(numbers)))

    def _cdf(self, conditional, z):
        """Return the probabilities below points; within a cell of the model they grow evenly."""
        if self.column.kind != ROUNDED:
            return conditional.cdf(z)
        low = np.floor(z + 0.5) - 0.5
        first, last = conditional.cdf(low), conditional.cdf(low + 1)
        return first + (z - low) * (last - first)


class FloatCells(StepCells):
    """A cell for each floating-point number, up to the next one.

    Parameters
    ----------
    grid : list of int
        The bytes of a number, alone.
    """

    def __init__(self, column, grid):
        self.grid, self._whole_dtype = grid, WHOLE[grid[0]]
        Cells.__init__(self, column)

    @property
    def width(self):
        """Width of a cell as far from 0 as the values spread."""
        dtype = np.dtype(f"f{self.grid[0]}").type
        return float(np.spacing(np.maximum(dtype(self.column.scale), np.finfo(dtype).tiny)))

    def _default_range(self):
        """Return the range of all finite floats."""
        largest = np.finfo(f"f{self.grid[0]}").max
        first, last = self._nearest(np.array([-largest, largest])).tolist()
        return first, last - first + 1

    def _nearest(self, x):
        numbers = x.astype(f"f{self.grid[0]}").view(self._whole_dtype).astype(np.int64)
        return self._ordered(numbers)

    def _ordered(self, numbers):
        """Turn bits of floats into whole numbers in their order: of negative ones, the farther have more bits set."""
        lowest = np.iinfo(self._whole_dtype).min
        return np.where(numbers < 0, lowest - numbers - 1, numbers)

    def _at(self, numbers):
        bits = self._ordered(numbers).astype(self._whole_dtype)
        return bits.view(f"f{self.grid[0]}").astype(np.float64)

    def _edge(self, numbers):
        return self._at(numbers)

    def cdf(self, conditional, numbers):
        """Return the probabilities below the lower edges of cells."""
        x = self._edge(numbers)
        z = self._scaled(x)
        # What the model sees does not tell an atom from its neighbours.
        for atom, encoded in zip(self._atoms(), self.column.encoded_atoms, strict=True):
            above = np.maximum(z, np.nextafter(encoded, np.inf))
            z = np.where(x > atom, above, np.minimum(z, encoded))
        return self._cdf(conditional, z)

    def _atoms(self):
        atoms = self.column.atoms
        return () if atoms is None else atoms


def _whole(x):
    """Round to whole numbers; 0 for those too large."""
    x = np.rint(x)
    return np.where(np.abs(x) <= LARGEST_INTEGER, x, 0).astype(np.int64)


def _steps(n_cells):
    """Return the number of cells that one step of each digit spans, highest digit first."""
    n_digits, n = 0, n_cells - 1
    while n > 0:
        n_digits, n = n_digits + 1, n // RADIX
    return [RADIX**i for i in reversed(range(n_digits))]


def cells_from(fitted, spec):
    """Return the cells that a stream specifies.

    Parameters
    ----------
    fitted : Cells
        What is known of the column already.
    spec : list or None
        What :meth:`Cells.spec_beside` gave.

    Returns
    -------
    cells : Cells
        The same cells.
    """
    if spec is None:
        return fitted
    grid, *span = spec
    if grid is None:
        return WholeCells(fitted.column, *span)
    kind = FloatCells if isinstance(grid, list) else StepCells
    return kind(fitted.column, grid, *span)


def choose_cells(column, raw, resolution, n_columns):
    """Choose the cells of a column.

    Parameters
    ----------
    column : Column
        What the schema knows of it.
    raw : RawColumn
        Its values.
    resolution : float or "auto"
        The resolution that is stated for it.
    n_columns : int
        Columns of the table: rows of values off the grid are stored apart, if a finer grid would cost more.

    Returns
    -------
    cells : Cells
        The cheapest ones.
    """
    best, least = None, math.inf
    for cells in _candidates(column, raw, resolution):
        n_off = find_cells(cells, raw)[2].sum()
        price = n_off * (STORED_ROW_BITS + STORED_BITS * n_columns)
        price -= (len(raw.values) - n_off) * math.log2(cells.width)
        if price < least:
            best, least = cells, price
        if not n_off:
            break
    return best


def find_cells(cells, raw):
    """Find the cells of the values of a column.

    Parameters
    ----------
    cells : Cells
        The cells.
    raw : RawColumn
        Its values.

    Returns
    -------
    numbers : ndarray of int64 of shape (n_observed,)
        Numbers of the observed values on the grid, the first one's where a value is not exact.
    exact : ndarray of bool of shape (n_observed,)
        Whether a value is just what its cell stands for.
    off : ndarray of bool of shape (n_observed,)
        Whether it is not, though it is finite.
    """
    regular, values = _regular(raw)
    numbers = cells.of(raw._replace(values=values))
    exact = regular & _stands_for(cells, numbers, raw)
    return np.where(exact, numbers, cells.first), exact, regular & ~exact


def _candidates(column, raw, resolution):
    """Yield the cells to be tried for a column, the most welcome first."""
    if column.is_categorical:
        yield CategoryCells(column)
        return
    if column.kind == INTEGER:
        yield WholeCells(column)
        return
    is_own = resolution == "auto" or math.isclose(resolution, column.resolution or math.nan)
    if column.kind == ROUNDED and is_own:
        yield WholeCells(column)
    if resolution != "auto":
        yield StepCells(column, resolution)
        return
    size = raw.values.dtype.itemsize if raw.values.dtype.kind == "f" else 8
    last = FloatCells(column, [min(size, 8)])
    steps = (float(Fraction(10) ** exponent) for exponent in EXPONENTS)
    yield from (StepCells(column, step) for step in steps if step > last.width)
    yield last


def _stands_for(cells, numbers, raw):
    """Tell whether cells stand for just the values that a column has."""
    known = numbers >= 0 if isinstance(cells, CategoryCells) else np.ones(len(numbers), bool)
    same = np.zeros(len(numbers), dtype=bool)
    values, given = cells.values(numbers[known]), raw.as_given[known]
    # Times may be those of Python objects.
    values = cells.column.as_fitted(values) if given.dtype.kind == "O" else values
    same[known] = are_same(values, given)
    return same


def _regular(raw):
    """Flag the observed values that a cell can stand for; return them, the others 0.

    Others are infinite numbers, and among objects NaN and negative zeros.
    """
    if raw.values.dtype.kind == "f":
        regular = np.isfinite(raw.values)
    elif raw.values.dtype.kind == "O":
        is_float = np.array([isinstance(v, float) for v in raw.values], dtype=bool)
        x = np.where(is_float, raw.values, 1.0).astype(np.float64)
        regular = np.isfinite(x) & ~are_negative_zeros(x)
    else:
        return np.ones(len(raw.values), dtype=bool), raw.values
    return regular, raw.values if regular.all() else np.where(regular, raw.values, 0)


def are_negative_zeros(x):
    """Flag the floats that are negative zeros."""
    return (x == 0) & np.signbit(x)


def are_same(values, others):
    """Tell elementwise whether values are the same to the last bit.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Values, which are cast to the dtype of the others.
    others : ndarray of shape (n,)
        Values.

    Returns
    -------
    same : ndarray of bool of shape (n,)
        Objects are the same if they are equal, of one type and of one sign, zone or number of digits, but for NumPy's
        scalars, which count as Python's.
    """
    if others.dtype.kind == "O" or values.dtype.kind == "O":
        pairs = zip(map(plain, values.tolist()), map(plain, others.tolist()), strict=True)
        same = [
            type(a) is type(b) and a == b and _exact_form(a) == _exact_form(b) for a, b in pairs
        ]
        return np.array(same, dtype=bool)
    with np.errstate(all="ignore"):
        values = values.astype(others.dtype)
    if others.dtype.kind == "f" and others.dtype.itemsize in WHOLE:
        whole = WHOLE[others.dtype.itemsize]
        return np.ascontiguousarray(values).view(whole) == np.ascontiguousarray(others).view(whole)
    return values == others


def _exact_form(value):
    """Return what tells equal objects apart: a float's sign of zero, a time's zone, a Decimal's digits."""
    if isinstance(value, float):
        return math.copysign(1.0, value)
    return repr(value) if isinstance(value, datetime | Decimal) else None


def plain(value):
    """Return a scalar of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
