"""On which measure a density is: whether the score of a cell is a log-probability or a log-density."""

import narwhals as nw
import numpy as np

from sklearn_dgm.columns import MIXED, ColumnSchema, SequenceSchema, is_frame, is_table
from sklearn_dgm.columns._sequences import read_sequences
from sklearn_dgm.tags import last_step, takes_tables

THE_LENGTH = "the length of a sequence"


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
        density is conditional on the column. Of sequences for each column of a step, and at last for the length, which
        is "counted" where it is modelled. None if the density does not say.
    """
    fitted = last_step(density)
    if hasattr(fitted, "_measures"):
        return fitted._measures()
    schema = getattr(fitted, "schema_", None)
    if isinstance(schema, SequenceSchema):
        return _of_sequences(schema, getattr(fitted, "n_features_in_", None))
    if not isinstance(schema, ColumnSchema):
        return None if takes_tables(fitted) else ["continuous"] * fitted.n_features_in_
    return measures_of_schema(schema)


def measures_of_schema(schema):
    """Return the measure of each column of a schema; see :func:`measures_of`."""
    return [_measure(*of) for of in zip(schema.columns_, schema.given_, strict=True)]


def _of_sequences(schema, n_steps):
    of_step = measures_of_schema(schema.steps)
    if n_steps is not None:  # in the columns of a table
        return of_step * n_steps
    return [*of_step, "counted" if schema.length_ == "stop" else "given"]


def scored_cells(density, X, n_rows):
    """Count the cells of rows that have a density: of a sequence those of its steps, and its end where that has one.

    Parameters
    ----------
    density : estimator instance
        A fitted density.
    X : {array-like, DataFrame} of shape (n_samples, n_features) or container of sequences
        Rows, also such as are read a chunk at a time.
    n_rows : int
        Number of rows.

    Returns
    -------
    counts : ndarray of int of shape (n_samples,)
        Numbers of cells.

    Raises
    ------
    ValueError
        If it is a density of sequences that does not say what a step is.
    """
    fitted = last_step(density)
    if hasattr(fitted, "n_features_in_"):
        return np.full(n_rows, np.sum(~given_columns(density)))
    measures = measures_of(density)
    if measures is None:
        raise ValueError(f"{type(fitted).__name__} does not say what a step of its sequences is.")
    *of_step, of_length = [measure != "given" for measure in measures]
    is_chunked = getattr(fitted, "_is_chunked", lambda X: False)(X)
    lengths = fitted._by_chunk(X, _lengths) if is_chunked else _lengths(X)
    return lengths * sum(of_step) + of_length


def _lengths(X):
    return read_sequences(X)[2]


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
    X : {ndarray, DataFrame} of shape (n_samples, n_features) or container of sequences
        Their rows.

    Raises
    ------
    ValueError
        If two of them differ; the column is named.
    """
    known = [(name, of) for name, of in zip(names, measures, strict=True) if of is not None]
    for name, of in known[1:]:
        first_name, first = known[0]
        labels = _labels_of(X, len(first))
        for j, (label, theirs, own) in enumerate(zip(labels, first, of, strict=True)):
            if _named(own) != _named(theirs):
                said_by = "column_kinds, integer_features or categorical_features"
                if "given" in (own, theirs):
                    said_by = "length" if label == THE_LENGTH else "given"
                advice = f"let {said_by} of one of them say what the other does"
                if "counted" in (own, theirs) and _are_floats(X, j):
                    advice += (
                        ", or hand in whole numbers of an integer dtype, such as 0 to 255 in place of the floats of "
                        "pixels, which densities of tables and of images alike count"
                    )
                raise ValueError(
                    f"{label} is {_named(theirs)} for {first_name!r} and {_named(own)} for {name!r}, so that their "
                    f"densities are not on one measure; {advice}."
                )


def _labels_of(X, n_measures):
    """Name in messages what has a measure: the columns of a table; those of a step, and the length."""
    if not is_table(X):
        return [*(f"column {j} of a step" for j in range(n_measures - 1)), THE_LENGTH]
    return [f"column {label!r}" for label in (X.columns if is_frame(X) else range(X.shape[1]))]


def _are_floats(X, j):
    """Tell whether a column of a table holds floats."""
    if not is_table(X):
        return False
    if is_frame(X):
        return nw.from_native(X)[:, j].dtype.is_float()
    return X.dtype.kind == "f"


def _named(measure):
    """Name a measure in messages; atoms that were transformed differ in their last bits."""
    if isinstance(measure, str):
        return measure
    return f"continuous with mass at {', '.join(f'{atom:.6g}' for atom in measure)}"
