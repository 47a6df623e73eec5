"""Columns of NumPy values as DataFrames and arrays again, with the labels and the dtypes of a fitted one."""

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.columns._reading import (
    is_arrow,
    levels_of,
    numpy_dtype,
    plain_dtype,
    raw_columns,
)

# Rows are decoded in blocks of so many.
ROWS_AT_ONCE = 2**13


def with_added(X, terms):
    """Return a table with numbers added to some of its numeric columns.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    terms : dict
        By position of the column what to add, ndarrays of shape (n_samples,).

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        In the same container. Columns of floats keep their dtype, integers become floats.
    """
    if not terms:
        return X
    raw = raw_columns(X)

    def sum_of(j):
        return raw[j].spread(raw[j].values.astype(np.float64)) + terms[j]

    if not is_frame(X):
        X = X.astype(np.float64 if X.dtype.kind in "iub" else X.dtype)
        for j in terms:
            X[:, j] = sum_of(j)
        return X
    frame = nw.from_native(X, eager_only=True)

    def with_term(j):
        column = frame[:, j]
        if column.dtype == nw.Object or not (
            column.dtype.is_numeric() or column.dtype == nw.Boolean
        ):
            return nw.new_series(column.name, sum_of(j), backend=frame.implementation)
        dtype = column.dtype if column.dtype.is_float() else nw.Float64
        term = nw.new_series(column.name, terms[j], backend=frame.implementation)
        return (column.cast(nw.Float64) + term).cast(dtype)

    return frame.with_columns(*map(with_term, terms)).to_native()


@dataclass(frozen=True, eq=False)
class TableSpec:
    """What is to be remembered of a DataFrame to make others like it.

    Attributes
    ----------
    frame : type
        Its class.
    labels : Index or list
        Names of the columns, as the library has them.
    dtypes : tuple of dtype
        Their dtypes.
    """

    frame: type
    labels: Any
    dtypes: tuple[Any, ...]

    @property
    def is_of_polars(self):
        """Whether it is a frame of polars, and not of pandas."""
        return hasattr(self.frame, "schema")

    def take(self, positions):
        """Return the spec of some of the columns."""
        of_polars = self.is_of_polars
        labels = [self.labels[j] for j in positions] if of_polars else self.labels[positions]
        return TableSpec(self.frame, labels, tuple(self.dtypes[j] for j in positions))

    def empty(self):
        """Return a frame without rows."""
        if self.is_of_polars:
            return self.frame(schema=dict(zip(self.labels, self.dtypes, strict=True)))
        import pandas as pd

        columns = enumerate(self.dtypes)
        empty = self.frame({j: pd.Series([], dtype=dtype) for j, dtype in columns})
        empty.columns = self.labels
        return empty


def template_of(X, numeric=()):
    """Return what is to be remembered of X to make tables like it.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.
    numeric : sequence of str or int
        Names of columns whose values are to be more than the categories that their dtype declares.

    Returns
    -------
    template : {TableSpec, dtype}
        What :func:`fill` takes; the dtype of an array.
    """
    if not is_frame(X):
        return X.dtype
    dtypes = dict(zip(X.columns, X.dtypes, strict=True))
    if hasattr(X, "astype"):  # the categories of polars are strings
        levels = [(label, getattr(dtypes[label], "categories", None)) for label in numeric]
        dtypes |= {label: of.dtype for label, of in levels if of is not None}
    return TableSpec(type(X), X.columns, tuple(dtypes.values()))


def fill(template, columns, n_samples, clip=True, exact=False):
    """Make a table of decoded columns.

    Parameters
    ----------
    template : {TableSpec, dtype}
        What :func:`template_of` gave.
    columns : list of callable
        Each gives for a slice of the rows the values, and the flags of the missing ones (or None).
    n_samples : int
        Number of rows.
    clip : bool
        Whether what a dtype cannot hold becomes what it can; else such a column has another dtype.
    exact : bool
        Whether the values are those of such a table, which dtypes hold as they are, infinity and all.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.
    """
    fit_into = _as_it_is if exact else _fit_into
    if not isinstance(template, np.dtype):
        if n_samples == 0:
            return template.empty()
        decoded = [column(slice(None)) for column in columns]
        keys = template.labels if template.is_of_polars else range(len(template.dtypes))
        dtypes = dict(zip(keys, template.dtypes, strict=True))
        for (j, dtype), (values, missing) in zip(dtypes.items(), decoded, strict=True):
            if not clip and not _holds(dtype, values, missing):
                dtypes[j] = None
        decoded = [
            _with_ticks(*of, dtype) for of, dtype in zip(decoded, dtypes.values(), strict=True)
        ]
        fill_frame = _fill_polars if template.is_of_polars else _fill_pandas
        return fill_frame(template, decoded, dtypes, fit_into)
    if not clip:
        template = _wide_enough(template, [column(slice(None)) for column in columns])
    X = np.empty((n_samples, len(columns)), dtype=template)
    for start in range(0, n_samples, ROWS_AT_ONCE):  # temporary arrays stay in the cache
        block = slice(start, start + ROWS_AT_ONCE)
        for j, column in enumerate(columns):
            values, missing = column(block)
            X[block, j] = 0 if _is_nothing(values, template) else fit_into(values, template)
            if missing is not None:
                _check_holds_missing(template, j)
                X[block, j][missing] = _missing_value(template, values)
    return X


def part_of(values, missing, block):
    """Return some rows of a column, as :func:`fill` asks for them."""
    missing = None if missing is None else missing[block]
    return values[block], missing if missing is not None and missing.any() else None


