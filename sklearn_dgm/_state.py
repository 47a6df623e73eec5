"""Fitted objects as plain values and arrays, and back: what a file can hold, and nothing pickled.

A plain form consists of None, Booleans, numbers, strings, lists, dicts with strings as keys, and arrays of NumPy's own
dtypes. Whatever else has one is a dict that names its "kind". An object that occurs twice is told of once, so that what
shared a schema before shares it afterwards.

Of the classes of this package, dataclasses and named tuples take part, and those that are :class:`Stateful`; of
scikit-learn's, estimators that hold nothing else than plain values. The parameters of an estimator are no part of what
`fit` has learnt: they go the way of its constructor.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

PACKAGE = __name__.partition(".")[0]
PLAIN_DTYPES = "biufcmMUS"
# Classes that columns of objects hold, and not only objects of them.
CLASSES = (int, Decimal, date, datetime, timedelta, np.datetime64, np.timedelta64)


class NoPlainFormError(TypeError):
    """Something has no plain form.

    Parameters
    ----------
    value : object
        What has none.
    where : str
        Where it was found.
    """

    def __init__(self, value, where):
        one = type(value)
        super().__init__(
            f"{where.removeprefix('.') or 'the value'} is of type {one.__module__}.{one.__qualname__}, which has no "
            f"plain form: {value!r:.100}"
        )
        self.value = value


class Stateful:
    """Mixin of classes whose objects are rebuilt from what they hold: their attributes, unless they say otherwise."""

    def _to_state(self):
        """Return what the object holds, by name."""
        return dict(vars(self))

    def _set_state(self, state):
        """Take over what another object of the class held."""
        vars(self).update(state)


class Kind(NamedTuple):
    """How values of some type are taken apart, and put together again.

    Attributes
    ----------
    apart : callable
        Gives for a value a list of what it is made of.
    together : callable
        Gives for this list an equal value.
    """

    apart: Callable[[Any], list[Any]]
    together: Callable[[list[Any]], Any]


KINDS = {
    "tuple": Kind(list, tuple),
    "set": Kind(list, set),
    "frozenset": Kind(list, frozenset),
    "dict": Kind(
        lambda of: [list(of.keys()), list(of.values())],
        lambda parts: dict(zip(*parts, strict=True)),
    ),
    "range": Kind(lambda of: [of.start, of.stop, of.step], lambda parts: range(*parts)),
    "bytes": Kind(lambda of: [np.frombuffer(of, np.uint8)], lambda parts: parts[0].tobytes()),
    "Decimal": Kind(lambda of: [str(of)], lambda parts: Decimal(*parts)),
    "date": Kind(lambda of: [of.isoformat()], lambda parts: date.fromisoformat(*parts)),
    "datetime": Kind(
        lambda of: [of.replace(tzinfo=None).isoformat(), of.fold, of.tzinfo],
        lambda parts: datetime.fromisoformat(parts[0]).replace(fold=parts[1], tzinfo=parts[2]),
    ),
    "timedelta": Kind(
        lambda of: [of.days, of.seconds, of.microseconds], lambda parts: timedelta(*parts)
    ),
    "timezone": Kind(lambda of: [of.utcoffset(None)], lambda parts: timezone(*parts)),
    "ZoneInfo": Kind(lambda of: [of.key], lambda parts: ZoneInfo(*parts)),
    "scalar": Kind(lambda of: [np.array(of)], lambda parts: parts[0][()]),
    "objects": Kind(
        lambda of: [list(of.shape), of.ravel().tolist()], lambda parts: _array_of_objects(*parts)
    ),
    "strings": Kind(
        lambda of: [list(of.shape), of.ravel().tolist()],
        lambda parts: np.array(parts[1], dtype="T").reshape(parts[0]),
    ),
    "dtype": Kind(lambda of: ["T" if of.kind == "T" else of.str], lambda parts: np.dtype(*parts)),
    "class": Kind(
        lambda of: [of.__name__],
        lambda parts: next(one for one in CLASSES if one.__name__ == parts[0]),
    ),
}
OF_PYTHON: list[type] = [tuple, set, frozenset, dict, range, bytes, date, datetime, timedelta]
KIND_OF_TYPE = {one: one.__name__ for one in [*OF_PYTHON, timezone, ZoneInfo, Decimal]}
# What tells kinds that are no matter of a single type: functions of a value that return the name of its kind, or None.
FURTHER_KINDS: list[Callable[[Any], str | None]] = []


def _array_of_objects(shape, items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def _kind_of(value):
    """Name of the kind of a value; None if it has none."""
    if type(value) in KIND_OF_TYPE:
        return KIND_OF_TYPE[type(value)]
    if type(value) is np.ndarray and value.dtype.kind == "O":
        return "objects"
    if type(value) is np.ndarray and value.dtype.kind == "T":
        return "strings"
    if isinstance(value, np.generic) and value.dtype.kind in PLAIN_DTYPES:
        return "scalar"
    if isinstance(value, np.dtype) and value.kind in f"{PLAIN_DTYPES}OT":
        return "dtype"
    if any(value is one for one in CLASSES):  # to polars, its dtypes equal some of them
        return "class"
    return next(filter(None, (further(value) for further in FURTHER_KINDS)), None)


def _takes_part(one):
    """Whether objects of a class are rebuilt from what they hold."""
    library = one.__module__.partition(".")[0]
    if library == "sklearn":
        return hasattr(one, "get_params")
    is_data = is_dataclass(one) or hasattr(one, "_fields")
    return library == PACKAGE and (is_data or issubclass(one, Stateful))


def to_plain(value: Any) -> Any:
    """Return the plain form of a value.

    Parameters
    ----------
    value : object
        Plain values, objects of Python, of NumPy and of this package, and containers of them.

    Returns
    -------
    plain : object
        For :func:`from_plain`; it shares no memory with the value.

    Raises
    ------
    NoPlainFormError
        If the value, or something within it, has no plain form; the message says where.
    """
    return _Writer().plain(value, "")


def from_plain(plain: Any) -> Any:
    """Return the value that a plain form is of.

    Parameters
    ----------
    plain : object
        What :func:`to_plain` gave.

    Returns
    -------
    value : object
        An equal value, of the same types and dtypes.
    """
    return _Reader().value(plain)


def fitted_state(estimator: Any) -> dict[str, Any]:
    """Return what an estimator has learnt, in plain form.

    Parameters
    ----------
    estimator : BaseGenerator
        A fitted estimator.

    Returns
    -------
    state : dict
        Plain forms of its attributes by their names, for :func:`set_fitted_state`.

    Raises
    ------
    NoPlainFormError
        If it holds something that has no plain form, such as a function or an object of a user's class; the message
        names the attribute.
    """
    params = estimator.get_params(deep=False)
    held, plain = estimator._to_state().items(), _Writer().plain
    return {name: plain(value, name) for name, value in held if name not in params}


def set_fitted_state(estimator: Any, state: dict[str, Any]) -> Any:
    """Make an estimator the fitted one that a state is of.

    Parameters
    ----------
    estimator : BaseGenerator
        Of the same class with the same parameters, as its constructor makes it.
    state : dict
        What :func:`fitted_state` gave.

    Returns
    -------
    estimator : BaseGenerator
        The same estimator.
    """
    value = _Reader().value
    estimator._set_state({name: value(plain) for name, plain in state.items()})
    return estimator


class _Writer:
    """A plain form in the making."""

    def __init__(self):
        # Objects that were told of, in this order, and their positions by their ids.
        self.told, self.positions = [], {}

    def plain(self, value, where):
        """Plain form of what stands somewhere in the value."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) in self.positions:
            return {"kind": "same", "position": self.positions[id(value)]}
        plain = self._of_object(value, where)
        self.positions[id(value)] = len(self.told)
        self.told.append(value)
        return plain

    def _of_object(self, value, where):
        one = type(value)
        if one is list:
            return [self.plain(item, f"{where}[{k}]") for k, item in enumerate(value)]
        if one is np.ndarray and value.dtype.kind in PLAIN_DTYPES:
            return np.array(value, order="C")
        if _takes_part(one):
            held = value._to_state() if isinstance(value, Stateful) else _fields_of(value)
            state = {name: self.plain(item, f"{where}.{name}") for name, item in held.items()}
            return {
                "kind": "object",
                "class": f"{one.__module__}.{one.__qualname__}",
                "state": state,
            }
        kind = _kind_of(value)
        if kind is None:
            raise NoPlainFormError(value, where)
        parts = KINDS[kind].apart(value)
        # Of a list of all that is within, the items have positions.
        places = [where if type(part) is list else f"{where}[{k}]" for k, part in enumerate(parts)]
        return {"kind": kind, "parts": list(map(self.plain, parts, places))}


