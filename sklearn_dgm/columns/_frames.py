"""Tables as containers: which there are, and what is done with them whatever their columns hold."""

import os
from itertools import chain

import narwhals as nw
import numpy as np
from scipy.sparse import issparse, vstack


def is_frame(X):
    """Tell whether X is a DataFrame (pandas, polars, ...) rather than an array or a list."""
    return nw.dependencies.is_into_dataframe(X)


def library_of(X):
    """Return the name of the library of a DataFrame; None of what is none."""
    return nw.from_native(X).implementation.value if is_frame(X) else None


def has_sparse_columns(X):
    """Tell whether X is a DataFrame of pandas of which some column is sparse."""
    return is_frame(X) and any(hasattr(dtype, "fill_value") for dtype in X.dtypes)


def check_container(X):
    """Refuse what can be no table, in one line that does not show the data.

    Parameters
    ----------
    X : object
        What a user hands in.

    Raises
    ------
    TypeError
        If it is a table of a library other than pandas and polars, a lazy one, or made of dicts.
    ValueError
        If it has not two dimensions, two columns have one label, or it is a path of what is no Parquet file.
    """
    what = f"X is a {type(X).__module__.split('.')[0]}.{type(X).__name__}"
    _check_no_path(X)
    of_narwhals = type(X).__module__.startswith("narwhals")
    if of_narwhals and hasattr(X, "to_native"):
        raise TypeError(f"{what}; pass the table that it wraps, X.to_native().")
    if type(X).__module__.startswith("dask."):
        raise TypeError(
            f"{what}, of which this needs all rows in memory; pass X.compute(), if these are few, or fit a density that "
            "reads tables by partition, which docs/from_laptop_to_cluster.md names."
        )
    if hasattr(X, "collect") and hasattr(type(X), "columns"):  # of which asking might be costly
        raise TypeError(f"{what}, which holds no rows yet; pass X.collect().")
    is_known = nw.dependencies.is_pandas_dataframe(X) or nw.dependencies.is_polars_dataframe(X)
    if not is_known and (is_frame(X) or (hasattr(X, "to_pandas") and hasattr(type(X), "columns"))):
        raise TypeError(
            f"{what}, of which columns cannot be read; pass a DataFrame of pandas or polars, such as X.to_pandas()."
        )
    first = X[0] if isinstance(X, list | tuple) and X else X
    if isinstance(first, dict) and not hasattr(first, "shape"):  # as some sparse matrices are
        held = "a dict" if first is X else f"a {type(X).__name__} of dicts"
        raise TypeError(f"X is {held}; make a DataFrame of it, such as pandas.DataFrame(X).")
    _check_dimensions(X, first)
    labels = list(X.columns) if is_known else []
    if len(set(labels)) < len(labels):
        label = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(
            f"X has more than one column {label!r}; give each column a label of its own."
        )


def names_parquet(path):
    """Tell whether a path is that of a Parquet file, by its name, or of a folder."""
    return str(path).endswith((".parquet", ".pq")) or os.path.isdir(path)


def _check_no_path(X):
    """Refuse a path, or a list in which there are some."""
    is_list = isinstance(X, list | tuple) and len(X) > 0
    paths = X if is_list else [X]
    if not all(isinstance(path, str | os.PathLike) for path in paths):
        return
    if is_list and not any(isinstance(path, os.PathLike) or names_parquet(path) for path in paths):
        return  # but strings
    for i, path in enumerate(paths):
        if not names_parquet(path):
            raise ValueError(
                f"{f'X[{i}]' if is_list else 'X'} is the path {str(path)!r}, which is no Parquet file nor folder: these "
                "are read where names end in .parquet or .pq. Read other files first, such as by pandas.read_csv."
            )
    raise TypeError(
        "X names Parquet files, of which this needs all rows in memory; pass pandas.read_parquet(X), if these are few, "
        "or fit a density that reads such tables, which docs/larger_than_memory.md names."
    )


def _check_dimensions(X, first):
    if isinstance(X, list | tuple):
        n_dimensions = 1 if not X or np.isscalar(first) else 2
    elif hasattr(X, "shape"):
        n_dimensions = len(X.shape)
    elif hasattr(X, "to_pandas"):  # a column of Arrow
        n_dimensions = 1
    elif (
        X is None
        or isinstance(X, str)
        or not (hasattr(X, "__getitem__") or hasattr(X, "__array__"))
    ):
        n_dimensions = 0
    else:
        n_dimensions = 2
    if n_dimensions == 0:
        raise ValueError(
            f"Expected 2D array, got scalar array instead (a {type(X).__name__}). Reshape your data: rows are lists "
            "of values."
        )
    if n_dimensions == 1:
        one_column = "X.to_frame()" if hasattr(X, "to_frame") else "numpy.reshape(X, (-1, 1))"
        is_of_strings = isinstance(X, list | tuple) and isinstance(first, str)
        raise ValueError(
            f"Expected 2D array, got 1D array instead ({len(X)} values). Reshape your data: {one_column} if they are "
            "one column, numpy.reshape(X, (1, -1)) if they are one row"
            + ("; if each is a sequence, take a density of sequences." if is_of_strings else ".")
        )
    rows = list | tuple | np.ndarray
    if isinstance(X, list | tuple) and isinstance(first, rows):
        widths = {len(row) for row in X if isinstance(row, rows) and getattr(row, "ndim", 1)}
        if len(widths) > 1:
            raise ValueError(
                f"rows of X have {min(widths)} to {max(widths)} values, those of a table as many as it has columns; if "
                "they are sequences, take a density of sequences."
            )


def like_frame(values, X):
    """Put one number for each cell of X into a DataFrame, if X is one.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
        Numbers.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table that they belong to.

    Returns
    -------
    values : {ndarray, DataFrame} of shape (n_samples, n_features)
        With the names and the index of X.
    """
    if not is_frame(X):
        return values
    if hasattr(X, "index"):
        return type(X)(values, columns=X.columns, index=X.index)
    return type(X)(values, schema=X.columns)


def stacked(tables, order=slice(None)):
    """Stack tables that have the same columns, or containers of sequences.

    Parameters
    ----------
    tables : list of {ndarray, DataFrame, Series, list, sparse matrix}
        All of them arrays, sparse matrices, lists, or DataFrames or Series of one library.
    order : ndarray of int or slice, default=slice(None)
        Which rows of all to take.

    Returns
    -------
    X : {ndarray, DataFrame, Series, list, sparse matrix} of n_samples rows
        Their rows; a DataFrame or a Series has a new index.
    """
    if isinstance(tables[0], list):
        rows = list(chain.from_iterable(tables))
        return [rows[i] for i in np.arange(len(rows))[order]]
    if nw.dependencies.is_into_series(tables[0]):
        frames = [
            nw.from_native(series, series_only=True).to_frame().to_native() for series in tables
        ]
        series = nw.from_native(stacked(frames, order), eager_only=True)[:, 0].to_native()
        return series.rename(tables[0].name)
    if issparse(tables[0]):
        return vstack(tables, format="csr")[order]
    if not is_frame(tables[0]):
        return np.concatenate(tables)[order]
    frames = [nw.from_native(table, eager_only=True) for table in tables]
    frame = nw.concat([nw.maybe_reset_index(frame) for frame in frames])
    return nw.maybe_reset_index(frame[order]).to_native()
