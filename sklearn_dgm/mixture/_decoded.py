"""A finite mixture whose many components are decoded from points of a latent space.

Components are many and alike, so that log-densities are products of matrices: of what rows have in other cells than a
row of the most frequent ones, which is little where tables are sparse, with the log-probabilities of cells.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import ndtri

from sklearn_dgm._state import Stateful
from sklearn_dgm.counts.discrete_normal import discrete_normal_icdf
from sklearn_dgm.mixture._covariances import LOG_2_PI
from sklearn_dgm.mixture._finite import FiniteMixture
from sklearn_dgm.mixture._normals import MARGIN, Normals
from sklearn_dgm.mixture._tables import Cells, ColumnTables

# Pseudo-count of each component's weight, in rows.
PRIOR_WEIGHT = 1.0
# Of a number, in squared standard deviations of its column.
LEAST_VARIANCE = 1e-6
# With so large a share of entries that are not zero a product of matrices is faster without looking for them.
DENSE = 1 / 8
# Numbers that a block of rows takes up.
NUMBERS_AT_ONCE = 2**22


class TreeCells(Stateful):
    """Where the cells of columns stand side by side, of each column once for each cell of its parent in a tree.

    Cell c of column j, next to cell b of its parent, stands at ``starts[j] + b * n_levels[j] + c``.

    Parameters
    ----------
    n_levels : ndarray of int of shape (n_columns,)
        Cells of each column.
    parents : ndarray of int of shape (n_columns,)
        Parent of each column, -1 for none.

    Attributes
    ----------
    starts : ndarray of int of shape (n_columns + 1,)
        Where those of each column start, and last their number.
    groups : ndarray of int of shape (n_groups + 1,)
        Where the distributions start, which are those of columns given a cell of the parent, and last that number.
    """

    def __init__(self, n_levels, parents):
        self.n_levels, self.parents = np.array(n_levels, dtype=int), np.array(parents, dtype=int)
        n_given = np.where(self.parents >= 0, self.n_levels[self.parents], 1)
        self.starts = np.append(0, np.cumsum(n_given * self.n_levels))
        self.groups = np.append(0, np.cumsum(np.repeat(self.n_levels, n_given)))

    def places(self, codes):
        """Return where the cells of rows stand, -1 where theirs or that of the parent is missing.

        Parameters
        ----------
        codes : ndarray of int of shape (n, n_columns)
            Cells, -1 where missing.

        Returns
        -------
        places : ndarray of int of shape (n, n_columns)
            Where they stand.
        """
        given = np.where(self.parents >= 0, codes[:, self.parents], 0)
        places = self.starts[:-1] + given * self.n_levels + codes
        return np.where((codes >= 0) & (given >= 0), places, -1)

    def sums(self, cells):
        """Return the sums of the cells of each distribution, on the last axis, in the place of each cell."""
        sums = np.add.reduceat(cells, self.groups[:-1], axis=-1)
        return np.repeat(sums, np.diff(self.groups), axis=-1)

    def of(self, j, log_cells):
        """Return a column's log-probabilities, of shape (..., n_levels_of_parent or 1, n_levels)."""
        own = log_cells[..., self.starts[j] : self.starts[j + 1]]
        return own.reshape(*own.shape[:-1], -1, int(self.n_levels[j]))


