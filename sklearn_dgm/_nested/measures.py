"""On which measure a density is: whether the score of a cell is a log-probability or a log-density."""

import numpy as np

from sklearn_dgm.columns import MIXED, ColumnSchema, is_frame
from sklearn_dgm.tags import last_step, takes_tables


def measures_of(density):
    """Return the measure that a fitted density has on each column.

    Parameters
    ----------
    density : estimator instance
        A fitted density, or a pipeline or search that ends in one.

    Returns
    -------
    measures : list of {str, tuple} or None
        For each column "counted", "continuous", the atoms that have mass besides, or "given", which is none: the
        density is conditional on the column. None if the density does not say.
    """
    fitted = last_step(density)
    if hasattr(fitted, "_measures"):
        return fitted._measures()
    schema = getattr(fitted, "schema_", None)
    if not isinstance(schema, ColumnSchema):
        return None if takes_tables(fitted) else ["continuous"] * fitted.n_features_in_
    return measures_of_schema(schema)


def measures_of_schema(schema):
    """Return the measure of each column of a schema; see :func:`measures_of`."""
    return [_measure(*of) for of in zip(schema.columns_, schema.given_, strict=True)]


def given_columns(density):
    """Flag the columns that a fitted density is conditional on, of shape (n_features,)."""
    measures = measures_of(density)
    if measures is None:
        return np.zeros(last_step(density).n_features_in_, dtype=bool)
    return np.array([measure == "given" for measure in measures])


def _measure(column, is_given):
    if is_given:
        return "given"
    if column.is_counted:
        return "counted"
    if column.kind == MIXED:
        return tuple(float(atom) for atom in column.atoms)
    return "continuous"


def check_same_measure(names, measures, X):
    """Refuse densities on different measures: a probability is no match for a density, in a sum or in a comparison.

    Parameters
    ----------
    names : list of str
        Names of the densities.
    measures : list of {list, None}
        What :func:`measures_of` gives of each.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Their rows.

    Raises
    ------
    ValueError
        If two of them differ; the column is named.
    """
    labels = X.columns if is_frame(X) else range(X.shape[1])
    known = [(name, of) for name, of in zip(names, measures, strict=True) if of is not None]
    for name, of in known[1:]:
        first_name, first = known[0]
        for label, theirs, own in zip(labels, first, of, strict=True):
            if _named(own) != _named(theirs):
                said_by = "column_kinds, integer_features or categorical_features"
                raise ValueError(
                    f"column {label!r} is {_named(theirs)} for {first_name!r} and {_named(own)} for {name!r}, so "
                    f"that their densities are not on one measure; let "
                    f"{'given' if 'given' in (own, theirs) else said_by} of one of them say what the other does."
                )


def _named(measure):
    """Name a measure in messages; atoms that were transformed differ in their last bits."""
    if isinstance(measure, str):
        return measure
    return f"continuous with mass at {', '.join(f'{atom:.6g}' for atom in measure)}"
