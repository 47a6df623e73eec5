"""Cells that are objects of Python: what they are, by abstract types, as arrays of NumPy, and as objects again."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Context, Decimal
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

NUMBERS, BOOLEANS, STRINGS, BYTES = "numbers", "booleans", "strings", "bytes"
DATES, TIMES, ZONED_TIMES = "dates", "times without a zone", "times with a zone"
DURATIONS, OBJECTS = "durations", "other objects"
OF_KIND = {"i": NUMBERS, "u": NUMBERS, "f": NUMBERS, "b": BOOLEANS, "U": STRINGS, "S": BYTES}
OF_KIND |= {"T": STRINGS, "m": DURATIONS}
# The first that a type is derived from counts: NumPy's durations are registered as integers.
OF_TYPE = (
    (str, STRINGS),
    (bytes, BYTES),
    (bool | np.bool_, BOOLEANS),
    (timedelta | np.timedelta64, DURATIONS),
    (datetime | np.datetime64, TIMES),
    (date, DATES),
    (Real | Decimal, NUMBERS),
)
# What Python's times can hold, in every zone, and durations that NumPy can count in microseconds, too.
FIRST, LAST = np.datetime64("0001-01-02"), np.datetime64("9999-12-30")
LONGEST = np.timedelta64(10**8, "D")
# As many digits as a float64 may have before the point and after it.
EXACT = Context(prec=2000)


def content_of(values):
    """Return the content of an array: numbers, strings, times, ...

    Parameters
    ----------
    values : ndarray of shape (n,)
        Values, none of them missing.

    Returns
    -------
    content : str or None
        One of the constants of this module; None where there are no values.
    """
    if not len(values):
        return None
    if values.dtype.kind == "M":
        return DATES if np.datetime_data(values.dtype)[0] in ("Y", "M", "W", "D") else TIMES
    if values.dtype.kind != "O":
        return OF_KIND.get(values.dtype.kind, OBJECTS)
    types = set(map(type, values))
    contents = {_of_type(one) for one in types}
    if TIMES in contents:
        contents.remove(TIMES)
        contents |= set(map(_of_time, (value for value in values if _is_time(value))))
    return contents.pop() if len(contents) == 1 else OBJECTS


def _of_type(one):
    return next((content for of, content in OF_TYPE if issubclass(one, of)), OBJECTS)


def _is_time(value):
    return isinstance(value, datetime | np.datetime64)


def _of_time(value):
    if isinstance(value, np.datetime64):
        return content_of(np.array([value]))
    return TIMES if value.utcoffset() is None else ZONED_TIMES


def are_whole(objects, content):
    """Tell whether objects with the given content are all whole numbers."""
    return content == NUMBERS and all(issubclass(one, Integral) for one in set(map(type, objects)))


def as_times(objects, content):
    """Return dates, times or durations of Python as an array of NumPy; those with a zone in UTC.

    Parameters
    ----------
    objects : ndarray of object of shape (n,)
        The objects.
    content : {DATES, TIMES, ZONED_TIMES, DURATIONS}
        What they are.

    Returns
    -------
    times : ndarray of datetime64 or timedelta64 of shape (n,)
        In the finest unit of theirs, or in microseconds where that does not reach them all.
    """
    times = [_as_time(value, content) for value in objects]
    finest = np.array(times)
    usual = np.array(times, dtype=f"{finest.dtype.kind}8[us]")
    # Nanoseconds reach from 1677 to 2262 only, and NumPy wraps around.
    return finest if (finest.astype(usual.dtype) == usual).all() else usual


def _as_time(value, content):
    if content == DURATIONS:
        has_own = hasattr(value, "to_timedelta64")  # pandas has nanoseconds
        return value.to_timedelta64() if has_own else np.timedelta64(value)
    if hasattr(value, "to_datetime64"):
        return value.to_datetime64()
    if content == ZONED_TIMES:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value)


class Maker(NamedTuple):
    """Constructor of a column's Python objects.

    Attributes
    ----------
    type : type
        That of the objects: of times and durations, Decimal, or int.
    zone : tzinfo or None
        The zone of times.
    exponent : int or None
        That of Decimals, where all have the same.
    """

    type: type
    zone: tzinfo | None = None
    exponent: int | None = None

    @classmethod
    def of(cls, objects, content):
        """Return the maker of a column's objects; None where these are neither times, Decimals nor whole numbers."""
        types = set(map(type, objects))
        if are_whole(objects, content):
            return cls(int)
        if content == NUMBERS and types == {Decimal}:
            exponents = {value.as_tuple().exponent for value in objects}
            return cls(Decimal, None, exponents.pop() if len(exponents) == 1 else None)
        if content not in (DATES, TIMES, ZONED_TIMES, DURATIONS):
            return None
        usual = {DATES: date, DURATIONS: timedelta}.get(content, datetime)
        zone = objects[0].tzinfo if content == ZONED_TIMES else None
        return cls(types.pop() if len(types) == 1 else usual, zone)

    def objects(self, values):
        """Make Python objects of times, durations or numbers.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Those of an array of objects stay as they are.

        Returns
        -------
        objects : ndarray of object of shape (n,)
            In the zone of the fitted ones.
        """
        if values.dtype.kind == "O" or not len(values):
            return values.astype(object)
        return np.fromiter(self._made(values), dtype=object, count=len(values))

    def _made(self, values):
        if self.type is Decimal:
            return map(self._decimal, values.tolist())
        if self.type is int:
            largest = np.finfo(np.float64).max
            is_float = values.dtype.kind == "f"
            return map(int, np.rint(values.clip(-largest, largest)) if is_float else values)
        if issubclass(self.type, np.generic):
            return iter(values)
        bounds = (-LONGEST, LONGEST) if values.dtype.kind == "m" else (FIRST, LAST)
        if np.datetime_data(values.dtype)[0] != "ns":  # which do not reach as far
            values = values.clip(*(bound.astype(values.dtype) for bound in bounds))
        if hasattr(self.type, "to_numpy"):  # of pandas
            made = map(self.type, values)
        else:
            unit = "D" if not issubclass(self.type, datetime | timedelta) else "us"
            made = values.astype(f"{values.dtype.kind}8[{unit}]").tolist()
        if self.zone is None:
            return made
        return (time.replace(tzinfo=UTC).astimezone(self.zone) for time in made)

    def _decimal(self, value):
        value = Decimal(str(value))
        if not isinstance(self.exponent, int):  # that of infinity is a letter
            return value
        return value.quantize(Decimal((0, (1,), self.exponent)), context=EXACT)