class DecodedTables(ColumnTables):
    """Distributions of columns that are independent given the component.

    Parameters
    ----------
    tables : ColumnTables
        Columns and their axes.
    cells : TreeCells
        Their cells.
    log_cells : ndarray of shape (n_components, n_cells)
        Log-probabilities of these.
    reference : ndarray of int of shape (n_columns,)
        A frequent cell of each column.
    """

    def __init__(self, tables, cells, log_cells, reference):
        self.features, self.axes, self.starts = tables.features, tables.axes, tables.starts
        self.cells, self.log_cells, self.reference = cells, log_cells, reference

    @property
    def log_tables(self):
        """Log-probabilities of the cells in each component, those of a column side by side."""
        return self.log_cells

    @property
    def n_levels(self):
        """Number of cells of each column."""
        return self.cells.n_levels

    def prepare(self, Z):
        """Return the cells of rows, as what they have more and less than the frequent cells, and what is within."""
        pairs = [axis.encode(Z[:, j]) for axis, j in zip(self.axes, self.features, strict=True)]
        codes = np.stack([code for code, _ in pairs], axis=1)
        log_within = np.sum([within for _, within in pairs], axis=0)
        return Cells(codes, self._beside_reference(codes), log_within)

    def _beside_reference(self, codes):
        """Return 1 for each cell that a row has beside the frequent ones, and after all cells for missing ones."""
        differs = codes != self.reference
        row, column = np.nonzero(differs)
        code = codes[row, column]
        place = np.where(code < 0, self.starts[-1] + column, self.starts[column] + code)
        width = int(self.starts[-1]) + (len(self.reference) if (codes < 0).any() else 0)
        return self._compact(row, place, np.ones(len(row)), (len(codes), width))

    def _compact(self, row, place, values, shape):
        """Return a sparse matrix, or a dense one where that is faster, in the precision of the tables."""
        dtype = self.log_cells.dtype
        matrix = sparse.csr_array((values.astype(dtype), (row, place)), shape=shape)
        return matrix.toarray() if matrix.nnz > DENSE * np.prod(shape) else matrix

    @property
    def _at_reference(self):
        """Where the frequent cells stand."""
        return self.cells.places(self.reference[None])[0]

    def log_prob(self, prepared):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        of_reference = self.log_cells[:, self._at_reference]
        ratios = self.log_cells - np.repeat(of_reference, self.n_levels, axis=1)
        if prepared.one_hot.shape[1] > ratios.shape[1]:
            ratios = np.concatenate([ratios, -of_reference], axis=1)
        return self._log_products(prepared, ratios, of_reference)

    @staticmethod
    def _log_products(prepared, ratios, of_reference):
        log_p = prepared.one_hot @ np.ascontiguousarray(ratios.T)
        log_p += of_reference.sum(axis=1)
        log_p += prepared.log_within[:, None]
        return log_p

    def count(self, prepared, responsibilities):
        """Return the weights of cells in each component, of shape (n_components, n_cells)."""
        counts = (prepared.one_hot.T @ responsibilities).T
        cells, missing = np.split(counts, [int(self.starts[-1])], axis=1)
        others = np.add.reduceat(cells, self.starts[:-1], axis=1)
        if missing.shape[1]:
            others += missing
        cells[:, self._at_reference] = responsibilities.sum(axis=0)[:, None] - others
        return cells

    def shrunk(self, counts, rows):
        """Return tables learnt from counts, and drawn towards these, which count as so many rows of a component."""
        drawn = counts.clip(0) + rows * np.exp(self.log_cells)
        drawn = np.log(np.maximum(drawn, np.finfo(drawn.dtype).tiny))
        return self.with_cells(drawn - self._log_sums(drawn))

    def _log_sums(self, log_cells):
        return np.log(self.cells.sums(np.exp(log_cells)))

    def astype(self, dtype):
        """Return tables in another precision, in which their probabilities sum to one."""
        log_cells = self.log_cells.astype(dtype)
        return self.with_cells(log_cells - self._log_sums(log_cells))

    def with_cells(self, log_cells):
        """Return tables of the same columns with other log-probabilities."""
        return type(self)(self, self.cells, log_cells, self.reference)


class Sums(NamedTuple):
    """Weights, sums and sums of squares of numbers in each component, each of shape (n_components, d)."""

    weight: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def plus(self, other):
        """Return the sums over the rows of both."""
        return Sums(*map(np.add, self, other))


class DecodedNormals(Normals):
    """Numbers that are independent and normal given the component.

    Parameters
    ----------
    normals : Normals
        Columns, and their units.
    means, variances : ndarray of shape (n_components, d)
        In units of standard deviations.
    """

    def __init__(self, normals, means, variances):
        vars(self).update(vars(normals))
        self.means, self.covariances = means, _diagonal(normals.covariances, variances)

    def log_prob(self, numbers):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        seen, precision = ~np.isnan(numbers.U), 1 / self.covariances.values
        U = np.where(seen, numbers.U, 0.0)
        constant = np.square(self.means) * precision - np.log(precision) + LOG_2_PI
        log_p = np.square(U) @ precision.T
        log_p -= 2 * U @ (self.means * precision).T
        log_p += seen @ constant.T
        log_p *= -0.5
        return log_p - (seen @ np.log(self.scale))[:, None]

    def fill(self, Z, component, uniforms):
        """Fill in missing numbers in place; see :meth:`Normals.fill`."""
        # The last unit of the variance of rounded numbers is that of rounding.
        scales = np.sqrt((self.covariances.values - self.cell**2).clip(0)) * self.scale
        means = self.means * self.scale + self.center
        uniforms = uniforms[:, :, self.features].clip(MARGIN, 1 - MARGIN)
        for i, j in enumerate(self.features):
            (rows,) = np.nonzero(np.isnan(Z[:, j]))
            k, (u, of_rounding) = component[rows], uniforms[rows, :, i].T
            z = means[k, i] + scales[k, i] * ndtri(u)
            Z[rows, j] = discrete_normal_icdf(of_rounding, z) if self.cell[i] else z

    def count(self, numbers, responsibilities):
        """Return the sums of the numbers in each component."""
        seen = ~np.isnan(numbers.U)
        U = np.where(seen, numbers.U, 0.0)
        return Sums(*(responsibilities.T @ of for of in (seen, U, np.square(U))))

    def shrunk(self, counts, rows):
        """Return normals learnt from counts, and drawn towards these, which count as so many rows of a component."""
        before, total = self.covariances.values + np.square(self.means), counts.weight + rows
        means = (counts.first + rows * self.means) / total
        variances = (counts.second + rows * before) / total - np.square(means)
        least = np.maximum(self.covariances.prior.least, LEAST_VARIANCE)
        return DecodedNormals(self, means, np.maximum(variances, least))


