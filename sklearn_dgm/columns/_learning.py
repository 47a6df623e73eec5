"""What fitted rows say of a column: categories, range, unit, ties."""

from typing import NamedTuple

import numpy as np

from sklearn_dgm._subsets import some_of
from sklearn_dgm.columns._bulk import first_or_median, location_and_scale
from sklearn_dgm.columns._clock import Clock
from sklearn_dgm.columns._column import CATEGORICAL, CONTINUOUS, INTEGER, MIXED, ROUNDED, Column
from sklearn_dgm.columns._ties import (
    MAX_ROWS,
    MIN_ROWS,
    DistinctRows,
    chosen_atoms,
    find_grid,
    find_ties,
    has_ties,
)
from sklearn_dgm.columns._values import (
    LARGEST_INTEGER,
    as_categories,
    as_float,
    codes,
    distinct,
)

# What a category that was not fitted is at most likely to be.
MAX_UNKNOWN_SHARE = 0.5


class ColumnLearner(NamedTuple):
    """How columns are learnt one by one; the options are those of :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    standardize : bool
        Whether numbers are centred and scaled.
    constants : bool
        Whether numbers that are all the same make a categorical column.
    unknown_shares : bool
        Whether categories that were not fitted have a probability.
    """

    standardize: bool
    constants: bool
    unknown_shares: bool

    def learn(self, raw, kind, weight):
        """Learn a column.

        Parameters
        ----------
        raw : RawColumn
            Its cells.
        kind : str
            Its kind, but for ties that are to be found.
        weight : ndarray of shape (n_samples,)
            Weights of the rows.

        Returns
        -------
        column : Column
            What is known of it.
        x : ndarray of shape (n_observed,)
            Its observed cells as numbers.
        """
        known = {"dtype": raw.native_dtype, "content": raw.content, "maker": raw.maker}
        if raw.observed is not None:
            known["missing_share"] = float(weight[~raw.observed].sum() / weight.sum())
        if not raw.observed_of(weight).any():
            return self._learn_nothing(raw, weight, known)
        weight = raw.observed_of(weight)
        if kind == CATEGORICAL:
            return self._learn_categories(raw, weight, known)
        if raw.values.dtype.kind in "mM":
            known["clock"] = Clock.of(raw.values[weight > 0], self.standardize)
        return self._learn_numbers(raw, kind, weight, known)

    def _learn_nothing(self, raw, weight, known):
        """Return a column of missing cells, as one of a single category."""
        known |= {"content": None, "maker": None}
        column = self._of_one_category(raw, None, weight, known, empty=True)
        return column, np.full(len(raw.values), -1.0)

    def _learn_categories(self, raw, weight, known):
        values = as_categories(raw)
        categories = distinct(values[weight > 0]) if raw.declared is None else raw.declared
        code = codes(values, categories)
        known["unknown_share"] = self._unknown_share(code, weight)
        high = len(categories) - 1.0
        return Column(raw.label, CATEGORICAL, 0.0, 1.0, 0.0, high, categories, **known), code

    def _learn_numbers(self, raw, kind, weight, known):
        x = as_float(raw, known.get("clock"))
        counted, w = x[weight > 0], weight[weight > 0]
        if kind == INTEGER:
            check_integers(raw, x, counted)
        low, high = float(counted.min()), float(counted.max())
        if self.constants and low == high:
            value = low + 0.0  # no negative zero
            column = self._of_one_category(raw, value, w, known, constant=True)
            return column, np.where(x == low, 0.0, -1.0)
        if not self.standardize:
            location, scale = 0.0, 1.0
        elif kind == INTEGER:
            location, scale = first_or_median(counted, w), 1.0
        else:
            location, scale = location_and_scale(counted, w)
        with np.errstate(over="ignore"):
            if not np.isfinite([low - location, high - location]).all():
                raise ValueError(f"{raw.where} spans more than float64 can hold; rescale it.")
        column = Column(raw.label, kind, location, scale, low, high, **known)
        return _with_chosen_ties(column, counted, w), x

    def _of_one_category(self, raw, value, weight, known, **why):
        """Return a column whose cells are all the same, or all missing."""
        known["unknown_share"] = self._unknown_share(np.zeros(len(weight), dtype=np.intp), weight)
        categories = np.array([value])
        return Column(raw.label, CATEGORICAL, 0.0, 1.0, 0.0, 0.0, categories, **why, **known)

    def _unknown_share(self, code, weight):
        """Return the probability of a category that was not fitted."""
        if not self.unknown_shares:
            return 0.0
        return share_of_new(code[weight > 0], weight[weight > 0])


