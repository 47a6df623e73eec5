"""How much transformers stretch space: the registry of Jacobians, and scikit-learn's invertible transformers."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import check_array

from sklearn_dgm._sklearn import scaler_after_powers
from sklearn_dgm._typing import MatrixLike

# Of the functions that people put into a FunctionTransformer.
DERIVATIVES = {
    np.log: np.reciprocal,
    np.log1p: lambda x: 1 / (1 + x),
    np.exp: np.exp,
    np.expm1: np.exp,
    np.sqrt: lambda x: 0.5 / np.sqrt(x),
    np.square: lambda x: 2 * x,
    np.sinh: np.cosh,
    np.arcsinh: lambda x: 1 / np.hypot(1, x),
    expit: lambda x: expit(x) * expit(-x),
}
# A component has no variance if it has less than this share of the first one's.
NO_VARIANCE = 1e-14
NO_JACOBIAN = (
    "No Jacobian of {} is known. A transformer that loses information (that bins, selects or encodes columns) has "
    "none, and gives no density of X: let columns of categories, which have a probability and no density to "
    "transform, pass as they are ('passthrough' in a ColumnTransformer). Register the Jacobian of one that can be "
    "inverted with sklearn_dgm.log_abs_det_jacobian.register."
)


@functools.singledispatch
def log_abs_det_jacobian(transformer: Any, X: MatrixLike) -> NDArray[Any]:
    """Return the log-determinant of a fitted transformer's Jacobian at each row; users can register their own.

    It knows `StandardScaler`, `RobustScaler`, `MinMaxScaler`, `MaxAbsScaler`, `PowerTransformer`,
    `QuantileTransformer`, `PCA` with all components, :class:`~sklearn_dgm.compose.DifferentiableFunctionTransformer`,
    `FunctionTransformer` of a NumPy function such as `log1p`, and `ColumnTransformer` and `Pipeline` of these.

    Parameters
    ----------
    transformer : estimator
        A fitted transformer that can be inverted.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows as they come into the transformer.

    Returns
    -------
    log_det : ndarray of shape (n_samples, n_features) or (n_samples,)
        If each column of the output depends on the same column of X alone, ``log |d z_j / d x_j|`` of each cell (that
        of a missing cell is ignored); else ``log |det dz / dx|`` of each row, where the output has as many columns as
        X. It is `-inf` where the transformer cannot take the value.

    Raises
    ------
    TypeError
        If no Jacobian is registered for the transformer's class or a base class of it.
    ValueError
        If the transformer loses information.

    See Also
    --------
    sklearn_dgm.TransformedDensity : The density that needs it.

    Notes
    -----
    `MinMaxScaler` and `QuantileTransformer` map all that lies beyond some range to its ends. Here they are continued as
    :class:`~sklearn_dgm.TransformedDensity` describes it.

    Examples
    --------
    A transformer of your own is registered by its class. `TransformedDensity` compares what the function returns with
    finite differences when it is fitted.

    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, TransformerMixin
    >>> from sklearn_dgm import log_abs_det_jacobian
    >>> class Cube(TransformerMixin, BaseEstimator):
    ...     def fit(self, X, y=None):
    ...         return self
    ...     def transform(self, X):
    ...         return np.asarray(X) ** 3
    ...     def inverse_transform(self, Z):
    ...         return np.cbrt(Z)
    >>> @log_abs_det_jacobian.register
    ... def _(transformer: Cube, X):
    ...     return np.log(3 * np.asarray(X) ** 2)
    >>> log_abs_det_jacobian(Cube(), [[1.0, 2.0]]).round(2)
    array([[1.1 , 2.48]])
    """
    raise TypeError(NO_JACOBIAN.format(type(transformer).__name__))


def has_jacobian(transformer):
    """Tell whether the registry knows the class of a transformer, or a base class of it."""
    dispatch = log_abs_det_jacobian.dispatch
    return dispatch(type(transformer)) is not dispatch(object)


def numbers_of(X):
    """Return cells as float64 numbers, NaN where missing, of shape (n_samples, n_features)."""
    return check_array(X, dtype=np.float64, ensure_all_finite=False)


def _each_row(log_scale, X):
    return np.tile(log_scale, (X.shape[0] if hasattr(X, "shape") else len(X), 1))


@log_abs_det_jacobian.register(StandardScaler)
@log_abs_det_jacobian.register(RobustScaler)
@log_abs_det_jacobian.register(MaxAbsScaler)
def _of_scaler(transformer, X):
    scale = transformer.scale_
    return _each_row(-np.log(np.ones(transformer.n_features_in_) if scale is None else scale), X)


@log_abs_det_jacobian.register(MinMaxScaler)
def _of_min_max(transformer, X):
    return _each_row(np.log(transformer.scale_), X)


@log_abs_det_jacobian.register(PowerTransformer)
def _of_power(transformer, X):
    x = numbers_of(X)
    with np.errstate(invalid="ignore", divide="ignore"):
        if transformer.method == "box-cox":
            x = np.where(x <= 0, np.nan, x)
            log_slope = (transformer.lambdas_ - 1) * np.log(x)
        else:
            log_slope = np.sign(x) * (transformer.lambdas_ - 1) * np.log1p(np.abs(x))
    log_slope[np.isnan(log_slope)] = -np.inf
    if transformer.standardize:
        log_slope -= np.log(scaler_after_powers(transformer).scale_)
    return log_slope


@log_abs_det_jacobian.register(PCA)
def _of_pca(transformer, X):
    n_kept, n_features = transformer.components_.shape
    if n_kept < n_features:
        raise ValueError(
            f"PCA, fitted to n_samples={transformer.n_samples_}, keeps {n_kept} of {n_features} components and loses "
            "the others, so that rows of X have no density; keep all of them (which takes as many rows as columns)."
        )
    log_det = 0.0  # the components are orthonormal
    if transformer.whiten:
        variance = transformer.explained_variance_
        if variance[-1] <= NO_VARIANCE * variance[0]:
            raise ValueError(
                "PCA(whiten=True) finds components without any variance, which it cannot whiten; drop columns that "
                "depend on others."
            )
        log_det = -0.5 * np.log(variance).sum()
    return np.full(X.shape[0] if hasattr(X, "shape") else len(X), log_det)


@log_abs_det_jacobian.register(FunctionTransformer)
def _of_function(transformer, X):
    derivative = DERIVATIVES.get(transformer.func)
    if derivative is None:
        name = getattr(transformer.func, "__name__", transformer.func)
        raise TypeError(
            f"No derivative of {name} is known; use sklearn_dgm.compose.DifferentiableFunctionTransformer, which is "
            "given it."
        )
    if transformer.func is np.square and transformer.inverse_func is None:
        raise ValueError(
            "numpy.square maps two numbers to one; say by inverse_func which of them X holds (numpy.sqrt for the "
            "positive)."
        )
    return _log_abs(derivative(numbers_of(X)))


def _log_abs(slope):
    with np.errstate(divide="ignore"):
        return np.log(np.abs(np.asarray(slope, dtype=np.float64)))


class DifferentiableFunctionTransformer(FunctionTransformer):
    """A FunctionTransformer that knows the derivative of its function, so that densities can be taken through it.

    Parameters
    ----------
    func : callable
        A function of arrays that maps each cell by itself, and different numbers to different ones, such as
        :data:`numpy.log`.
    inverse_func : callable
        Its inverse, such as :data:`numpy.exp`.
    derivative : callable
        Its derivative: ``derivative(X)`` has the shape of X. It is compared with finite differences when a density is
        fitted.
    kw_args : dict, default=None
        Keyword arguments of `func` and `derivative`.
    inv_kw_args : dict, default=None
        Keyword arguments of `inverse_func`.

    See Also
    --------
    sklearn_dgm.TransformedDensity : A density of what comes in, from one of what comes out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import TransformedDensity
    >>> from sklearn_dgm.compose import DifferentiableFunctionTransformer
    >>> cube = DifferentiableFunctionTransformer(
    ...     func=lambda x: x**3, inverse_func=np.cbrt, derivative=lambda x: 3 * x**2
    ... )
    >>> X = np.random.default_rng(0).normal(3, 0.5, (200, 1))
    >>> TransformedDensity(cube, KernelDensity(bandwidth=5.0)).fit(X).score_samples([[3.0]]).round(1)
    array([-0.3])
    """

    _parameter_constraints: dict = {
        **FunctionTransformer._parameter_constraints,
        "func": [callable],
        "inverse_func": [callable],
        "derivative": [callable],
    }

    def __init__(self, func, inverse_func, derivative, *, kw_args=None, inv_kw_args=None):
        super().__init__(
            func,
            inverse_func,
            check_inverse=False,  # a density checks it
            feature_names_out="one-to-one",
            kw_args=kw_args,
            inv_kw_args=inv_kw_args,
        )
        self.derivative = derivative


@log_abs_det_jacobian.register(DifferentiableFunctionTransformer)
def _of_differentiable(transformer, X):
    return _log_abs(transformer.derivative(numbers_of(X), **(transformer.kw_args or {})))
