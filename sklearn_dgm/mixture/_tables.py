"""Columns that are independent given the component, each with a table for its cells."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._column import UNKNOWN
from sklearn_dgm.columns._column import codes as codes_of
from sklearn_dgm.counts.axes import CategoryAxis, axes_of
from sklearn_dgm.counts.tables import choose, smoothed

# Pseudo-count of the table of all rows, spread evenly over its cells: the least one, and what else it may be.
POOLED_ALPHA = 0.5
POOLED_ALPHAS = POOLED_ALPHA * 2.0 ** np.arange(14)


class Cells(NamedTuple):
    """The cells of rows.

    Attributes
    ----------
    codes : ndarray of int of shape (n, n_columns)
        The cell of each column, -1 where it is missing, or an unknown category.
    one_hot : csr_array of shape (n, n_cells)
        The same, with a place for each cell of each column.
    log_within : ndarray of shape (n,)
        Log-density within the cells.
    """

    codes: np.ndarray
    one_hot: sparse.csr_array
    log_within: np.ndarray


def pooled_alpha(cells):
    """Return the pseudo-count under which rows that are left out, one at a time, are most probable.

    Parameters
    ----------
    cells : ndarray of shape (n_cells,)
        Weights of the cells of a column.

    Returns
    -------
    alpha : float
        One of a few, in rows. A column of many categories that have a row each needs a large one.
    """
    seen, alphas = cells[cells > 0], POOLED_ALPHAS[:, None]
    others = (seen - 1).clip(0)
    log_p = np.log((others + alphas / len(cells)) / ((seen.sum() - 1).clip(0) + alphas))
    return float(POOLED_ALPHAS[np.argmax(log_p @ seen)]) if len(seen) else POOLED_ALPHA


def _closed(columns):
    """Return columns of which those of two neighbouring whole numbers have no others."""
    return [replace(c, lower=c.low, upper=c.high) if c.is_flag else c for c in columns]


class AtomAxis(Stateful):
    """The atoms of a mixed column, and a last cell for all other numbers, whose density is told elsewhere.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms,)
        Encoded values that have a probability.
    """

    def __init__(self, atoms):
        self.atoms = atoms

    @property
    def n_levels(self):
        """Number of cells."""
        return len(self.atoms) + 1

    def encode(self, z):
        """Encode values as cells; see :meth:`~sklearn_dgm.counts.axes.CategoryAxis.encode`."""
        atom = codes_of(z, self.atoms)
        code = np.where(atom >= 0, atom, len(self.atoms))
        return np.where(np.isnan(z), UNKNOWN, code), np.zeros(len(z))

    def cdf(self, p, points, below):
        """Return the probabilities below values.

        Parameters
        ----------
        p : ndarray of shape (n, n_levels)
            Probabilities of the cells in each row.
        points : ndarray of shape (n, m)
            For each row several values.
        below : ndarray of shape (n, m)
            How much of the last cell is below them.

        Returns
        -------
        cdf : ndarray of shape (n, m)
            Probabilities of smaller values.
        """
        of_atoms = sum(p[:, [i]] * (atom < points) for i, atom in enumerate(self.atoms))
        return of_atoms + p[:, [-1]] * below

    def icdf_within(self, codes, uniforms):
        """Return the atoms of cells; NaN for what is beside them."""
        return np.append(self.atoms, np.nan)[codes]

    def mean_within(self):
        """Return the atoms, and NaN."""
        return np.append(self.atoms, np.nan)


class ColumnTables(Stateful):
    """Distributions of columns that are independent given the component, by counting in cells.

    The table of a component is drawn towards that of all rows, which counts as `alpha` of the component's rows.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of all columns.
    features : list of int
        Those that have tables.
    atoms_alone : bool
        Whether the other values of mixed columns are told elsewhere.
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.
    n_components : int
        Number of components.

    Attributes
    ----------
    alpha : float
        Rows that the table of all rows counts as; to be set.
    log_tables : ndarray of shape (n_components, n_cells)
        Log-probabilities of the cells; those of a column stand side by side.
    """

    alpha = 0.0

    def __init__(self, columns, features, atoms_alone, Z, weight, n_components):
        self.features = list(features)
        of_atoms = [j for j in self.features if atoms_alone and columns[j].atoms is not None]
        others = [j for j in self.features if j not in of_atoms]
        binned = axes_of(_closed([columns[j] for j in others]), Z[:, others], weight, "quantiles")
        axes = dict(zip(others, binned, strict=True))
        axes |= {j: AtomAxis(columns[j].encoded_atoms) for j in of_atoms}
        self.axes = [axes[j] for j in self.features]
        self.starts = np.cumsum([0] + [axis.n_levels for axis in self.axes])
        self.log_tables = np.zeros((n_components, self.starts[-1]))

    def prepare(self, Z):
        """Return the cells of rows, and the log-density within these."""
        pairs = [axis.encode(Z[:, j]) for axis, j in zip(self.axes, self.features, strict=True)]
        codes = np.stack([code for code, _ in pairs], axis=1)
        log_within = np.sum([within for _, within in pairs], axis=0)
        seen = codes >= 0
        cells = (codes + self.starts[:-1])[seen]
        ends = np.append(0, np.cumsum(seen.sum(axis=1)))
        shape = len(Z), self.starts[-1]
        one_hot = sparse.csr_array((np.ones(len(cells)), cells, ends), shape=shape)
        return Cells(codes, one_hot, log_within)

    def log_prob(self, prepared):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        return prepared.one_hot @ self.log_tables.T + prepared.log_within[:, None]

    def count(self, prepared, responsibilities):
        """Return the weights of cells in each component, of shape (n_components, n_cells)."""
        return (prepared.one_hot.T @ responsibilities).T

    def learn(self, counts):
        """Learn the tables from the weights of cells."""
        self._pooled = self._by_column(
            lambda cells: np.exp(smoothed(cells, pooled_alpha(cells))), counts.sum(axis=0)
        )
        rows = self._by_column(
            lambda cells: np.broadcast_to(cells.sum(-1, keepdims=True), cells.shape), counts
        )
        drawn = counts + self.alpha * self._pooled
        total = rows + self.alpha
        p = np.divide(
            drawn, total, out=np.broadcast_to(self._pooled, drawn.shape).copy(), where=total > 0
        )
        with np.errstate(divide="ignore"):
            self.log_tables = np.log(p)

    def _by_column(self, of_column, cells):
        """Apply a function to the cells of each column, on the last axis."""
        parts = np.split(cells, self.starts[1:-1], axis=-1)
        return np.concatenate([of_column(part) for part in parts], axis=-1)

    def log_prior(self):
        """Return the log-density of the prior of the tables, up to a constant."""
        return self.alpha * np.sum(self._pooled * self.log_tables) if self.alpha else 0.0

    def probabilities(self, position):
        """Return the probabilities of a column's cells in each component, of shape (n_components, n_levels)."""
        return np.exp(self.log_tables[:, slice(*self.starts[position : position + 2])])

    def fill(self, Z, component, uniforms):
        """Fill in missing cells of these columns in place, of rows that belong to components each.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows. What is NaN is drawn; a number of a mixed column that is no atom stays NaN.
        component : ndarray of int of shape (n,)
            Their components.
        uniforms : ndarray of shape (n, n_features)
            A number between 0 and 1 for each cell.
        """
        for position, (j, axis) in enumerate(zip(self.features, self.axes, strict=True)):
            (rows,) = np.nonzero(np.isnan(Z[:, j]))
            log_p = self.log_tables[component[rows], slice(*self.starts[position : position + 2])]
            if len(rows):
                codes, rest = choose(log_p, uniforms[rows, j])
                Z[rows, j] = axis.icdf_within(codes, rest)

    def fill_means(self, Z, posterior, beside):
        """Fill in missing cells of these columns in place with their expectations, or the most probable category.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows; what is NaN is filled in.
        posterior : ndarray of shape (n, n_components)
            Probabilities of the components given the observed cells.
        beside : callable
            Gives for a column the expectations of numbers beside its atoms in each row and component, of shape
            (n, n_components).
        """
        for position, (j, axis) in enumerate(zip(self.features, self.axes, strict=True)):
            rows = np.isnan(Z[:, j])
            if not rows.any():
                continue
            p = self.probabilities(position)
            if isinstance(axis, CategoryAxis):
                Z[rows, j] = (posterior[rows] @ p).argmax(axis=1)
                continue
            values = axis.mean_within()
            if isinstance(axis, AtomAxis):
                of_component = p[:, :-1] @ values[:-1] + p[:, -1] * beside(j)[rows]
            else:
                of_component = p @ values
            Z[rows, j] = np.sum(posterior[rows] * of_component, axis=1)

    @property
    def n_parameters(self):
        """Number of free probabilities."""
        return len(self.log_tables) * (int(self.starts[-1]) - len(self.axes))
