"""Numbers that are jointly normal given the component."""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.special import ndtri

from sklearn_dgm._state import Stateful
from sklearn_dgm.mixture._covariances import (
    DiagonalCovariances,
    FactorCovariances,
    FullCovariances,
    Prior,
)

# Beyond, squares would overflow.
FARTHEST = 1e150
# The covariance of the prior counts as so many rows of a component, and where columns have covariances as one more for
# each of them.
PRIOR_ROWS = 2.0
# Uniforms keep so far from 0 and 1, where normals are infinite.
MARGIN = 2.0**-54
# Cells on both sides of a number that it may be rounded to.
WINDOW = 9


class Pattern(NamedTuple):
    """Rows in which the same numbers are observed.

    Attributes
    ----------
    rows : ndarray of int or slice
        Which rows.
    observed : ndarray of bool of shape (d,)
        Which of the numbers.
    """

    rows: np.ndarray | slice
    observed: np.ndarray


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
        """Return the numbers of rows, and the patterns in which they are observed."""
        U = self.standardized(Z)
        return U, patterns_of(~np.isnan(U))

    def log_prob(self, prepared):
        """Return the log-density of rows in each component, of shape (n, n_components)."""
        U, patterns = prepared
        log_p = np.zeros((len(U), len(self.means)))
        with np.errstate(over="ignore"):  # of rows far away
            for rows, observed in patterns:
                if observed.any():
                    own, log_scale = U[rows][:, observed], np.log(self.scale[observed]).sum()
                    for k, mean in enumerate(self.means):
                        log_p[rows, k] = (
                            self.covariances.log_prob(own - mean[observed], k, observed) - log_scale
                        )
        return log_p

    def count(self, prepared, responsibilities):
        """Return the expected moments of the components."""
        U, patterns = prepared
        d = U.shape[1]
        weight = responsibilities.sum(axis=0)
        shape = (d, d) if self.covariances.of_pairs else (d,)
        mean, scatter = np.zeros((len(weight), d)), np.zeros((len(weight), *shape))
        is_complete = all(observed.all() for _, observed in patterns)
        for k, r in enumerate(responsibilities.T):
            filled, beyond = (
                (U, np.zeros((d, d))) if is_complete else self._expected(U, patterns, r, k)
            )
            if weight[k] > 0:
                mean[k] = r @ filled / weight[k]
            deviation = filled - mean[k]
            if self.covariances.of_pairs:
                scatter[k] = (r[:, None] * deviation).T @ deviation + beyond
            else:
                scatter[k] = r @ np.square(deviation) + np.diag(beyond)
        return Moments(weight, mean, scatter)

    def _expected(self, U, patterns, r, k):
        """Return the numbers with expectations where they are missing, and the summed covariances of these, (d, d)."""
        filled, beyond = U.copy(), np.zeros((U.shape[1], U.shape[1]))
        for rows, observed in patterns:
            if observed.all():
                continue
            others = ~observed
            deviation = U[rows][:, observed] - self.means[k, observed]
            expected, covariance = self.covariances.conditional(deviation, k, observed)
            part = filled[rows]
            part[:, others] = self.means[k, others] + expected
            filled[rows] = part
            beyond[np.ix_(others, others)] += r[rows].sum() * covariance
        return filled, beyond

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
        U = self.standardized(Z)
        uniforms = uniforms[:, :, self.features].clip(MARGIN, 1 - MARGIN)
        normals = ndtri(uniforms[:, 0])
        drawn = np.empty_like(U)
        for rows, observed in patterns_of(~np.isnan(U)):
            others = ~observed
            if not others.any():
                continue
            (rows,) = np.nonzero(np.bincount(np.arange(len(U))[rows], minlength=len(U)))
            for k in np.unique(component[rows]):
                own = rows[component[rows] == k]
                deviation = U[np.ix_(own, observed)] - self.means[k, observed]
                expected, covariance = self.covariances.conditional(deviation, k, observed)
                # The last unit of the variance of rounded numbers is that of rounding.
                root = _root(covariance - np.diag(self.cell[others] ** 2))
                noise = normals[np.ix_(own, others)] @ root.T
                drawn[np.ix_(own, others)] = self.means[k, others] + expected + noise
        for i, j in enumerate(self.features):
            (rows,) = np.nonzero(np.isnan(Z[:, j]))
            z = drawn[rows, i] * self.scale[i] + self.center[i]
            Z[rows, j] = _rounded(z, uniforms[rows, 1, i]) if self.cell[i] else z

    def expected(self, prepared):
        """Return the expectations of all numbers in each component, of shape (n, n_components, d), encoded."""
        U, patterns = prepared
        nothing = np.zeros(len(U))
        filled = [self._expected(U, patterns, nothing, k)[0] for k in range(len(self.means))]
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

    The volume of the ellipsoids of all components together is that of all rows (Fraley and Raftery, 2007).
    """
    d = U.shape[1]
    filled = np.nan_to_num(U)
    square = (weight[:, None] * filled).T @ filled / weight.sum()
    np.fill_diagonal(square, 1.0)
    kept = weight.sum() / (weight.sum() + d)
    return n_components ** (-2 / d) * (kept * square + (1 - kept) * np.eye(d))


def patterns_of(observed):
    """Return the rows of each pattern of observed numbers.

    Parameters
    ----------
    observed : ndarray of bool of shape (n, d)
        Whether a number is observed.

    Returns
    -------
    patterns : list of Pattern
        Each pattern that occurs.
    """
    if observed.all():
        return [Pattern(slice(None), np.ones(observed.shape[1], dtype=bool))]
    packed = np.packbits(observed, axis=1)
    keys = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(place, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(place))[:-1])
    return [Pattern(rows, observed[i]) for rows, i in zip(parts, first, strict=True)]


def _root(covariance):
    """Return a square root of a covariance, which may be singular."""
    values, vectors = linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(0))


def _rounded(z, uniforms):
    """Return whole numbers, drawn with the normal density, of variance 1, around given ones."""
    first = np.floor(z) - WINDOW
    cells = first[:, None] + np.arange(2 * WINDOW + 2)
    below = np.cumsum(np.exp(-0.5 * np.square(cells - z[:, None])), axis=1)
    place = (below <= uniforms[:, None] * below[:, -1:]).sum(axis=1)
    return first + place.clip(0, cells.shape[1] - 1)