def _holds(dtype, values, missing):
    """Tell whether a dtype can hold values as they are."""
    if missing is not None:
        values = values[~missing]
    if plain_dtype(dtype) is not dtype:
        return bool(np.isin(values, levels_of(dtype.categories)).all())
    if getattr(dtype, "categories", None) is not None:
        return set(values.tolist()) <= set(dtype.categories)
    if str(dtype).lower() in ("bool", "boolean"):
        return values.dtype.kind not in "iuf"
    if isinstance(dtype, np.dtype) and dtype.kind == "U":  # that of Arrow is of any length
        return np.result_type(dtype, values) == dtype
    dtype = numpy_dtype(dtype)
    if dtype is None or dtype.kind not in "iu":
        return True
    return values.dtype.kind not in "iuf" or bool((_fit_into(values, dtype) == values).all())


def _wide_enough(dtype, decoded):
    """Return the dtype of an array, or the one that holds decoded values which it cannot."""
    for values, missing in decoded:
        if not _holds(dtype, values, missing):
            dtype = np.result_type(dtype, values)
    return dtype


def _with_ticks(values, missing, dtype):
    """Return times as whole numbers, UTC in every time zone to frames; as days for dtypes of 32 bits."""
    if values.dtype.kind not in "mM" or dtype is None:
        return values, missing
    dtype = plain_dtype(dtype)
    if isinstance(dtype, np.dtype):
        return values if dtype.kind == "O" else values.astype(dtype), missing
    unit = getattr(dtype, "unit", None) or getattr(dtype, "time_unit", None)  # pandas, polars
    if str(dtype).startswith("date64"):
        unit = "ms"
    if unit is not None:
        values = values.astype(f"{values.dtype.kind}8[{unit}]")
    return values.astype(np.int32 if values.dtype == "M8[D]" else np.int64), missing


def _is_nothing(values, dtype):
    """Tell whether all values are None, which arrays of numbers do not take."""
    return values.dtype.kind == "O" and dtype.kind != "O"


def _missing_value(dtype, values):
    if dtype.kind in "mM":
        return np.array("NaT", dtype)
    return None if dtype.kind == "O" and values.dtype.kind not in "fiu" else np.nan


def _fill_polars(template, decoded, dtypes, fit_into):
    arrays = [  # objects may be integers of more bits than NumPy's
        fit_into(values, dtype) if values.dtype.kind != "O" else values.tolist()
        for (values, _), dtype in zip(decoded, dtypes.values(), strict=True)
    ]
    frame = template.frame(
        dict(zip(template.labels, arrays, strict=True)), schema=dtypes, strict=False
    )
    for label, (_, missing) in zip(template.labels, decoded, strict=True):
        if missing is not None:
            series = frame[label]
            nulls = series.clear(len(series))
            frame = frame.with_columns(series.zip_with(type(series)(~missing), nulls))
    return frame


def _fill_pandas(template, decoded, dtypes, fit_into):
    import pandas as pd

    arrays = {
        j: _as_dictionary(values, missing, dtypes[j])
        if is_arrow(dtypes[j], "dictionary<")
        else fit_into(values, dtypes[j])
        for j, (values, missing) in enumerate(decoded)
    }
    for j, array in arrays.items():
        is_object = isinstance(dtypes[j], np.dtype) and dtypes[j].kind == "O"
        if is_object and array.dtype.kind == "O":  # for which pandas would look for a better dtype
            arrays[j] = pd.Series(array, dtype=object)
        if str(dtypes[j]).startswith("decimal64"):  # for one of which Arrow would take any 8 bytes
            arrays[j] = array.astype(object)
    dtypes_of_all = {j: dtype for j, dtype in dtypes.items() if dtype is not None}
    plain = {j: plain_dtype(dtype) for j, dtype in dtypes_of_all.items()}
    frame = template.frame(arrays).astype(plain)
    # Whole numbers that became times become categories.
    frame = frame.astype({j: of for j, of in dtypes_of_all.items() if of is not plain[j]})
    for j, (_, missing) in enumerate(decoded):
        if missing is not None and not is_arrow(dtypes[j], "dictionary<"):
            _check_holds_missing(dtypes[j], template.labels[j])
            frame[j] = frame[j].mask(missing)
    frame.columns = template.labels
    return frame


def _check_holds_missing(dtype, label):
    if isinstance(dtype, np.dtype) and dtype.kind in "iubUS":
        raise ValueError(
            f"column {label!r} has dtype {dtype}, which cannot hold a missing value; fit on a dtype that can."
        )


def _as_it_is(array, dtype):
    return array


def _fit_into(array, dtype):
    """Clip numbers to the range of a dtype, so that the cast can neither wrap around nor overflow."""
    dtype = numpy_dtype(dtype)
    kind = getattr(dtype, "kind", None)
    if kind in ("i", "u") and array.dtype.kind in "iu":  # float64 would round those beyond 2**53
        info, own = np.iinfo(dtype), np.iinfo(array.dtype)
        return array.clip(max(info.min, own.min), min(info.max, own.max))
    if kind in ("i", "u") and array.dtype.kind == "f":
        info = np.iinfo(dtype)
        largest = float(info.max)
        # Of 64 bits it would be rounded up, to what the dtype cannot hold.
        largest = largest if largest <= info.max else np.nextafter(largest, 0)
        return np.rint(array).clip(info.min, largest)
    if kind == "f" and array.dtype.kind == "f":
        info = np.finfo(dtype)
        return array.clip(info.min, info.max)
    return array


def _as_dictionary(values, missing, dtype):
    """Return a pandas array of an Arrow dictionary, which `astype` makes of strings only."""
    import pyarrow

    array = pyarrow.array(values, mask=missing, from_pandas=True)
    encoded = array.cast(dtype.pyarrow_dtype.value_type).dictionary_encode()
    return dtype.construct_array_type()(encoded.cast(dtype.pyarrow_dtype))
