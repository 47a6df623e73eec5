"""Numbers that are jointly normal given the component."""

import numpy as np
from scipy.special import ndtri

from sklearn_dgm._state import Stateful
from sklearn_dgm.counts.discrete_normal import discrete_normal_icdf
from sklearn_dgm.mixture._covariances import Prior
from sklearn_dgm.mixture._diagonal_covariances import DiagonalCovariances
from sklearn_dgm.mixture._factor_covariances import FactorCovariances
from sklearn_dgm.mixture._full_covariances import FullCovariances
from sklearn_dgm.mixture._numbers import Numbers

# Beyond, squares would overflow.
FARTHEST = 1e100
# The covariance of the prior counts as so many rows of a component, and where columns have covariances as one more for
# each of them.
PRIOR_ROWS = 2.0
# A count of more values, of which none has so large a share, is a number; others have tables.
MAX_LEVELS, FREQUENT = 20, 0.25
# Uniforms keep so far from 0 and 1, where normals are infinite.
MARGIN = 2.0**-54


def normal_columns(columns, Z, weight):
    """Return the columns whose numbers are normal: those that are no counts or flags, and counts of many values.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.
    """
    found = []
    for j, column in enumerate(columns):
        if column.is_categorical or column.is_flag:
            continue
        seen = ~np.isnan(Z[:, j])
        _, place = np.unique(Z[seen, j], return_inverse=True)
        shares = np.bincount(place, weight[seen])
        if not column.is_counted or (
            len(shares) > MAX_LEVELS and shares.max() < FREQUENT * shares.sum()
        ):
            found.append(j)
    return found


class Normals(Stateful):
    """Columns of numbers that are jointly normal given the component.

    A rounded number, or a count, has the density at the middle of its cell; as its variance given all others is that of
    one cell at least, these densities sum to one, but for 5e-9. An atom of a mixed column is none of the numbers.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of all columns.
    features : list of int
        Those whose numbers are normal.
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.
    n_components : int
        Number of components.
    covariance_type : {"full", "tied", "diag", "spherical", "factor"}
        The form of covariances.
    n_factors : int
        Factors of "factor".
    reg_covar : "auto" or float
        What is added to variances, in units of the table; "auto" draws covariances towards that of all rows.

    Attributes
    ----------
    means : ndarray of shape (n_components, d)
        In units of standard deviations.
    covariances : Covariances
        In these units, too.
    """

    def __init__(
        self, columns, features, Z, weight, n_components, covariance_type, n_factors, reg_covar
    ):
        self.features, self.atoms = (
            np.asarray(features),
            [columns[j].encoded_atoms for j in features],
        )
        self.center, self.scale = np.zeros(len(features)), np.ones(len(features))
        U = self.standardized(Z)
        self.center, self.scale = _locations_and_scales(U, weight)
        is_rounded = np.array([columns[j].is_whole for j in features])
        self.cell = np.where(is_rounded, 1 / self.scale, 0.0)
        self.counts = np.array([j for j in features if columns[j].is_counted], dtype=np.intp)
        units = np.array([columns[j].scale for j in features]) * self.scale
        of_pairs = covariance_type not in ("diag", "spherical")
        if of_pairs:
            square = _correlations(self.standardized(Z), weight, n_components)
        else:
            square = _size(n_components, len(features)) * np.ones(len(features))
        rows, ridge = 0.0, np.zeros(len(features))
        if reg_covar == "auto":
            rows = PRIOR_ROWS + of_pairs * len(features)
        else:
            ridge = reg_covar / units**2
        prior = Prior(square, rows, ridge, self.cell**2)
        self.means = np.zeros((n_components, len(features)))
        self.covariances = _covariances(covariance_type, n_components, prior, n_factors)

    def standardized(self, Z):
        """Return the numbers of encoded rows in standard deviations; NaN where a cell is missing, or an atom."""
        U = Z[:, self.features]  # a copy
        for u, atoms in zip(U.T, self.atoms, strict=True):
            if len(atoms):
                u[np.isin(u, atoms)] = np.nan
        with np.errstate(over="ignore"):
            U = (U.clip(-FARTHEST, FARTHEST) - self.center) / self.scale
        return U.clip(-FARTHEST, FARTHEST)

    def prepare(self, Z):
        """Return the numbers of rows."""
        numbers, counts = Numbers(self.standardized(Z)), Z[:, self.counts]
        numbers.is_impossible = (counts != np.floor(counts)).any(axis=1, where=~np.isnan(counts))
        return numbers

    def log_prob(self, numbers):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        with np.errstate(over="ignore"):  # of rows far away
            log_p = self.covariances.log_prob(numbers, self.means)
        log_scales = np.log(self.scale)
        of_units = log_scales.sum() if numbers.is_complete else numbers.seen @ log_scales
        log_p = log_p - np.reshape(of_units, (-1, 1))
        log_p[numbers.is_impossible] = -np.inf
        return log_p

    def count(self, numbers, responsibilities):
        """Return the expected moments of the components."""
        return self.covariances.moments(numbers, self.means, responsibilities)

    def learn(self, moments):
        """Learn means and covariances from moments."""
        self.means = self.covariances.learn(moments, self.means)

    def log_prior(self):
        """Return the log-density of the prior of the covariances, up to a constant."""
        return self.covariances.log_prior()

    def fill(self, Z, component, uniforms):
        """Fill in missing numbers in place, given the others, of rows that belong to components each.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows; what is NaN is drawn.
        component : ndarray of int of shape (n,)
            Their components.
        uniforms : ndarray of shape (n, 2, n_features)
            Two numbers between 0 and 1 for each cell; the second ones are for those that are rounded.
        """
        numbers = self.prepare(Z)
        uniforms = uniforms[:, :, self.features].clip(MARGIN, 1 - MARGIN)
        normals, drawn = ndtri(uniforms[:, 0]), np.empty_like(numbers.U)
        for part in numbers.incomplete:
            for k in np.unique(component[part.rows]):
                own = part.of(component[part.rows] == k)
                expected, covariances = self.covariances.conditional(
                    own, numbers.U, self.means[k], k
                )
                # The last unit of the variance of rounded numbers is that of rounding.
                rounding = own.blocks(np.diag(self.cell**2))
                values, vectors = np.linalg.eigh(covariances - rounding)
                roots = np.sqrt(values.clip(0))[:, :, None] * np.swapaxes(vectors, 1, 2)
                drawn[own.cells] = expected + own.times(normals[own.cells], roots)
        for i, j in enumerate(self.features):
            (rows,) = np.nonzero(np.isnan(Z[:, j]))
            z = drawn[rows, i] * self.scale[i] + self.center[i]
            Z[rows, j] = discrete_normal_icdf(uniforms[rows, 1, i], z) if self.cell[i] else z

    def expected(self, numbers):
        """Return the expectations of all numbers in each component, of shape (n, n_components, d), encoded."""
        filled = [self.covariances.expected(numbers, mean, k) for k, mean in enumerate(self.means)]
        return np.stack(filled, axis=1) * self.scale + self.center

    @property
    def n_parameters(self):
        """Number of free parameters of means and covariances."""
        return self.means.size + self.covariances.n_parameters(self.means.shape[1])


