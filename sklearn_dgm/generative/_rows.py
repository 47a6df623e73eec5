"""Rows as the density of a class takes them."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import has_fit_parameter

from sklearn_dgm.base import densities_within, is_density, takes_tables, unwrapped, validate_table
from sklearn_dgm.columns import ColumnSchema


def check_density(estimator):
    """Refuse what cannot be fitted to the rows of each class as a density of these rows.

    Parameters
    ----------
    estimator : estimator instance
        What was given as such.

    Raises
    ------
    TypeError
        If it is no density, a Pipeline, frozen, or one within which densities learn what columns are.
    """
    density = unwrapped(estimator)
    name = type(density).__name__
    if isinstance(estimator, FrozenEstimator):
        raise TypeError(
            f"estimator is a FrozenEstimator, but one {name} is to be fitted for each class; give it unfrozen."
        )
    if isinstance(density, Pipeline):
        raise TypeError(
            "estimator is a Pipeline, which has the density of transformed rows: the transformers of each class would "
            "have a scale of their own, so that classes do not compare. Use TransformedDensity(transformer, estimator) "
            "in its place, which has that of the rows themselves."
        )
    learners = [d for d in densities_within(density) if has_fit_parameter(d, "schema")]
    if learners and learners[0] is not density:
        inside = type(learners[0]).__name__
        raise TypeError(
            f"{name} lets {inside} learn from the rows of each class alone what the columns are, so that classes would not "
            f"compare; hand in {inside} itself, or put densities of numbers, such as KernelDensity, into {name}."
        )
    if not is_density(density):
        raise TypeError(
            f"estimator should be a density, which {name} is not: see sklearn_dgm.is_density."
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


def schema_of(estimator, X, sample_weight=None):
    """What there is to know of the columns, from the rows of all classes.

    Parameters
    ----------
    estimator : estimator instance
        A density, or a search over one.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    sample_weight : ndarray of shape (n_samples,), default=None
        Their weights.

    Returns
    -------
    schema : ColumnSchema or None
        Of a density of numbers alone one that leaves these as they are, and turns matrices into tables like X; None if
        the density takes no schema.
    """
    density = unwrapped(estimator)
    if has_fit_parameter(density, "schema"):
        return density.learn_schema(X, sample_weight)
    if takes_tables(density):
        return None
    missing = get_tags(density).input_tags.allow_nan
    return ColumnSchema(None, None, standardize=False, missing=missing).fit(X, sample_weight)


def fit_to_class(estimator, X, weight, label, schema, quietly=False):
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
    schema : ColumnSchema or None
        As :func:`schema_of` gives it.
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
    density, rows = unwrapped(estimator), np.flatnonzero(weight)
    n_rows, weight, params = len(rows), weight[rows], {}
    if has_fit_parameter(density, "schema"):
        params["schema"] = schema
    if not has_fit_parameter(density, "sample_weight"):
        rows = np.repeat(rows, weight.astype(np.intp))
    elif (weight != 1).any():
        params["sample_weight"] = weight
    with warnings.catch_warnings():
        if quietly:
            warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return estimator.fit(_safe_indexing(X, rows), **params)
        except ValueError as error:
            raise ValueError(
                f"the density of class {label!r} cannot be fitted to its {n_rows} row(s): {error}"
            ) from error
