"""One column: what is known of it, and its cells as numbers of a model and back."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm.columns._bulk import MAX_WHOLE
from sklearn_dgm.columns._clock import Clock
from sklearn_dgm.columns._objects import Maker
from sklearn_dgm.columns._reading import numpy_dtype
from sklearn_dgm.columns._ties import Grid
from sklearn_dgm.columns._values import as_categories, as_float, codes

CONTINUOUS, INTEGER, CATEGORICAL = "continuous", "integer", "categorical"
ROUNDED, MIXED = "rounded", "mixed"
# Codes of what is no fitted category: another one, or a number beyond the bounds of a column that has a single value.
UNKNOWN, BEYOND = -1, -2


class Support(NamedTuple):
    """Bounds and range of the encoded values of a column.

    Attributes
    ----------
    lower, upper : float
        Bounds beyond which nothing is possible.
    low, high : float
        The range beyond which there is little; the bounds, where that is not so.
    share : float
        How much of the probability lies there at most.
    """

    lower: float
    low: float
    high: float
    upper: float
    share: float


@dataclass(frozen=True)
class Column:
    """One column of a :class:`ColumnSchema`: kind, scale, range, categories and all else that is known of it.

    Numbers are in the units of the table; times are days (of dates) or seconds since the first one.

    Attributes
    ----------
    label : str or int
        Name of the column in a DataFrame, its index in an array.
    kind : {"continuous", "rounded", "mixed", "integer", "categorical"}
        What the density is with respect to: the Lebesgue measure (on rounded columns it is constant in each cell of
        their grid), the Lebesgue measure plus counting at the atoms, or counting.
    location, scale : float
        The encoded value is ``(x - location) / scale``, of rounded columns the nearest whole number; 0 and 1 for
        categories.
    low, high : float
        Smallest and largest value of a numeric column among the fitted rows; codes for categories.
    categories : ndarray or None
        The values a categorical column can take, in the order of their codes.
    atoms, atom_shares : ndarray of shape (n_atoms,) or None
        The single values of a mixed column that hold mass, increasing, and how much of the weight of its cells.
    missing_share : float
        Share of the weight of the fitted rows where the cell is missing.
    unknown_share : float
        Probability of a category that was not fitted; 0 unless ``handle_unknown="rare"``.
    empty : bool
        Whether no fitted row has a value there. The column then is a constant one, and a missing cell its one category.
    lower, upper : float
        Bounds of a column of numbers, beyond which nothing is possible; infinite where there are none. Densities that
        have a parameter `bounds` keep them.
    beyond_share : float
        What lies beyond `low` and `high` has this share of the probability at most: of whole and rounded numbers what
        new values had among the fitted rows, else 1.
    constant : bool
        Whether all values of a column of numbers or times are one. It is categorical then, and this its one category.
    dtype : dtype
        As the container of the table names it.
    content : str or None
        What the fitted cells are, whatever their dtype: "numbers", "strings", "times with a zone", ...; None without
        any.
    maker : Maker or None
        What makes objects of Python, where the fitted cells were such and times, Decimals or whole numbers.
    grid : Grid or None
        The grid of a rounded column, which knows its values to the last bit.
    clock : Clock or None
        How times become numbers, where these are no categories or are all the same.
    """

    label: Any
    kind: str
    location: float
    scale: float
    low: float
    high: float
    categories: np.ndarray | None = None
    atoms: np.ndarray | None = None
    atom_shares: np.ndarray | None = None
    missing_share: float = 0.0
    unknown_share: float = 0.0
    empty: bool = False
    lower: float = -math.inf
    upper: float = math.inf
    beyond_share: float = 1.0
    constant: bool = False
    dtype: Any = None
    content: str | None = None
    maker: Maker | None = None
    grid: Grid | None = None
    clock: Clock | None = None

    @property
    def where(self):
        """The column as error messages name it."""
        return f"column {self.label!r}"

    @property
    def is_categorical(self):
        """Whether encoded values are codes of categories, which have no order."""
        return self.kind == CATEGORICAL

    @property
    def is_whole(self):
        """Whether encoded values are whole numbers in order: integers, or cells of a grid."""
        return self.kind in (INTEGER, ROUNDED)

    @property
    def is_flag(self):
        """Whether two neighbouring whole numbers are all values: two categories, unless bounds say otherwise."""
        return self.is_whole and bool(self.encoded(self.high) - self.encoded(self.low) == 1)

    @property
    def is_counted(self):
        """Whether the measure is counting: every value has a probability, none a density."""
        return self.kind in (INTEGER, CATEGORICAL)

    def has_mass(self, z):
        """Flag the encoded values that have a probability rather than a density: all of a counted column, or atoms."""
        return np.full(len(z), True) if self.is_counted else np.isin(z, self.encoded_atoms)

    @property
    def holds_integers(self):
        """Whether the dtype of a column of numbers or times holds whole ones (days) alone."""
        if self.clock or self.maker:
            return self.clock.unit == "D" if self.clock else self.maker.type is int
        dtype = numpy_dtype(self.dtype)
        return dtype is not None and dtype.kind in "iu"

    @property
    def resolution(self):
        """Width of the cells of a rounded column; None for other kinds."""
        return self.grid.resolution if self.grid else None

    @property
    def encoded_atoms(self):
        """The atoms as :meth:`ColumnSchema.encode` gives them, bit for bit; empty without atoms."""
        return np.empty(0) if self.atoms is None else self.encoded(self.atoms)

    def encode(self, raw):
        """Encode the observed cells of a column of a table: numbers, or codes of categories."""
        if not self.is_categorical:
            return self.encoded(as_float(raw, self.clock))
        if self.empty:
            return np.full(len(raw.values), UNKNOWN)
        values = as_float(raw, self.clock) if self.constant else as_categories(raw)
        code = codes(values, self.categories)
        if self.constant and self.is_bounded:
            code[(values < self.lower) | (values > self.upper)] = BEYOND
        return code

    def decode(self, z):
        """Decode numbers of the model, NaN where a cell is missing, to cells as the fitted ones were.

        Parameters
        ----------
        z : ndarray of shape (n,)
            Encoded values.

        Returns
        -------
        values : ndarray of shape (n,)
            Values of the table, whichever where a cell is missing.
        missing : ndarray of bool of shape (n,) or None
            Which cells are missing; None if none is.
        """
        if self.empty:
            return np.full(len(z), None), np.ones(len(z), dtype=bool)
        missing = np.isnan(z)
        values = self.as_fitted(self.decoded(np.where(missing, 0.0, z)))
        return values, missing if missing.any() else None

    def encoded(self, x):
        """Encode numbers of the table as the model sees them."""
        with np.errstate(over="ignore"):  # an infinite z is an impossible point
            z = (x - self.location) / self.scale
        return np.rint(z) if self.kind == ROUNDED else z

    @property
    def support(self):
        """Bounds and range of encoded values; None where all of the line is as good, and for categories."""
        if self.is_categorical:
            return None
        lower, upper = (
            self._encoded_bound(self.lower, np.ceil),
            self._encoded_bound(self.upper, np.floor),
        )
        if not self.is_whole:
            return Support(lower, lower, upper, upper, 0.0) if self.is_bounded else None
        low, high = self.encoded(np.array([self.low, self.high])).tolist()
        if (low, high) == (lower, upper):
            return Support(lower, low, high, upper, 0.0)
        # A range that ends far out holds all there is, and its end is none that float32 could tell.
        if self.beyond_share < 1 and max(-low, high) <= MAX_WHOLE:
            return Support(lower, low, high, upper, self.beyond_share)
        return Support(lower, lower, upper, upper, 0.0) if self.is_bounded else None

    @property
    def is_bounded(self):
        """Whether some numbers are impossible."""
        return not (math.isinf(self.lower) and math.isinf(self.upper))

    def impossible(self, z):
        """Tell which encoded numbers are impossible: beyond the bounds, or not whole in a column of integers."""
        if self.is_categorical:
            return z == BEYOND
        impossible = (z != np.floor(z)) & ~np.isnan(z) if self.is_whole else np.zeros(len(z), bool)
        if self.is_bounded:
            impossible |= (z < self.support.lower) | (z > self.support.upper)
        return impossible

    def _encoded_bound(self, bound, inwards):
        """Return an encoded bound; of whole and rounded numbers the nearest one within."""
        if math.isinf(bound):
            return bound
        z = (bound - self.location) / self.scale
        if not self.is_whole:
            return float(z)
        nearest = np.rint(z)
        return float(nearest if abs(z - nearest) < 1e-6 else inwards(z))

    def decoded(self, z):
        """Decode numbers of the model to values of the table."""
        x = self._unscaled(z)
        return self.clock.times(x) if self.clock else x

    def as_fitted(self, values):
        """Return values as cells of the fitted column: objects of Python, if these were such."""
        return self.maker.objects(values) if self.maker else values

    def _unscaled(self, z):
        if self.is_categorical:
            return self.categories[z.astype(np.intp)]
        if self.kind == ROUNDED:
            return self.grid.values(z)
        with np.errstate(over="ignore"):
            x = z * self.scale + self.location
        if self.kind == MIXED:
            atom = codes(z, self.encoded_atoms)
            x = np.where(atom >= 0, self.atoms[atom], x)
        x = np.rint(x) if self.kind == INTEGER else x
        # Rounding must not lead beyond a bound.
        return x.clip(self.lower, self.upper) if self.is_bounded else x

    def with_grid(self, grid):
        """Return the column as a rounded one."""
        low, high = grid.values(grid.cells(np.array([self.low, self.high]))).tolist()
        return replace(
            self,
            kind=ROUNDED,
            grid=grid,
            location=grid.low,
            scale=grid.resolution,
            low=low,
            high=high,
        )

    def with_atoms(self, atoms, x, weight):
        """Return the column as a mixed one, given all its numbers (NaN where missing) and their weights."""
        shares = np.array([weight[x == atom].sum() for atom in atoms])
        shares = shares / weight[~np.isnan(x)].sum()
        return replace(self, kind=MIXED, atoms=atoms, atom_shares=shares)

    def _limits(self, text):
        """Describe the bounds in words."""
        if (self.lower, self.upper) == (self.low, self.high):
            return ["none beyond"]
        limits = [f"not below {text(self.lower)}"] if self.lower > -math.inf else []
        return limits + ([f"not above {text(self.upper)}"] if self.upper < math.inf else [])

    def details(self):
        """Describe the column in a few words, for its schema's table."""
        if self.empty:
            return "no value"
        text = self.clock.text if self.clock else "{:.6g}".format
        if self.constant:
            details = [f"always {text(self.categories[0])}"]
        elif self.is_categorical:
            details = [f"{len(self.categories)} categories"]
        else:
            details = [f"{text(self.low)} to {text(self.high)}"]
        if self.kind == ROUNDED:
            unit = f" {self.clock.name}" if self.clock else ""
            details[0] += f" in steps of {self.resolution:.6g}{unit}"
        if self.kind == MIXED:
            heaviest = np.argsort(-self.atom_shares, kind="stable")[:3]
            named = [f"{text(self.atoms[a])} ({self.atom_shares[a]:.0%})" for a in heaviest]
            named += ["..."] if len(self.atoms) > 3 else []
            details.append(
                f"{len(self.atoms)} atom{'s'[: len(self.atoms) > 1]}: {', '.join(named)}"
            )
        details += self._limits(text)
        if self.missing_share:
            details.append(f"{self.missing_share:.2g} missing")
        if self.unknown_share:
            details.append(f"{self.unknown_share:.2g} unknown")
        return "; ".join(details)