def _fields_of(value):
    return value._asdict() if isinstance(value, tuple) else vars(value)


class _Reader:
    """A value in the making; it comes across objects in the order in which they were told of."""

    def __init__(self):
        self.told = []

    def value(self, plain):
        """Value that a part of the plain form is of."""
        if plain is None or type(plain) in (bool, int, float, str):
            return plain
        if isinstance(plain, dict) and plain["kind"] == "same":
            return self.told[plain["position"]]
        value = self._object(plain)
        self.told.append(value)
        return value

    def _object(self, plain):
        if isinstance(plain, list):
            return [self.value(item) for item in plain]
        if isinstance(plain, np.ndarray):
            return plain.copy()
        if plain["kind"] != "object":
            # The class of what is within may register kinds, so that they are looked up last.
            parts = [self.value(part) for part in plain["parts"]]
            return KINDS[plain["kind"]].together(parts)
        one = _class_of(plain["class"])
        state = {name: self.value(item) for name, item in plain["state"].items()}
        if issubclass(one, tuple):
            return one(**state)
        value = one.__new__(one)
        if isinstance(value, Stateful):
            value._set_state(state)
        else:
            vars(value).update(state)  # also of frozen dataclasses
        return value


def _class_of(name):
    """Class that a plain form names."""
    module, _, of_module = name.rpartition(".")
    # No file is to say what is imported.
    is_known = module.partition(".")[0] in (PACKAGE, "sklearn")
    one = getattr(import_module(module), of_module) if is_known else None
    if not (isinstance(one, type) and _takes_part(one)):
        raise ValueError(f"{name} is no class whose objects have plain forms.")
    return one