def _diagonal(covariances, variances):
    """Return diagonal covariances of the same columns with other variances."""
    diagonal = type(covariances)(len(variances), covariances.prior, False)
    diagonal.values = variances
    return diagonal


def log_sums(log_joint):
    """Return logarithms of sums of exponentials of rows, and shares of the entries in these, which take their place."""
    highest = log_joint.max(axis=1, keepdims=True).clip(np.finfo(log_joint.dtype).min)
    log_joint -= highest
    shares = np.exp(log_joint, out=log_joint)
    total = shares.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_p = (np.log(total) + highest)[:, 0]
    return log_p, np.divide(shares, total, out=shares, where=total > 0)


class PointMixture(FiniteMixture):
    """A mixture whose components stand at points of a latent space.

    Parameters
    ----------
    points : ndarray of shape (n_components, n_latents)
        The points, which are equally likely at first.
    tables : DecodedTables or None
        Columns that have tables.
    normals : DecodedNormals or None
        Columns of numbers.
    counts : Counts or None
        What is learnt beside the decoded components.
    """

    counts: Any = None  # as in files of models that did not keep them

    def __init__(self, points, tables, normals, counts=None):
        super().__init__(len(points), tables, normals)
        self.points, self.counts = points, counts

    def log_joint(self, prepared):
        """Return the log-density of prepared rows and components, in the precision of tables, if there are some."""
        first, *others = zip(self._groups, prepared, strict=True)
        log_p = first[0].log_prob(first[1])
        for group, rows in others:
            log_p += group.log_prob(rows)
        log_p += self.log_weights
        return log_p

    def log_prob(self, Z):
        """Return the log-density of encoded rows, of shape (n,)."""
        log_p = np.empty(len(Z))
        for block in self._blocks(len(Z)):
            log_p[block] = log_sums(self.log_joint(self.prepare(Z[block])))[0]
        return log_p

    def posterior_means(self, Z):
        """Return the expected points of encoded rows, of shape (n, n_latents)."""
        means = np.empty((len(Z), self.points.shape[1]))
        for block in self._blocks(len(Z)):
            means[block] = np.exp(self.log_posterior_of(Z[block])) @ self.points
        return means

    def _blocks(self, n):
        step = max(NUMBERS_AT_ONCE // len(self.weights), 1)
        return [slice(start, start + step) for start in range(0, n, step)]

    def astype(self, dtype):
        """Return the mixture with tables in another precision."""
        tables = None if self.tables is None else self.tables.astype(dtype)
        mixture = PointMixture(self.points, tables, self.normals, self.counts)
        weights = self.weights.astype(np.float64)
        mixture.weights = weights / weights.sum()
        return mixture

    def shrunk(self, counts, rows):
        """Return a mixture learnt from counts, with components drawn towards these.

        Parameters
        ----------
        counts : Counts
            What :meth:`count` returns.
        rows : float
            How many rows of a component these count as.
        """
        tables, normals = self.tables, self.normals
        mixture = PointMixture(
            self.points,
            None if tables is None else tables.shrunk(counts.cells, rows),
            None if normals is None else normals.shrunk(counts.moments, rows),
            counts,
        )
        weight = counts.weight + PRIOR_WEIGHT
        mixture.weights = weight / weight.sum()
        return mixture
