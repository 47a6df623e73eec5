"""Cells of a column as numbers, as categories, and as codes of these."""

from numbers import Number

import numpy as np

# Beyond, float64 cannot tell integers apart.
LARGEST_INTEGER = 2**53


def numbers_of(values):
    """Return numbers as float64; an integer beyond 2**53 stays beyond, though 2**53 + 1 would round to it."""
    x = np.asarray(values, dtype=np.float64)
    if values.dtype.kind in "iuO":
        at = np.flatnonzero(np.abs(x) == LARGEST_INTEGER)
        exact = [isinstance(v, Number) and abs(v) > LARGEST_INTEGER for v in values[at].tolist()]
        at = at[np.array(exact, dtype=bool)]
        x[at] = np.nextafter(x[at], np.inf * x[at])
    return x


def as_float(raw, clock=None):
    """Return the observed cells of a numeric column as float64; an infinite one is an error."""
    if clock:
        return clock.numbers(raw.values) if len(raw.values) else np.empty(0)
    try:
        x = numbers_of(raw.values)
    except (TypeError, ValueError, OverflowError) as error:
        raise type(error)(
            f"could not convert {raw.where} to numbers: {error}; convert it, or declare that it "
            "holds categories."
        ) from error
    # A sum is finite only if all its terms are, and needs no array of flags.
    with np.errstate(all="ignore"):
        finite = np.isfinite(x.sum()) or np.isfinite(x).all()
    if not finite:
        row = raw.row(~np.isfinite(x))
        raise ValueError(f"Input X contains infinity (inf) in {raw.where}, row {row}.")
    return x


def as_categories(raw):
    """Return the observed cells of a categorical column, times as they are; one without a hash is an error."""
    if raw.values.dtype.kind == "f":
        return as_float(raw)
    if raw.values.dtype.kind == "O":
        for position, value in enumerate(raw.values):
            try:
                hash(value)
            except TypeError as error:
                row = raw.row(np.arange(len(raw.values)) == position)
                raise TypeError(
                    f"{raw.where}, row {row}: argument must be a string, a number or another hashable value, got "
                    f"{value!r}."
                ) from error
    return raw.values


def distinct(values):
    """Return the distinct values in an order that does not depend on the order of the rows."""
    if values.dtype.kind != "O":
        return np.unique(values)
    found = {_of_python(value): value for value in values}.values()
    try:
        ordered = sorted(found)
    except TypeError:  # of several types
        ordered = sorted(found, key=lambda value: (type(value).__name__, repr(value)))
    categories = np.empty(len(ordered), dtype=object)
    categories[:] = ordered
    return categories


def codes(values, categories):
    """Return the position of each value among the categories, in whatever order these are; -1 where it is none."""
    is_alike = values.dtype.kind == categories.dtype.kind
    if is_alike and values.dtype.kind in "mM" and values.dtype != categories.dtype:
        # NumPy would wrap around what the finer unit does not reach.
        times = values.astype(categories.dtype)
        return np.where(times.astype(values.dtype) == values, codes(times, categories), -1)
    if is_alike and values.dtype.kind != "O":
        # A dtype may declare its categories in any order.
        order = np.argsort(categories, kind="stable")
        found = np.searchsorted(categories, values, sorter=order).clip(max=len(categories) - 1)
        position = order[found]
        return np.where(categories[position] == values, position, -1)
    # Python compares numbers of several types exactly.
    index = {category: code for code, category in enumerate(map(_of_python, categories.tolist()))}
    found = (index.get(_of_python(value), -1) for value in values.tolist())
    return np.fromiter(found, np.int64, len(values))


def _of_python(value):
    """Return a scalar of NumPy as one of Python, since Decimals cannot be compared with NumPy's."""
    is_number = isinstance(value, np.integer | np.floating) and not isinstance(
        value, np.timedelta64 | np.longdouble
    )
    return value.item() if is_number else value