def _covariances(covariance_type, n_components, prior, n_factors):
    if covariance_type in ("full", "tied"):
        return FullCovariances(n_components, prior, covariance_type == "tied")
    n_factors = min(n_factors, len(prior.least) - 1)
    if covariance_type == "factor" and n_factors:
        return FactorCovariances(n_components, prior, n_factors)
    return DiagonalCovariances(n_components, prior, covariance_type == "spherical")


def _locations_and_scales(U, weight):
    """Return the weighted means and standard deviations of numbers, NaN where missing; 0 and 1 without any."""
    seen = weight[:, None] * ~np.isnan(U)
    total = np.maximum(seen.sum(axis=0), np.finfo(np.float64).tiny)
    mean = np.sum(seen * np.nan_to_num(U), axis=0) / total
    std = np.sqrt(np.sum(seen * np.nan_to_num(U - mean) ** 2, axis=0) / total)
    return mean, np.where(std > 0, std, 1.0)


def _size(n_components, d):
    """Return variances such that all ellipsoids together have the volume of one of all rows (Fraley, Raftery, 2007)."""
    return n_components ** (-2 / d)


def _correlations(U, weight, n_components):
    """Return the correlations of numbers, shrunk towards none, in the size of one of so many components.

    They are of the rows that have both columns, as near as a covariance can come to that.
    """
    d, filled, seen = U.shape[1], np.nan_to_num(U), ~np.isnan(U)
    pairs = (weight[:, None] * seen).T @ seen
    square = (weight[:, None] * filled).T @ filled / np.maximum(pairs, np.finfo(np.float64).tiny)
    np.fill_diagonal(square, 1.0)
    values, vectors = np.linalg.eigh(square)
    if values[0] < 0:  # pairs of different rows may contradict each other
        square = (vectors * values.clip(0)) @ vectors.T
        size = np.sqrt(np.diag(square))
        square = square / np.outer(size, size)
    # As if d rows had shown none; more where there are fewer pairs than numbers.
    n_pairs, n_numbers = pairs.mean(), np.diag(pairs).mean()
    ratio = max(n_numbers / max(n_pairs, np.finfo(np.float64).tiny), 1.0)
    kept = n_pairs / (n_pairs + d * ratio**2)
    return _size(n_components, d) * (kept * square + (1 - kept) * np.eye(d))
