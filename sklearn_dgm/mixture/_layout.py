"""What a decoder of latent points decodes: columns that have tables, columns that are normal, and where they start."""

import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm._training.splits import Splits
from sklearn_dgm.columns._bulk import location_and_scale
from sklearn_dgm.counts.tables import smoothed
from sklearn_dgm.mixture._decoded import (
    DecodedNormals,
    DecodedTables,
    PointMixture,
    TreeCells,
)
from sklearn_dgm.mixture._decoded_trees import DecodedTrees
from sklearn_dgm.mixture._normals import Normals
from sklearn_dgm.mixture._tables import POOLED_ALPHA, AtomAxis, ColumnTables
from sklearn_dgm.mixture._trees import ColumnTrees

# Rows of the smoothed table of all rows that are added to those of a tree.
ROWS_OF_START = 1.0
# A decoder is trained on numbers within so many standard deviations: squares of those far out would drown all others.
FARTHEST = 50.0


class DecoderLayout(Stateful):
    """Columns with tables, and columns of numbers that are independent normals, given a latent point.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of them.
    component : {"independent", "tree"}
        Whether numbers are normal and columns independent, or all columns have tables, along one tree.
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.
    n_components : int, default=1
        Number of components, which says how large the variances are that theirs are drawn towards.
    reg_covar : "auto" or float, default="auto"
        What is added to variances; see :class:`~sklearn_dgm.mixture._normals.Normals`.
    numbers : list of int, default=None
        Columns whose numbers are normal, unless there is a tree. By default those that are no counts or flags.

    Attributes
    ----------
    tables : ColumnTables or None
        Columns that have tables: of mixed columns the atoms, unless all is binned.
    normals : Normals or None
        Columns of numbers.
    cells : TreeCells
        The cells of tables; to be learnt.
    reference : ndarray of int of shape (n_tables,)
        The most frequent cell of each table.
    log_cells : ndarray of shape (n_cells,)
        Log-probabilities of the cells in the rows of :meth:`learn`.
    """

    def __init__(
        self, columns, component, Z, weight, n_components=1, reg_covar="auto", numbers=None
    ):
        is_tree = component == "tree"
        if is_tree:
            numbers = []
        elif numbers is None:
            numbers = [j for j, c in enumerate(columns) if not (c.is_counted or c.is_flag)]
        tabled = [j for j, c in enumerate(columns) if j not in numbers or c.atoms is not None]
        self.tables = self.normals = None
        if is_tree:
            self.tables = ColumnTrees(columns, Z, weight, 1)
            self.tables.alpha = ROWS_OF_START
        elif tabled:
            self.tables = ColumnTables(columns, tabled, True, Z, weight, 1)
        if numbers:
            near = without_far_out(Z, numbers, weight)
            of_normals = n_components, "diag", 1, reg_covar
            self.normals = Normals(columns, numbers, near, weight, *of_normals)

    @property
    def is_tree(self):
        """Whether columns follow a tree."""
        return isinstance(self.tables, ColumnTrees)

    def learn(self, Z, weight):
        """Learn the tree, and tables that are the same at each latent point, from encoded rows."""
        self.cells, self.reference = TreeCells((), ()), np.empty(0, dtype=int)
        self.log_cells = np.empty(0)
        if self.tables is None:
            return
        tables, shares = self.tables, weight[:, None]
        n_levels, counts = np.diff(tables.starts), tables.count(tables.prepare(Z), shares)[0]
        of_columns = np.split(np.diag(counts) if self.is_tree else counts, tables.starts[1:-1])
        self.reference = np.array([of_column.argmax() for of_column in of_columns])
        if self.is_tree:
            tables.learn(counts[None])
            self.cells = TreeCells(n_levels, tables.parents[0])
            self.log_cells = np.concatenate([edge.ravel() for edge in tables.log_edges[0]])
        else:
            self.cells = TreeCells(n_levels, np.full(len(n_levels), -1))
            self.log_cells = np.concatenate([smoothed(c, POOLED_ALPHA) for c in of_columns])

    def rows(self, Z):
        """Return encoded rows as a decoder takes them.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows, NaN where a cell is missing.

        Returns
        -------
        rows : ndarray of shape (n, n_tables + n_numbers + 1)
            Codes of cells, numbers in standard deviations, NaN where one is missing, and log-densities within cells.
        """
        parts, within = [], np.zeros(len(Z))
        if self.tables is not None:
            codes, _, within = self.tables.prepare(Z)
            parts.append(np.where(codes < 0, np.nan, codes))
        if self.normals is not None:
            parts.append(self.normals.standardized(Z).clip(-FARTHEST, FARTHEST))
        return np.column_stack([*parts, within])

    def n_further_cells(self, rows):
        """Return how many cells prepared rows have on average that are not the most frequent ones."""
        return (rows[:, : len(self.reference)] != self.reference).sum(axis=1).mean()

    def log_det(self, of_columns):
        """Return the log-Jacobian of each entry of :meth:`rows`, given those of encoded columns."""
        parts = []
        if self.tables is not None:
            is_atoms = [isinstance(axis, AtomAxis) for axis in self.tables.axes]
            parts.append(np.where(is_atoms, 0.0, of_columns[self.tables.features]))
        if self.normals is not None:
            parts.append(of_columns[self.normals.features] - np.log(self.normals.scale))
        return np.concatenate([*parts, [0.0]])

    def mixture(self, points, log_cells, means, scales):
        """Return the mixture of decoded components.

        Parameters
        ----------
        points : ndarray of shape (n, n_latents)
            Where they are.
        log_cells : ndarray of shape (n, n_cells)
            Log-probabilities of cells.
        means, scales : ndarray of shape (n, n_numbers)
            Parameters of normals, in standard deviations of the columns.
        """
        tables = normals = None
        if self.tables is not None:
            kind = DecodedTrees if self.is_tree else DecodedTables
            tables = kind(self.tables, self.cells, log_cells, self.reference)
        if self.normals is not None:
            normals = DecodedNormals(self.normals, means, np.square(scales))
        return PointMixture(points, tables, normals)


class PreparedSplits(Splits):
    """Splits of rows as a decoder takes them.

    Parameters
    ----------
    layout : DecoderLayout
        What prepares them.
    Z, weight, validation_fraction, seed, device
        See :class:`~sklearn_dgm._training.splits.Splits`.

    Attributes
    ----------
    encoded : ndarray of shape (n, n_features)
        The rows before.
    """

    def __init__(self, layout, Z, weight, validation_fraction, seed, device):
        super().__init__(layout.rows(Z), weight, validation_fraction, seed, device)
        self.layout, self.encoded = layout, Z

    def prepared(self, Z):
        """Return encoded rows as a decoder takes them."""
        return super().prepared(self.layout.rows(Z))

    def encoded_rows(self, index):
        """Return some of the encoded rows, and how many rows each stands for."""
        return self.encoded[index], self.counts[index]


def without_far_out(Z, numbers, weight):
    """Return encoded rows whose numbers lie near the bulk, whose standard deviations far ones do not set."""
    near = Z.copy()
    for j in numbers:
        seen = ~np.isnan(Z[:, j])
        if weight[seen].sum() > 0:
            location, scale = location_and_scale(Z[seen, j], weight[seen])
            reach = FARTHEST * scale
            near[:, j] = Z[:, j].clip(location - reach, location + reach)
    return near
