"""Plain forms of what pandas and polars call dtypes and labels, and of the objects that columns of pandas hold."""

import sys
from typing import Any

import numpy as np

from sklearn_dgm._state import FURTHER_KINDS, KINDS, Kind

# What a dtype of polars is made with, beyond its name.
PARAMETERS = {
    "Datetime": ("time_unit", "time_zone"),
    "Duration": ("time_unit",),
    "Decimal": ("precision", "scale"),
    "Enum": ("categories",),
    "List": ("inner",),
}
OBJECTS = ("Timestamp", "Timedelta", "Interval")
DTYPES = ("CategoricalDtype", "StringDtype", "ArrowDtype")
CLASSES = ("DataFrame", "Timestamp", "Timedelta")
INDICES = ("RangeIndex", "IntervalIndex", "MultiIndex")


def _kind_of_pandas(value):
    pd = sys.modules.get("pandas")
    if pd is None:
        return None
    name = type(value).__name__
    if any(value is getattr(pd, one) for one in CLASSES):
        return "class of pandas"
    if isinstance(value, pd.Index):
        return name if name in INDICES else "Index"
    if name in DTYPES + OBJECTS and type(value) is getattr(pd, name):
        return None if name == "ArrowDtype" and _is_extended(_bytes_of_arrow(value)) else name
    is_dtype = isinstance(value, pd.api.extensions.ExtensionDtype)
    return "dtype of pandas" if is_dtype and _is_known_text(str(value), value) else None


def _is_known_text(text, dtype):
    try:
        return _pandas().api.types.pandas_dtype(text) == dtype
    except (TypeError, ValueError):
        return False


def _kind_of_polars(value):
    pl = sys.modules.get("polars")
    if pl is None:
        return None
    if value is pl.DataFrame:
        return "class of polars"
    is_dtype = isinstance(value, pl.DataType | type(pl.Int64))
    return "dtype of polars" if is_dtype and _is_told(value) else None


def _is_told(dtype):
    try:
        return bool(_dtype_of_polars(_parts_of_polars(dtype)) == dtype)
    except (AttributeError, TypeError):
        return False


def _parts_of_polars(dtype):
    name = str(dtype.base_type())
    return [name, *(_listed(getattr(dtype, key)) for key in PARAMETERS.get(name, ()))]


def _listed(value):
    return value.to_list() if hasattr(value, "to_list") else value


def _dtype_of_polars(parts):
    import polars as pl

    name, *parameters = parts
    dtype = getattr(pl, name)
    if not (isinstance(dtype, type) and issubclass(dtype, pl.DataType)):
        raise ValueError(f"{name} is no dtype of polars.")
    return dtype(*parameters) if parameters else dtype


def _pandas() -> Any:
    import pandas as pd

    return pd


def _class_of_pandas(name):
    if name not in CLASSES:
        raise ValueError(f"{name} is none of the classes of pandas that columns hold.")
    return getattr(_pandas(), name)


def _frame_of_polars():
    import polars as pl

    return pl.DataFrame


def _parts_of_index(index):
    if hasattr(index.dtype, "tz"):
        values = index.tz_convert(None).to_numpy()
    else:
        values = index.to_numpy() if isinstance(index.dtype, np.dtype) else index.tolist()
    return [values, index.dtype, index.name]


def _index(parts):
    values, dtype, name = parts
    pd = _pandas()
    if hasattr(dtype, "tz"):
        return pd.DatetimeIndex(values, name=name).tz_localize("UTC").tz_convert(dtype.tz)
    return pd.Index(values, dtype=dtype, name=name)


def _time(parts):
    time, zone = parts
    time = _pandas().Timestamp(time)
    return time if zone is None else time.tz_localize("UTC").tz_convert(zone)


def _bytes_of_arrow(dtype):
    import pyarrow

    return pyarrow.schema([("", dtype.pyarrow_dtype)]).serialize().to_pybytes()


def _is_extended(schema):
    """Tell whether a schema of Arrow has an extension type, which may be one that runs code when it is read."""
    return b"ARROW:extension:" in schema


def _dtype_of_arrow(parts):
    import pyarrow

    if _is_extended(parts[0]):
        raise ValueError("a dtype of Arrow is an extension type.")
    return _pandas().ArrowDtype(pyarrow.ipc.read_schema(pyarrow.py_buffer(parts[0])).field(0).type)


KINDS |= {
    "class of pandas": Kind(lambda of: [of.__name__], lambda parts: _class_of_pandas(*parts)),
    "Timestamp": Kind(lambda of: [of.to_datetime64(), of.tzinfo], _time),
    "Timedelta": Kind(lambda of: [of.to_timedelta64()], lambda parts: _pandas().Timedelta(*parts)),
    "Interval": Kind(
        lambda of: [of.left, of.right, of.closed], lambda parts: _pandas().Interval(*parts)
    ),
    "Index": Kind(_parts_of_index, _index),
    "RangeIndex": Kind(
        lambda of: [of.start, of.stop, of.step, of.name],
        lambda parts: _pandas().RangeIndex(*parts[:3], name=parts[3]),
    ),
    "IntervalIndex": Kind(
        lambda of: [of.left, of.right, of.closed, of.name],
        lambda parts: _pandas().IntervalIndex.from_arrays(*parts[:3], name=parts[3]),
    ),
    "MultiIndex": Kind(
        lambda of: [of.tolist(), list(of.names)],
        lambda parts: _pandas().MultiIndex.from_tuples(parts[0], names=parts[1]),
    ),
    "CategoricalDtype": Kind(
        lambda of: [of.categories, bool(of.ordered)],
        lambda parts: _pandas().CategoricalDtype(*parts),
    ),
    "StringDtype": Kind(
        lambda of: [of.storage, of.na_value is _pandas().NA],
        lambda parts: _pandas().StringDtype(parts[0], _pandas().NA if parts[1] else np.nan),
    ),
    "ArrowDtype": Kind(lambda of: [_bytes_of_arrow(of)], _dtype_of_arrow),
    "dtype of pandas": Kind(
        lambda of: [str(of)], lambda parts: _pandas().api.types.pandas_dtype(*parts)
    ),
    "class of polars": Kind(lambda of: [], lambda parts: _frame_of_polars()),
    "dtype of polars": Kind(_parts_of_polars, _dtype_of_polars),
}
FURTHER_KINDS += [_kind_of_pandas, _kind_of_polars]