def share_of_new(code, weight):
    """Estimate the probability that the next category is new: the share of those seen once (Good and Turing)."""
    if weight.mean() < 1:  # weights that are shares, not repetitions
        weight = np.ones(len(code))
    return share_of_seen(np.bincount(code, weight))


def share_of_seen(seen):
    """Return what :func:`share_of_new` estimates, given how often each category was seen."""
    n_once = np.count_nonzero((seen > 0) & (seen <= 1))
    return float(min((n_once + 0.5) / (seen.sum() + 1), MAX_UNKNOWN_SHARE))


def with_ties(columns, numbers, weight, chosen):
    """Find the rounded and the mixed ones among continuous columns.

    Parameters
    ----------
    columns : list of Column
        All columns of a table.
    numbers : list of ndarray of shape (n_samples,)
        Their cells as numbers, NaN where missing.
    weight : ndarray of shape (n_samples,)
        Weights of the rows.
    chosen : set of int
        Positions of those whose kind was chosen, and stays.

    Returns
    -------
    columns : list of Column
        All columns, some of them of another kind.
    """
    columns, rows = list(columns), np.flatnonzero(weight > 0)
    if len(rows) < MIN_ROWS:
        return columns
    rows = rows[some_of(len(rows), MAX_ROWS)]
    candidates = [
        j
        for j, (column, x) in enumerate(zip(columns, numbers, strict=True))
        if column.kind == CONTINUOUS and j not in chosen and has_ties(x[rows])
    ]
    if not candidates:
        return columns
    same = DistinctRows([np.unique(x[rows], return_inverse=True)[1] for x in numbers])
    for j in candidates:
        grid, atoms = find_ties(*same.counts(numbers[j][rows], j))
        if grid is not None:
            columns[j] = columns[j].with_grid(grid)
        elif atoms is not None:
            columns[j] = columns[j].with_atoms(atoms, numbers[j], weight)
    return columns


def check_integers(raw, x, counted):
    """Refuse numbers of an integer column that are not whole, or, among those that count, too large."""
    fraction = x != np.floor(x)
    if fraction.any():
        raise ValueError(
            f"{raw.where} is an integer column, but holds {x[fraction][0]} in row {raw.row(fraction)}; declare that it "
            "is continuous, or round it."
        )
    if np.abs(counted).max(initial=0) > LARGEST_INTEGER:
        raise ValueError(
            f"{raw.where} holds integers beyond 2**53, which float64 cannot tell apart; convert it to floats, or to "
            "strings if it holds categories."
        )


def _with_chosen_ties(column, x, weight):
    """Return the column with the grid or the atoms of its chosen kind, rounded or mixed; another as it is."""
    if column.kind not in (ROUNDED, MIXED):
        return column
    values, counts = np.unique(x, return_counts=True)
    if column.kind == ROUNDED:
        grid = find_grid(values, counts)
        if grid is None:
            raise ValueError(
                f"{column.where} cannot be rounded: its values have no common resolution."
            )
        return column.with_grid(grid)
    atoms = chosen_atoms(values, counts)
    if not len(atoms):
        raise ValueError(f"{column.where} cannot be mixed: no single value holds 2 % of its rows.")
    return column.with_atoms(atoms, x, weight)
