"""Rows as the density of a class takes them."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._members import fit_density, takes_weights
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm._validation import validate_table
from sklearn_dgm.tags import is_density, takes_tables, unwrapped


def check_density(estimator, is_one=is_density):
    """Refuse what cannot be fitted to the rows of each class as a density of these rows.

    Parameters
    ----------
    estimator : estimator instance
        What was given as such.
    is_one : callable, default=is_density
        Tells what will do; `is_generator` where nothing is scored.

    Raises
    ------
    TypeError
        If it is no density, a Pipeline, or frozen.
    """
    density = unwrapped(estimator)
    name = type(density).__name__
    if isinstance(estimator, FrozenEstimator):
        raise TypeError(
            f"estimator is a FrozenEstimator, but one {name} is to be fitted for each class; give it unfrozen."
        )
    frozen = [
        value
        for value in estimator.get_params().values()
        if isinstance(value, FrozenEstimator) and is_one(value)
    ]
    if frozen:
        raise TypeError(
            f"{name} has {frozen[0]!r} in it, which would be the same for each class; give it unfrozen."
        )
    if isinstance(density, Pipeline):
        raise TypeError(
            "estimator is a Pipeline, which has the density of transformed rows: the transformers of each class would "
            "have a scale of their own, so that classes do not compare. Use TransformedDensity(transformer, estimator) "
            "in its place, which has that of the rows themselves."
        )
    if not is_one(density):
        raise TypeError(
            f"estimator should be a {is_one.__name__.removeprefix('is_')}, which {name} is not: see sklearn_dgm.{is_one.__name__}."
        )


def validated(owner, X, *, reset):
    """Check rows as far as the density that `owner.estimator` is asks for it.

    Parameters
    ----------
    owner : estimator instance
        A meta-estimator.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows.
    reset : bool
        Whether the columns are learnt or should be those of `fit`.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows; of a density of numbers alone an array has these.
    """
    dtype = None if takes_tables(owner.estimator) else "numeric"
    return validate_table(owner, X, reset=reset, dtype=dtype)


def fit_to_class(estimator, X, weight, label, schema, task=UNTOLD, quietly=False):
    """Fit the density of one class to the rows that have weight in it.

    Parameters
    ----------
    estimator : estimator instance
        An unfitted density, or one that goes on with its training.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows as the density takes them.
    weight : ndarray of shape (n_samples,)
        Their weights. Where a density takes none, they are whole numbers, and rows are repeated.
    label : object
        The class, for errors.
    schema : object or None
        What the density is told of the columns.
    task : FitTask, default=UNTOLD
        The fit that this is a part of.
    quietly : bool, default=False
        Whether not to warn of a training that was not to the end.

    Returns
    -------
    estimator : estimator instance
        The same, fitted.

    Raises
    ------
    ValueError
        If it cannot be fitted; the class is named.
    """
    rows = np.flatnonzero(weight)
    n_rows, weight = len(rows), weight[rows]
    if not takes_weights(estimator):
        rows = np.repeat(rows, weight.astype(np.intp))
    if (weight == 1).all():
        weight = None
    with warnings.catch_warnings():
        if quietly:
            warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return fit_density(estimator, safe_indexing(X, rows), weight, schema, task)
        except ValueError as error:
            raise ValueError(
                f"the density of class {label!r} cannot be fitted to its {n_rows} row(s): {error}"
            ) from error
