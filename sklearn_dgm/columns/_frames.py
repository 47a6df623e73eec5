"""Containers and dtypes in and out: arrays and DataFrames become columns of NumPy values, and come back.

What pandas, polars and NumPy call missing is found here, once; beyond, a column is the array of its observed cells.
"""

import re
from decimal import Decimal
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np

from sklearn_dgm.columns._objects import (
    DATES,
    DURATIONS,
    STRINGS,
    TIMES,
    ZONED_TIMES,
    Maker,
    as_times,
    content_of,
)

# Rows are decoded in blocks of so many.
ROWS_AT_ONCE = 2**13


def is_frame(X):
    """Tell whether X is a DataFrame (pandas, polars, ...) rather than an array or a list."""
    return nw.dependencies.is_into_dataframe(X)


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
        If it has not two dimensions, or two columns have one label.
    """
    what = f"X is a {type(X).__module__.split('.')[0]}.{type(X).__name__}"
    of_narwhals = type(X).__module__.startswith("narwhals")
    if of_narwhals and hasattr(X, "to_native"):
        raise TypeError(f"{what}; pass the table that it wraps, X.to_native().")
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
            f"Expected 2D array, got scalar array instead (a {type(X).__name__}). Reshape your data: rows are lists of values."
        )
    if n_dimensions == 1:
        one_column = "X.to_frame()" if hasattr(X, "to_frame") else "numpy.reshape(X, (-1, 1))"
        raise ValueError(
            f"Expected 2D array, got 1D array instead ({len(X)} values). Reshape your data: {one_column} if they are one "
            "column, numpy.reshape(X, (1, -1)) if they are one row."
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


def stacked(tables, order=slice(None)):
    """Stack tables that have the same columns.

    Parameters
    ----------
    tables : list of {ndarray, DataFrame}
        All of them arrays, or DataFrames of one library.
    order : ndarray of int or slice, default=slice(None)
        Which rows of all to take.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Their rows; a DataFrame has a new index.
    """
    if not is_frame(tables[0]):
        return np.concatenate(tables)[order]
    frames = [nw.from_native(table, eager_only=True) for table in tables]
    frame = nw.concat([nw.maybe_reset_index(frame) for frame in frames])
    return nw.maybe_reset_index(frame[order]).to_native()


class RawColumn(NamedTuple):
    """A column as NumPy sees it.

    Attributes
    ----------
    label : str or int
        Name in a DataFrame, index in an array.
    values : ndarray of shape (n_observed,)
        The cells that are not missing.
    observed : ndarray of shape (n_samples,) or None
        Which cells these are; None for all.
    dtype, native_dtype : dtype
        As narwhals (or NumPy) and as the container names it.
    declared : ndarray or None
        The categories that the dtype declares.
    content : str or None
        What the observed cells are, as :func:`~sklearn_dgm.columns._objects.content_of` says it; None if there is none.
    objects : ndarray of object of shape (n_observed,) or None
        The observed cells as they are, where `values` are the times that they stand for.
    """

    label: Any
    values: np.ndarray
    observed: np.ndarray | None
    dtype: Any
    native_dtype: Any
    declared: np.ndarray | None = None
    content: str | None = None
    objects: np.ndarray | None = None

    @property
    def as_given(self):
        """The observed cells as they are."""
        return self.values if self.objects is None else self.objects

    @property
    def maker(self):
        """Maker of objects like the observed cells; None where these are neither times, Decimals nor whole numbers."""
        is_own = self.declared is None or self.objects is not None
        is_object = self.as_given.dtype.kind == "O" and is_own
        return Maker.of(self.as_given, self.content) if is_object and self.content else None

    @property
    def where(self):
        """The column as error messages name it."""
        return f"column {self.label!r}"

    def row(self, flags):
        """Return the row of the first observed cell that is flagged."""
        position = np.flatnonzero(flags)[0]
        return int(position if self.observed is None else np.flatnonzero(self.observed)[position])

    @property
    def observed_or_all(self):
        """Flags of the cells that are not missing, also where all are there."""
        return np.ones(len(self.values), dtype=bool) if self.observed is None else self.observed

    def observed_of(self, rows):
        """Return the entries of one value for each row that belong to observed cells."""
        return rows if self.observed is None else rows[self.observed]

    def spread(self, values):
        """Spread one number for each observed cell over the rows, NaN where the cell is missing."""
        if self.observed is None:
            return values
        spread = np.full(len(self.observed), np.nan)
        spread[self.observed] = values
        return spread


def raw_columns(X):
    """Read the columns of a table.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.

    Returns
    -------
    columns : list of RawColumn
        The columns, with the dtypes that they have in X.
    """
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        raw = [_of_series(frame[:, j], label) for j, label in enumerate(frame.columns)]
    else:
        declared = np.array([False, True]) if X.dtype.kind == "b" else None
        raw = [
            RawColumn(j, *_observed(X[:, j], None), X.dtype, X.dtype, declared)
            for j in range(X.shape[1])
        ]
    return [_with_content(column) for column in raw]


def _with_content(raw):
    """Return the column with the content of its cells, and with Python's times as NumPy's."""
    if raw.content is not None or not len(raw.values):
        return raw
    # To NumPy, any class is a dtype of objects.
    is_string = not isinstance(raw.dtype, np.dtype) and raw.dtype == nw.String
    raw = raw._replace(content=STRINGS if is_string else content_of(raw.values))
    is_time = raw.content in (DATES, TIMES, ZONED_TIMES, DURATIONS)
    if not is_time or raw.values.dtype.kind != "O":
        return raw
    times = as_times(raw.values, raw.content)
    as_read = raw._replace(values=times, objects=raw.values)
    if raw.declared is None:
        return as_read._replace(dtype=times.dtype)
    if content_of(raw.declared) != raw.content:  # categories of several types
        return raw
    return as_read._replace(declared=as_times(raw.declared, raw.content))


def _of_series(series, label):
    native = series.to_native()
    native_dtype = native.dtype
    if _is_dictionary(native_dtype):  # a category to Arrow, but not to pandas
        native = _as_categorical(native)
        series = nw.from_native(native, series_only=True)
    declared = _declared(series)
    dtype = None if declared is None else series.dtype
    native = native if declared is None else _with_plain_dtype(native)
    has_zone = _has_zone(native.dtype) or _has_zone(native_dtype)
    if hasattr(native.dtype, "tz"):  # narwhals does not know all names of zones
        native = native.dt.tz_convert(None)
    series = nw.from_native(native, series_only=True)
    # Not all of Arrow's are such to narwhals.
    if series.dtype == nw.Decimal or str(native_dtype).startswith("decimal"):
        series = series.cast(nw.Float64)
    null = series.is_null().to_numpy()
    present = series.drop_nulls() if null.any() else series
    is_wide = series.dtype in (nw.Int128, nw.UInt128)  # for which NumPy has no dtype
    values = np.array(present.to_list(), dtype=object) if is_wide else present.to_numpy()
    if series.dtype == nw.Date:  # or some give Python's dates
        values = values.astype("M8[D]")
    observed = ~null if null.any() else None
    if series.dtype == nw.Object or series.dtype.is_float():  # where NaN need not be null
        values, observed = _observed(values, observed)
    content = ZONED_TIMES if has_zone and len(values) else None
    return RawColumn(
        label, values, observed, dtype or series.dtype, native_dtype, declared, content
    )


def _has_zone(dtype):
    """Tell whether a dtype of pandas, polars or Arrow is one of times with a zone."""
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    dtype = getattr(dtype, "value_type", dtype)  # of a dictionary
    return any(getattr(dtype, zone, None) is not None for zone in ("tz", "time_zone"))


def _with_plain_dtype(native):
    """Return a pandas series of times, if its categories are times; else the series."""
    dtype = native.dtype
    plain = _plain_dtype(dtype)
    if plain is dtype:
        return native
    # No cell at all is a number to pandas, and Arrow casts none to dates.
    return native.astype(plain) if len(native) else dtype.categories.to_series().head(0)


def _is_dictionary(dtype):
    """Tell whether a dtype of pandas is one of Arrow's dictionaries."""
    return str(dtype).startswith("dictionary<") and hasattr(dtype, "pyarrow_dtype")


