"""What dtypes say of a column: its kind, and whether a later table may have another dtype than that of `fit`."""

import warnings
from datetime import datetime

import narwhals as nw
import numpy as np
from sklearn.exceptions import DataConversionWarning

from sklearn_dgm.columns._column import CATEGORICAL, CONTINUOUS, INTEGER
from sklearn_dgm.columns._objects import (
    BOOLEANS,
    BYTES,
    DATES,
    DURATIONS,
    NUMBERS,
    OBJECTS,
    STRINGS,
    TIMES,
    ZONED_TIMES,
    are_whole,
    as_times,
    content_of,
)

# A column of strings or objects, of so many cells, of which a larger share are distinct, tells rows apart and nothing
# else.
MIN_CELLS, MAX_DISTINCT = 50, 0.95
# What a later table may hold in place of what `fit` has seen; among other objects each cell is looked at.
TAKEN = {
    NUMBERS: {NUMBERS, BOOLEANS},
    BOOLEANS: {NUMBERS, BOOLEANS},
    STRINGS: {STRINGS},
    BYTES: {BYTES},
    DATES: {DATES, TIMES},
    TIMES: {DATES, TIMES},
    ZONED_TIMES: {ZONED_TIMES},
    DURATIONS: {DURATIONS},
}
ADVICE = {
    (TIMES, ZONED_TIMES): "take the zone off, as .dt.tz_localize(None) of pandas does",
    (DATES, ZONED_TIMES): "take the zone off, as .dt.tz_localize(None) of pandas does",
    (ZONED_TIMES, TIMES): "say in which zone they are, as .dt.tz_localize of pandas does",
    (ZONED_TIMES, DATES): "make them times of a zone, as .dt.tz_localize of pandas does",
    (STRINGS, NUMBERS): "convert them to strings",
    (NUMBERS, STRINGS): "convert them to numbers",
}
# What to do about dtypes that are none of a column, by how their names start.
WAYS_OUT = {
    "time": "make durations since midnight of it",
    "period": "make times of it with pandas.PeriodIndex(column).to_timestamp()",
    "sparse": "make it dense with .sparse.to_dense()",
}


def kind_by_dtype(raw):
    """Return the kind of a column by its dtype; of Python objects, by what they hold.

    Parameters
    ----------
    raw : RawColumn
        The column.

    Returns
    -------
    kind : {"continuous", "integer", "categorical"}
        The kind.

    Raises
    ------
    TypeError
        If the dtype is none that a column can have.
    """
    dtype = raw.dtype
    if raw.values.dtype.kind == "O" and dtype in (np.dtype(object), nw.Object):
        if are_whole(raw.values, raw.content):
            return INTEGER
        return CONTINUOUS if raw.content in (NUMBERS, None) else CATEGORICAL
    if isinstance(dtype, np.dtype):
        kinds = {"i": INTEGER, "u": INTEGER}
        kinds |= dict.fromkeys("fmM", CONTINUOUS) | dict.fromkeys("bUS", CATEGORICAL)
        kind = kinds.get(dtype.kind)
    elif dtype.is_numeric():
        kind = INTEGER if dtype.is_integer() else CONTINUOUS
    elif dtype in (nw.Date, nw.Datetime, nw.Duration):
        kind = CONTINUOUS
    else:
        kind = CATEGORICAL if dtype in (nw.Boolean, nw.String, nw.Categorical, nw.Enum) else None
    if kind is None:
        starts = str(raw.native_dtype).lower()
        ways = (way for start, way in WAYS_OUT.items() if starts.startswith(start))
        raise TypeError(
            f"{raw.where} has dtype {raw.native_dtype}, which holds neither numbers, points in time, durations nor "
            f"categories; {next(ways, 'convert it to one of them or drop it')}."
        )
    return kind


def warn_of_categories(raw):
    """Warn of a column that is categorical by its dtype alone and hardly meant to be.

    Parameters
    ----------
    raw : RawColumn
        The column.
    """
    if raw.values.dtype.kind not in "OUS" or raw.declared is not None:
        return
    types = set(map(type, raw.values))
    for of, what in (("time", "times of day"), ("Period", "periods")):
        if types and all(one.__name__ == of for one in types):
            warn_of(
                (raw.label, what),
                f"{raw.where} holds {what}, and is taken as categorical; {WAYS_OUT[of.lower()]}, or name it in "
                "categorical_features.",
            )
            return
    if raw.content == OBJECTS:
        _warn_of_mixture(raw)
    n, n_distinct = len(raw.values), _n_distinct(raw.values)
    if n >= MIN_CELLS and n_distinct > MAX_DISTINCT * n:
        warn_of(
            (raw.label, "distinct"),
            f"{raw.where} is taken as categorical, but {n_distinct} of its {n} values are distinct, so that hardly any "
            "new row can have one of them; drop it if it names rows, convert it if it stands for numbers or times, or "
            "name it in categorical_features.",
        )


