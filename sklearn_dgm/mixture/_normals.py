"""Numbers that are jointly normal given the component."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from sklearn_dgm._state import Stateful
from sklearn_dgm.mixture._covariances import (
    LOG_2_PI,
    DiagonalCovariances,
    FactorCovariances,
    FullCovariances,
    Prior,
)

# Numbers that a block of matrices takes up; patterns with fewer rows are multiplied all at once.
NUMBERS_AT_ONCE, FEW_ROWS = 2**22, 8
# Beyond, squares would overflow.
FARTHEST = 1e100
# The covariance of the prior counts as so many rows of a component, and where columns have covariances as one more for
# each of them.
PRIOR_ROWS = 2.0
# Uniforms keep so far from 0 and 1, where normals are infinite.
MARGIN = 2.0**-54
# Cells on both sides of a number that it may be rounded to.
WINDOW = 9


class Incomplete(NamedTuple):
    """Some rows in which numbers are missing.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Which rows.
    place : ndarray of int of shape (n,)
        The pattern of each, increasing.
    observed : ndarray of bool of shape (n_patterns, d)
        Which numbers are observed in each pattern.
    """

    rows: np.ndarray
    place: np.ndarray
    observed: np.ndarray

    def times(self, deviation, matrices):
        """Return the products of the rows' deviations with the matrix of their pattern, of shape (n, d)."""
        if len(matrices) * FEW_ROWS > len(deviation):
            return np.matmul(deviation[:, None], matrices[self.place])[:, 0]
        ends = np.cumsum(np.bincount(self.place))[:-1]
        parts = zip(np.split(deviation, ends), matrices, strict=True)
        return np.concatenate([part @ matrix for part, matrix in parts])


class Numbers(NamedTuple):
    """The numbers of rows, in standard deviations.

    Attributes
    ----------
    U : ndarray of shape (n, d)
        Numbers, NaN where a cell is missing, or an atom.
    complete : ndarray of int or slice
        Rows without missing numbers.
    incomplete : list of Incomplete
        The others, with equal patterns beside each other, in blocks.
    """

    U: np.ndarray
    complete: np.ndarray | slice
    incomplete: list[Incomplete]

    @classmethod
    def of(cls, U):
        """Sort rows by the pattern of what is missing."""
        observed = ~np.isnan(U)
        is_complete = observed.all(axis=1)
        if is_complete.all():
            return cls(U, slice(None), [])
        (rows,) = np.nonzero(~is_complete)
        packed = np.packbits(observed[rows], axis=1)
        keys = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
        _, place = np.unique(keys, return_inverse=True)
        order = np.argsort(place, kind="stable")
        step = max(NUMBERS_AT_ONCE // U.shape[1] ** 2, 1)
        blocks = []
        for start in range(0, len(rows), step):
            part = order[start : start + step]
            _, first, own = np.unique(place[part], return_index=True, return_inverse=True)
            blocks.append(Incomplete(rows[part], own, observed[rows[part][first]]))
        return cls(U, np.flatnonzero(is_complete), blocks)


class Moments(NamedTuple):
    """Weights, means and scatter of the components; those of parts of the rows add up.

    Attributes
    ----------
    weight : ndarray of shape (n_components,)
        Sums of the weights.
    mean : ndarray of shape (n_components, d)
        Means of the numbers.
    scatter : ndarray of shape (n_components, d, d) or (n_components, d)
        Sums of products of deviations from the means, or of squares.
    """

    weight: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray

    def plus(self, other):
        """Return the moments of the rows of both (Chan, Golub and LeVeque, 1979)."""
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros_like(total), where=total > 0)
        step = other.mean - self.mean
        squares = step[:, :, None] * step[:, None] if self.scatter.ndim == 3 else step**2
        factor = (self.weight * share).reshape((-1,) + (1,) * (squares.ndim - 1))
        mean = self.mean + share[:, None] * step
        return Moments(total, mean, self.scatter + other.scatter + factor * squares)


