"""Fitted objects as plain values and arrays, and back: what a file can hold, and nothing pickled.

A plain form consists of None, Booleans, numbers, strings, lists, dicts with strings as keys, and arrays of NumPy's own
dtypes. Whatever else has one is a dict that names its "kind". An object that occurs twice is told of once, so that what
shared a schema before shares it afterwards.

Of the classes of this package, dataclasses and named tuples take part, and those that are :class:`Stateful`; of
scikit-learn's, estimators of some rooms that hold nothing else than plain values; of others, those that are Stateful.
The parameters of an estimator are no part of what `fit` has learnt: they go the way of its constructor.

A plain form may come from a stranger. No code runs but that of the kinds and of `_set_state`, which are to bear any
plain values: objects are filled, not constructed, no function is called that a plain form names, and nothing is
imported beyond this package and the rooms of scikit-learn in ROOMS_OF_SKLEARN.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from importlib import import_module
from inspect import getattr_static, isroutine, signature
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

PACKAGE = __name__.partition(".")[0]
PLAIN_DTYPES = "biufcmMUS"
ARRAYS = (np.ndarray, np.memmap)
# Classes that columns of objects hold and parameters name, and not only objects of them.
CLASSES = (
    *(bool, int, float, str, object, Decimal, date, datetime, timedelta),
    *(np.datetime64, np.timedelta64),
)
# Those that are no dtypes, but what dtypes are told apart by.
FAMILIES_OF_DTYPES = (
    *(np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger),
    *(np.inexact, np.floating, np.complexfloating, np.flexible, np.character),
)
# Of others, compiled code trusts indices that fitted attributes hold, or there are no plain values.
ROOMS_OF_SKLEARN = {
    *("compose", "covariance", "decomposition", "feature_selection", "frozen", "impute"),
    *("kernel_approximation", "mixture", "model_selection", "neighbors", "pipeline"),
    *("preprocessing", "random_projection"),
}
# What estimators and splitters of rows have.
METHODS_OF_SKLEARN = ("get_params", "get_n_splits")


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
        self.value, self.where = value, where


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
    "slice": Kind(lambda of: [of.start, of.stop, of.step], lambda parts: slice(*parts)),
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
    # The last bits of a product depend on the layout of its factors.
    "transposed": Kind(lambda of: [of.T], lambda parts: parts[0].T),
    "strings": Kind(
        lambda of: [list(of.shape), of.ravel().tolist()],
        lambda parts: np.array(parts[1], dtype="T").reshape(parts[0]),
    ),
    "dtype": Kind(lambda of: ["T" if of.kind == "T" else of.str], lambda parts: np.dtype(*parts)),
    "class": Kind(lambda of: [of.__name__], lambda parts: _named(parts[0], CLASSES)),
    "dtypes": Kind(lambda of: [of.__name__], lambda parts: _named(parts[0], FAMILIES_OF_DTYPES)),
    "class of scalars": Kind(lambda of: [np.dtype(of)], lambda parts: parts[0].type),
    "ufunc": Kind(lambda of: [of.__name__], lambda parts: _ufunc(*parts)),
}
OF_PYTHON: list[type] = [
    *(tuple, set, frozenset, dict, range, slice, bytes, date, datetime, timedelta)
]
KIND_OF_TYPE = {one: one.__name__ for one in [*OF_PYTHON, timezone, ZoneInfo, Decimal]}
# What tells kinds that are no matter of a single type: functions of a value that return the name of its kind, or None.
FURTHER_KINDS: list[Callable[[Any], str | None]] = []


def _array_of_objects(shape, items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def _named(name, classes):
    return next(one for one in classes if one.__name__ == name)


def _ufunc(name):
    ufunc = getattr(np, name, None)
    if not isinstance(ufunc, np.ufunc):
        raise ValueError(f"{name} is no ufunc of NumPy.")
    return ufunc


def _kind_of(value):
    """Name of the kind of a value; None if it has none."""
    if type(value) in KIND_OF_TYPE:
        return KIND_OF_TYPE[type(value)]
    if type(value) in ARRAYS and value.dtype.kind == "O":
        return "objects"
    if type(value) in ARRAYS and value.dtype.kind == "T":
        return "strings"
    if type(value) in ARRAYS and value.flags.f_contiguous and not value.flags.c_contiguous:
        return "transposed"
    if isinstance(value, np.generic) and value.dtype.kind in PLAIN_DTYPES:
        return "scalar"
    if isinstance(value, np.dtype) and value.kind in f"{PLAIN_DTYPES}OT":
        return "dtype"
    if any(value is one for one in CLASSES):  # to polars, its dtypes equal some of them
        return "class"
    if isinstance(value, np.ufunc):
        return "ufunc" if getattr(np, value.__name__, None) is value else None
    if any(value is one for one in FAMILIES_OF_DTYPES):
        return "dtypes"
    if isinstance(value, type) and issubclass(value, np.generic):
        return "class of scalars" if np.dtype(value).kind in PLAIN_DTYPES else None
    return next(filter(None, (further(value) for further in FURTHER_KINDS)), None)


def _takes_part(one):
    """Whether objects of a class are rebuilt from what they hold."""
    library, *rooms = one.__module__.split(".")
    if library == "sklearn":
        is_plain = any(hasattr(one, name) for name in METHODS_OF_SKLEARN)
        return bool(rooms) and rooms[0] in ROOMS_OF_SKLEARN and is_plain
    is_data = is_dataclass(one) or hasattr(one, "_fields")
    return issubclass(one, Stateful) or (library == PACKAGE and is_data)


def name_of(one: type) -> str:
    """Return the name of a class by which plain forms tell of it."""
    return f"{one.__module__}.{one.__qualname__}"


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
    return Writer().plain(value, "")


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
    return Reader().value(plain)


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
    return Writer().learnt(estimator)


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
    estimator._set_state(Reader().attributes(type(estimator), state))
    return estimator


class Writer:
    """A plain form in the making, or several that tell of an object they share once."""

    def __init__(self):
        # Objects that were told of, in this order, and their positions by their ids.
        self.told, self.positions = [], {}

    def parameters(self, estimator):
        """Return the plain forms of the parameters of an estimator."""
        params = estimator.get_params(deep=False)
        return {name: self.plain(of, f"the parameter {name}") for name, of in params.items()}

    def learnt(self, estimator):
        """Return the plain forms of what an estimator holds beside its parameters."""
        params, held = estimator.get_params(deep=False), estimator._to_state()
        return {name: self.plain(of, name) for name, of in held.items() if name not in params}

    def plain(self, value, where):
        """Return the plain form of what stands somewhere in the value."""
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
        kind = _kind_of(value)
        if kind is not None:
            parts = KINDS[kind].apart(value)
            # Of a list of all that is within, the items have positions.
            places = [
                where if type(part) is list else f"{where}[{k}]" for k, part in enumerate(parts)
            ]
            return {"kind": kind, "parts": list(map(self.plain, parts, places))}
        if one in ARRAYS and value.dtype.kind in PLAIN_DTYPES:
            return np.array(value, order="C")
        if not _takes_part(one):
            raise NoPlainFormError(value, where)
        held = value._to_state() if isinstance(value, Stateful) else _fields_of(value)
        state = {name: self.plain(item, f"{where}.{name}") for name, item in held.items()}
        return {"kind": "object", "class": name_of(one), "state": state}


def _fields_of(value):
    return value._asdict() if isinstance(value, tuple) else vars(value)


class Reader:
    """A value in the making; it comes across objects in the order in which they were told of.

    Parameters
    ----------
    trusted : iterable of type, default=()
        Further classes whose objects may be made.
    """

    def __init__(self, trusted=()):
        self.told, self.trusted = [], {name_of(one): one for one in trusted}

    def value(self, plain):
        """Return the value that a part of the plain form is of."""
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
        one = self.class_of(plain["class"])
        return made(one, self.attributes(one, plain["state"]))

    def attributes(self, one, state):
        """Return attributes of an object of a class."""
        check_attributes(one, state)
        return {name: self.value(plain) for name, plain in state.items()}

    def class_of(self, name):
        """Return the class that a plain form names, if its objects may be made."""
        if name in self.trusted:
            return self.trusted[name]
        module, _, of_module = name.rpartition(".")
        library, *rooms = module.split(".")
        is_known = library == PACKAGE or (
            library == "sklearn" and rooms and rooms[0] in ROOMS_OF_SKLEARN and "tests" not in rooms
        )
        # No file is to say what else is imported.
        one = getattr(import_module(module), of_module, None) if is_known else None
        if not (isinstance(one, type) and _takes_part(one) and name_of(one) == name):
            raise ValueError(f"{name} is no class whose objects have plain forms.")
        return one


def check_attributes(one, names):
    """Refuse names of attributes that would stand before methods and classes that the class of an object has."""
    for name in names:
        of_class = getattr_static(one, name, None)
        is_code = isinstance(of_class, type) or isroutine(of_class)
        is_state = isinstance(of_class, cached_property) or name in getattr(one, "_fields", ())
        if not name.isidentifier() or name.startswith("__") or (is_code and not is_state):
            raise ValueError(f"{name!r} is no attribute that a {one.__name__} holds.")


def made(one: type, state: dict[str, Any]) -> Any:
    """Return an object of a class that holds what it is told to; parameters that it has since have their defaults."""
    if issubclass(one, tuple):
        return one(**state)
    value = one.__new__(one)
    if hasattr(one, "get_params"):
        params = signature(one).parameters.values()
        state = {p.name: p.default for p in params if p.default is not p.empty} | state
    if isinstance(value, Stateful):
        value._set_state(state)
    else:
        vars(value).update(state)  # also of frozen dataclasses
    return value
