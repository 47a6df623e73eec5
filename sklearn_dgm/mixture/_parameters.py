"""The parameters of a fitted mixture, in the units of the table, and criteria that count them."""

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.mixture._diagonal_covariances import DiagonalCovariances
from sklearn_dgm.mixture._finite import FiniteMixture
from sklearn_dgm.mixture._full_covariances import FullCovariances


def _counts_parameters(density):
    """Tell whether the components of a mixture say how many parameters they have."""
    component = getattr(density, "component", "")
    return isinstance(component, str) or hasattr(component, "bic")


class ComponentParametersMixin(BaseDensity):
    """Mixin of what has a finite mixture, `_mixture`, and tells what its components are."""

    _mixture: FiniteMixture

    @property
    def tables_(self):
        """Probabilities of the cells of each column in each component, None of a column without a table."""
        check_is_fitted(self)
        result, tables = [None] * len(self.schema_.columns_), self._mixture.tables
        if tables is not None:
            for position, j in enumerate(tables.features):
                result[j] = tables.probabilities(position)
        return result

    def _normals(self, attribute):
        check_is_fitted(self)
        if self._mixture.normals is None:
            raise AttributeError(
                f"There is no {attribute}: no column is normal, as continuous ones are if components are Gaussian."
            )
        return self._mixture.normals

    @property
    def gaussian_features_(self):
        """Columns whose numbers are normal, of shape (n_numbers,)."""
        return self._normals("gaussian_features_").features

    @property
    def means_(self):
        """Means of the numbers, in the units of the table, of shape (n_components, n_numbers)."""
        normals = self._normals("means_")
        columns = [self.schema_.columns_[j] for j in normals.features]
        encoded = normals.means * normals.scale + normals.center
        return encoded * [c.scale for c in columns] + [c.location for c in columns]

    @property
    def covariances_(self):
        """Covariances of the numbers, in the units of the table, as `covariance_type` has them."""
        normals = self._normals("covariances_")
        units = normals.scale * [self.schema_.columns_[j].scale for j in normals.features]
        covariances = normals.covariances
        if isinstance(covariances, DiagonalCovariances):
            return covariances.values * units**2
        dense = np.stack([covariances.dense(k) for k in range(len(normals.means))])
        dense = dense * np.outer(units, units)
        is_tied = isinstance(covariances, FullCovariances) and covariances.tied
        return dense[0] if is_tied else dense

    @property
    def precisions_(self):
        """Inverses of the covariances, in the same form."""
        covariances = self.covariances_
        if isinstance(self._normals("precisions_").covariances, DiagonalCovariances):
            return 1 / covariances
        return np.linalg.inv(covariances)


class MixtureParametersMixin(ComponentParametersMixin):
    """Mixin of mixtures that tells the parameters of `_mixture`, which it does not hold a second time."""

    @property
    def n_parameters_(self):
        """Number of free parameters."""
        check_is_fitted(self)
        if not _counts_parameters(self):
            raise AttributeError(
                f"There is no n_parameters_: {type(self.component).__name__} does not count its parameters."
            )
        return self._mixture.n_parameters

    @property
    def weights_(self):
        """Shares of the components, of shape (n_components,)."""
        check_is_fitted(self)
        return self._mixture.weights

    @property
    def estimators_(self):
        """Fitted densities of the components, of which those of weight 0 are None, if `component` is a density."""
        check_is_fitted(self)
        if self._mixture.densities is None:
            raise AttributeError("There is no estimators_: component is no density, but a name.")
        pairs = zip(self.weights_, self._mixture.densities, strict=True)
        return [density if weight > 0 else None for weight, density in pairs]

    @property
    def alpha_(self):
        """How many rows the tables of all rows count as; None without tables."""
        check_is_fitted(self)
        tables = self._mixture.tables
        return None if tables is None else tables.alpha

    @property
    def parents_(self):
        """Parent of each column in the tree of each component, of shape (n_components, n_features_in_)."""
        check_is_fitted(self)
        if self.component != "tree":
            raise AttributeError("There is no parents_: set component='tree'.")
        return self._mixture.tables.parents

    @available_if(_counts_parameters)
    def bic(self, X: MatrixLike) -> float:
        """Return the Bayesian information criterion of the model on rows; less is better.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bic : float
            Minus twice the log-likelihood, and for each free parameter the logarithm of the number of rows.
        """
        log_density = self.score_samples(X)
        return float(self.n_parameters_ * np.log(len(log_density)) - 2 * log_density.sum())

    @available_if(_counts_parameters)
    def aic(self, X: MatrixLike) -> float:
        """Return Akaike's information criterion of the model on rows; less is better.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        aic : float
            Minus twice the log-likelihood, and 2 for each free parameter.
        """
        return float(2 * self.n_parameters_ - 2 * self.score_samples(X).sum())
