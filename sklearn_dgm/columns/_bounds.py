"""Where the values of a column can lie: bounds that are given, and those that the fitted rows speak for."""

import math
from dataclasses import replace
from decimal import Decimal
from numbers import Real

import numpy as np

from sklearn_dgm.columns._column import (
    CONTINUOUS,
    INTEGER,
    MIXED,
    ROUNDED,
)
from sklearn_dgm.columns._dtypes import times_for
from sklearn_dgm.columns._learning import share_of_new
from sklearn_dgm.columns._names import by_position
from sklearn_dgm.columns._reading import numpy_dtype

OBSERVED = "observed"


def check_bounds(bounds):
    """Refuse what is no value of the parameter `bounds`.

    Parameters
    ----------
    bounds : dict, "observed", None or False
        See :class:`~sklearn_dgm.columns.ColumnSchema`.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    is_name = isinstance(bounds, str) and bounds == OBSERVED
    if not (bounds is None or bounds is False or is_name or isinstance(bounds, dict)):
        raise ValueError(f"bounds should be a dict, 'observed' or None, got {bounds!r}.")


def with_bounds(columns, numbers, weight, bounds, *, rescales):
    """Return all columns of a table with the bounds that their density keeps.

    Parameters
    ----------
    columns : list of Column
        What is known of them.
    numbers : list of ndarray of shape (n_samples,)
        Their values among the fitted rows, as float64 numbers; NaN where a cell is missing.
    weight : ndarray of shape (n_samples,)
        Weights of the rows.
    bounds : dict, "observed" or None
        See :class:`~sklearn_dgm.columns.ColumnSchema`.
    rescales : bool
        Whether integers may have another unit than one.

    Returns
    -------
    columns : list of Column
        The columns with `lower`, `upper` and `beyond_share`.

    Raises
    ------
    ValueError
        If `bounds` says of a column what is no bounds, or a value lies beyond them.
    """
    labels = [column.label for column in columns]
    given = [bounds if isinstance(bounds, str) else None] * len(labels)
    if isinstance(bounds, dict):
        for j, pair in by_position(bounds, labels, "bounds").items():
            given[j] = pair
    bounded = []
    for column, x, of_column in zip(columns, numbers, given, strict=True):
        counted = (weight > 0) & ~np.isnan(x)
        bounded.append(_bounded(column, x[counted], weight[counted], of_column, rescales))
    return bounded


def _bounded(column, x, weight, given, rescales):
    """Return a column with its bounds, given its observed values of positive weight."""
    is_observed = isinstance(given, str) and given == OBSERVED
    if column.is_categorical:
        return _of_categories(column, given)
    learnt = _learnt(column, x)
    lower, upper = learnt
    if is_observed:
        # A density has no room between equal bounds.
        has_room = column.low < column.high or column.is_whole
        lower, upper = (column.low, column.high) if has_room else learnt
    elif given is not None:
        lower, upper = _pair(column, given, learnt)
    column = replace(column, lower=lower, upper=upper)
    if column.is_whole:
        code = np.unique(x, return_inverse=True)[1]
        column = replace(column, beyond_share=share_of_new(code, weight))
    is_named = not (given is None or is_observed or all(bound is None for bound in given))
    if column.kind == INTEGER and rescales and _has_two(column, x) and not is_named:
        # In units of their difference no whole number lies between the two, unless bounds say that some are possible.
        column = replace(column, location=column.low, scale=column.high - column.low)
    return column


def _of_categories(column, given):
    """Return a categorical column as it is; of one value, or of none, it may have bounds for other rows."""
    if given is None or column.empty:
        return column
    if column.constant:
        value = float(column.categories[0])
        pair = (value, value)
        if not isinstance(given, str):
            whole_line = (-math.inf, math.inf)
            pair = _pair(replace(column, low=value, high=value), given, whole_line)
        return replace(column, lower=pair[0], upper=pair[1])
    if not isinstance(given, str):
        raise ValueError(f"bounds names {column.where}, which is categorical and has none.")
    return column


def _has_two(column, x):
    """Tell whether the column of whole or rounded numbers has just two values."""
    if column.kind == ROUNDED:
        return len(column.grid.known) == 2 and column.encoded(column.high) == 1
    return column.low < column.high and bool(((x == column.low) | (x == column.high)).all())


def _learnt(column, x):
    """Return the bounds that values speak for: two whole numbers, or zero from below."""
    if column.is_whole and _has_two(column, x):
        return column.low, column.high
    is_time = column.clock is not None and column.clock.kind == "M"
    if column.low < 0 or is_time or _may_be_scaled(column, x):
        return -math.inf, math.inf
    return 0.0, math.inf


def _may_be_scaled(column, x):
    """Tell whether the lowest value may be zero only because a scaler put it there."""
    is_whole = column.kind == INTEGER or (column.grid and column.grid.decimals is not None)
    return not is_whole and column.low == 0 and np.count_nonzero(x == 0) == 1


def _pair(column, given, learnt):
    """Return the lower and the upper bound as numbers; a side that is None comes from `learnt`."""
    try:
        if not hasattr(given, "__getitem__"):
            raise TypeError("no order")
        lower, upper = given
        pair = [
            default if bound is None else _number(column, bound)
            for bound, default in zip((lower, upper), learnt, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"bounds says {given!r} of {column.where}; expected 'observed' or a pair of "
            f"{column.content if column.clock else 'numbers'}, of which None leaves a side to the fitted values."
        ) from error
    lower, upper = pair
    is_density = column.kind in (CONTINUOUS, MIXED)
    if not (lower < upper or (lower == upper and not is_density)):
        raise ValueError(f"bounds says {given!r} of {column.where}, which leaves it no room.")
    if column.low < lower or column.high > upper:
        outside = column.low if column.low < lower else column.high
        text = column.clock.text(outside) if column.clock else f"{outside:.6g}"
        raise ValueError(f"{column.where} holds {text}, beyond its bounds {given!r}.")
    return lower, upper


def _number(column, bound):
    """Return a bound as a number in the units of the column."""
    if isinstance(bound, Real | Decimal) and not isinstance(
        bound, bool | np.bool_ | np.timedelta64
    ):
        if column.clock and math.isfinite(bound):
            raise TypeError("a number for a time")
        number = float(bound)
    elif column.clock:
        number = float(column.clock.numbers(times_for(column, [bound]))[0])
    else:
        raise TypeError("no number")
    if math.isnan(number):
        raise ValueError("NaN")
    # Where values are stored in single precision, so is the bound.
    dtype = numpy_dtype(column.dtype)
    is_float = dtype is not None and dtype.kind == "f"
    return float(np.asarray(number, dtype=dtype)) if is_float else number
