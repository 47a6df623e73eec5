"""DataFrames and arrays as columns of NumPy values.

What pandas, polars and NumPy call missing is found here, once; beyond, a column is the array of its observed cells.
"""

import re
from decimal import Decimal
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np

from sklearn_dgm.columns._frames import is_frame
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
    if isinstance(native_dtype, np.dtype) and native_dtype.kind in "fiu":  # no null but NaN
        values, observed = _observed(native.to_numpy(), None)
        return RawColumn(label, values, observed, series.dtype, native_dtype)
    if is_arrow(native_dtype, "dictionary<"):  # a category to Arrow, but not to pandas
        native = _as_categorical(native)
        series = nw.from_native(native, series_only=True)
    dtype = of_cells = series.dtype
    declared = _declared(series, dtype)
    plain = native if declared is None else _with_plain_dtype(native)
    has_zone = _has_zone(plain.dtype) or _has_zone(native_dtype)
    if hasattr(plain.dtype, "tz"):  # narwhals does not know all names of zones
        plain = plain.dt.tz_convert(None)
    if plain is not native:
        series = nw.from_native(plain, series_only=True)
        of_cells = series.dtype
    # Not all of Arrow's are such to narwhals.
    if of_cells == nw.Decimal or is_arrow(native_dtype, "decimal"):
        series = series.cast(nw.Float64)
        of_cells = series.dtype
    null = series.is_null().to_numpy()
    present = series.drop_nulls() if null.any() else series
    is_wide = of_cells in (nw.Int128, nw.UInt128)  # for which NumPy has no dtype
    values = np.array(present.to_list(), dtype=object) if is_wide else present.to_numpy()
    if of_cells == nw.Date:  # or some give Python's dates
        values = values.astype("M8[D]")
    observed = ~null if null.any() else None
    if of_cells == nw.Object or of_cells.is_float():  # where NaN need not be null
        values, observed = _observed(values, observed)
    content = ZONED_TIMES if has_zone and len(values) else None
    dtype = of_cells if declared is None else dtype
    return RawColumn(label, values, observed, dtype, native_dtype, declared, content)


def _has_zone(dtype):
    """Tell whether a dtype of pandas, polars or Arrow is one of times with a zone."""
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    dtype = getattr(dtype, "value_type", dtype)  # of a dictionary
    return any(getattr(dtype, zone, None) is not None for zone in ("tz", "time_zone"))


def _with_plain_dtype(native):
    """Return a pandas series of times, if its categories are times; else the series."""
    dtype = native.dtype
    plain = plain_dtype(dtype)
    if plain is dtype:
        return native
    # No cell at all is a number to pandas, and Arrow casts none to dates.
    return native.astype(plain) if len(native) else dtype.categories.to_series().head(0)


def is_arrow(dtype, start):
    """Tell whether a dtype of pandas is one of Arrow's whose name starts so."""
    return hasattr(dtype, "pyarrow_dtype") and str(dtype).startswith(start)


def _as_categorical(native):
    """Return a pandas series of an Arrow dictionary as a pandas categorical."""
    categories = native.array.__arrow_array__().to_pandas()
    if categories.cat.ordered:
        return categories
    # They stand in the order of the rows.
    return categories.cat.reorder_categories(categories.cat.categories.sort_values())


def _declared(series, dtype):
    """Return the categories that the dtype of a series declares; None if it declares none."""
    if dtype == nw.Boolean:
        return np.array([False, True])
    if dtype not in (nw.Categorical, nw.Enum):
        return None
    accessor = series.to_native().cat
    if hasattr(accessor, "categories"):  # of pandas
        return levels_of(accessor.categories)
    # Those of polars' other dtype are shared between series.
    return np.array(dtype.categories) if dtype == nw.Enum else None


def levels_of(categories):
    """Categories of pandas as NumPy sees them."""
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
        return np.fromiter(map(is_missing, values), dtype=bool, count=len(values))
    return np.zeros(1, dtype=bool)


def is_missing(value):
    """Tell whether a cell is what some library calls missing."""
    if isinstance(value, float | np.floating | np.datetime64 | np.timedelta64):
        return value != value
    if isinstance(value, Decimal):  # of which a signalling one does not compare
        return value.is_nan()
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value is np.ma.masked


def numpy_dtype(dtype):
    """Return the NumPy dtype of a frame's dtype of numbers or of text; None for others."""
    dtype = getattr(dtype, "numpy_dtype", dtype)  # of pandas' nullable dtypes
    if isinstance(dtype, np.dtype):
        return dtype
    name = str(dtype).lower()  # of polars
    return np.dtype(name) if re.fullmatch(r"(u?int|float)(8|16|32|64)", name) else None


def plain_dtype(dtype):
    """Return the dtype of pandas categories that are times; of others the dtype itself."""
    levels = getattr(getattr(dtype, "categories", None), "dtype", None)
    return levels if getattr(levels, "kind", None) in ("m", "M") else dtype
