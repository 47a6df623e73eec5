"""Columns as their cells are found, and columns that are made again of decoded cells and of rows stored apart."""

import numpy as np

from sklearn_dgm.codec._cells import are_negative_zeros
from sklearn_dgm.codec._stream import unpack


def as_integers(raw):
    """Return a column of Python's integers as one of 64 bits, another as it is; and whether it was one."""
    is_whole = (
        raw.values.dtype.kind == "O"
        and len(raw.values) > 0
        and all(type(v) is int and abs(v) < 2**63 for v in raw.values)
    )
    return (raw._replace(values=raw.values.astype(np.int64)) if is_whole else raw), is_whole


def without_negative_zeros(raw):
    """Return a column of floats with unsigned zeros, and flags of the rows that had a signed one."""
    is_negative = are_negative_zeros(raw.values) if raw.values.dtype.kind == "f" else np.array([])
    if not is_negative.any():
        return raw, np.zeros(len(raw.observed_or_all), dtype=bool)
    rows = raw.observed_or_all.copy()
    rows[rows] = is_negative
    return raw._replace(values=np.where(is_negative, 0, raw.values)), rows


def plain(raw):
    """Return a column as its cells are found: integers of 64 bits, zeros without a sign."""
    return without_negative_zeros(as_integers(raw)[0])[0]


def values_of(cells, numbers, missing, negative, is_whole):
    """Return the values of the coded rows of a column, any where it is missing."""
    values = cells.values(np.where(missing, cells.first, numbers))
    if negative.any():
        values = np.where(negative, -0.0, values)
    return values.astype(np.int64) if is_whole else values


def column_of(decoded, missing, known, packed, column):
    """Return the values of a column, and flags of the missing ones or None."""
    flags = np.zeros(len(known), dtype=bool)
    flags[known] = missing
    if packed:
        raw = unpack(packed[0], None)
        # Objects stay as they are beside others.
        decoded = column.as_fitted(decoded) if raw.values.dtype.kind == "O" else decoded
        flags[~known] = ~raw.observed
        observed, dtype = raw.observed, _common_dtype(decoded[~missing], raw.values)
        values = np.full(len(known), _filler(decoded[~missing], raw.values), dtype=dtype)
        values[np.flatnonzero(known)[~missing]] = decoded[~missing]
        values[np.flatnonzero(~known)[observed]] = raw.values
    else:
        values = decoded
    return values, flags if flags.any() else None


def _common_dtype(decoded, raw):
    """Return a dtype that holds decoded values and those stored apart to the last bit."""
    if raw.dtype.kind in "US":
        return np.result_type(decoded.dtype, raw.dtype) if len(decoded) else raw.dtype
    return raw.dtype if len(raw) else decoded.dtype


def _filler(decoded, raw):
    """Return some value of a dtype, to stand where a cell is missing."""
    some = decoded if len(decoded) else raw
    return some[0] if len(some) else 0