def _as_categorical(native):
    """Return a pandas series of an Arrow dictionary as a pandas categorical."""
    categories = native.array.__arrow_array__().to_pandas()
    if categories.cat.ordered:
        return categories
    # They stand in the order of the rows.
    return categories.cat.reorder_categories(categories.cat.categories.sort_values())


def _as_dictionary(values, missing, dtype):
    """Return a pandas array of an Arrow dictionary, which `astype` makes of strings only."""
    import pyarrow

    array = pyarrow.array(values, mask=missing, from_pandas=True)
    encoded = array.cast(dtype.pyarrow_dtype.value_type).dictionary_encode()
    return dtype.construct_array_type()(encoded.cast(dtype.pyarrow_dtype))


def _declared(series):
    """Return the categories that the dtype of a series declares; None if it declares none."""
    if series.dtype == nw.Boolean:
        return np.array([False, True])
    if series.dtype not in (nw.Categorical, nw.Enum):
        return None
    accessor = series.to_native().cat
    if hasattr(accessor, "categories"):  # of pandas
        return _levels(accessor.categories)
    # Those of polars' other dtype are shared between series.
    return np.array(series.dtype.categories) if series.dtype == nw.Enum else None


def _levels(categories):
    """Return pandas categories as a NumPy array."""
    if hasattr(categories.dtype, "tz"):
        categories = categories.tz_convert(None)
    return nw.from_native(categories.to_series(), series_only=True).to_numpy()


def _observed(values, observed):
    """Drop missing values from those that stand where `observed` says."""
    missing = _missing(values)
    if not missing.any():
        return values, observed
    if observed is None:
        return values[~missing], ~missing
    observed = observed.copy()
    observed[observed] = ~missing
    return values[~missing], observed


def _missing(values):
    kind = values.dtype.kind
    if kind == "f":
        with np.errstate(all="ignore"):  # a sum needs no array of flags
            return np.isnan(values) if np.isnan(values.sum()) else np.zeros(1, dtype=bool)
    if kind in "mM":
        return np.isnat(values)
    if kind == "O":
        return np.fromiter(map(_is_missing, values), dtype=bool, count=len(values))
    return np.zeros(1, dtype=bool)