class Normals(Stateful):
    """Columns of numbers that are jointly normal given the component.

    A rounded number has the density at the middle of its cell; as its variance given all others is that of one cell at
    least, these densities sum to one, but for 5e-9. An atom of a mixed column is none of the numbers.

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
        units = np.array([columns[j].scale for j in features]) * self.scale
        correlations = _correlations(self.standardized(Z), weight, n_components)
        rows, ridge = 0.0, np.zeros(len(features))
        if reg_covar == "auto":
            rows = PRIOR_ROWS + (0 if covariance_type in ("diag", "spherical") else len(features))
        else:
            ridge = reg_covar / units**2
        prior = Prior(correlations, rows, ridge, self.cell**2)
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
        """Return the numbers of rows, sorted by what is missing."""
        return Numbers.of(self.standardized(Z))

    def log_prob(self, numbers):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        log_p, log_scales = np.zeros((len(numbers.U), len(self.means))), np.log(self.scale)
        if not self.covariances.of_pairs:
            of_units = ~np.isnan(numbers.U) @ log_scales
            with np.errstate(over="ignore"):
                for k, mean in enumerate(self.means):
                    log_p[:, k] = self.covariances.log_prob(numbers.U - mean, k) - of_units
            return log_p
        complete = numbers.U[numbers.complete]
        with np.errstate(over="ignore"):  # of rows far away
            for k, mean in enumerate(self.means):
                if len(complete):
                    log_p[numbers.complete, k] = self.covariances.log_prob(complete - mean, k)
                    log_p[numbers.complete, k] -= log_scales.sum()
                for part in numbers.incomplete:
                    inverses, log_dets = self.covariances.inverses(k, part.observed)
                    deviation = np.nan_to_num(numbers.U[part.rows] - mean)
                    squares = np.sum(part.times(deviation, inverses) * deviation, axis=1)
                    units = log_dets + part.observed @ (2 * log_scales + LOG_2_PI)
                    log_p[part.rows, k] = -0.5 * (squares + units[part.place])
        return log_p

    def count(self, numbers, responsibilities):
        """Return the expected moments of the components."""
        d, weight = numbers.U.shape[1], responsibilities.sum(axis=0)
        shape = (d, d) if self.covariances.of_pairs else (d,)
        mean, scatter = np.zeros((len(weight), d)), np.zeros((len(weight), *shape))
        for k, r in enumerate(responsibilities.T):
            filled, left = self._expected(numbers, r, k)
            if weight[k] > 0:
                mean[k] = r @ filled / weight[k]
            deviation = filled - mean[k]
            if self.covariances.of_pairs:
                scatter[k] = (r[:, None] * deviation).T @ deviation + left
            else:
                scatter[k] = r @ np.square(deviation) + np.diag(left)
        return Moments(weight, mean, scatter)

    def _expected(self, numbers, r, k):
        """Return numbers with expectations where they are missing, and the weighted sum of the covariances of these."""
        d = numbers.U.shape[1]
        left = np.zeros((d, d))
        if not numbers.incomplete:
            return numbers.U, left
        if not self.covariances.of_pairs:
            missing = np.isnan(numbers.U)
            left = np.diag(r @ missing * np.diag(self.covariances.dense(k)))
            return np.where(missing, self.means[k], numbers.U), left
        filled = numbers.U.copy()
        for part in numbers.incomplete:
            given, observed = filled[part.rows], part.observed[part.place]
            expected, covariances = self._conditional(given, part, k)
            filled[part.rows] = np.where(observed, given, expected)
            weight = np.bincount(part.place, r[part.rows])
            left += np.tensordot(weight, covariances, axes=1)
        return filled, left

    def _conditional(self, U, part, k):
        """Return expectations of the numbers of rows, (n, d), and covariances of missing ones, (n_patterns, d, d)."""
        dense, missing = self.covariances.dense(k), ~part.observed
        inverses, _ = self.covariances.inverses(k, part.observed)
        deviation = np.nan_to_num(U - self.means[k])
        expected = self.means[k] + part.times(deviation, inverses) @ dense
        both = missing[:, :, None] & missing[:, None]
        return expected, np.where(both, dense - dense @ inverses @ dense, 0.0)

    def learn(self, moments):
        """Learn means and covariances from moments."""
        # A component without any row stays where it is.
        self.means = np.where(moments.weight[:, None] > 0, moments.mean, self.means)
        self.covariances.learn(moments.weight, moments.scatter)

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
                chosen = component[part.rows] == k
                patterns, place = np.unique(part.place[chosen], return_inverse=True)
                own = Incomplete(part.rows[chosen], place, part.observed[patterns])
                expected, covariances = self._conditional(numbers.U[own.rows], own, k)
                # The last unit of the variance of rounded numbers is that of rounding.
                rounding = ~own.observed[:, :, None] * np.diag(self.cell**2)
                values, vectors = np.linalg.eigh(covariances - rounding)
                roots = np.sqrt(values.clip(0))[:, :, None] * np.swapaxes(vectors, 1, 2)
                drawn[own.rows] = expected + own.times(normals[own.rows], roots)
        for i, j in enumerate(self.features):
            (rows,) = np.nonzero(np.isnan(Z[:, j]))
            z = drawn[rows, i] * self.scale[i] + self.center[i]
            Z[rows, j] = _rounded(z, uniforms[rows, 1, i]) if self.cell[i] else z

    def expected(self, numbers):
        """Return the expectations of all numbers in each component, of shape (n, n_components, d), encoded."""
        nothing = np.zeros(len(numbers.U))
        filled = [self._expected(numbers, nothing, k)[0] for k in range(len(self.means))]
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


def _correlations(U, weight, n_components):
    """Return the correlations of numbers, shrunk towards none, in the size of one of so many components.

    They are of the rows that have both columns, as near as a covariance can come to that. The volume of the ellipsoids
    of all components together is that of all rows (Fraley and Raftery, 2007).
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
    return n_components ** (-2 / d) * (kept * square + (1 - kept) * np.eye(d))


def _rounded(z, uniforms):
    """Return whole numbers, drawn with the normal density, of variance 1, around given ones."""
    first = np.floor(z) - WINDOW
    cells = first[:, None] + np.arange(2 * WINDOW + 2)
    below = np.cumsum(np.exp(-0.5 * np.square(cells - z[:, None])), axis=1)
    place = (below <= uniforms[:, None] * below[:, -1:]).sum(axis=1)
    return first + place.clip(0, cells.shape[1] - 1)
