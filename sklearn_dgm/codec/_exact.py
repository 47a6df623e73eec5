"""Whether a table comes back as it was: its values to the last bit, and its missing cells as they were missing."""

import numpy as np

from sklearn_dgm.codec._cells import are_same
from sklearn_dgm.columns._frames import is_frame

# What stands for a missing cell in columns of objects, and NaN beside null where floats may be either.
NONE, NAN, NA, NAT = "None", "nan", "NA", "NaT"


def cells_of(X, j):
    """Return the cells of a column as they are: an array of numbers, or of Python's objects.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        A table.
    j : int
        Position of the column.

    Returns
    -------
    cells : ndarray of shape (n_samples,)
        Missing ones among them, whatever they are.
    """
    if not is_frame(X):
        return X[:, j]
    if hasattr(X, "iloc"):
        column = X.iloc[:, j]
        return column.to_numpy(dtype=None if isinstance(column.dtype, np.dtype) else object)
    column = X[:, j]
    cells = np.empty(len(column), dtype=object)
    # Python's times have no nanoseconds.
    cells[:] = (column.to_physical() if column.dtype.is_temporal() else column).to_list()
    return cells


def marker_of(cell):
    """Return the marker of a missing cell (None, NaN, NaT or NA); None for any other cell."""
    if cell is None:
        return NONE
    name = type(cell).__name__
    if name in ("NAType", "NaTType"):
        return NA if name == "NAType" else NAT
    if isinstance(cell, float | np.floating | np.datetime64 | np.timedelta64) and cell != cell:
        return NAN if isinstance(cell, float | np.floating) else NAT
    return None


def markers_beside(X, made):
    """Return the markers of missing cells, for columns in which a table that was made has others.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.
    made : {ndarray, DataFrame} of shape (n_samples, n_features)
        One that is to be the same.

    Returns
    -------
    markers : list of list
        For each such column its position, whether it holds objects, the names of its markers, and the number of the one
        of each missing cell.
    """
    found = []
    for j in range(X.shape[1]):
        given, other = cells_of(X, j), cells_of(made, j)
        if given.dtype.kind != "O" or other.dtype.kind != "O":
            continue
        markers = list(map(marker_of, given))
        if markers != list(map(marker_of, other)):
            markers = [marker for marker in markers if marker]
            names = sorted(set(markers))
            numbers = [names.index(marker) for marker in markers]
            found.append([j, _holds_objects(X, j), names, numbers])
    return found


def _holds_objects(X, j):
    dtype = X.dtypes.iloc[j] if hasattr(X, "iloc") else getattr(X, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "O"


def with_markers(values, missing, is_object, names, numbers):
    """Put a column's missing cells among its values, each as its marker says.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Values, any where a cell is missing.
    missing : ndarray of bool of shape (n_samples,)
        Which are missing.
    is_object : bool
        Whether the column holds objects; of floats NaN alone is a value.
    names : list of str
        The markers of its missing cells.
    numbers : list of int
        Which of them each has.

    Returns
    -------
    values : ndarray of shape (n_samples,)
        Those values.
    missing : ndarray of bool of shape (n_samples,) or None
        Which are missing otherwise.
    """
    rows, of_row = np.flatnonzero(missing), np.array(names)[numbers]
    values, missing = values.astype(object if is_object else values.dtype), missing.copy()
    for name in names if is_object else [NAN]:
        chosen = rows[of_row == name]
        values[chosen] = _marker(name)
        missing[chosen] = False
    return values, missing if missing.any() else None


def _marker(name):
    if name in (NONE, NAN):
        return None if name == NONE else np.nan
    import pandas as pd

    return pd.NA if name == NA else pd.NaT


def check_same(X, made):
    """Refuse a table that would not come back as it is.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.
    made : {ndarray, DataFrame} of shape (n_samples, n_features)
        What would come back.

    Raises
    ------
    ValueError
        If a cell differs; column and row are named.
    """
    labels = X.columns if is_frame(X) else range(X.shape[1])
    for j, label in enumerate(labels):
        given, other = cells_of(X, j), cells_of(made, j)
        same = _same(given, other)
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            raise ValueError(
                f"column {label!r} holds {given[row]!r} in row {row}, which would come back as {other[row]!r}; "
                "convert it to what float64 can tell apart, or to strings."
            )


def _same(given, other):
    if given.dtype.kind == "O" or other.dtype.kind == "O":
        markers, others = list(map(marker_of, given)), list(map(marker_of, other))
        known = np.array([marker is None for marker in markers], dtype=bool)
        same = np.array([a == b for a, b in zip(markers, others, strict=True)], dtype=bool)
        known &= same
        same[known] = are_same(other[known], given[known])
        return same
    if given.dtype != other.dtype and given.dtype.kind not in "US":
        return np.zeros(len(given), dtype=bool)
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            equal = (given == other) & (np.signbit(given) == np.signbit(other))
        return equal | (np.isnan(given) & np.isnan(other))
    if given.dtype.kind in "mM":
        return given.view(np.int64) == other.view(np.int64)
    return given == other


def check_same_sequences(X, made):
    """Refuse sequences of which the containers would not come back as they are, though their steps do.

    Parameters
    ----------
    X : {list, ndarray, Series, DataFrame} of n_sequences sequences
        The sequences.
    made : {list, ndarray, Series, DataFrame} of n_sequences sequences
        What would come back.

    Raises
    ------
    ValueError
        If a sequence differs; it is named.
    """
    if is_frame(X) or getattr(X, "ndim", 1) == 2:
        check_same(X, made)
        return
    if getattr(X, "ndim", 1) == 3:
        check_same(*(cells.reshape(len(X), np.prod(X.shape[1:])) for cells in (X, made)))
        return
    for i, (row, other) in enumerate(zip(list(X), list(made), strict=True)):
        if _form_of(row) != _form_of(other):
            raise ValueError(
                f"row {i} of X is {_form_of(row)}, which would come back as {_form_of(other)}; convert it to what fit "
                "has seen, or all rows to one type."
            )


def _form_of(row):
    """Say of what type a sequence is, and what its steps are made of."""
    name = "str" if isinstance(row, str) else type(row).__name__
    if is_frame(row):
        dtypes = row.dtypes.tolist() if hasattr(row.dtypes, "tolist") else row.dtypes
        return name, [(str(dtype), categories_of(dtype)) for dtype in dtypes]
    if isinstance(row, np.ndarray):
        return name, str(row.dtype)
    if isinstance(row, list | tuple):
        return name, sorted({type(step).__name__ for step in row})
    return name


def categories_of(dtype):
    """Return the categories of a dtype in their order; None if it has none."""
    categories = getattr(dtype, "categories", None)
    return None if categories is None else list(categories)
