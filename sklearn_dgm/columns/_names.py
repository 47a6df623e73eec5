"""How parameters name columns of a table: one rule for all of them.

A column goes by its label, which may be any hashable value (a tuple where a DataFrame has columns of several levels),
or by its position, counted from 0. The label comes first. An integer that is the label of one column and the position
of another is refused, since scikit-learn would take it for the position and pandas for the label: where labels are
integers, columns may be renamed (``X.rename(columns=str)``), or be given as a boolean mask where a list of columns is
asked for.
"""

from collections.abc import Hashable
from numbers import Integral

import numpy as np

from sklearn_dgm._state import KIND_OF_TYPE, KINDS, Kind

# Labels that an error message lists.
MAX_SHOWN = 20


class Position(int):
    """The position of a column, which is never taken for a label."""


KINDS["Position"] = Kind(lambda of: [int(of)], lambda parts: Position(*parts))
KIND_OF_TYPE[Position] = "Position"


def position_of(name, labels, parameter):
    """Return the position of the column that a name means.

    Parameters
    ----------
    name : object
        Its label or its position.
    labels : sequence
        Labels of all columns; of an array their positions.
    parameter : str
        Where the name stands, for error messages.

    Returns
    -------
    position : int
        From 0 on.

    Raises
    ------
    ValueError
        If there is no such column, or an integer is the label of one and the position of another.
    """
    labels = list(labels)
    if isinstance(name, np.generic):  # which makes an array of a comparison with a tuple
        name = name.item()
    is_label = _is_among(name, labels)
    is_position = _kind(name) == "integer" and 0 <= name < len(labels)
    if is_position and (not is_label or isinstance(name, Position)):
        return int(name)
    if not is_label or labels.count(name) > 1:
        which = "more than one" if is_label else "not a"
        raise ValueError(
            f"{parameter} names {name!r}, which is {which} column of X; its columns are {shown(labels)}."
        )
    found = labels.index(name)
    if is_position and found != name:
        raise ValueError(
            f"{parameter} names {name!r}, which is the label of the column at position {found}, but could also mean "
            f"position {name}, where column {labels[name]!r} is. Give the columns labels that are no integers, such as "
            "X.rename(columns=str), or use a boolean mask or matrix where one is taken."
        )
    return found


def positions_of(names, labels, parameter):
    """Return the positions of the columns that names mean.

    Parameters
    ----------
    names : object, array-like or None
        One label or position, several of them, or a boolean mask; None for no column.
    labels : sequence
        Labels of all columns; of an array their positions.
    parameter : str
        Where the names stand, for error messages.

    Returns
    -------
    positions : list of int
        In the order of the names.

    Raises
    ------
    ValueError
        As for :func:`position_of`, and if a mask has another length.
    """
    if names is None:
        return []
    if isinstance(names, np.ndarray):
        names = names.tolist()  # which is a scalar where there is but one
    is_label = isinstance(names, tuple) and _is_among(names, list(labels))
    if isinstance(names, str) or is_label or not hasattr(names, "__iter__"):
        return [position_of(names, labels, parameter)]
    names = list(names)
    if names and all(isinstance(name, bool | np.bool_) for name in names):
        if len(names) != len(labels):
            raise ValueError(
                f"{parameter} is a mask of {len(names)} entries, but X has {len(labels)} columns."
            )
        return np.flatnonzero(names).tolist()
    return [position_of(name, labels, parameter) for name in names]


def names_any(names):
    """Tell whether names mean any column, whatever the labels are.

    Parameters
    ----------
    names : object, array-like or None
        As :func:`positions_of` takes them.

    Returns
    -------
    bool
        False for None, no name at all, and a boolean mask that is nowhere true.
    """
    if names is None or isinstance(names, str) or not hasattr(names, "__iter__"):
        return names is not None
    names = list(np.atleast_1d(names)) if isinstance(names, np.ndarray) else list(names)
    if all(isinstance(name, bool | np.bool_) for name in names):
        return any(names)
    return True


def by_position(values, labels, parameter):
    """Return a dict whose keys name columns with their positions as keys.

    Parameters
    ----------
    values : dict
        By label or position.
    labels : sequence
        Labels of all columns; of an array their positions.
    parameter : str
        Where the dict stands, for error messages.

    Returns
    -------
    values : dict of int to object
        By position.

    Raises
    ------
    ValueError
        As for :func:`position_of`, and if two keys name one column.
    """
    found = {}
    for name, value in values.items():
        j = position_of(name, labels, parameter)
        if j in found:
            raise ValueError(
                f"{parameter} names column {labels[j]!r} twice, by label and by position."
            )
        found[j] = value
    return found


def _kind(name):
    """Return the type of a name, which Python's equality does not tell: 1, 1.0 and True are three."""
    if isinstance(name, bool | np.bool_):
        return "flag"
    return "integer" if isinstance(name, Integral) else "other"


def _is_among(name, labels):
    """Tell whether a name is one of the labels."""
    if not isinstance(name, Hashable) or name not in labels:
        return False
    return _kind(labels[labels.index(name)]) == _kind(name)


def shown(labels):
    more = ", ..." if len(labels) > MAX_SHOWN else ""
    return ", ".join(repr(label) for label in list(labels)[:MAX_SHOWN]) + more