def _n_distinct(values):
    try:
        return len(set(values.tolist()))
    except TypeError:  # an error that names the cell is to come
        return 0


def _warn_of_mixture(raw):
    """Warn of a column of several types, in which a typo would turn numbers or times into categories."""
    contents = contents_of(raw.values)
    found, counts = np.unique(contents, return_counts=True)
    if set(found) <= {DATES, TIMES, ZONED_TIMES}:
        warn_of(
            (raw.label, "several types"),
            f"{raw.where} holds {' beside '.join(found)}, and is taken as categorical; convert all of it to one of "
            "these, or name it in categorical_features.",
        )
        return
    most = found[counts.argmax()]
    if most in (NUMBERS, DATES, TIMES, ZONED_TIMES, DURATIONS) and 2 * counts.max() > len(contents):
        is_other = contents != most
        warn_of(
            (raw.label, "several types"),
            f"{raw.where} holds {raw.values[is_other][0]!r} in row {raw.row(is_other)} among {most}, and is taken as "
            f"categorical; convert it to {most}, or name it in categorical_features.",
        )


def contents_of(values):
    """Return the content (numbers, strings, ...) of each object."""
    return np.array([content_of(values[i : i + 1]) for i in range(len(values))])


def warn_of(about, message, category=DataConversionWarning):
    """Warn of a column.

    Parameters
    ----------
    about : tuple
        Its label, and a word for what it is warned of: densities of one table say that once (`_members.warning_once`).
    message : str
        What there is, and what to do.
    category : type, default=DataConversionWarning
        Of the warning.
    """
    warning = category(message)
    warning.about = about
    warnings.warn(warning, stacklevel=2)


def check_content(column, raw):
    """Refuse a column of a later table whose dtype does not go with that of `fit`.

    Parameters
    ----------
    column : Column
        What `fit` knows of it.
    raw : RawColumn
        The column of the later table.

    Raises
    ------
    ValueError
        If it holds what `fit` has not seen there; the message names the column and both dtypes.
    """
    held, holds = column.content, raw.content
    if None in (held, holds):
        return
    taken = taken_for(column)
    if holds in taken:
        return
    advice = ADVICE.get((held, holds), f"convert it to {held}")
    if holds == OBJECTS and not column.clock:
        is_wrong = ~np.isin(contents_of(raw.values), list(taken))
        if not is_wrong.any():
            return
        holds = f"{raw.values[is_wrong][0]!r} in row {raw.row(is_wrong)}"
    raise ValueError(
        f"{raw.where} held {held} in fit (dtype {column.dtype}), but now holds {holds} (dtype {raw.native_dtype}); "
        f"{advice}."
    )


def taken_for(column):
    """Return the contents that a later table may hold where `fit` saw this column, as a set."""
    if not (column.is_categorical or column.clock):
        return TAKEN[NUMBERS] | {column.content}  # which were asked to stand for numbers
    if column.content == OBJECTS:
        return {*TAKEN, OBJECTS}
    # Among objects, those of another type are unknown categories.
    return TAKEN[column.content] | ({OBJECTS} if column.is_categorical else set())


def times_for(column, values):
    """Return values of a parameter as times of a column; they have a zone where its cells have one.

    Parameters
    ----------
    column : Column
        What `fit` knows of it.
    values : iterable
        Times of any type, or strings of ISO 8601.

    Returns
    -------
    times : ndarray of datetime64 or timedelta64 of shape (n,)
        Those times.

    Raises
    ------
    TypeError
        If they do not go with the cells.
    ValueError
        If a string is no time, or a time is missing.
    """
    times = [datetime.fromisoformat(v) if isinstance(v, str) else v for v in values]
    times = np.fromiter(times, dtype=object, count=len(times))
    content = content_of(times)
    if content not in taken_for(column):
        raise TypeError(f"{content}, but not {column.content}")
    times = as_times(times, content)
    if np.isnat(times).any():
        raise ValueError("NaT")
    return times
