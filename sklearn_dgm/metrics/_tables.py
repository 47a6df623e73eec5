"""Real and sampled rows as points whose distances mean something, whatever the columns are."""

import narwhals as nw
import numpy as np
from sklearn.base import BaseEstimator

from sklearn_dgm._validation import validate_table
from sklearn_dgm.columns import ColumnSchema, is_frame, stacked


def as_points(named, *, missing=False):
    """Encode several tables with the same columns by one scale.

    Numbers, counts and times are standardised over the rows of all tables, so that the encoding does not tell from
    which of them a row is. A category is a vector of zeros but for one ``sqrt(1 / 2)``: two different ones are at
    distance 1.

    Parameters
    ----------
    named : dict of str to {array-like, DataFrame} of shape (n_rows, n_features)
        The tables, with the names that errors call them by.
    missing : bool, default=False
        Whether cells may be missing. Numbers then are NaN, and vectors of categories zero.

    Returns
    -------
    points : list of ndarray of shape (n_rows, n_numbers)
        The rows of each table.
    """
    for name, X in named.items():
        if isinstance(X, tuple):
            raise TypeError(
                f"{name} is a tuple; of rows and their components hand in the rows alone."
            )
    tables = [_checked(name, X, missing) for name, X in named.items()]
    if len(set(map(is_frame, tables))) == 2:
        # KernelDensity draws arrays, whatever it was fitted to.
        tables = [X.to_numpy() if is_frame(X) else X for X in tables]
    tables = _aligned(list(named), tables)
    _check_alike(list(named), tables, missing)
    pooled = stacked(tables)
    schema = ColumnSchema("from_dtype", None, missing=missing).fit(pooled)
    Z = schema.encode(pooled)[0]
    blocks = [
        np.sqrt(0.5) * (z[:, None] == np.arange(len(column.categories)))
        if column.is_categorical
        else z[:, None]
        for column, z in zip(schema.columns_, Z.T, strict=True)
    ]
    return np.split(np.hstack(blocks), np.cumsum([len(table) for table in tables])[:-1])


def _check_alike(names, tables, missing):
    """Refuse tables whose columns go together only as categories: numbers beside strings, times of two sorts."""
    schema = ColumnSchema("from_dtype", None, missing=missing).fit(tables[0])
    for name, table in zip(names[1:], tables[1:], strict=True):
        try:
            schema.encode(table)
        except ValueError as error:
            raise ValueError(
                f"{name} does not go with {names[0]}, which is taken for fit: {error}"
            ) from error


def _checked(name, X, missing):
    """Return a table whose cells are finite and not missing; errors speak of it by its name."""
    try:
        X = validate_table(BaseEstimator(), X, reset=True)
        ColumnSchema("from_dtype", None, missing=missing).fit(X)
    except (ValueError, TypeError) as error:
        message = str(error).removeprefix("Input X contains ")
        said = f"{name} contains {message}" if message != str(error) else f"{name}: {error}"
        raise type(error)(said) from error
    return X


def _library(frame):
    return type(frame).__module__.partition(".")[0]


def _aligned(names, tables):
    """Return tables with their columns in the order of the first."""
    first = tables[0]
    for i, (name, table) in enumerate(zip(names, tables, strict=True)):
        if type(table) is not type(first):
            raise TypeError(
                f"{names[0]} and {name} should be DataFrames of one library; got those of {_library(first)} and "
                f"{_library(table)}."
            )
        if is_frame(table):
            if set(table.columns) != set(first.columns):
                raise ValueError(
                    f"{names[0]} and {name} should have the same columns; got {list(first.columns)} and "
                    f"{list(table.columns)}."
                )
            tables[i] = table[list(first.columns)]
        elif table.shape[1] != first.shape[1]:
            raise ValueError(
                f"{names[0]} and {name} should have the same columns; got {first.shape[1]} and {table.shape[1]}."
            )
    # pandas finds common dtypes by itself.
    return _of_equal_dtypes(names, tables) if _library(first) == "polars" else tables


def _of_equal_dtypes(names, tables):
    """Return frames that stack, though one has integers or categories where another has floats or strings."""
    frames, casts = [nw.from_native(table, eager_only=True) for table in tables], []
    for columns in zip(*(frame.iter_columns() for frame in frames), strict=True):
        dtypes = [column.dtype for column in columns]
        if all(dtype == dtypes[0] for dtype in dtypes):
            continue
        if all(dtype.is_numeric() or dtype == nw.Boolean for dtype in dtypes):
            casts.append(nw.col(columns[0].name).cast(nw.Float64))
        elif all(dtype in (nw.String, nw.Categorical, nw.Enum) for dtype in dtypes):
            casts.append(nw.col(columns[0].name).cast(nw.String))
        else:
            found = ", ".join(
                f"{dtype} in {name}" for name, dtype in zip(names, dtypes, strict=True)
            )
            raise ValueError(f"column {columns[0].name!r} has dtype {found}; convert it.")
    return [frame.with_columns(*casts).to_native() for frame in frames]
