"""A finite mixture over encoded rows: weights, and for each group of columns its distribution in each component.

Given the component, groups are independent. A group answers `prepare`, `log_prob`, `count`, `learn`, `log_prior` and
`fill`; see :class:`~sklearn_dgm.mixture._tables.ColumnTables`.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm._nested.em import log_posterior
from sklearn_dgm._state import Stateful
from sklearn_dgm.mixture._factor_covariances import FactorMoments
from sklearn_dgm.mixture._normals import Normals, normal_columns
from sklearn_dgm.mixture._numbers import Moments
from sklearn_dgm.mixture._tables import ColumnTables
from sklearn_dgm.mixture._trees import ColumnTrees

# Numbers that a block of rows takes up.
NUMBERS_AT_ONCE = 2**22


class Counts(NamedTuple):
    """Expected sufficient statistics of a mixture; those of parts of the rows add up.

    Attributes
    ----------
    weight : ndarray of shape (n_components,)
        Weights of the components.
    cells : ndarray of shape (n_components, n_cells) or (n_components, n_cells, n_cells), or None
        Weights of the cells of tables, or of pairs of cells.
    moments : Moments, FactorMoments or None
        Moments of the numbers.
    """

    weight: np.ndarray
    cells: np.ndarray | None
    moments: Moments | FactorMoments | None

    def plus(self, other):
        """Return the counts of the rows of both."""
        return Counts(
            self.weight + other.weight,
            None if self.cells is None else self.cells + other.cells,
            None if self.moments is None else self.moments.plus(other.moments),
        )


class FiniteMixture(Stateful):
    """Weights of the components, tables of some columns, and normals of the others.

    Parameters
    ----------
    n_components : int
        Number of components.
    tables : ColumnTables or None
        Columns that have tables.
    normals : Normals or None
        Columns of numbers that are jointly normal in each component.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
        Shares of the components.
    counts : Counts
        What they were learnt from.
    """

    counts: Counts
    densities = None

    def __init__(self, n_components: int, tables: ColumnTables | None, normals: Normals | None):
        self.weights = np.full(n_components, 1 / n_components)
        self.tables, self.normals = tables, normals

    @classmethod
    def of(
        cls, columns, rows, n_components, *, component, covariance_type, n_factors, reg_covar
    ) -> Self:
        """Return a mixture that says which columns have tables, and which are normal, and has learnt nothing yet.

        Parameters
        ----------
        columns : list of Column
            What the schema knows of the columns.
        rows : WeightedRows
            Encoded rows.
        n_components : int
            Number of components.
        component : {"independent", "gaussian", "tree"}
            What a component is.
        covariance_type, n_factors, reg_covar
            See :class:`~sklearn_dgm.mixture._normals.Normals`.
        """
        numbers = normal_columns(columns, rows.Z, rows.weight) if component == "gaussian" else []
        tabled = [j for j, c in enumerate(columns) if j not in numbers or c.atoms is not None]
        tables: ColumnTables | None = None
        normals = None
        if component == "tree":
            tables = ColumnTrees(columns, rows.Z, rows.weight, n_components)
        elif tabled:
            of_gaussian = component == "gaussian"
            tables = ColumnTables(columns, tabled, of_gaussian, rows.Z, rows.weight, n_components)
        if numbers:
            of_normals = n_components, covariance_type, n_factors, reg_covar
            normals = Normals(columns, numbers, rows.Z, rows.weight, *of_normals)
        return cls(n_components, tables, normals)

    @property
    def _groups(self):
        return [group for group in (self.tables, self.normals) if group is not None]

    @property
    def log_weights(self):
        """Logarithms of the weights."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights)

    def prepare(self, Z: np.ndarray) -> list[Any]:
        """Return encoded rows as each group of columns takes them."""
        return [group.prepare(Z) for group in self._groups]

    def log_joint(self, prepared):
        """Return the log-density of prepared rows and components, of shape (n, n_components)."""
        return self.log_conditional(prepared, self.log_weights)

    def log_conditional(self, prepared, start=0.0):
        """Return the log-density of prepared rows given components, added to something."""
        pairs = zip(self._groups, prepared, strict=True)
        return sum((group.log_prob(rows) for group, rows in pairs), start=start)

    def log_joint_of(self, Z):
        """Return the log-density of encoded rows and components, in blocks of rows."""
        log_joint = np.empty((len(Z), len(self.weights)))
        step = max(NUMBERS_AT_ONCE // max(len(self.weights), Z.shape[1]), 1)
        for start in range(0, len(Z), step):
            block = slice(start, start + step)
            log_joint[block] = self.log_joint(self.prepare(Z[block]))
        return log_joint

    def log_posterior_of(self, Z):
        """Return the log-probabilities of the components given encoded rows, of shape (n, n_components)."""
        return log_posterior(self.log_joint_of(Z), self.log_weights)

    def count(self, prepared, responsibilities):
        """Return the counts of prepared rows, with weights of shape (n, n_components)."""
        pairs = zip(self._groups, prepared, strict=True)
        parts = iter([group.count(rows, responsibilities) for group, rows in pairs])
        return Counts(
            responsibilities.sum(axis=0),
            None if self.tables is None else next(parts),
            None if self.normals is None else next(parts),
        )

    def learn(self, counts):
        """Take over counts, and the parameters that follow from them."""
        self.counts = counts
        self.weights = counts.weight / counts.weight.sum()
        if self.tables is not None:
            self.tables.learn(counts.cells)
        if self.normals is not None:
            self.normals.learn(counts.moments)

    def log_prior(self):
        """Return the log-density of the prior of all parameters, up to a constant."""
        return sum(group.log_prior() for group in self._groups)

    def fill(self, Z, uniforms, n_times=1):
        """Return encoded rows with their missing cells drawn given the others.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows, NaN where a cell is missing.
        uniforms : ndarray of shape (n * n_times, 2 * n_features + 1)
            Numbers between 0 and 1.
        n_times : int, default=1
            How often each row is completed.

        Returns
        -------
        Z : ndarray of shape (n * n_times, n_features)
            Rows without missing cells; those of one row stand beside each other.
        """
        component = self._components(Z, uniforms[:, 0].reshape(len(Z), n_times)).ravel()
        filled, step = np.repeat(Z, n_times, axis=0), max(NUMBERS_AT_ONCE // uniforms.shape[1], 1)
        for start in range(0, len(filled), step):
            block = slice(start, start + step)
            self.fill_given(component[block], filled[block], uniforms[block, 1:])
        return filled

    def _components(self, Z, uniforms):
        """Draw the components of rows; all of one row, of shape (n, n_times), with one posterior."""
        component = np.empty(uniforms.shape, dtype=np.intp)
        of_nothing = np.isnan(Z).all(axis=1)
        component[of_nothing] = _chosen(self.weights, uniforms[of_nothing])
        (rows,) = np.nonzero(~of_nothing)
        step = max(NUMBERS_AT_ONCE // len(self.weights), 1)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            posterior = np.exp(self.log_posterior_of(Z[block]))
            for row, p in zip(block, posterior, strict=True):
                component[row] = _chosen(p, uniforms[row])
        return component

    def fill_given(self, component, Z, uniforms):
        """Draw the missing cells of rows in place, given their components, by uniforms of (n, 2 * n_features)."""
        of_cells = uniforms.reshape(len(Z), 2, -1)
        if self.tables is not None:
            # A column with a table is not rounded by the second ones; of mixed columns the first ones draw numbers.
            self.tables.fill(Z, component, of_cells[:, 1])
        if self.normals is not None:
            self.normals.fill(Z, component, of_cells)

    def draw(self, n_samples, n_features, rng):
        """Draw encoded rows, of shape (n_samples, n_features), by a NumPy generator."""
        uniforms = rng.random((n_samples, 2 * n_features + 1))
        return self.fill(np.full((n_samples, n_features), np.nan), uniforms)

    def fill_means(self, Z):
        """Return encoded rows with expectations in missing cells of numbers, the likeliest category in others."""
        return self.fill_expected(Z, np.exp(self.log_posterior_of(Z)))

    def fill_expected(self, Z, posterior):
        """Fill in expectations; see :meth:`fill_means`.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows, NaN where a cell is missing.
        posterior : ndarray of shape (n, n_components)
            Probabilities of the components of each row.
        """
        filled, expected = Z.copy(), {}
        if self.normals is not None:
            means = self.normals.expected(self.normals.prepare(Z))
            expected = dict(
                zip(self.normals.features.tolist(), np.moveaxis(means, 2, 0), strict=True)
            )
        if self.tables is not None:
            self.tables.fill_means(filled, posterior, expected.get)
        for j, of_component in expected.items():
            rows = np.isnan(filled[:, j])
            filled[rows, j] = np.sum(posterior[rows] * of_component[rows], axis=1)
        return filled

    def log_prob(self, Z):
        """Return the log-density of encoded rows, of shape (n,)."""
        return logsumexp(self.log_joint_of(Z), axis=1)

    def log_prob_and_std(self, Z):
        """Return the log-density of encoded rows, and their standard errors, which are zero, both of shape (n,)."""
        return self.log_prob(Z), np.zeros(len(Z))

    def is_estimated(self, Z):
        """Flag the rows whose scores are estimates, of shape (n,): none."""
        return np.zeros(len(Z), dtype=bool)

    @property
    def n_parameters(self):
        """Number of free parameters."""
        return len(self.weights) - 1 + self.n_parameters_of_components

    @property
    def n_parameters_of_components(self):
        """Number of free parameters but for the weights."""
        return sum(group.n_parameters for group in self._groups)


def _chosen(p, uniforms):
    """Return the places in a table of probabilities at which numbers between 0 and 1 stand."""
    upper = np.cumsum(p)
    return np.searchsorted(upper, uniforms * upper[-1], side="right").clip(max=len(p) - 1)