def _is_missing(value):
    if isinstance(value, float | np.floating | np.datetime64 | np.timedelta64):
        return value != value
    if isinstance(value, Decimal):  # of which a signalling one does not compare
        return value.is_nan()
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value is np.ma.masked


def template_of(X, numeric=()):
    """Return the template of tables like X: an empty frame, or a dtype.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.
    numeric : sequence of str or int
        Names of columns whose values are to be more than the categories that their dtype declares.

    Returns
    -------
    template : {DataFrame, dtype}
        What :func:`fill` takes.
    """
    if not is_frame(X):
        return X.dtype
    template = X.head(0)
    if not hasattr(template, "astype"):  # those of polars are strings
        return template
    levels = [(label, getattr(template[label].dtype, "categories", None)) for label in numeric]
    dtypes = {label: of.dtype for label, of in levels if of is not None}
    return template.astype(dtypes) if dtypes else template


def fill(template, columns, n_samples, clip=True, exact=False):
    """Make a table of decoded columns.

    Parameters
    ----------
    template : {DataFrame, dtype}
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
            return nw.maybe_reset_index(nw.from_native(template.head(0))).to_native()
        decoded = [column(slice(None)) for column in columns]
        dtypes = dict(
            template.schema if hasattr(template, "schema") else enumerate(template.dtypes)
        )
        for (j, dtype), (values, missing) in zip(dtypes.items(), decoded, strict=True):
            if not clip and not _holds(dtype, values, missing):
                dtypes[j] = None
        decoded = [
            _with_ticks(*of, dtype) for of, dtype in zip(decoded, dtypes.values(), strict=True)
        ]
        fill_frame = _fill_polars if hasattr(template, "schema") else _fill_pandas
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


def numpy_dtype(dtype):
    """Return the NumPy dtype of a frame's dtype of numbers or of text; None for others."""
    dtype = getattr(dtype, "numpy_dtype", dtype)  # of pandas' nullable dtypes
    if isinstance(dtype, np.dtype):
        return dtype
    name = str(dtype).lower()  # of polars
    return np.dtype(name) if re.fullmatch(r"(u?int|float)(8|16|32|64)", name) else None


def _holds(dtype, values, missing):
    """Tell whether a dtype can hold values as they are."""
    if missing is not None:
        values = values[~missing]
    if _plain_dtype(dtype) is not dtype:
        return bool(np.isin(values, _levels(dtype.categories)).all())
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
    dtype = _plain_dtype(dtype)
    if isinstance(dtype, np.dtype):
        return values if dtype.kind == "O" else values.astype(dtype), missing
    unit = getattr(dtype, "unit", None) or getattr(dtype, "time_unit", None)  # pandas, polars
    if str(dtype).startswith("date64"):
        unit = "ms"
    if unit is not None:
        values = values.astype(f"{values.dtype.kind}8[{unit}]")
    return values.astype(np.int32 if values.dtype == "M8[D]" else np.int64), missing


def _plain_dtype(dtype):
    """Return the dtype of pandas categories that are times; of others the dtype itself."""
    levels = getattr(getattr(dtype, "categories", None), "dtype", None)
    return levels if getattr(levels, "kind", None) in ("m", "M") else dtype


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
    frame = type(template)(
        dict(zip(template.columns, arrays, strict=True)), schema=dtypes, strict=False
    )
    for label, (_, missing) in zip(template.columns, decoded, strict=True):
        if missing is not None:
            series = frame[label]
            nulls = series.clear(len(series))
            frame = frame.with_columns(series.zip_with(type(series)(~missing), nulls))
    return frame


def _fill_pandas(template, decoded, dtypes, fit_into):
    arrays = {
        j: _as_dictionary(values, missing, dtypes[j])
        if _is_dictionary(dtypes[j])
        else fit_into(values, dtypes[j])
        for j, (values, missing) in enumerate(decoded)
    }
    for j, array in arrays.items():
        is_object = isinstance(dtypes[j], np.dtype) and dtypes[j].kind == "O"
        if is_object and array.dtype.kind == "O":  # for which pandas would look for a better dtype
            arrays[j] = type(template.iloc[:, j])(array, dtype=object)
        if str(dtypes[j]).startswith("decimal64"):  # for one of which Arrow would take any 8 bytes
            arrays[j] = array.astype(object)
    dtypes_of_all = {j: dtype for j, dtype in dtypes.items() if dtype is not None}
    plain = {j: _plain_dtype(dtype) for j, dtype in dtypes_of_all.items()}
    frame = type(template)(arrays).astype(plain)
    # Whole numbers that became times become categories.
    frame = frame.astype({j: of for j, of in dtypes_of_all.items() if of is not plain[j]})
    for j, (_, missing) in enumerate(decoded):
        if missing is not None and not _is_dictionary(dtypes[j]):
            _check_holds_missing(dtypes[j], template.columns[j])
            frame[j] = frame[j].mask(missing)
    frame.columns = template.columns
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
